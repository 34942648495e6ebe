"""MViT checkpoints of PySlowFast: what their tensors are called here, and which model fits them.

Shapes tell nearly everything. They are silent on the strides of keys and values and, without relative positions, of
queries; on residual pooling, which has no weights; and on the patch stride. Those come from the configuration stored
with the weights, and without it from what all published MViT (v1: no relative positions) and MViTv2 (v2) have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from avadet.errors import AvadetError

MVIT_MARKER = r"^blocks\.\d+\.attn\.pool_k\.weight$"
"""A regular expression that matches some name of every MViT checkpoint of PySlowFast."""

MVIT_RULES = (
    (r"^head\.projection\.", "head.proj."),
    # The same net as pytorchvideo names it.
    (r"^patch_embed\.patch_model\.", "patch_embed.proj."),
    (r"^cls_positional_encoding\.", ""),
    (r"^norm_embed\.", "norm."),
    (r"^(?=patch_embed\.|blocks\.|norm\.|cls_token$|pos_embed)", "backbone."),
    (r"\.patch_embed\.proj\.", ".patches."),
    (r"\.pos_embed$", ".positions.table"),
    (r"\.pos_embed_class$", ".positions.cls"),
    (r"\.pos_embed_(spatial|temporal)$", r".positions.\1"),
    (r"\.attn\.rel_pos_([thw])$", r".attn.positions.\1"),
    (r"\.attn\.pool_([qkv])\.", r".attn.pool_\1.conv."),
    (r"\.attn\.norm_([qkv])\.", r".attn.pool_\1.norm."),
    (r"(blocks\.\d+)\.proj\.", r"\1.widen."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
)
"""(regular expression, replacement) pairs, applied in order to every name."""

PATCH_STRIDE = [2, 4, 4]
KV_STRIDE = [1, 8, 8]
FRAME_STRIDES = {16: 4, 32: 3, 40: 3}
"""By number of frames, in the published models."""

ONLY = {
    "MODE": "conv",
    "NORM": "layernorm",
    "NORM_STEM": False,
    "PATCH_2D": False,
    "POOL_FIRST": False,
    "QKV_BIAS": True,
    "LAYER_SCALE_INIT_VALUE": 0.0,
}
"""Settings of PySlowFast's MVIT section that are the same in all published video models."""


def join_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with separate matrices of queries, keys and values joined into one, as the model here has them.

    Args:
        tensors: under the names they have here, but perhaps ...attn.q.weight, ...attn.k.weight, ...attn.v.weight.
    """
    joined: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(.*\.attn)\.[qkv]\.(weight|bias)", name)
        parts = [tensors.get(f"{found[1]}.{part}.{found[2]}") for part in "qkv"] if found else []
        whole = [part for part in parts if part is not None]
        if found and len(whole) == len("qkv"):
            joined[f"{found[1]}.qkv.{found[2]}"] = torch.cat(whole)
        else:
            joined[name] = tensor
    return joined


def mvit_arguments(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Arguments of `MViT`, without those that only training asks for.

    Args:
        tensors: under the names they have here.
        settings: the configuration stored with the weights; {} if there is none.
        source: the file, for messages.

    Raises:
        AvadetError: if this is no MViT, or one of a kind that is not built here.
    """
    said = settings.get("MVIT") or {}
    _check_settings(said, source)
    patches = tensors.get("backbone.patches.weight")
    blocks = _blocks(tensors)
    if patches is None or patches.ndim != 5 or not blocks:
        raise AvadetError(f"{source}: not an MViT over video")
    relative = "backbone.blocks.0.attn.positions.h" in tensors
    kernels = _pool_kernels(tensors)
    patch_stride = list(said.get("PATCH_STRIDE", PATCH_STRIDE))
    q_strides = _q_strides(tensors, said, blocks)
    hidden = tensors["backbone.blocks.0.mlp.0.weight"]
    return {
        "stages": _stages(blocks, q_strides, _kv_strides(said, q_strides)),
        "grid": _table_grid(tensors, settings.get("DATA") or {}, patch_stride, source),
        "patch_kernel": list(patches.shape[2:]),
        "patch_stride": patch_stride,
        # Kernels that differ are those of stride + 1, which shrink with the strides.
        "pool_kernel": kernels[0] if all(kernel == kernels[0] for kernel in kernels) else None,
        "pool_all_queries": all(f"backbone.blocks.{i}.attn.pool_q.conv.weight" in tensors for i in range(len(blocks))),
        "widen_in_attention": any(entering != channels for entering, channels, _ in blocks),
        "residual_pooling": bool(said.get("RESIDUAL_POOLING", relative)),
        "relative_positions": relative,
        "absolute_positions": _absolute_kind(tensors),
        "cls_token": "backbone.cls_token" in tensors,
        "mlp_ratio": hidden.shape[0] / hidden.shape[1],
    }


def mvit_clip(arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    """Frames, stride and short side (px) a model was trained on, as its tables of positions tell."""
    frames, rows, _ = (cells * stride for cells, stride in zip(arguments["grid"], arguments["patch_stride"]))
    return frames, FRAME_STRIDES.get(frames, 4), rows


def _check_settings(said: Mapping[str, Any], source: str) -> None:
    """Refuse what no weight would show and the model here does not do."""
    wrong = [f"{name} {said[name]}" for name, value in ONLY.items() if said.get(name, value) != value]
    if (said.get("REV") or {}).get("ENABLE"):
        wrong.append("REV.ENABLE True")
    kernel, padding = said.get("PATCH_KERNEL"), said.get("PATCH_PADDING")
    if kernel and padding and list(padding) != [size // 2 for size in kernel]:
        wrong.append(f"PATCH_PADDING {padding} for PATCH_KERNEL {kernel}")
    if wrong:
        raise AvadetError(f"{source}: an MViT of a kind that is not built here, by its settings: {', '.join(wrong)}")


def _blocks(tensors: Mapping[str, Tensor]) -> list[tuple[int, int, int]]:
    """Of each block the channels that enter it, those in attention, and the heads.

    A head is as wide as its pooling; a block without pooling, at the end of some models, as that before it.
    """
    blocks: list[tuple[int, int, int]] = []
    head_width = 0
    while (qkv := tensors.get(f"backbone.blocks.{len(blocks)}.attn.qkv.weight")) is not None:
        pool = tensors.get(f"backbone.blocks.{len(blocks)}.attn.pool_k.conv.weight")
        channels = qkv.shape[0] // 3
        head_width = head_width or channels if pool is None else pool.shape[0]
        blocks.append((qkv.shape[1], channels, channels // head_width))
    return blocks


def _pool_kernels(tensors: Mapping[str, Tensor]) -> list[list[int]]:
    """Every kernel with which queries, keys or values are pooled."""
    pools = re.compile(r"\.attn\.pool_[qkv]\.conv\.weight$")
    return [list(tensor.shape[2:]) for name, tensor in tensors.items() if pools.search(name)]


def _q_strides(
    tensors: Mapping[str, Tensor], said: Mapping[str, Any], blocks: list[tuple[int, int, int]]
) -> list[list[int]]:
    """The strides of each block's queries: listed, or by what the tables of relative positions shrink.

    Without settings and tables, queries are pooled where they have a stride only, and it is (1, 2, 2).
    """
    if "POOL_Q_STRIDE" in said:
        return _listed(said["POOL_Q_STRIDE"], len(blocks))
    steps = []
    rows_before = 0
    for number, block in enumerate(blocks):
        alike = [other for other, shape in enumerate(blocks) if shape[1:] == block[1:]]
        tables = [tensors.get(f"backbone.blocks.{other}.attn.positions.h") for other in alike]
        # The table of a stage's first block may still have the size of unpooled keys, its last has that of queries.
        rows = min(((len(table) + 1) // 2 for table in tables if table is not None), default=0)
        if rows:
            steps.append((rows_before or rows) // rows)
            rows_before = rows
        else:
            steps.append(2 if f"backbone.blocks.{number}.attn.pool_q.conv.weight" in tensors else 1)
    return [[1, step, step] for step in steps]


def _listed(rows: Sequence[Sequence[int]], depth: int) -> list[list[int]]:
    """Rows of block number and stride as a stride for each block, 1 where none is listed."""
    strides = {row[0]: [int(step) for step in row[1:]] for row in rows}
    return [strides.get(block, [1, 1, 1]) for block in range(depth)]


def _kv_strides(said: Mapping[str, Any], q_strides: list[list[int]]) -> list[list[int]]:
    """The strides of each block's keys and values: listed, or one that shrinks as the queries do."""
    if said.get("POOL_KV_STRIDE"):
        return _listed(said["POOL_KV_STRIDE"], len(q_strides))
    current = list(said.get("POOL_KV_STRIDE_ADAPTIVE") or KV_STRIDE)
    strides = []
    for q_stride in q_strides:
        current = [max(step // q_step, 1) for step, q_step in zip(current, q_stride)]
        strides.append(current)
    return strides


def _stages(
    blocks: list[tuple[int, int, int]], q_strides: list[list[int]], kv_strides: list[list[int]]
) -> list[dict[str, Any]]:
    """Runs of equal blocks as fields of `mvit.Stage`; a stride of the queries begins a new one."""
    stages: list[dict[str, Any]] = []
    for (_, channels, heads), q_stride, kv_stride in zip(blocks, q_strides, kv_strides):
        row = {"channels": channels, "heads": heads, "kv_stride": list(kv_stride)}
        if stages and math.prod(q_stride) == 1 and all(stages[-1][key] == value for key, value in row.items()):
            stages[-1]["depth"] += 1
        else:
            stages.append({"depth": 1, **row, "q_stride": list(q_stride)})
    return stages


def _absolute_kind(tensors: Mapping[str, Tensor]) -> str:
    """Of which kind absolute positions are."""
    if "backbone.positions.spatial" in tensors:
        return "separate"
    return "joint" if "backbone.positions.table" in tensors else "none"


def _table_grid(
    tensors: Mapping[str, Tensor], data: Mapping[str, Any], patch_stride: list[int], source: str
) -> list[int]:
    """The grid that tables of positions belong to: by their own sizes, where those are not enough by the settings."""
    frames = int(data.get("NUM_FRAMES", 16)) // patch_stride[0]
    side = int(data.get("TRAIN_CROP_SIZE", 224)) // patch_stride[1]
    if "backbone.blocks.0.attn.positions.h" in tensors:
        tables = (tensors[f"backbone.blocks.0.attn.positions.{axis}"] for axis in "thw")
        return [(len(table) + 1) // 2 for table in tables]
    if "backbone.positions.spatial" in tensors:
        cells = tensors["backbone.positions.spatial"].shape[1]
        frames, side = tensors["backbone.positions.temporal"].shape[1], math.isqrt(cells)
    elif "backbone.positions.table" in tensors:
        cells = (tensors["backbone.positions.table"].shape[1] - int("backbone.cls_token" in tensors)) // frames
        side = math.isqrt(cells)
    else:
        cells = side * side
    if side * side != cells:
        raise AvadetError(f"{source}: positions of {cells} places a frame, expected those of a square")
    return [frames, side, side]
