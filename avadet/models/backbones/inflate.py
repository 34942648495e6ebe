"""2-D filters as a start for 3-D ones (Carreira & Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017).

A filter is repeated over time and divided by its new length, so that a still clip gives what its one picture gave
the 2-D net; or it stands at the middle moment with zeros around it, so that every frame gives what it gave by itself.
Zeros beyond the clip's ends break the first equality for frames as near to them as the kernels reach.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Mapping

from torch import Tensor, nn

from avadet.errors import AvadetError, unknown_name

STARTS = ("mean", "centre")


def inflate_filters(weight: Tensor, frames: int, start: str = "mean") -> Tensor:
    """Filters of a 2-D convolution (O, I, h, w) -> (O, I, frames, h, w).

    Args:
        weight: float.
        frames: length of the new kernel.
        start: "mean" repeats and divides by `frames`; "centre" fills the middle frame, all others are zero.
    """
    if start not in STARTS:
        raise unknown_name("start of inflated filters", start, STARTS)
    if start == "mean":
        return weight[:, :, None].repeat(1, 1, frames, 1, 1) / frames
    cubes = weight.new_zeros(*weight.shape[:2], frames, *weight.shape[2:])
    cubes[:, :, frames // 2] = weight
    return cubes


def inflated(net: nn.Module, flat: Collection[str] = (), start: str = "mean") -> nn.Module:
    """A 3-D copy of a 2-D net, every n x n kernel and pool now n x n x n, with the 2-D net's weights.

    Args:
        net: of Conv2d, BatchNorm2d, MaxPool2d, and modules of any kind that work alike in both worlds.
        flat: names of modules (and all inside them) that neither see nor stride over time.
        start: see `inflate_filters`.
    """
    cube = copy.deepcopy(net)
    for name, module in list(cube.named_modules()):
        is_flat = any(name == part or name.startswith(f"{part}.") for part in flat)
        replacement = _inflated_layer(module, is_flat, start)
        if replacement is not None:
            parent, _, child = name.rpartition(".")
            setattr(cube.get_submodule(parent), child, replacement.train(module.training))
    return cube


def _inflated_layer(layer: nn.Module, is_flat: bool, start: str) -> nn.Module | None:
    """One layer in 3-D, or None if it may stay as it is."""
    if isinstance(layer, nn.Conv2d):
        return _inflated_conv(layer, is_flat, start)
    if isinstance(layer, nn.BatchNorm2d):
        norm = nn.BatchNorm3d(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        norm.load_state_dict(layer.state_dict())
        return norm.to(layer.weight.device) if layer.affine else norm
    if isinstance(layer, nn.MaxPool2d):
        kernel, stride, padding = (_cube(value, is_flat) for value in (layer.kernel_size, layer.stride, layer.padding))
        if is_flat:
            padding = (0, *padding[1:])
        return nn.MaxPool3d(kernel, stride, padding, ceil_mode=layer.ceil_mode)
    return None


def _inflated_conv(conv: nn.Conv2d, is_flat: bool, start: str) -> nn.Conv3d:
    """A convolution whose kernel, stride, padding and dilation over time are those over height, or none if flat."""
    frames = 1 if is_flat else conv.kernel_size[0]
    cube = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (frames, *conv.kernel_size),  # type: ignore[arg-type]
        (1 if is_flat else conv.stride[0], *conv.stride),  # type: ignore[arg-type]
        (0 if is_flat else int(conv.padding[0]), *conv.padding),
        (1 if is_flat else conv.dilation[0], *conv.dilation),  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
    )
    cube.weight = nn.Parameter(inflate_filters(conv.weight.detach(), frames, start))
    if conv.bias is not None:
        cube.bias = nn.Parameter(conv.bias.detach().clone())
    return cube


def _cube(value: int | tuple[int, int], is_flat: bool) -> tuple[int, int, int]:
    """An option of a 2-D pool for three axes; the first is time."""
    height, width = (value, value) if isinstance(value, int) else value
    return (1 if is_flat else height, height, width)


def load_from_image(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] = str,
    adapt: Callable[[Tensor, Tensor], Tensor] | None = None,
    may_lack: Callable[[str], bool] = lambda name: False,
) -> list[str]:
    """Fill a net of videos, in place, from the state dict of the image model it grew out of.

    Args:
        net: in eval or training mode.
        tensors: the image model's; those that nobody asks for (its classifier) are left out.
        rename: name of a tensor of `net` -> name in `tensors`.
        adapt: tensor of the image model and the tensor of `net` it is for -> what to put there; None = `inflated_like`.
        may_lack: whether a tensor of `net`, by its name, is one that image models need not have.

    Returns:
        names of the tensors that the image model lacks.

    Raises:
        AvadetError: for a tensor without a partner, or one of another size.
    """
    filled: dict[str, Tensor] = {}
    for name, tensor in net.state_dict().items():
        partner = tensors.get(rename(name))
        if partner is None and may_lack(name):
            continue
        if partner is None:
            raise AvadetError(f"no 2-D weights for {name}: '{rename(name)}' is not among those given")
        partner = (adapt or inflated_like)(partner, tensor)
        if partner.shape != tensor.shape:
            raise AvadetError(
                f"2-D weights '{rename(name)}' do not fit {name}: {tuple(partner.shape)} for {tuple(tensor.shape)}"
            )
        filled[name] = partner
    return list(net.load_state_dict(filled, strict=False).missing_keys)


def inflated_like(weight: Tensor, cube: Tensor, start: str = "mean") -> Tensor:
    """Filters of four axes for a tensor of five, see `inflate_filters`; anything else as it is."""
    return inflate_filters(weight, cube.shape[2], start) if cube.ndim == 5 and weight.ndim == 4 else weight


def resnet_name(name: str) -> str:
    """Name of a tensor of `ResNet3d` -> its name in torchvision's 2-D ResNets ("res3.0.branch2.conv_b.weight" ->
    "layer2.0.conv2.weight"); any other name stays as it is.
    """
    parts = {"conv_a": "conv1", "conv_b": "conv2", "conv_c": "conv3", "norm_a": "bn1", "norm_b": "bn2", "norm_c": "bn3"}
    stem = re.fullmatch(r"stem\.(conv|norm)\.(.+)", name)
    if stem:
        return f"{'conv1' if stem[1] == 'conv' else 'bn1'}.{stem[2]}"
    shortcut = re.fullmatch(r"res(\d)\.(\d+)\.branch1_(conv|norm)\.(.+)", name)
    if shortcut:
        return f"layer{int(shortcut[1]) - 1}.{shortcut[2]}.downsample.{int(shortcut[3] == 'norm')}.{shortcut[4]}"
    inner = re.fullmatch(r"res(\d)\.(\d+)\.branch2\.(\w+)\.(.+)", name)
    if inner:
        return f"layer{int(inner[1]) - 1}.{inner[2]}.{parts[inner[3]]}.{inner[4]}"
    return name
