"""What every backbone declares of itself, so that heads, export and starts from image models need not guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.types import Pixels

KINETICS = Pixels((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
"""As PySlowFast and pytorchvideo train on Kinetics."""
TORCHVISION_KINETICS = Pixels((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
"""As torchvision trains its convolutional video models."""
IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNCHANGED = Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Stride(NamedTuple):
    """What of a clip one cell of a map covers; cell (0, 0) begins at the first pixel.

    Attributes:
        time: frames; None = the map's number of frames does not follow the clip's.
        height: px.
        width: px.
    """

    time: int | None
    height: float
    width: float


class Allowed(NamedTuple):
    """The lengths that an axis of a clip may have: `exactly` so many, or `least` or more in steps of `multiple_of`."""

    least: int = 1
    multiple_of: int = 1
    exactly: int | None = None

    def __contains__(self, length: object) -> bool:
        """Whether a clip may be so long."""
        if not isinstance(length, int):
            return False
        if self.exactly is not None:
            return length == self.exactly
        return length >= self.least and length % self.multiple_of == 0

    def __str__(self) -> str:
        """In words, to be followed by "frames" or "rows"."""
        if self.exactly is not None:
            return f"exactly {self.exactly}"
        return f"a multiple of {self.multiple_of}" if self.multiple_of > 1 else f"at least {self.least}"


ANY = Allowed()


class Backbone(nn.Module):
    """Normalised clip float (B, 3, T, H, W) -> list of maps (B, C_i, T_i, H_i, W_i).

    A subclass sets what depends on its arguments in its constructor, the rest as attributes of the class.

    Attributes:
        out_channels: C_i of each map.
        strides: of each map.
        num_frames: what T may be.
        sizes: what H and W may be.
        graph_has_one_size: whether a traced graph holds for the picture size and number of clips of its trace only, as
            where tables of positions are interpolated to the clip's grid.
        pixels: how clips are normalised unless a model says otherwise.
        init_from_image: name of the `CheckpointFormat` of the image models that `fill_from_image` reads; None = none.
    """

    out_channels: tuple[int, ...]
    strides: tuple[Stride, ...]
    num_frames: Allowed = ANY
    sizes: tuple[Allowed, Allowed] = (ANY, ANY)
    graph_has_one_size: ClassVar[bool] = False
    pixels: ClassVar[Pixels] = KINETICS
    init_from_image: ClassVar[str | None] = None

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over, in place, the weights of an image model of the kind that `init_from_image` names.

        Args:
            tensors: its state dict, under its own names.

        Returns:
            names of parameters and buffers that no image model has, which stay as they are.

        Raises:
            AvadetError: if a tensor is missing or of another shape.
        """
        raise NotImplementedError

    def check(self, clip: Tensor) -> None:
        """Raise AvadetError unless a clip is as `num_frames` and `sizes` say."""
        allowed = dict(zip(("frames", "rows", "columns"), (self.num_frames, *self.sizes)))
        for (axis, lengths), length in zip(allowed.items(), clip.shape[2:]):
            if int(length) not in lengths:
                raise AvadetError(f"{type(self).__name__} takes clips of {lengths} {axis}, got {int(length)}")


def in_picture(strides: Sequence[Stride]) -> tuple[tuple[float, float], ...]:
    """(height, width) px of a cell of each map, which is what finds a box on it."""
    return tuple((stride.height, stride.width) for stride in strides)


WANTED = {
    "pixels": "how clips are normalised, a mean and a standard deviation of RGB",
    "out_channels": "the channels of each of its maps",
    "strides": "for each of its maps (time, height, width), the frames, rows and columns of a clip that a cell "
    "covers; time is None if the map's number of frames does not follow the clip's",
}


def check_declared(backbone: Any) -> None:
    """Raise AvadetError, which says what to declare, unless a backbone declares `out_channels` and `strides`."""
    name = type(backbone).__name__
    for fact, meaning in WANTED.items():
        if getattr(backbone, fact, None) is None:
            raise AvadetError(f"backbone {name} does not declare `{fact}`: {meaning}; see docs/adding-a-backbone.md")
    strides = backbone.strides
    try:
        good = all(min(height, width) > 0 and (time is None or time > 0) for time, height, width in strides)
        good = good and len(strides) == len(backbone.out_channels)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise AvadetError(f"strides of backbone {name} must be {WANTED['strides']}; got {strides}")
