"""Every architecture behind `avadet.models.SIZES` twice: small enough to train on a CPU, and as published.

The small ones have the parts of the large ones and far fewer of them: one or two blocks a stage, narrow. Transformers
see patches of 8 px instead of 16, for pictures of 80x112 px would have 35 of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avadet.models.backbones.mvit_stages import pyramid

FRAMES = 8
SIZE_HW = (80, 112)


@dataclass(frozen=True)
class Member:
    """An architecture on trial.

    Attributes:
        name: in the table.
        kind: of architecture, "frames", "3-D CNN", "two speeds" or "transformer".
        small: builder and arguments of what is trained.
        full: builder, arguments and clip (frames, height, width) of what it stands for.
        tiny: whether it is one of avadet's own tiny nets, whose head is part of the builder.
    """

    name: str
    kind: str
    small: tuple[str, Mapping[str, Any]]
    full: tuple[str, Mapping[str, Any], tuple[int, int, int]]
    tiny: bool = field(default=False)


THIN: dict[str, Any] = {"width": 8, "depths": (1, 1, 1, 1)}
PICTURE: dict[str, Any] = {"depths": (1, 1, 1, 1), "width_per_group": 4}
PAIR: dict[str, Any] = {**PICTURE, "frames": 2}
GRID = (FRAMES // 2, SIZE_HW[0] // 8, SIZE_HW[1] // 8)
PLAIN: dict[str, Any] = {"embed_dim": 64, "depth": 4, "heads": 4, "tubelet": (2, 8, 8), "grid": GRID}
DIVIDED = {"embed_dim": 64, "depth": 2, "heads": 4, "patch": 8, "grid": (FRAMES, *GRID[1:])}
MULTISCALE: dict[str, Any] = {
    "stages": pyramid((1, 1, 2, 1), width=16, last_stride=2),
    "grid": (FRAMES // 2, SIZE_HW[0] // 4, SIZE_HW[1] // 4),
}
WINDOWS = {"embed_dim": 24, "depths": (2, 2, 2), "heads": (1, 2, 4), "window": (4, 5, 7)}
MULTIVIEW = {
    "views": [
        {"frames": frames, "embed_dim": 16 * heads, "heads": heads} for frames, heads in ((8, 1), (4, 2), (2, 4))
    ],
    "patch": 8,
    "depth": 2,
    "fuse_at": (0, 1),
    "global_depth": 1,
    "global_heads": 4,
    "global_hidden": 192,
    "grid": GRID,
}
UNITS = {"embed_dim": 24, "depths": (1, 1, 2, 1), "grid": MULTISCALE["grid"]}
ROTARY = {"embed_dim": 64, "depth": 4, "heads": 4, "tubelet": (2, 8, 8)}
NO_DROP = {"drop_path": 0.0}
WINDOWED = {"windows": {"conv1": (2, 2), "layer1": (2, 2), "layer2": (2, 2)}}
NONLOCAL = {"nonlocal_after": ((), (1,), (1,), ()), "depths": (1, 2, 2, 1)}
NONLOCAL_50 = {
    "temporal_kernels": ((3,), (3, 1), (3, 1), (1, 3)),
    "stem_kernel": 5,
    "temporal_pool": 2,
    "nonlocal_after": ((), (1, 3), (1, 3, 5), ()),
}

MEMBERS = (
    Member("single_frame", "frames", ("single_frame_r50", PICTURE), ("single_frame_r50", {}, (1, 224, 224))),
    Member(
        "early_fusion",
        "frames",
        ("early_fusion_r50", {**PICTURE, "num_frames": FRAMES}),
        ("early_fusion_r50", {}, (10, 224, 224)),
    ),
    Member("late_fusion", "frames", ("late_fusion_r50", PICTURE), ("late_fusion_r50", {}, (16, 224, 224))),
    Member(
        "slow_fusion", "frames", ("slow_fusion_r50", {**PICTURE, **WINDOWED}), ("slow_fusion_r50", {}, (10, 224, 224))
    ),
    Member("tsn", "frames", ("tsn_r50", {**PICTURE, "segments": 2}), ("tsn_r50", {}, (3, 224, 224))),
    Member("conv_pooling", "frames", ("conv_pooling_r50", PAIR), ("conv_pooling_r50", {}, (16, 224, 224))),
    Member(
        "box_lstm",
        "frames",
        ("box_lstm_r50", {**PAIR, "head": {"units": 64, "norm_input": True}}),
        ("box_lstm_r50", {}, (16, 224, 224)),
    ),
    Member("cell_lstm", "frames", ("cell_lstm_r50", {**PAIR, "units": 64}), ("cell_lstm_r50", {}, (16, 224, 224))),
    Member(
        "two_streams", "frames", ("two_streams_r50", {**PICTURE, "fields": 5}), ("two_streams_r50", {}, (11, 224, 224))
    ),
    Member("tiny_actions", "frames", ("tiny_actions", {}), ("tiny_actions", {}, (8, 112, 144)), tiny=True),
    Member(
        "tiny_two_views",
        "frames",
        ("tiny_two_views", {"crop_hw": [80, 80]}),
        ("tiny_two_views", {"num_frames": 12}, (12, 192, 256)),
        tiny=True,
    ),
    Member("c2d", "3-D CNN", ("c2d_r50", THIN), ("c2d_r50", {}, (8, 256, 256))),
    Member("i3d", "3-D CNN", ("i3d_r50", THIN), ("i3d_r50", {}, (8, 256, 256))),
    Member("nonlocal", "3-D CNN", ("resnet3d", {**THIN, **NONLOCAL}), ("resnet3d", NONLOCAL_50, (8, 256, 256))),
    Member("c3d", "3-D CNN", ("c3d", {"width": 8}), ("c3d", {}, (16, 112, 112))),
    Member("r3d", "3-D CNN", ("r3d_18", THIN), ("r3d_18", {}, (16, 112, 112))),
    Member("mc3", "3-D CNN", ("mc3_18", THIN), ("mc3_18", {}, (16, 112, 112))),
    Member("r2plus1d", "3-D CNN", ("r2plus1d_18", THIN), ("r2plus1d_18", {}, (16, 112, 112))),
    Member("r2plus1d_r50", "3-D CNN", ("r2plus1d_r50", THIN), ("r2plus1d_r50", {}, (16, 256, 256))),
    Member(
        "i3d_inception",
        "3-D CNN",
        ("i3d_inception", {"width": 0.2, "depths": (2, 5, 0)}),
        ("i3d_inception", {}, (64, 224, 224)),
    ),
    Member(
        "s3d",
        "3-D CNN",
        ("s3d", {"width": 0.2, "depths": (2, 5, 0), "momentum": 0.1}),
        ("s3d", {}, (64, 224, 224)),
    ),
    Member("ir_csn", "3-D CNN", ("ir_csn_50", THIN), ("ir_csn_50", {}, (32, 224, 224))),
    Member("ip_csn", "3-D CNN", ("ip_csn_152", THIN), ("ip_csn_152", {}, (32, 224, 224))),
    Member(
        "x3d", "3-D CNN", ("x3d", {"width": 8, "width_factor": 1.0, "depth_factor": 0.6}), ("x3d_m", {}, (16, 224, 224))
    ),
    Member("slow", "two speeds", ("slow_r50", THIN), ("slow_r50", {}, (4, 256, 256))),
    Member("slowfast", "two speeds", ("slowfast_r50", {**THIN, "fast_width": 2}), ("slowfast_r50", {}, (32, 256, 256))),
    Member(
        "mvit_v1", "transformer", ("mvitv1_b_16x4", {**MULTISCALE, **NO_DROP}), ("mvitv1_b_16x4", {}, (16, 224, 224))
    ),
    Member(
        "mvit_v2", "transformer", ("mvitv2_s_16x4", {**MULTISCALE, **NO_DROP}), ("mvitv2_s_16x4", {}, (16, 224, 224))
    ),
    Member("swin3d", "transformer", ("swin3d_t", {**WINDOWS, **NO_DROP}), ("swin3d_t", {}, (32, 224, 224))),
    Member("vivit", "transformer", ("vivit_b_16x2", PLAIN), ("vivit_b_16x2", {}, (32, 224, 224))),
    Member(
        "vivit_encoder",
        "transformer",
        ("vivit_b_16x2_factorised_encoder", {**PLAIN, "temporal_depth": 2}),
        ("vivit_b_16x2_factorised_encoder", {}, (32, 224, 224)),
    ),
    Member(
        "vivit_attention",
        "transformer",
        ("vivit_b_16x2_factorised_attention", PLAIN),
        ("vivit_b_16x2_factorised_attention", {}, (32, 224, 224)),
    ),
    Member(
        "vivit_dot_product",
        "transformer",
        ("vivit_b_16x2_factorised_dot_product", PLAIN),
        ("vivit_b_16x2_factorised_dot_product", {}, (32, 224, 224)),
    ),
    Member("timesformer", "transformer", ("timesformer_b", DIVIDED), ("timesformer_b", {}, (8, 224, 224))),
    Member("videomae", "transformer", ("videomae_b", {**PLAIN, **NO_DROP}), ("videomae_b", {}, (16, 224, 224))),
    Member(
        "token_learner",
        "transformer",
        ("token_learner_vit_b", {**PLAIN, "learn_after": 2}),
        ("token_learner_vit_b", {}, (16, 224, 224)),
    ),
    Member("hiera", "transformer", ("hiera_b", {**UNITS, **NO_DROP}), ("hiera_b", {}, (16, 224, 224))),
    Member("vjepa2", "transformer", ("vjepa2_l", ROTARY), ("vjepa2_l", {}, (16, 256, 256))),
    Member("mtv", "transformer", ("mtv_b", {**MULTIVIEW, **NO_DROP}), ("mtv_b", {}, (32, 224, 224))),
)
"""One of each architecture: sizes of one architecture differ in numbers only."""
