"""The action models avadet knows by name: where their weights are published, and what is known of them.

`numbers.frame_map` is the published frame-mAP@0.5, percent, on `numbers.data_set` by `numbers.protocol`. `gflops` are
multiply-adds of one clip of 256 x 256 px with one box, in thousands of millions, as the field counts them.
"""

from __future__ import annotations

from typing import Any

from avadet.models.zoo.acar_entries import ACAR_NET
from avadet.models.zoo.entry import Entry, published
from avadet.models.zoo.mmaction2_entries import MMACTION2
from avadet.models.zoo.start_entries import STARTS
from avadet.types import ClipSpec

__all__ = ["ENTRIES", "Entry"]

_FAIR = "https://dl.fbaipublicfiles.com/"
_GREY = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)

_EARLY = [3] * 6 + [1] * 17
_R101: dict[str, Any] = {
    "depths": [3, 4, 23, 3],
    "lateral_kernel": 5,
    "slow_kernels": [[1], [1], _EARLY, [3]],
    "fast_kernels": [[3], [3], _EARLY, [3]],
    "nonlocal_after": [[], [], [6, 13, 20], []],
    "nonlocal_options": {"softmax": False, "pool": [2, 2, 2]},
    "head": {"aligned": False},
}
"""SlowFast R101 "50 50": of res4's 23 blocks as many are temporal as R50 has; three have a non-local block behind."""


def _clip(num_frames: int, stride: int) -> ClipSpec:
    """What models of PySlowFast and pytorchvideo were tested with."""
    return ClipSpec(num_frames, stride, fps=30.0, short_side=256, mean=_GREY[0], std=_GREY[1], boxes="pyslowfast")


_TINY = Entry(
    name="tiny", file="tiny.safetensors", summary="bundled: 41 of AVA's actions in ordinary life, real time on a CPU"
)
_TINY_JHMDB = Entry(
    name="tiny_jhmdb", file="tiny_jhmdb.safetensors", summary="bundled: the 21 exclusive actions of JHMDB-21"
)

_HUB = (
    published(
        "slow_r50_4x16_ava",
        f"{_FAIR}pytorchvideo/model_zoo/ava/SLOW_4x16_R50_DETECTION.pyth",
        "slow_r50",
        {"head": {"aligned": False}},
        _clip(4, 16),
        "ava_v2.2",
        summary="Slow R50, 4 frames every 16; the 80 atomic actions of AVA v2.2; 31.8 M parameters",
        data="Kinetics-400, AVA v2.2",
        project="pytorchvideo",
        parameters=31_798_416,
        gflops=41.6,
        frame_map=19.5,
    ),
    published(
        "slowfast_r50_8x8_ava",
        f"{_FAIR}pytorchvideo/model_zoo/ava/SLOWFAST_8x8_R50_DETECTION.pyth",
        "slowfast_r50",
        {"head": {"aligned": False}},
        _clip(32, 2),
        "ava_v2.2",
        summary="SlowFast R50, 32 frames every 2; the 80 atomic actions of AVA v2.2; 33.8 M parameters",
        data="Kinetics-400, AVA v2.2",
        project="pytorchvideo",
        parameters=33_828_888,
        gflops=96.9,
        frame_map=24.67,
    ),
)

_PYSLOWFAST = (
    published(
        "pyslowfast_slow_r50_4x16_ava",
        f"{_FAIR}pyslowfast/model_zoo/ava/C2D_8x8_R50.pkl",  # its name is wrong
        "slow_r50",
        {"head": {"aligned": False}},
        _clip(4, 16),
        "ava_v2.2",
        summary="Slow R50 of PySlowFast, 4 frames every 16; 80 atomic actions",
        data="Kinetics-400, AVA v2.2",
        project="PySlowFast",
        parameters=31_798_416,
        gflops=41.6,
        frame_map=19.5,
    ),
    *(
        published(
            name,
            f"{_FAIR}pyslowfast/model_zoo/ava/{file}",
            "slowfast",
            _R101,
            _clip(num_frames, 2),
            labels,
            summary=f"SlowFast R101 with non-local blocks, {num_frames} frames every 2; 80 atomic actions",
            data=f"Kinetics-600, AVA {labels.removeprefix('ava_')}",
            project="PySlowFast",
            parameters=59_342_488,
            gflops=gflops,
            frame_map=frame_map,
        )
        for name, file, num_frames, labels, gflops, frame_map in (
            ("slowfast_r101_8x8_ava21", "SLOWFAST_32x2_R101_50_50_v2.1.pkl", 32, "ava_v2.1", 146.6, 28.2),
            ("slowfast_r101_8x8_ava", "SLOWFAST_32x2_R101_50_50.pkl", 32, "ava_v2.2", 146.6, 29.1),
            ("slowfast_r101_16x8_ava", "SLOWFAST_64x2_R101_50_50.pkl", 64, "ava_v2.2", 296.3, 29.4),
        )
    ),
)

ENTRIES = (_TINY, _TINY_JHMDB, *_HUB, *_PYSLOWFAST, *MMACTION2, *ACAR_NET, *STARTS)
"""Every model, the bundled one first, those that only start a training last. Published numbers: model zoos of
pytorchvideo, PySlowFast, mmaction2 and ACAR-Net."""
