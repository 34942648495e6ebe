"""What a model is made of: its parts, the shapes they give for one clip, parameters and multiply-adds.

It is built on torch's meta device, where tensors have a shape and no values, so that no size needs memory or time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avadet.models.detectors.two_stage import ActionDetector, ActionModel

MOST = 0.9
"""A part with more than this fraction of all parameters is listed by its own parts."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of a model, or a run of equal parts.

    Attributes:
        name: as its parameters are called, e.g. "blocks.3"; "blocks.3-11" for a run.
        kind: its class; for a run with the number of parts, e.g. "9 x Block".
        parameters: of all of them together.
        shapes: of its outputs for one clip, batch axis first; () if it is only a container.
        parts: what it is made of, where that says more.
    """

    name: str
    kind: str
    parameters: int
    shapes: tuple[Shape, ...]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A model in numbers.

    Attributes:
        parameters: of all parts.
        gflops: 10**9 multiply-adds of one clip with one box, see `count_flops`.
        parts: at the top: of a detector its backbone and its head.
    """

    parameters: int
    gflops: float
    parts: tuple[Part, ...]


def count_parameters(net: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in net.parameters())


@contextmanager
def count_flops(net: nn.Module) -> Iterator[FlopCounterMode]:
    """Count the operations of a net, two for each multiply-add, while the context lasts.

    A module whose computation takes other operations than its paper's declares an attribute `count_as_written`, False:
    it is True in here, and the module then computes as the paper writes it, so that published numbers compare.
    """
    rewritten: list[Any] = [module for module in net.modules() if hasattr(module, "count_as_written")]
    for module in rewritten:
        module.count_as_written = True
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            yield counter
    finally:
        for module in rewritten:
            module.count_as_written = False


def summary(build: Callable[[], ActionModel], frames: int, hw: tuple[int, int]) -> Summary:
    """Summarise a model.

    Args:
        build: makes it, on whatever device is the default.
        frames: T of the clip it is run on.
        hw: height and width of that clip, px.
    """
    with torch.device("meta"):
        model = build()
    if not isinstance(model, ActionDetector):
        model = build()  # several detectors, with steps between that need values
    model.eval()
    shapes: dict[nn.Module, tuple[Shape, ...]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        shapes[module] = tuple(_shapes(output))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    with count_flops(model) as counter:
        _run(model, frames, hw)
    for hook in hooks:
        hook.remove()
    return Summary(
        count_parameters(model), counter.get_total_flops() / 2e9, tuple(_Listing(model, shapes).parts(model))
    )


def _run(model: ActionModel, frames: int, hw: tuple[int, int]) -> None:
    """One clip with one box that is the whole frame."""
    if not isinstance(model, ActionDetector):
        model(torch.zeros(1, 3, frames, *hw), torch.tensor([[0.0, 0, 0, hw[1], hw[0]]]))
        return
    with torch.device("meta"):
        model.head(model.maps(torch.empty(1, 3, frames, *hw)), torch.empty(1, 5), hw)


def _shapes(output: Any) -> Iterator[Shape]:
    """Of a tensor its shape; of a list of maps that of each; of a tuple that of its largest tensor."""
    if isinstance(output, Tensor):
        yield tuple(output.shape)
    elif isinstance(output, list):
        yield from (tuple(one.shape) for one in output if isinstance(one, Tensor))
    elif isinstance(output, tuple):
        tensors = [one for one in output if isinstance(one, Tensor)]
        if tensors:
            yield tuple(max(tensors, key=Tensor.numel).shape)


class _Listing:
    """Decides which modules of a model are listed by their parts."""

    def __init__(self, model: nn.Module, shapes: dict[nn.Module, tuple[Shape, ...]]) -> None:
        """Take a model and the shapes that its modules give."""
        self.shapes = shapes
        self.total = count_parameters(model)
        detectors = [module for module in model.modules() if isinstance(module, ActionDetector)]
        self.opened: set[nn.Module] = {*detectors, *(detector.backbone for detector in detectors)}
        for detector in detectors:
            most = MOST * count_parameters(detector.backbone)
            self.opened.update(part for part in detector.backbone.children() if count_parameters(part) > most)

    def parts(self, module: nn.Module) -> Iterator[Part]:
        """The parts of a module, equal neighbours as one; without those that have no parameters and keep the shape."""
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
                    yield self._part(first, part, parameters)
            before = given or before

    def _part(self, name: str, module: nn.Module, parameters: int) -> Part:
        """One module; with its parts if it is a backbone, a mere container, or nearly everything."""
        given = self.shapes.get(module, ())
        is_container = not given and next(module.children(), None) is not None
        if not (is_container or module in self.opened or parameters > MOST * self.total):
            return Part(name, _kind(module), parameters, given)
        inside = tuple(self.parts(module))
        if is_container and len(inside) == 1 and not inside[0].parts:
            return Part(name, inside[0].kind, parameters, inside[0].shapes)
        return Part(name, _kind(module), parameters, given, inside)

    def _runs(self, module: nn.Module) -> list[list[tuple[str, nn.Module]]]:
        """The children of a module; numbered neighbours of one class that give the same shapes are one run."""
        runs: list[list[tuple[str, nn.Module]]] = []
        for name, child in module.named_children():
            neighbour = runs[-1][-1][1] if runs else None
            is_alike = type(neighbour) is type(child) and self.shapes.get(neighbour) == self.shapes.get(child, ())
            if name.isdigit() and is_alike:
                runs[-1].append((name, child))
            else:
                runs.append([(name, child)])
        return runs


def _kind(module: nn.Module) -> str:
    """The class of a module, or of what it lines up if that is all of one class."""
    if isinstance(module, (nn.Sequential, nn.ModuleList)) and len(module) > 0:
        kinds = {type(one).__name__ for one in module}
        if len(kinds) == 1:
            return f"{len(module)} x {kinds.pop()}"
    return type(module).__name__
