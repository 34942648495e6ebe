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


_AVA_HUB = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/ava/"
_HUB_FACTS = {
    "data": "Kinetics-400, then AVA v2.2",
    "license": "not stated with the weights; pytorchvideo, which publishes them, is under Apache-2.0",
}
_MEAN, _STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)

ENTRIES = (
    Entry(
        name="tiny",
        file="tiny_actions.safetensors",
        summary="bundled: 21 everyday actions of JHMDB, real time on a CPU",
    ),
    Entry(
        name="slow_r50_4x16_ava",
        file="SLOW_4x16_R50_DETECTION.pyth",
        summary="Slow R50, 4 frames every 16; the 80 atomic actions of AVA v2.2; 31.8 M parameters",
        url=f"{_AVA_HUB}SLOW_4x16_R50_DETECTION.pyth",
        card=make_card(
            name="slow_r50_4x16_ava",
            architecture="slow_r50",
            arguments={"head": {"aligned": False}},
            clip=ClipSpec(num_frames=4, stride=16, fps=30.0, short_side=256, mean=_MEAN, std=_STD),
            labels="ava_v2.2",
            parameters=31_798_416,
            **_HUB_FACTS,
        ),
    ),
    Entry(
        name="slowfast_r50_8x8_ava",
        file="SLOWFAST_8x8_R50_DETECTION.pyth",
        summary="SlowFast R50, 32 frames every 2; the 80 atomic actions of AVA v2.2; 33.8 M parameters",
        url=f"{_AVA_HUB}SLOWFAST_8x8_R50_DETECTION.pyth",
        card=make_card(
            name="slowfast_r50_8x8_ava",
            architecture="slowfast_r50",
            arguments={"head": {"aligned": False}},
            clip=ClipSpec(num_frames=32, stride=2, fps=30.0, short_side=256, mean=_MEAN, std=_STD),
            labels="ava_v2.2",
            parameters=33_828_888,
            numbers={"frame_map_published": 24.67},
            **_HUB_FACTS,
        ),
    ),
)
