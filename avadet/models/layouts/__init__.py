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
from avadet.models.layouts.settings import mmaction_settings

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
    "mmaction_settings",
    "recipe_of",
    "recognise",
    "translate",
]
