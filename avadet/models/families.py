"""Every backbone that can be built, by family: one line a family, one size after the other.

A family is a module of `avadet.models`, a size one of its builders, `name(num_classes, *, mean=, std=, **arguments)`.
Nothing is imported here but plain values: `avadet models` lists families without loading torch.
"""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """The clips that a published size was made for.

    Attributes:
        frames: of a clip.
        stride: every how many-th frame of 30 a second they are.
        side_px: rows and columns; the number of multiply-adds belongs to it. Most take other sizes too.
    """

    frames: int
    stride: int
    side_px: int


ANY = None
"""In the place of a size: a builder of any size, which its arguments tell."""

FAMILIES: dict[str, dict[str, Size | None]] = {
    "detectors.tiny_actions": {"tiny_actions": Size(8, 2, 192)},
    "detectors.person_crops": {"person_crops": Size(8, 4, 224)},
    "detectors.two_views": {"tiny_two_views": Size(8, 2, 192)},
    "backbones.slow": {
        "slow_r50": Size(4, 16, 256),
        "c2d_r50": Size(8, 8, 256),
        "i3d_r50": Size(8, 8, 256),
        "resnet3d": ANY,
    },
    "backbones.slowfast": {"slowfast_r50": Size(32, 2, 256), "slowfast": ANY},
    "backbones.frames": {
        "single_frame_r50": Size(1, 1, 224),
        "early_fusion_r50": Size(10, 1, 224),
        "late_fusion_r50": Size(16, 1, 224),
        "slow_fusion_r50": Size(10, 1, 224),
        "tsn_r50": Size(3, 20, 224),
        "conv_pooling_r50": Size(30, 30, 224),
        "box_lstm_r50": Size(30, 30, 224),
        "cell_lstm_r50": Size(30, 30, 224),
        "frame_resnet": ANY,
    },
    "detectors.two_streams": {"two_streams_r50": Size(11, 1, 224)},
    "backbones.c3d": {"c3d": Size(16, 1, 112)},
    "backbones.r3d": {
        "r3d_18": Size(16, 2, 112),
        "mc3_18": Size(16, 2, 112),
        "r2plus1d_18": Size(16, 2, 112),
        "r2plus1d_34": Size(32, 1, 112),
        "video_resnet": ANY,
    },
    "backbones.r2plus1d": {"r2plus1d_r50": Size(16, 4, 224)},
    "backbones.csn": {
        "ir_csn_50": Size(32, 2, 224),
        "ir_csn_101": Size(32, 2, 224),
        "ir_csn_152": Size(32, 2, 224),
        "ip_csn_152": Size(32, 2, 224),
        "csn": ANY,
    },
    "backbones.inception": {"i3d_inception": Size(64, 1, 224), "s3d": Size(64, 1, 224)},
    "backbones.x3d": {
        "x3d_xs": Size(4, 12, 160),
        "x3d_s": Size(13, 6, 160),
        "x3d_m": Size(16, 5, 224),
        "x3d_l": Size(16, 5, 312),
        "x3d_xl": Size(16, 5, 312),
        "x3d": ANY,
    },
    "backbones.mvit": {
        "mvitv1_b_16x4": Size(16, 4, 224),
        "mvitv1_b_32x3": Size(32, 3, 224),
        "mvitv2_s_16x4": Size(16, 4, 224),
        "mvitv2_b_32x3": Size(32, 3, 224),
        "mvit": ANY,
    },
    "backbones.swin3d": {
        "swin3d_t": Size(32, 2, 224),
        "swin3d_s": Size(32, 2, 224),
        "swin3d_b": Size(32, 2, 224),
        "swin3d": ANY,
    },
    "backbones.vivit": {
        "vivit_b_16x2": Size(32, 2, 224),
        "vivit_b_16x2_factorised_encoder": Size(32, 2, 224),
        "vivit_b_16x2_factorised_attention": Size(32, 2, 224),
        "vivit_b_16x2_factorised_dot_product": Size(32, 2, 224),
        "vivit_l_16x2": Size(32, 2, 224),
        "vivit_l_16x2_factorised_encoder": Size(32, 2, 224),
        "vivit": ANY,
    },
    "backbones.timesformer": {
        "timesformer_b": Size(8, 32, 224),
        "timesformer_b_hr": Size(16, 16, 448),
        "timesformer_b_l": Size(96, 4, 224),
        "timesformer": ANY,
    },
    "backbones.videomae": {
        "videomae_s": Size(16, 4, 224),
        "videomae_b": Size(16, 4, 224),
        "videomae_l": Size(16, 4, 224),
        "videomae_h": Size(16, 4, 224),
        "videomae": ANY,
    },
    "backbones.hiera": {
        "hiera_b": Size(16, 4, 224),
        "hiera_b_plus": Size(16, 4, 224),
        "hiera_l": Size(16, 4, 224),
        "hiera_h": Size(16, 4, 224),
        "hiera": ANY,
    },
    "backbones.vjepa2": {
        "vjepa2_l": Size(16, 8, 256),
        "vjepa2_h": Size(16, 8, 256),
        "vjepa2_g": Size(16, 8, 256),
        "vjepa2": ANY,
    },
    "backbones.token_learner": {"token_learner_vit_b": Size(16, 4, 224), "token_learner_vit": ANY},
    "backbones.mtv": {"mtv_b": Size(32, 2, 224), "mtv": ANY},
}
"""Module of `avadet.models` -> its builders, each with the clips of its published size."""


def family_of(module: str) -> str:
    """What a family is called: the last part of its module's name."""
    return module.rpartition(".")[2]
