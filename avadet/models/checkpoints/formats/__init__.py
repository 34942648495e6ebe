"""Other projects' checkpoints: their tensors' names (`names`), and which model they fit (`recipes`)."""

from avadet.models.checkpoints.formats.classifiers import CLASSIFIERS, CLIPS, PICTURES, SHUFFLENET
from avadet.models.checkpoints.formats.layout import Layout, Tensors
from avadet.models.checkpoints.formats.names import (
    ACAR,
    AVADET,
    CAFFE2,
    HIERA,
    LAYOUTS,
    MMACTION,
    MVIT,
    PYSLOWFAST,
    PYTORCHVIDEO,
    PYTORCHVIDEO_POOLED,
    VJEPA2,
    VJEPA2_AUTHORS,
    is_known,
    recognise,
    translate,
)
from avadet.models.checkpoints.formats.recipes import Recipe, recipe_of
from avadet.models.checkpoints.formats.settings import has_background, mmaction_settings

__all__ = [
    "ACAR",
    "AVADET",
    "CAFFE2",
    "CLASSIFIERS",
    "CLIPS",
    "HIERA",
    "LAYOUTS",
    "MMACTION",
    "MVIT",
    "PICTURES",
    "PYSLOWFAST",
    "PYTORCHVIDEO",
    "PYTORCHVIDEO_POOLED",
    "SHUFFLENET",
    "VJEPA2",
    "VJEPA2_AUTHORS",
    "Layout",
    "Recipe",
    "Tensors",
    "has_background",
    "is_known",
    "mmaction_settings",
    "recipe_of",
    "recognise",
    "translate",
]
