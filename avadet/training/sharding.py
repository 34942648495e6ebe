"""Models too large for one GPU: every process keeps its share of each weight, gradient and moment of the optimizer.

Rajbhandari et al., "ZeRO", SC 2020, in the form that torch calls FSDP2 (Zhao et al., "PyTorch FSDP", VLDB 2023). A
block's weights are gathered when it is their turn, forward and backward, and forgotten behind it. What a run writes is
whole, so that it goes on with any number of processes, divided or not.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from avadet.errors import AvadetError
from avadet.training.recompute import blocks

Net = TypeVar("Net", bound=nn.Module)


def divide(views: nn.Module, device: torch.device, count: int, dtype: torch.dtype | None = None) -> None:
    """Divide a model's weights among all processes, in place, block by block (`recompute.blocks`).

    What stands outside of the blocks, a head and the like, is divided as one more block. In lower precision the
    weights of blocks are gathered in it, half as much to send and to hold; gradients are summed in float32, and the
    weights themselves stay float32. An autocast around the forward pass still decides in what each operation runs;
    LayerNorms run in float32, which CUDA's autocast would see to and the CPU's does not.

    Args:
        views: what is called in training; the optimizer is built afterwards, over its new parameters.
        device: of this process.
        count: of processes.
        dtype: of the autocast; None = float32.

    Raises:
        AvadetError: if torch is too old, or for lower precision with BatchNorms, whose statistics need float32.
    """
    try:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    except ImportError as error:
        raise AvadetError(f"train.shard needs torch 2.6 or newer, this is {torch.__version__}; update it") from error
    if dtype is not None and any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in views.modules()):
        raise AvadetError("train.shard needs train.precision=fp32 for a model with BatchNorm; or set train.shard=false")
    mesh = dist.device_mesh.init_device_mesh(device.type, (count,))
    policy = MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False) if dtype else MixedPrecisionPolicy()
    for block in blocks(views):
        fully_shard(block, mesh=mesh, mp_policy=policy)
        for norm in block.modules():
            if dtype is not None and isinstance(norm, nn.LayerNorm):
                cast(Any, norm).forward = partial(_layer_norm, norm)
    fully_shard(views, mesh=mesh)


def _layer_norm(norm: nn.LayerNorm, values: Tensor) -> Tensor:
    """What a LayerNorm does, in float32."""
    weight, bias = (None if one is None else one.float() for one in (norm.weight, norm.bias))
    return F.layer_norm(values.float(), norm.normalized_shape, weight, bias, norm.eps)


def is_divided(value: object) -> bool:
    """Whether a tensor is one of which each process has a share."""
    return hasattr(value, "full_tensor")


def own_share(value: Tensor) -> Tensor:
    """This process's share of a divided tensor, in the same memory; any other tensor as it is."""
    return cast(Any, value).to_local() if is_divided(value) else value


def whole(value: Tensor) -> Tensor:
    """A divided tensor put together, on its device; any other tensor as it is. Every process must ask."""
    return cast(Any, value).full_tensor() if is_divided(value) else value


def share_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, divided as `like` is if that is divided; every process must ask, and has the first one's."""
    if not is_divided(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    pattern = cast(Any, like)
    return distribute_tensor(value.detach().to(like.device), pattern.device_mesh, pattern.placements)


def gathered(state: Any, keep: bool) -> Any:
    """A state of tensors and plain values with every divided tensor put together, on the CPU.

    Tensors are gathered one after the other, so that there is never room needed for two. (torch's own functions for
    this name an optimizer's moments by parameter; a file of an undivided run counts them, and both shall be alike.)

    Args:
        state: dicts, lists and tuples of them; every process must ask.
        keep: whether this process wants it; others get empty tensors in place of the gathered ones.
    """
    if isinstance(state, dict):
        return {key: gathered(value, keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(gathered(value, keep) for value in state)
    if not is_divided(state):
        return state
    value = whole(state)
    return value.cpu() if keep else value.new_empty(0)


def load_weights(module: nn.Module, state: dict[str, Tensor]) -> None:
    """`module.load_state_dict(state)` of whole tensors, whether the module is divided or not."""
    own = module.state_dict()
    module.load_state_dict({name: share_like(value, own.get(name, value)) for name, value in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`optimizer.load_state_dict(state)` of whole tensors, whether its parameters are divided or not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def share(value: Any, parameter: nn.Parameter) -> Any:
        is_moment = isinstance(value, Tensor) and value.shape == parameter.shape  # and no count of steps
        return share_like(value, parameter) if is_moment else value

    moments = {
        index: {name: share(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def divide_like(net: nn.Module, like: nn.Module, device: torch.device) -> None:
    """Divide the parameters of `net` as those of `like` are, in place; it holds them, it cannot be called."""
    pattern = dict(like.named_parameters())
    for name, parameter in list(net.named_parameters()):
        _replace(net, name, share_like(parameter, pattern[name]))
    net.to(device)


def whole_net(net: Net) -> Net:
    """A net that can be called, of one that `divide_like` has divided; an undivided one is given back itself.

    Its buffers are the other's own: what is measured in one is known to both. Every process must ask.
    """
    divided = {name: parameter for name, parameter in net.named_parameters() if is_divided(parameter)}
    if not divided:
        return net
    shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    twin = copy.deepcopy(net, cast(Any, shared))
    for name, parameter in divided.items():
        _replace(twin, name, whole(parameter))
    return twin


def _replace(net: nn.Module, name: str, value: Tensor) -> None:
    owner, _, last = name.rpartition(".")
    setattr(net.get_submodule(owner), last, nn.Parameter(value, requires_grad=False))
