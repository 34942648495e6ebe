"""What a model is made of: its parts, what each gives for one clip, its parameters and its multiply-adds.

Nothing is trained or loaded for it: on torch's meta device tensors have a shape and no numbers, so that the largest
model takes no memory and hardly any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avadet.models.backbones.mvit import Attention
from avadet.models.detectors.two_stage import ActionDetector, ActionModel

MOST = 0.9
"""A part that holds this share of the parameters of the whole is opened up: its own parts say more."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of a model, or a run of equal parts.

    Attributes:
        name: as its parameters are called, e.g. "blocks.3"; "blocks.3-11" for a run.
        kind: its class; with the number of parts before it for a run, e.g. "9 x Block".
        parameters: of all of them together.
        shapes: of what it gives for one clip, the batch's axis first; of several maps one each; () if it only holds.
        parts: what it is made of, as far as that is worth telling.
    """

    name: str
    kind: str
    parameters: int
    shapes: tuple[Shape, ...]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Anatomy:
    """A model taken apart.

    Attributes:
        parameters: of the whole.
        gflops: 10**9 multiply-adds of one clip with one box, see `counted`.
        parts: at the top: of a detector its backbone and its head.
    """

    parameters: int
    gflops: float
    parts: tuple[Part, ...]


def count_parameters(net: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in net.parameters())


@contextmanager
def counted(net: nn.Module) -> Iterator[FlopCounterMode]:
    """Count the operations of a net (two for each multiply-add) while this lasts, as its paper writes it.

    MViTv2 here appends one-hot places to queries and keys, which is faster and takes more operations (7 to 14% in the
    published sizes); so that numbers compare with published ones, they are counted without.
    """
    shortened = [part for part in net.modules() if isinstance(part, Attention)]
    for part in shortened:
        part.written_out = True
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            yield counter
    finally:
        for part in shortened:
            part.written_out = False


def anatomy(build: Callable[[], ActionModel], frames: int, hw: tuple[int, int]) -> Anatomy:
    """Take a model apart.

    Args:
        build: makes it, on whatever device is the default.
        frames: of the clip that is sent through.
        hw: rows and columns of that clip, px.
    """
    with torch.device("meta"):
        model = build()
    if not isinstance(model, ActionDetector):
        model = build()  # made of several detectors, with steps between that need numbers
    model.eval()
    shapes: dict[nn.Module, tuple[Shape, ...]] = {}

    def note(module: nn.Module, _: Any, answer: Any) -> None:
        shapes[module] = tuple(_shapes(answer))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    with counted(model) as counter:
        _send_through(model, frames, hw)
    for hook in hooks:
        hook.remove()
    whole = count_parameters(model)
    return Anatomy(whole, counter.get_total_flops() / 2e9, tuple(_Opener(model, shapes, whole).parts(model)))


def _send_through(model: ActionModel, frames: int, hw: tuple[int, int]) -> None:
    """One clip with one box that is the whole frame."""
    if not isinstance(model, ActionDetector):
        box = torch.tensor([[0.0, 0, 0, hw[1], hw[0]]])
        model(torch.zeros(1, 3, frames, *hw), box)
        return
    with torch.device("meta"):
        model.head(model.maps(torch.empty(1, 3, frames, *hw)), torch.empty(1, 5), hw)


def _shapes(answer: Any) -> Iterator[Shape]:
    """Of a tensor its shape; of a list of maps that of each; of a tuple that of its largest tensor."""
    if isinstance(answer, Tensor):
        yield tuple(answer.shape)
    elif isinstance(answer, list):
        yield from (tuple(one.shape) for one in answer if isinstance(one, Tensor))
    elif isinstance(answer, tuple):
        tensors = [one for one in answer if isinstance(one, Tensor)]
        if tensors:
            yield tuple(max(tensors, key=Tensor.numel).shape)


class _Opener:
    """Decides which parts of a model to open up, and gathers them."""

    def __init__(self, model: nn.Module, shapes: dict[nn.Module, tuple[Shape, ...]], whole: int) -> None:
        """Take a model, what each of its parts gives, and its parameters."""
        self.shapes = shapes
        self.whole = whole
        detectors = [part for part in model.modules() if isinstance(part, ActionDetector)]
        backbones = [detector.backbone for detector in detectors]
        trunks = (part for backbone in backbones for part in backbone.children() if _is_nearly_all(part, backbone))
        self.always: set[nn.Module] = {*detectors, *backbones, *trunks}

    def parts(self, module: nn.Module) -> Iterator[Part]:
        """The parts of a module, runs of equal ones as one; without those that change neither numbers nor shape."""
        for name, parameter in module.named_parameters(recurse=False):
            yield Part(name, "parameter", parameter.numel(), ())
        before: tuple[Shape, ...] = ()
        for run in self._runs(module):
            (first, part), (last, latest) = run[0], run[-1]
            parameters = sum(count_parameters(one) for _, one in run)
            given = self.shapes.get(latest, ())
            if parameters or (given not in ((), before) and not isinstance(part, nn.Identity)):
                if len(run) > 1:
                    yield Part(f"{first}-{last}", f"{len(run)} x {type(part).__name__}", parameters, given)
                else:
                    yield self._opened(first, part, parameters)
            before = given or before

    def _opened(self, name: str, part: nn.Module, parameters: int) -> Part:
        """One part; a backbone, a mere holder of others, and what is nearly everything are opened up."""
        given = self.shapes.get(part, ())
        is_holder = not given and next(part.children(), None) is not None
        if not (is_holder or part in self.always or parameters > MOST * self.whole):
            return Part(name, _kind(part), parameters, given)
        inside = tuple(self.parts(part))
        if is_holder and len(inside) == 1 and not inside[0].parts:
            return Part(name, inside[0].kind, parameters, inside[0].shapes)
        return Part(name, _kind(part), parameters, given, inside)

    def _runs(self, module: nn.Module) -> list[list[tuple[str, nn.Module]]]:
        """The children of a module; numbered neighbours of one class that give the same shapes are one run."""
        runs: list[list[tuple[str, nn.Module]]] = []
        for name, child in module.named_children():
            neighbour = runs[-1][-1][1] if runs else None
            alike = type(neighbour) is type(child) and self.shapes.get(neighbour) == self.shapes.get(child, ())
            if name.isdigit() and alike:
                runs[-1].append((name, child))
            else:
                runs.append([(name, child)])
        return runs


def _is_nearly_all(part: nn.Module, whole: nn.Module) -> bool:
    """Whether a part holds nearly all parameters of the whole: its own parts say more."""
    return count_parameters(part) > MOST * count_parameters(whole)


def _kind(part: nn.Module) -> str:
    """The class of a part, or of what it lines up if that is all of one class."""
    if isinstance(part, (nn.Sequential, nn.ModuleList)) and len(part) > 0:
        kinds = {type(one).__name__ for one in part}
        if len(kinds) == 1:
            return f"{len(part)} x {kinds.pop()}"
    return type(part).__name__
