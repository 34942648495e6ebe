"""Plain video transformers that start from the weights of an image transformer.

Image models have seen far more pictures than there are labelled videos, so ViViT and TimeSformer begin with one: its
patches become tubelets, its table of positions is repeated for every frame, its blocks are taken as they are, and what
only video has begins as an identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.inflate import inflate_filters
from avadet.models.backbones.positions import Positions, resized


def start_from_image(net: nn.Module, tensors: Mapping[str, Tensor], start: str = "centre") -> list[str]:
    """Fill a plain video transformer from an image transformer.

    Args:
        net: with `Tubelets` called `patch_embed` and `Positions` called `pos_embed`.
        tensors: the image model's, under the names of `image_vit_names`; its grid of positions is square.
        start: how patches become tubelets, see `inflate_filters`: "mean" gives on a clip that stands still the tokens
            of the image; "centre" those of the middle frame (Arnab et al., "ViViT", ICCV 2021, section 3.4).

    Returns:
        names of the parameters of `net` that the image model knows nothing of.

    Raises:
        AvadetError: if a tensor is missing or of another shape.
    """
    positions = net.get_submodule("pos_embed")
    assert isinstance(positions, Positions)
    own, filled = net.state_dict(), dict(tensors)
    if "patch_embed.weight" not in filled or "pos_embed.table" not in filled:
        raise AvadetError("no image transformer: its tensors must have patch_embed.weight and pos_embed.table")
    filled["patch_embed.weight"] = inflate_filters(
        filled["patch_embed.weight"], own["patch_embed.weight"].shape[2], start
    )
    filled["pos_embed.table"] = _over_time(filled["pos_embed.table"], positions)
    if "cls_token" not in own:
        filled.pop("cls_token", None)
    for name, tensor in filled.items():
        if name not in own:
            raise AvadetError(f"the video transformer has no place for {name} of the image transformer")
        if tensor.shape != own[name].shape:
            raise AvadetError(
                f"{name} of the image transformer fits {tuple(tensor.shape)}, the video transformer has "
                f"{tuple(own[name].shape)}"
            )
    return list(net.load_state_dict(filled, strict=False).missing_keys)


def _over_time(table: Tensor, positions: Positions) -> Tensor:
    """An image's table (1, 1 + N, C) as that of a clip: resized to its rows and columns, the same for all frames."""
    side = round((table.shape[1] - 1) ** 0.5)
    cells = resized(table[:, 1:], (1, side, side), (1, *positions.grid[1:])).repeat(1, positions.grid[0], 1)
    return torch.cat([table[:, : positions.cls_tokens], cells], dim=1)


def image_vit_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a torchvision `VisionTransformer` under the names of a plain ViT here, less its classifier."""
    renames = (
        ("conv_proj.", "patch_embed."),
        ("class_token", "cls_token"),
        ("encoder.pos_embedding", "pos_embed.table"),
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
