"""What a checkpoint format is: how one project names its tensors, and which model is inferred from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import KINETICS
from avadet.types import BoxRule, ClipSpec, LabelMap

if TYPE_CHECKING:
    from avadet.models.cards import ScoreRule

Tensors = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

CLIPS, IMAGES = "whole clips", "images"
"""What classifiers classify instead of persons in boxes."""

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""How most classifiers of ImageNet normalise pixels."""


@dataclass(frozen=True)
class Recipe:
    """What to build for a checkpoint that brings no model card.

    Attributes:
        architecture: a name that the builder of models knows.
        arguments: what it takes besides the number of classes, mean and std.
        clip: the frames it wants.
        num_classes: K.
        labels: the classes in order, where the project tells them; None = it says nothing that their number does not.
        scores: how logits become scores, None = as the classes say.
    """

    architecture: str
    arguments: dict[str, Any]
    clip: ClipSpec
    num_classes: int
    labels: LabelMap | None = None
    scores: ScoreRule | None = None


@dataclass(frozen=True)
class Defaults:
    """What a project does the same way in all its AVA models, unless a checkpoint's settings say otherwise.

    Attributes:
        aligned: RoIAlign's half-pixel shift.
        resolution: cells of a crop along each side.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        last_dilation: spatial dilation of res5.
        slow_sampling: how SlowFast chooses its slow frames, see `slowfast.slow_frames`.
        alpha: frames of SlowFast's fast pathway for one of the slow; None = as the lateral connections tell.
        boxes: how boxes become those of a clip, see `boxes.clip_boxes`.
        stretch: whether each axis of a box is scaled to the map by itself.
        named_by_clip: whether names of published files tell the frames of models of one pathway too, and the head.
    """

    aligned: bool = False
    resolution: int = 7
    mean: tuple[float, float, float] = KINETICS.mean
    std: tuple[float, float, float] = KINETICS.std
    last_dilation: int = 2
    slow_sampling: str = "linspace"
    alpha: int | None = None
    boxes: BoxRule = "pyslowfast"
    stretch: bool = False
    named_by_clip: bool = False


@dataclass(frozen=True)
class Evidence:
    """All that is known of a checkpoint whose model is to be inferred.

    Attributes:
        tensors: under the names they have here.
        settings: the configuration stored with them in the words of PySlowFast's (DATA.NUM_FRAMES, SLOWFAST.ALPHA ...),
            whichever project it comes from, and in words that it lacks: DETECTION.TIME_POOL, .BACKGROUND and .BANK.
        source: the file, for messages.
        defaults: for what neither tells.
    """

    tensors: Tensors
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    defaults: Defaults = Defaults()

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the settings, {} if there is none."""
        return self.settings.get(name) or {}

    def numbered(self, name: str) -> list[Tensor]:
        """The tensors of a name with 0, 1, 2 ... in the place of its {}, up to the first that is missing."""
        found: list[Tensor] = []
        while (tensor := self.tensors.get(name.format(len(found)))) is not None:
            found.append(tensor)
        return found

    def error(self, message: str) -> AvadetError:
        """What to raise where no model fits."""
        return AvadetError(f"{self.source}: {message}")


@dataclass(frozen=True)
class CheckpointFormat:
    """How one project names its tensors, and what its models are.

    Attributes:
        name: the project.
        marker: regular expression that matches some name of every checkpoint of the project.
        rules: (regular expression, replacement) pairs, applied in order to every name.
        ignore: regular expression of names that hold no weights of the model; "" = all names do.
        companion: regular expression of another name without which the marker counts only where no other format's does.
        background: first rows of the classifier that stand for no class.
        new_axes: (regular expression of names here, axis) pairs: tensors that have one axis more here, of size one.
        finish: what is left to do once all tensors have their names: some are divided otherwise here.
        classifies: what its models classify instead of persons in boxes, e.g. `CLIPS`; "" for detectors. Such weights
            only start a training.
        defaults: what its models do alike.
        infer: reads the model off a detector's tensors and settings, raises AvadetError where none fits; None = no
            model is known by its tensors.
        unbuilt: (part of the model, way out) of a format that is known only to be refused by name.
    """

    name: str
    marker: str
    rules: Rules = ()
    ignore: str = ""
    companion: str = ""
    background: int = 0
    new_axes: tuple[tuple[str, int], ...] = ()
    finish: Callable[[Tensors], Tensors] | None = None
    classifies: str = ""
    defaults: Defaults = Defaults()
    infer: Callable[[Evidence], Recipe] | None = None
    unbuilt: tuple[str, str] | None = None

    def fits(self, names: Iterable[str], alone: bool = False) -> bool:
        """Whether the marker matches some name, and without `alone` the companion, if there is one, as well."""
        needed = (self.marker,) if alone or not self.companion else (self.marker, self.companion)
        return all(any(re.search(pattern, name) for name in names) for pattern in needed)

    def rename(self, name: str) -> str:
        """The name a tensor has here."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name

    def reshape(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of a name with the axes that it has here."""
        for pattern, axis in self.new_axes:
            if re.search(pattern, name):
                tensor = tensor.unsqueeze(axis)
        return tensor
