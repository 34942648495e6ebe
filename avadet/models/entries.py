"""The action models avadet knows by name: where their weights are published, and what is known of them.

`numbers.frame_map` is the published frame-mAP@0.5, percent, `numbers.protocol` what it was measured with. `gflops` are
multiply-adds of one clip of 256 x 256 px with one box, in thousands of millions, as the field counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avadet.models.cards import make_card
from avadet.models.download import cache_folder
from avadet.types import ClipSpec


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: what users write.
        file: name of its file of weights.
        summary: one line: what it is, and trained on what.
        url: where the file is published; "" for a model inside the package.
        sha256: first digits of the file's hash, where the publisher gives them.
        card: its card; {} for a model inside the package, whose card lies beside its weights.
    """

    name: str
    file: str
    summary: str
    url: str = ""
    sha256: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with the package."""
        return not self.url

    @property
    def path(self) -> Path:
        """Where its weights lie, or would lie once downloaded."""
        folder = Path(__file__).parent / "bundled" if self.is_bundled else cache_folder()
        return folder / self.file

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.path.is_file()


_FAIR = "https://dl.fbaipublicfiles.com/"
_OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/detection/slowfast/"
_WHOLE_FRAME = "whole frames, short side 256, found people"
_KINETICS = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

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


def _published(
    name: str, url: str, architecture: str, arguments: dict[str, Any], clip: ClipSpec, labels: str, **facts: Any
) -> Entry:
    """A model that some project publishes; `facts`: summary, data, project, parameters, gflops, frame_map, sha256."""
    license_note = f"not stated with the weights; {facts['project']}, which publishes them, is under Apache-2.0"
    numbers = {"frame_map": facts["frame_map"], "protocol": _WHOLE_FRAME} if "frame_map" in facts else {}
    card = make_card(
        name,
        architecture,
        arguments,
        clip,
        labels,
        data=facts["data"],
        license=license_note,
        parameters=facts["parameters"],
        gflops=facts["gflops"],
        numbers=numbers,
    )
    return Entry(name, url.rpartition("/")[2], facts["summary"], url, facts.get("sha256", ""), card)


def _clip(num_frames: int, stride: int, colours: tuple[tuple[float, float, float], ...] = _KINETICS) -> ClipSpec:
    return ClipSpec(num_frames, stride, fps=30.0, short_side=256, mean=colours[0], std=colours[1])


def _openmmlab(name: str, config: str, stamp: str, alpha: int, labels: str, frame_map: float, **head: Any) -> Entry:
    """A SlowFast R50 of mmaction2; the digits that end its file's name begin the file's SHA-256."""
    arguments = {
        "alpha": alpha,
        "lateral_kernel": 7 if alpha == 4 else 5,
        "lateral_norm": False,
        "slow_sampling": "nearest",
        "last_dilation": 1,
        "head": {"aligned": True, "resolution": 8, **head},
    }
    return _published(
        name,
        f"{_OPENMMLAB}{config}/{config}_{stamp}.pth",
        "slowfast",
        arguments,
        _clip(32, 2, _IMAGENET),
        labels,
        summary=f"SlowFast R50 of mmaction2, 32 frames every 2, {32 // alpha} of them slow; 80 atomic actions",
        data=f"Kinetics-400, AVA {labels.removeprefix('ava_')}",
        project="mmaction2",
        parameters=33_827_960 if alpha == 4 else 33_741_688,
        gflops=96.9 if alpha == 4 else 52.6,
        frame_map=frame_map,
        sha256=stamp.rpartition("-")[2],
    )


_TINY = Entry(
    name="tiny", file="tiny_actions.safetensors", summary="bundled: 21 everyday actions of JHMDB, real time on a CPU"
)

_HUB = (
    _published(
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
    ),
    _published(
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
    _published(
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
        _published(
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

_MMACTION2 = (
    _openmmlab(
        "mmaction2_slowfast_r50_4x16_ava21",
        "slowfast_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb",
        "20220906-5180ea3c",
        8,
        "ava_v2.1",
        24.32,
    ),
    _openmmlab(
        "mmaction2_slowfast_r50_8x8_ava21",
        "slowfast_kinetics400-pretrained-r50_8xb8-8x8x1-20e_ava21-rgb",
        "20220906-39133ec7",
        4,
        "ava_v2.1",
        25.80,
    ),
    _openmmlab(
        "mmaction2_slowfast_r50_8x8_ava",
        "slowfast_kinetics400-pretrained-r50_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-d934a48f",
        4,
        "ava_v2.2",
        25.90,
    ),
    _openmmlab(
        "mmaction2_slowfast_r50_8x8_tmax_ava",
        "slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-13a9078e",
        4,
        "ava_v2.2",
        26.41,
        time_pool="max",
    ),
    _openmmlab(
        "mmaction2_slowfast_r50_8x8_tmax_focal_ava",
        "slowfast_r50-k400-pre-temporal-max-focal-alpha3-gamma1_8xb6-8x8x1-cosine-10e_ava22-rgb",
        "20220906-dd59e26f",
        4,
        "ava_v2.2",
        26.65,
        time_pool="max",
    ),
)

ENTRIES = (_TINY, *_HUB, *_PYSLOWFAST, *_MMACTION2)
"""Every model, the bundled one first. Published numbers: model zoos of pytorchvideo, PySlowFast and mmaction2."""
