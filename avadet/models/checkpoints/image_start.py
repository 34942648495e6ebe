"""Video transformers that start from the weights of an image transformer.

Image models have seen far more pictures than there are labelled videos, so ViViT, TimeSformer and MTV all begin with
one: its patches become tubelets, its table of positions is repeated for every frame, its blocks are taken as they are,
and what only video has begins as an identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.vit_blocks import Positions, Tubelets, resized


def inflated(kernel: Tensor, frames: int) -> Tensor:
    """Patches (C, 3, h, w) of an image model as tubelets (C, 3, frames, h, w): in each frame the same, but 1 / frames.

    On a clip that stands still the tokens are those of the image (Carreira & Zisserman, CVPR 2017).
    """
    return kernel[:, :, None].repeat(1, 1, frames, 1, 1) / frames


def central_frame(kernel: Tensor, frames: int) -> Tensor:
    """Patches (C, 3, h, w) of an image model as tubelets that see their middle frame only, the one at frames // 2.

    The tokens are those of that frame as an image (Arnab et al., "ViViT", ICCV 2021, section 3.4).
    """
    tubelets = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    tubelets[:, :, frames // 2] = kernel
    return tubelets


def start_from_image(
    net: nn.Module, tensors: Mapping[str, Tensor], kernel: Callable[[Tensor, int], Tensor] = central_frame
) -> list[str]:
    """Fill a plain video transformer from an image transformer.

    Args:
        net: a backbone with `patches` (`Tubelets`) and `positions` (`Positions`).
        tensors: the image model's, under the names of `image_vit_names`; its grid of positions is square.
        kernel: `central_frame` or `inflated`.

    Returns:
        names of the parameters of `net` that the image model knows nothing of.

    Raises:
        AvadetError: if a tensor is missing or of another shape.
    """
    patches, positions = net.get_submodule("patches"), net.get_submodule("positions")
    assert isinstance(patches, Tubelets) and isinstance(positions, Positions)
    own, start = net.state_dict(), dict(tensors)
    if "patches.weight" not in start or "positions.table" not in start:
        raise AvadetError("no image transformer: its tensors must have patches.weight and positions.table")
    start["patches.weight"] = kernel(start["patches.weight"], patches.kernel_size[0])
    start["positions.table"] = _over_time(start["positions.table"], positions)
    if "cls_token" not in own:
        start.pop("cls_token", None)
    for name, tensor in start.items():
        if name not in own:
            raise AvadetError(f"the video transformer has no place for {name} of the image transformer")
        if tensor.shape != own[name].shape:
            raise AvadetError(
                f"{name} of the image transformer fits {tuple(tensor.shape)}, the video transformer has "
                f"{tuple(own[name].shape)}"
            )
    missing, _ = net.load_state_dict(start, strict=False)
    return list(missing)


def _over_time(table: Tensor, positions: Positions) -> Tensor:
    """An image's table (1, 1 + N, C) as that of a clip: resized to its rows and columns, the same for all frames."""
    side = round((table.shape[1] - 1) ** 0.5)
    cells = resized(table[:, 1:], (1, side, side), (1, *positions.grid[1:])).repeat(1, positions.grid[0], 1)
    return torch.cat([table[:, : positions.cls_tokens], cells], dim=1)


def image_vit_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a torchvision `VisionTransformer` under the names of a plain ViT here, less its classifier."""
    renames = (
        ("conv_proj.", "patches."),
        ("class_token", "cls_token"),
        ("encoder.pos_embedding", "positions.table"),
        ("encoder.ln.", "norm."),
        ("encoder.layers.encoder_layer_", "blocks."),
        (".ln_1.", ".norm1."),
        (".ln_2.", ".norm2."),
        (".self_attention.in_proj_", ".attn.qkv."),
        (".self_attention.out_proj.", ".attn.proj."),
        (".mlp.linear_1.", ".mlp.fc1."),
        (".mlp.linear_2.", ".mlp.fc2."),
        (".mlp.0.", ".mlp.fc1."),
        (".mlp.3.", ".mlp.fc2."),
    )
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith("heads."):
            for theirs, own in renames:
                name = name.replace(theirs, own)
            named[name] = tensor
    return named
