"""The models of mmaction2's zoo that avadet builds, with the numbers that its pages and metafiles give.

Left out is LFB, whose head takes rows of zeros for people (see `checkpoints.formats.unbuilt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avadet.models.zoo.entry import Entry, published
from avadet.types import ClipSpec

_OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/detection/"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _DataSet:
    """What the models of mmaction2 that were trained on one data set have in common."""

    name: str
    labels: str
    classes: str
    fps: float = 30.0
    scored_on: str = ""


_AVA21 = _DataSet("AVA v2.1", "ava_v2.1", "80 atomic actions")
_AVA22 = _DataSet("AVA v2.2", "ava_v2.2", "80 atomic actions")
_AVA_KINETICS = _DataSet("AVA-Kinetics", "ava_v2.2", "80 atomic actions", scored_on="AVA v2.2")
_MULTISPORTS = _DataSet("MultiSports", "multisports", "66 actions of sports", fps=25.0)


def _openmmlab_slowfast(
    name: str,
    config: str,
    stamp: str,
    alpha: int,
    data: _DataSet,
    frame_map: float,
    parameters: int,
    folder: str = "slowfast",
    **head: Any,
) -> Entry:
    """A SlowFast R50 of mmaction2, pretrained on Kinetics-400."""
    arguments = {
        "alpha": alpha,
        "lateral_kernel": 7 if alpha == 4 else 5,
        "lateral_norm": False,
        "slow_sampling": "nearest",
        "last_dilation": 1,
        "head": {"aligned": True, "resolution": 8, **head},
    }
    related = " that relates people to their surroundings" if "acrn" in head else ""
    what = f"SlowFast R50 of mmaction2{related}, 32 frames every 2, {32 // alpha} of them slow"
    facts = {"parameters": parameters, "gflops": 96.9 if alpha == 4 else 52.6, "frame_map": frame_map}
    return _openmmlab(
        name, f"{folder}/{config}", stamp, "slowfast", arguments, (32, 2), data, what, "Kinetics-400", **facts
    )


def _openmmlab_slow(
    name: str,
    config: str,
    stamp: str,
    frames: tuple[int, int],
    data: _DataSet,
    start: str,
    frame_map: float,
    parameters: int,
    gflops: float,
    more: str = "",
    backbone: Mapping[str, Any] | None = None,
    **head: Any,
) -> Entry:
    """A Slow R50 of mmaction2, or another by `backbone`; `frames` are how many, and every how many-th."""
    arguments = {
        "last_dilation": 1,
        **(backbone or {}),
        "head": {"aligned": True, "resolution": 8, **head},
    }
    depth = "R101" if "depths" in arguments else "R50"
    what = f"Slow {depth} of mmaction2{more}, {frames[0]} frames every {frames[1]}"
    facts = {"parameters": parameters, "gflops": gflops, "frame_map": frame_map}
    return _openmmlab(name, f"slowonly/{config}", stamp, "slow_r50", arguments, frames, data, what, start, **facts)


def _openmmlab(
    name: str,
    config: str,
    stamp: str,
    architecture: str,
    arguments: dict[str, Any],
    frames: tuple[int, int],
    data: _DataSet,
    what: str,
    start: str,
    **facts: Any,
) -> Entry:
    """A model of mmaction2; `stamp` ends its file's name, and its last digits begin the file's SHA-256."""
    if data.scored_on:
        facts["scored_on"] = data.scored_on
    return published(
        name,
        f"{_OPENMMLAB}{config}/{config.partition('/')[2]}_{stamp}.pth",
        architecture,
        arguments,
        ClipSpec(*frames, fps=data.fps, short_side=256, mean=_IMAGENET[0], std=_IMAGENET[1]),
        data.labels,
        summary=f"{what}; {data.classes}",
        data=f"{start}, {data.name}",
        project="mmaction2",
        sha256=stamp.rpartition("-")[2],
        **facts,
    )


_NONLOCAL: dict[str, Any] = {
    "nonlocal_after": [[], [0, 2], [0, 2, 4], []],
    "nonlocal_options": {"softmax": True, "pool": [1, 2, 2], "pool_projections": True},
}
_CONTEXT: dict[str, Any] = {"context": True, "context_cells": 8}

_SLOWFAST = (
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_4x16_ava21",
        "slowfast_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-5180ea3c",
        8,
        _AVA21,
        24.32,
        33_741_688,
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_4x16_context_ava21",
        "slowfast_kinetics400-pretrained-r50-context_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-5bb4f6f2",
        8,
        _AVA21,
        25.34,
        33_926_008,
        **_CONTEXT,
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_8x8_ava21",
        "slowfast_kinetics400-pretrained-r50_8xb8-8x8x1-20e_ava21-rgb",
        "20220906-39133ec7",
        4,
        _AVA21,
        25.80,
        33_827_960,
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_8x8_ava",
        "slowfast_kinetics400-pretrained-r50_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-d934a48f",
        4,
        _AVA22,
        25.90,
        33_827_960,
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_8x8_tmax_ava",
        "slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-13a9078e",
        4,
        _AVA22,
        26.41,
        33_827_960,
        time_pool="max",
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_8x8_tmax_focal_ava",
        "slowfast_r50-k400-pre-temporal-max-focal-alpha3-gamma1_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-dd59e26f",
        4,
        _AVA22,
        26.65,
        33_827_960,
        time_pool="max",
    ),
    *(
        _openmmlab_slowfast(
            name,
            f"slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_{version}-rgb",
            stamp,
            4,
            data,
            frame_map,
            92_229_752,
            folder="acrn",
            acrn={},
        )
        for name, version, stamp, data, frame_map in (
            ("mmaction2_slowfast_r50_8x8_acrn_ava21", "ava21", "20220906-0dae1a90", _AVA21, 27.65),
            ("mmaction2_slowfast_r50_8x8_acrn_ava", "ava22", "20220906-66ec24a2", _AVA22, 27.71),
        )
    ),
    _openmmlab_slowfast(
        "mmaction2_slowfast_r50_4x16_multisports",
        "slowfast_kinetics400-pretrained-r50_8xb16-4x16x1-8e_multisports-rgb",
        "20230320-af666368",
        8,
        _MULTISPORTS,
        36.88,
        33_709_418,
    ),
)

_SLOW = (
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_ava21",
        "slowonly_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-953ef5fe",
        (4, 16),
        _AVA21,
        "Kinetics-400",
        20.72,
        31_798_416,
        41.6,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_k700_ava21",
        "slowonly_kinetics700-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-b3b6d44e",
        (4, 16),
        _AVA21,
        "Kinetics-700",
        22.77,
        31_798_416,
        41.6,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_nonlocal_ava21",
        "slowonly_kinetics400-pretrained-r50-nl_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-5ae3f91b",
        (4, 16),
        _AVA21,
        "Kinetics-400",
        21.55,
        39_152_784,
        57.4,
        more=" with non-local blocks",
        backbone=_NONLOCAL,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_nonlocal_ava21",
        "slowonly_kinetics400-pretrained-r50-nl_8xb16-8x8x1-20e_ava21-rgb",
        "20220906-9760eadb",
        (8, 8),
        _AVA21,
        "Kinetics-400",
        23.77,
        39_152_784,
        125.0,
        more=" with non-local blocks",
        backbone=_NONLOCAL,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r101_8x8_ava21",
        "slowonly_kinetics400-pretrained-r101_8xb16-8x8x1-20e_ava21-rgb",
        "20220906-43f16877",
        (8, 8),
        _AVA21,
        "Kinetics-400",
        24.83,
        59_703_440,
        140.2,
        backbone={"depths": [3, 4, 23, 3]},
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_avak",
        "slowonly_k400-pre-r50_8xb8-4x16x1-10e_ava-kinetics-rgb",
        "20221205-33e3ca7c",
        (4, 16),
        _AVA_KINETICS,
        "Kinetics-400",
        24.53,
        31_798_416,
        41.6,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_k700_avak",
        "slowonly_k700-pre-r50_8xb8-4x16x1-10e_ava-kinetics-rgb",
        "20221205-a07e8c15",
        (4, 16),
        _AVA_KINETICS,
        "Kinetics-700",
        25.87,
        31_798_416,
        41.6,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_avak",
        "slowonly_k400-pre-r50_8xb8-8x8x1-10e_ava-kinetics-rgb",
        "20221205-8f8dff3b",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-400",
        26.10,
        31_798_416,
        83.1,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_k700_avak",
        "slowonly_k700-pre-r50_8xb8-8x8x1-10e_ava-kinetics-rgb",
        "20221205-16a01c37",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-700",
        27.82,
        31_798_416,
        83.1,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_context_avak",
        "slowonly_k700-pre-r50-context_8xb8-8x8x1-10e_ava-kinetics-rgb",
        "20221205-5d514f8c",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-700",
        28.31,
        31_962_256,
        83.1,
        more=" that sees the whole frame",
        **_CONTEXT,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_tmax_avak",
        "slowonly_k700-pre-r50-context-temporal-max_8xb8-8x8x1-10e_ava-kinetics-rgb",
        "20221205-5b5e71eb",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-700",
        28.48,
        31_962_256,
        83.1,
        more=" that sees the whole frame, pooled by maximum over time",
        **_CONTEXT,
        time_pool="max",
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_hidden_avak",
        "slowonly_k700-pre-r50-context-temporal-max-nl-head_8xb8-8x8x1-10e_ava-kinetics-rgb",
        "20221205-87624265",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-700",
        29.83,
        48_743_568,
        83.1,
        more=" that sees the whole frame, with a head of two layers",
        **_CONTEXT,
        time_pool="max",
        hidden=True,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_8x8_focal_avak",
        "slowonly_k700-pre-r50-context-temporal-max-nl-head_8xb8-8x8x1-focal-10e_ava-kinetics-rgb",
        "20221205-37aa8395",
        (8, 8),
        _AVA_KINETICS,
        "Kinetics-700",
        30.33,
        48_743_568,
        83.1,
        more=" that sees the whole frame, with a head of two layers and focal loss",
        **_CONTEXT,
        time_pool="max",
        hidden=True,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_16x4_avak",
        "slowonly_k700-pre-r50_8xb8-16x4x1-10e-tricks_ava-kinetics-rgb",
        "20221205-dd652f81",
        (16, 4),
        _AVA_KINETICS,
        "Kinetics-700",
        31.29,
        48_743_568,
        166.2,
        more=" that sees the whole frame, with a head of two layers and focal loss",
        **_CONTEXT,
        time_pool="max",
        hidden=True,
    ),
    _openmmlab_slow(
        "mmaction2_slow_r50_4x16_multisports",
        "slowonly_kinetics400-pretrained-r50_8xb16-4x16x1-8e_multisports-rgb",
        "20230320-a1ca5e76",
        (4, 16),
        _MULTISPORTS,
        "Kinetics-400",
        26.40,
        31_769_730,
        41.6,
    ),
)

_OF_VIDEOMAE = "CC-BY-NC-4.0, as VideoMAE's weights, from which it was trained; mmaction2 publishes it under Apache-2.0"


def _openmmlab_videomae(size: str, stamp: str, frame_map: float, parameters: int, gflops: float) -> Entry:
    """A plain ViT of mmaction2 that starts from VideoMAE's weights."""
    config = f"videomae/vit-{size}-p16_videomae-k400-pre_8xb8-16x4x1-20e-adamw_ava-kinetics-rgb"
    return _openmmlab(
        f"mmaction2_videomae_{size[0]}_avak",
        config,
        stamp,
        f"videomae_{size[0]}",
        {"head": {"aligned": True, "resolution": 8}},
        (16, 4),
        _AVA_KINETICS,
        f"ViT-{size[0].upper()} of mmaction2, pre-trained as VideoMAE, 16 frames every 4",
        "Kinetics-400",
        license=_OF_VIDEOMAE,
        parameters=parameters,
        gflops=gflops,
        frame_map=frame_map,
    )


_VIDEOMAE = (
    _openmmlab_videomae("base", "20230314-3dafab75", 33.6, 86_288_720, 253.7),
    _openmmlab_videomae("large", "20230314-bf93c9ea", 38.7, 303_942_736, 827.9),
)

MMACTION2 = (*_SLOWFAST, *_SLOW, *_VIDEOMAE)
