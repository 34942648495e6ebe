"""Checkpoints of PySlowFast: its ResNets and MViT, the latter as pytorchvideo names it too.

Shapes tell nearly everything of an MViT. They are silent on the strides of keys and values and, without relative
positions, of queries; on residual pooling, which has no weights; and on the patch stride. Those come from the
configuration stored with the weights, and without it from what all published MViT (v1: no relative positions) and
MViTv2 (v2) have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from avadet.models.checkpoints.formats.detector import detector_recipe
from avadet.models.checkpoints.formats.format import CheckpointFormat, Defaults, Evidence, Recipe
from avadet.models.checkpoints.formats.resnets import infer_resnet
from avadet.models.checkpoints.formats.vit import join_qkv

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
"""Settings of the MVIT section that are the same in all published video models."""

Block = tuple[int, int, int]
"""Of a block the channels that enter it, those in attention, and the heads."""


def mvit_arguments(found: Evidence) -> dict[str, Any]:
    """Arguments of `MViT`, without those that only training asks for.

    Raises:
        AvadetError: if this is no MViT, or one of a kind that is not built here.
    """
    tensors, cfg = found.tensors, found.section("MVIT")
    _check_settings(found)
    patches, blocks = tensors.get("backbone.patch_embed.weight"), _blocks(found)
    if patches is None or patches.ndim != 5 or not blocks:
        raise found.error("not an MViT over video")
    pools = re.compile(r"\.attn\.pool_[qkv]\.conv\.weight$")
    kernels = [list(tensor.shape[2:]) for name, tensor in tensors.items() if pools.search(name)]
    relative = "backbone.blocks.0.attn.rel_pos.h" in tensors
    patch_stride = list(cfg.get("PATCH_STRIDE", PATCH_STRIDE))
    hidden = tensors["backbone.blocks.0.mlp.0.weight"]
    positions = {"spatial": "separate", "table": "joint"}
    return {
        "stages": _stages(found, blocks),
        "grid": _grid(found, patch_stride),
        "patch_kernel": list(patches.shape[2:]),
        "patch_stride": patch_stride,
        # Kernels that differ are those of stride + 1, which shrink with the strides.
        "pool_kernel": kernels[0] if all(kernel == kernels[0] for kernel in kernels) else None,
        "pool_all_queries": len(found.numbered("backbone.blocks.{}.attn.pool_q.conv.weight")) == len(blocks),
        "widen_in_attention": any(entering != channels for entering, channels, _ in blocks),
        "residual_pooling": bool(cfg.get("RESIDUAL_POOLING", relative)),
        "relative_positions": relative,
        "absolute_positions": next(
            (positions[one] for one in positions if f"backbone.pos_embed.{one}" in tensors), "none"
        ),
        "cls_token": "backbone.cls_token" in tensors,
        "mlp_ratio": hidden.shape[0] / hidden.shape[1],
    }


def mvit_clip(arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    """Frames, stride and short side (px) a model was trained on, as its tables of positions tell."""
    frames, rows, _ = (cells * stride for cells, stride in zip(arguments["grid"], arguments["patch_stride"]))
    return frames, FRAME_STRIDES.get(frames, 4), rows


def _infer_mvit(found: Evidence) -> Recipe:
    arguments = mvit_arguments(found)
    return detector_recipe(found, "mvit", arguments, arguments["stages"][-1]["embed_dim"], mvit_clip(arguments))


def _check_settings(found: Evidence) -> None:
    """Refuse what no weight would show and the model here does not do."""
    cfg = found.section("MVIT")
    wrong = [f"{name} {cfg[name]}" for name, value in ONLY.items() if cfg.get(name, value) != value]
    if (cfg.get("REV") or {}).get("ENABLE"):
        wrong.append("REV.ENABLE True")
    kernel, padding = cfg.get("PATCH_KERNEL"), cfg.get("PATCH_PADDING")
    if kernel and padding and list(padding) != [size // 2 for size in kernel]:
        wrong.append(f"PATCH_PADDING {padding} for PATCH_KERNEL {kernel}")
    if wrong:
        raise found.error(f"an MViT of a kind that is not built here, by its settings: {', '.join(wrong)}")


def _blocks(found: Evidence) -> list[Block]:
    """All blocks; a head is as wide as its pooling, in a block without pooling, at the end, as in that before it."""
    blocks: list[Block] = []
    head_width = 0
    for number, qkv in enumerate(found.numbered("backbone.blocks.{}.attn.qkv.weight")):
        pool = found.tensors.get(f"backbone.blocks.{number}.attn.pool_k.conv.weight")
        channels = qkv.shape[0] // 3
        head_width = head_width or channels if pool is None else pool.shape[0]
        blocks.append((qkv.shape[1], channels, channels // head_width))
    return blocks


def _stages(found: Evidence, blocks: list[Block]) -> list[dict[str, Any]]:
    """Runs of equal blocks as fields of `mvit.Stage`; a stride of the queries begins a new one."""
    q_strides = _q_strides(found, blocks)
    stages: list[dict[str, Any]] = []
    for (_, channels, heads), q_stride, kv_stride in zip(blocks, q_strides, _kv_strides(found, q_strides)):
        row = {"embed_dim": channels, "heads": heads, "kv_stride": list(kv_stride)}
        if stages and math.prod(q_stride) == 1 and all(stages[-1][key] == value for key, value in row.items()):
            stages[-1]["depth"] += 1
        else:
            stages.append({"depth": 1, **row, "q_stride": list(q_stride)})
    return stages


def _q_strides(found: Evidence, blocks: list[Block]) -> list[list[int]]:
    """The strides of each block's queries: listed, or by what the tables of relative positions shrink.

    Without settings and tables, queries are pooled where they have a stride only, and it is (1, 2, 2).
    """
    cfg = found.section("MVIT")
    if "POOL_Q_STRIDE" in cfg:
        return _listed(cfg["POOL_Q_STRIDE"], len(blocks))
    steps = []
    rows_before = 0
    for number, block in enumerate(blocks):
        alike = [other for other, shape in enumerate(blocks) if shape[1:] == block[1:]]
        tables = [found.tensors.get(f"backbone.blocks.{other}.attn.rel_pos.h") for other in alike]
        # The table of a stage's first block may still have the size of unpooled keys, its last has that of queries.
        rows = min(((len(table) + 1) // 2 for table in tables if table is not None), default=0)
        if rows:
            steps.append((rows_before or rows) // rows)
            rows_before = rows
        else:
            steps.append(2 if f"backbone.blocks.{number}.attn.pool_q.conv.weight" in found.tensors else 1)
    return [[1, step, step] for step in steps]


def _kv_strides(found: Evidence, q_strides: list[list[int]]) -> list[list[int]]:
    """The strides of each block's keys and values: listed, or one that shrinks as the queries do."""
    cfg = found.section("MVIT")
    if cfg.get("POOL_KV_STRIDE"):
        return _listed(cfg["POOL_KV_STRIDE"], len(q_strides))
    current = list(cfg.get("POOL_KV_STRIDE_ADAPTIVE") or KV_STRIDE)
    strides = []
    for q_stride in q_strides:
        current = [max(step // q_step, 1) for step, q_step in zip(current, q_stride)]
        strides.append(current)
    return strides


def _listed(rows: Sequence[Sequence[int]], depth: int) -> list[list[int]]:
    """Rows of block number and stride as a stride for each block, 1 where none is listed."""
    strides = {row[0]: [int(step) for step in row[1:]] for row in rows}
    return [strides.get(block, [1, 1, 1]) for block in range(depth)]


def _grid(found: Evidence, patch_stride: list[int]) -> list[int]:
    """The grid that tables of positions belong to: by their own sizes, where those are not enough by the settings."""
    tensors, data = found.tensors, found.section("DATA")
    if "backbone.blocks.0.attn.rel_pos.h" in tensors:
        return [(len(tensors[f"backbone.blocks.0.attn.rel_pos.{axis}"]) + 1) // 2 for axis in "thw"]
    frames = int(data.get("NUM_FRAMES", 16)) // patch_stride[0]
    side = int(data.get("TRAIN_CROP_SIZE", 224)) // patch_stride[1]
    cells = side * side
    if "backbone.pos_embed.spatial" in tensors:
        frames, cells = (tensors[f"backbone.pos_embed.{kind}"].shape[1] for kind in ("temporal", "spatial"))
    elif "backbone.pos_embed.table" in tensors:
        cells = (tensors["backbone.pos_embed.table"].shape[1] - int("backbone.cls_token" in tensors)) // frames
    side = math.isqrt(cells)
    if side * side != cells:
        raise found.error(f"positions of {cells} places a frame, expected those of a square")
    return [frames, side, side]


PYSLOWFAST = CheckpointFormat(
    "pyslowfast",
    r"^s1\.pathway0_stem\.conv\.weight$",
    (
        (r"^head\.projection\.", "head.proj."),
        (r"^s1_fuse\.", "backbone.lateral.stem."),
        (r"^s([2-4])_fuse\.", r"backbone.lateral.res\1."),
        (r"\.conv_f2s\.", ".conv."),
        (r"^s1\.pathway0_stem\.", "backbone.slow.stem."),
        (r"^s1\.pathway1_stem\.", "backbone.fast.stem."),
        (r"^s([2-5])\.pathway0_(?:res)?(\w+)\.", r"backbone.slow.res\1.\2."),
        (r"^s([2-5])\.pathway1_(?:res)?(\w+)\.", r"backbone.fast.res\1.\2."),
        (r"(stem|lateral\.\w+|nonlocal\d+)\.bn\.", r"\1.norm."),
        (r"\.branch1\.(?=weight)", ".branch1_conv."),
        (r"\.branch1_bn\.", ".branch1_norm."),
        (r"\.branch2\.([abc])\.", r".branch2.conv_\1."),
        (r"\.branch2\.([abc])_bn\.", r".branch2.norm_\1."),
    ),
    defaults=Defaults(aligned=True),
    infer=infer_resnet,
)

MVIT = CheckpointFormat(
    "pyslowfast mvit",
    r"^blocks\.\d+\.attn\.pool_k\.weight$",
    (
        (r"^head\.projection\.", "head.proj."),
        # The same net as pytorchvideo names it.
        (r"^patch_embed\.patch_model\.", "patch_embed.proj."),
        (r"^cls_positional_encoding\.", ""),
        (r"^norm_embed\.", "norm."),
        (r"^(?=patch_embed\.|blocks\.|norm\.|cls_token$|pos_embed)", "backbone."),
        (r"\.patch_embed\.proj\.", ".patch_embed."),
        (r"\.pos_embed$", ".pos_embed.table"),
        (r"\.pos_embed_class$", ".pos_embed.cls"),
        (r"\.pos_embed_(spatial|temporal)$", r".pos_embed.\1"),
        (r"\.attn\.rel_pos_([thw])$", r".attn.rel_pos.\1"),
        (r"\.attn\.pool_([qkv])\.", r".attn.pool_\1.conv."),
        (r"\.attn\.norm_([qkv])\.", r".attn.pool_\1.norm."),
        (r"\.mlp\.fc1\.", ".mlp.0."),
        (r"\.mlp\.fc2\.", ".mlp.3."),
    ),
    defaults=Defaults(aligned=True),
    finish=join_qkv,
    infer=_infer_mvit,
)

FORMATS = (PYSLOWFAST, MVIT)
