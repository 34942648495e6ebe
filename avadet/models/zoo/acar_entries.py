"""ACAR-Net's models as its authors publish them; see `checkpoints.formats.acar`.

Numbers are those of the authors' model zoo, as measured when the paper was written. The files lie behind pages that
want a browser.
"""

from __future__ import annotations

from typing import Any

from avadet.models.cards import make_card
from avadet.models.zoo.entry import Entry, scored, unstated_license
from avadet.types import ClipSpec

ACAR_MEAN = (110.63666788 / 255, 103.16065604 / 255, 96.29023126 / 255)
ACAR_STD = (38.7568578 / 255, 37.88248729 / 255, 40.02898126 / 255)
"""Of the models that start from the authors' own backbone; those that start from PySlowFast's have the latter's."""

_GREY = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_R50: dict[str, Any] = {"lateral_kernel": 7}
_R101: dict[str, Any] = {
    "depths": [3, 4, 23, 3],
    "lateral_kernel": 5,
    "lateral_norm": False,
    "slow_sampling": "nearest",
}


def _acar(
    name: str, file: str, page: str, backbone: dict[str, Any], relation: dict[str, Any], data: str, **facts: Any
) -> Entry:
    mean, std = _GREY if backbone is _R50 else (ACAR_MEAN, ACAR_STD)
    head = {"aligned": False, "stretch": True, "map_width": 1024, "own_width": 512}
    arguments = {**backbone, "head": {**head, "acar": {"width": 512, "pad": False, **relation}}}
    card = make_card(
        name,
        "slowfast",
        arguments,
        ClipSpec(32, 2, fps=30.0, short_side=256, mean=mean, std=std),
        "ava_v2.2",
        classes="evaluated",
        scores="pose_softmax",
        data=data,
        license=unstated_license("ACAR-Net", "Apache-2.0"),
        parameters=facts["parameters"],
        gflops=facts["gflops"],
        numbers=scored(facts["frame_map"], data.rpartition(", ")[2]),
    )
    depth = "R50" if backbone is _R50 else "R101"
    summary = f"SlowFast {depth} with actor-context relations (ACAR-Net); the 60 evaluated actions of AVA"
    return Entry(name, file, summary, f"https://drive.google.com/file/d/{page}/view", card=card, is_page=True)


ACAR_NET = (
    _acar(
        "acar_slowfast_r50_ava",
        "AVA_SLOWFAST_R50_ACAR_HR2O.pth.tar",
        "12vGZoWElxB-Lhn_sGz1aRMqAacexgKtm",
        _R50,
        {"depth": 2, "out_kernel": 3},
        "Kinetics-400, AVA v2.2",
        parameters=59_530_756,
        gflops=96.9,
        frame_map=27.83,
    ),
    *(
        _acar(
            name,
            f"{prefix}_SLOWFAST_R101_ACAR_HR2O_DEPTH1.pth.tar",
            page,
            _R101,
            {"depth": 1, "out_kernel": 1},
            f"Kinetics-700, {data}",
            parameters=76_254_948,
            gflops=157.1,
            frame_map=frame_map,
        )
        for name, prefix, page, data, frame_map in (
            ("acar_slowfast_r101_ava", "AVA", "1d9UdvwS0HR-h84j_z4JbRWwEbITSt_FN", "AVA v2.2", 31.69),
            ("acar_slowfast_r101_avak", "AVA-Kinetics", "1c-6o-s5ix2dD1rN2m51FPtfKv8fTPy8m", "AVA-Kinetics", 33.74),
        )
    ),
)
