"""BatchNorms folded into the layers before them, where a watched run shows that nothing else takes what lies between.

The order in which a module names its children says nothing of the order in which it uses them: a block that norms
before it convolves names a convolution and the next norm side by side as well. So the net is run once, each operation
says which tensors it takes, and a norm is folded into a layer only if every output of the layer was the input of that
norm and of nothing else, and every input of the norm an output of that layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    nn.Linear,
)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
COMPUTE = ("__call__", "forward", "_conv_forward")
"""By which methods they compute; a class derived from one of them is as good as it if it leaves these alone."""

WITHIN = 1e-3
"""By how much of the largest output folding may change an output; rounding changes it by a few millionths."""


class Folded(NamedTuple):
    """How many norms of a net were folded; `note` is "", or why none was although they could have been."""

    norms: int
    note: str = ""


@torch.no_grad()
def fold_norms(net: nn.Module, *inputs: Any) -> Folded:
    """Fold every BatchNorm that alone takes what a convolution or linear layer gives into that layer, in place.

    The outputs before and after are compared; should they differ, the net is left as it was, and the note says so.

    Args:
        net: in eval mode; norms in training mode or without running statistics stay.
        inputs: arguments of one run, small but such that the net does all that it ever does.
    """
    flow = _Flow(net)
    before, pairs = flow.watch(net, inputs), flow.pairs()
    if not pairs:
        return Folded(0)
    instead: dict[nn.Module | None, nn.Module] = {layer: _fused(layer, norm) for layer, norm in pairs}
    instead |= {norm: nn.Identity() for _, norm in pairs}
    places = [  # one module may have several, of which `named_children` names the first
        (parent, name, child) for parent in net.modules() for name, child in parent._modules.items() if child in instead
    ]
    for parent, name, child in places:
        setattr(parent, name, instead[child])
    difference = _difference(before, _tensors(net(*inputs)))
    if difference <= WITHIN:
        return Folded(len(pairs))
    for parent, name, child in places:
        setattr(parent, name, child)
    return Folded(0, f"norms are not folded, which would change outputs by {difference:.2g} of the largest")


class _Flow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes in a run which operations take what layers give, and where norms have their inputs from."""

    def __init__(self, net: nn.Module) -> None:
        """Watch the layers and norms of a net that may be folded."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._made = WeakTensorKeyDictionary()  # outputs of layers -> the layer
        self._within: nn.Module | None = None
        self.takers: defaultdict[nn.Module, set[nn.Module | None]] = defaultdict(set)
        self.sources: defaultdict[nn.Module, set[nn.Module | None]] = defaultdict(set)
        self._hooks = []
        for module in net.modules():
            if module.training or not _is_plain(module):
                continue
            if _computes_as(module, LAYERS):
                self._hooks.append(module.register_forward_hook(self._gave))
            elif _computes_as(module, NORMS) and module.running_mean is not None:
                self._hooks.append(module.register_forward_pre_hook(self._enter))
                self._hooks.append(module.register_forward_hook(self._leave))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: guarding `__torch_dispatch__` from the compiler, which never sees it, would import the compiler."""
        return False

    def watch(self, net: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
        """Run the net once; its outputs."""
        try:
            with self:
                outputs = _tensors(net(*inputs))
        finally:
            for hook in self._hooks:
                hook.remove()
        self._take(outputs, None)
        return outputs

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """(layer, norm) for every norm that may be folded, in the order in which norms ran."""
        single = [(next(iter(layers)), norm) for norm, layers in self.sources.items() if len(layers) == 1]
        return [
            (layer, norm) for layer, norm in single if layer and self.takers[layer] == {norm} and _fits(layer, norm)
        ]

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note the operation's inputs, and run it."""
        self._take(_tensors((args, kwargs)), self._within)
        return operation(*args, **(kwargs or {}))

    def _take(self, tensors: Sequence[Tensor], norm: nn.Module | None) -> None:
        """An operation, inside a norm or in none, takes tensors."""
        for tensor in tensors:
            if tensor in self._made:
                self.takers[self._made[tensor]].add(norm)

    def _gave(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        """A layer ran. What is no batch of as many axes as usual is nothing a norm can be folded into."""
        axes = len(layer.kernel_size) + 2 if isinstance(layer, _ConvNd) else 2
        if output.ndim != axes:
            self.takers[layer].add(None)
        self._made[output] = layer

    def _enter(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A norm is about to run."""
        self._within = norm
        self.sources[norm].add(self._made[inputs[0]] if inputs and inputs[0] in self._made else None)

    def _leave(self, norm: nn.Module, inputs: Any, output: Any) -> None:
        """A norm has run."""
        self._within = None


def _is_plain(module: nn.Module) -> bool:
    """Whether a module does what its class says: without hooks of others, and with weights that nothing computes."""
    is_hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not is_hooked and not nn.utils.parametrize.is_parametrized(module)


def _computes_as(module: nn.Module, classes: Sequence[type[nn.Module]]) -> bool:
    """Whether a module is of one of these classes, or of one derived from it that computes the same."""
    own = type(module)
    return any(
        issubclass(own, one) and all(getattr(own, name, None) is getattr(one, name, None) for name in COMPUTE)
        for one in classes
    )


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether torch can fold the one into the other: not into transposed convolutions of groups."""
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return outputs == norm.num_features and not (isinstance(layer, _ConvTransposeNd) and layer.groups > 1)


def _fused(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """A layer that gives what the norm gives of the first."""
    assert isinstance(norm, _BatchNorm)
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    assert isinstance(layer, _ConvNd)
    return fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, _ConvTransposeNd))


def _tensors(tree: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples, dicts and the fields of objects such as dataclasses."""
    found = []
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif hasattr(leaf, "__dataclass_fields__"):
            found += _tensors([getattr(leaf, name) for name in leaf.__dataclass_fields__])
    return found


def _difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest difference of two runs' values, as a fraction of the first's largest but at least of 1."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape:
            return float("inf")
        if old.numel() and old.is_floating_point():
            apart = (old - new).abs().max().item() / max(1.0, old.abs().max().item())
            worst = max(worst, apart) if apart == apart else float("inf")
    return worst
