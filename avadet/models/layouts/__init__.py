"""Other projects' checkpoints: their tensors' names (`names`), and which model they fit (`recipes`)."""

from avadet.models.layouts.names import (
    AVADET,
    CAFFE2,
    LAYOUTS,
    MMACTION,
    MVIT,
    PYSLOWFAST,
    PYTORCHVIDEO,
    PYTORCHVIDEO_POOLED,
    Layout,
    Tensors,
    recognise,
    translate,
)
from avadet.models.layouts.recipes import Recipe, recipe_of
from avadet.models.layouts.settings import has_background, mmaction_settings

__all__ = [
    "AVADET",
    "CAFFE2",
    "LAYOUTS",
    "MMACTION",
    "MVIT",
    "PYSLOWFAST",
    "PYTORCHVIDEO",
    "PYTORCHVIDEO_POOLED",
    "Layout",
    "Recipe",
    "Tensors",
    "has_background",
    "mmaction_settings",
    "recipe_of",
    "recognise",
    "translate",
]
