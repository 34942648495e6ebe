"""Other projects' checkpoints, a file a project: whose tensors they are, their names here, and which model they fit.

Names here: `backbone.[slow.|fast.]STAGE...` with STAGE one of stem, res2 ... res5, `backbone.lateral.STAGE...`, or
`backbone.blocks.N...` of a transformer, and `head.proj`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avadet.errors import AvadetError
from avadet.models.checkpoints.formats import (
    acar,
    avadet,
    caffe2,
    hiera,
    mmaction2,
    pyslowfast,
    pytorchvideo,
    shufflenetv2,
    torchvision,
    transformers,
    unbuilt,
    videomae,
    vjepa2,
)
from avadet.models.checkpoints.formats.format import CheckpointFormat, Evidence, Recipe, Tensors

FORMATS: tuple[CheckpointFormat, ...] = (
    *(*avadet.FORMATS, *unbuilt.FORMATS, *pytorchvideo.FORMATS, *pyslowfast.FORMATS, *videomae.FORMATS),
    *(*hiera.FORMATS, *transformers.FORMATS, *vjepa2.FORMATS, *torchvision.FORMATS, *shufflenetv2.FORMATS),
    *(*caffe2.FORMATS, *mmaction2.FORMATS, *acar.FORMATS),
)
"""The more special before the more general: the first that fits wins."""


def recognise(names: Iterable[str], source: str) -> CheckpointFormat:
    """Whose checkpoint has these tensor names.

    Raises:
        AvadetError: if no known format fits, naming `source` and the first tensors, or if the model has a part that
            is not built here, naming the part.
    """
    listed = list(names)
    found = _first_that_fits(listed)
    if found is None:
        known = ", ".join(one.name for one in FORMATS if one.unbuilt is None)
        first = ", ".join(listed[:3]) or "none"
        raise AvadetError(f"{source}: tensors of no known format (first names: {first}); known formats: {known}")
    if found.unbuilt is not None:
        part, way_out = found.unbuilt
        example = next(name for name in listed if re.search(found.marker, name))
        raise AvadetError(f"{source}: avadet does not build {part} (tensor {example[:80]}); {way_out}")
    return found


def is_known(names: Iterable[str]) -> bool:
    """Whether `recognise` knows whose names these are, be it that the model is not built here."""
    return _first_that_fits(list(names)) is not None


def _first_that_fits(names: Sequence[str]) -> CheckpointFormat | None:
    """The format of names, None if there is none."""
    return next((one for alone in (False, True) for one in FORMATS if one.fits(names, alone)), None)


def translate(tensors: Tensors, form: CheckpointFormat, has_background: bool = True) -> Tensors:
    """The same tensors under the names they have here, without what is no weight or stands for no class.

    `has_background`: whether the classifier has the rows for no class that `form.background` counts.
    """
    renamed: Tensors = {}
    for theirs, tensor in tensors.items():
        if not (form.ignore and re.search(form.ignore, theirs)):
            name = form.rename(theirs)
            renamed[name] = form.reshape(name, tensor)
    for name in ("head.proj.weight", "head.proj.bias"):
        if name in renamed and has_background:
            renamed[name] = renamed[name][form.background :]
    if form.finish is not None:
        renamed = form.finish(renamed)
    if any(name.startswith("backbone.fast.") for name in renamed):
        return renamed
    return {re.sub(r"^backbone\.slow\.", "backbone.", name): tensor for name, tensor in renamed.items()}


def recipe_of(tensors: Tensors, form: CheckpointFormat, settings: Mapping[str, Any], source: str) -> Recipe:
    """Infer which model fits tensors, and the clip it wants.

    What shapes cannot tell comes from `settings`, the configuration stored with the weights in the words of
    PySlowFast; without it from the name of the file (`resnets.name_settings`); without that from what the AVA models
    of the project do (`Defaults`): 4 frames every 16 for Slow, 32 every 2 for SlowFast, 8 every 8 for I3D and C2D,
    short side 256; the grid of its positions for MViT; RoIAlign aligned in PySlowFast and mmaction2, not aligned in
    pytorchvideo, in the caffe2 zoo and by ACAR-Net's authors.

    Args:
        tensors: under the names they have here.
        form: whose they are.
        settings: {} if there are none.
        source: the file, for messages.

    Raises:
        AvadetError: if no model here fits, or the weights are not a detector's at all.
    """
    if form.classifies:
        raise AvadetError(
            f"{source}: weights that classify {form.classifies} ({form.name}), not persons in boxes; a training "
            "starts from them: model.init"
        )
    if form.infer is None or "head.proj.weight" not in tensors:
        raise AvadetError(f"{source}: no classifier among its {len(tensors)} tensors ({form.name} format)")
    return form.infer(Evidence(tensors, settings, source, form.defaults))
