"""Every architecture that configs and cards may name: one row each, in groups of one family. No torch here.

A family is a module; it has published sizes, and most have one more row without a clip, which builds any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from avadet.models.backbones.mvit_stages import V1, V2, pyramid
from avadet.types import Pixels


class SizeClip(NamedTuple):
    """The clips that a size was published with.

    Attributes:
        frames: of a clip.
        stride: every how many-th frame of 30 a second they are.
        side_px: rows and columns; the number of multiply-adds belongs to it. Most take other sizes too.
    """

    frames: int
    stride: int
    side_px: int


@dataclass(frozen=True)
class Size:
    """One architecture.

    Attributes:
        module: of `avadet.models`.
        name: in it, of what makes the net: a `Backbone`, which a head joins; or an `ActionModel` of several parts,
            which takes the number of classes and `pixels` besides its arguments.
        summary: one line, without numbers.
        clip: None for any size, which arguments tell.
        parameters: with 80 classes.
        gflops: 10**9 multiply-adds of one such clip with one box.
        arguments: of what makes the net, where they are not its defaults; a config or card may say others.
        head: options of `heads.build`, likewise.
        pixels: how clips are normalised; None = as the backbone declares.
        small: arguments (and `head`) of a net with the same parts, small enough to try and to test.
    """

    module: str
    name: str
    summary: str
    clip: SizeClip | None = None
    parameters: int = 0
    gflops: float = 0.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    pixels: Pixels | None = None
    small: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What its family is called: the last part of the module's name."""
        return self.module.rpartition(".")[2]


_SHALLOW = {"width": 8, "depths": (1, 1, 1, 1)}
_LEAN = {"depths": (1, 1, 1, 1), "width_per_group": 8}
_PLAIN = {"embed_dim": 16, "depth": 2, "heads": 2, "grid": (4, 4, 4)}
_ROTARY = {"embed_dim": 24, "depth": 2, "heads": 2}
_WIDE_TUBELETS = {**_PLAIN, "tubelet": (4, 8, 8)}
_UNITS = {"embed_dim": 8, "heads": 1, "depths": (1, 1, 1, 1), "grid": (4, 16, 16)}
_WINDOWS = {"embed_dim": 8, "depths": (2, 2), "heads": (1, 2), "window": (2, 3, 3)}
_STAGES = {"stages": pyramid((1, 1, 1), width=8), "grid": (4, 16, 16)}
_THREE_VIEWS = [{"frames": n, "embed_dim": 4 * heads, "heads": heads} for n, heads in ((8, 1), (4, 2), (2, 4))]
_VIEWS = {"views": _THREE_VIEWS, "depth": 2, "fuse_at": (1,), "global_depth": 1, "global_heads": 4, "global_hidden": 16}

_ALIGNED = {"aligned": True}
_I3D_KERNELS = ((3,), (3, 1), (3, 1), (1, 3))
_MEETINGS = {"conv1": (4, 2), "layer1": (2, 2), "layer2": (2, 2)}
_LARGE = {"embed_dim": 1024, "depth": 24, "heads": 16}
_TI8_S4_B2 = (
    {"frames": 8, "embed_dim": 192, "heads": 3},
    {"frames": 4, "embed_dim": 384, "heads": 6},
    {"frames": 2, "embed_dim": 768, "heads": 12},
)

_slow = partial(Size, "backbones.slow", "ResNet3d", small=_SHALLOW)
_slowfast = partial(Size, "backbones.slowfast", "SlowFast", small={**_SHALLOW, "fast_width": 4})
_frames = partial(Size, "backbones.frames", "FrameResNet", small=_LEAN)
_r3d = partial(Size, "backbones.r3d", "VideoResNet", small=_SHALLOW)
_csn = partial(Size, "backbones.csn", "ChannelSeparatedNet", small=_SHALLOW)
_x3d = partial(Size, "backbones.x3d", "X3d", small={"width": 8, "width_factor": 1.0, "depth_factor": 0.6})
_mvit = partial(Size, "backbones.mvit", "MViT", head=_ALIGNED, small=_STAGES)
_swin = partial(Size, "backbones.swin3d", "Swin3d", head=_ALIGNED, small=_WINDOWS)
_vivit = partial(Size, "backbones.vivit", "vivit", head=_ALIGNED, small=_PLAIN)
_timesformer = partial(Size, "backbones.timesformer", "TimeSformer", head=_ALIGNED, small=_PLAIN)
_videomae = partial(Size, "backbones.videomae", "VideoMAE", head=_ALIGNED, small=_PLAIN)
_hiera = partial(Size, "backbones.hiera", "Hiera", head=_ALIGNED, small=_UNITS)
_vjepa2 = partial(Size, "backbones.vjepa2", "VJEPA2", head=_ALIGNED, small=_ROTARY)
_learner = partial(Size, "backbones.token_learner", "TokenLearnerViT", head=_ALIGNED)
_mtv = partial(Size, "backbones.mtv", "MTV", head=_ALIGNED)

SIZES: dict[str, Size] = {
    "tiny_actions": Size(
        *("backbones.tiny_actions", "ShiftedShuffleNet", "ShuffleNetV2 0.5x with temporal shift"),
        *(SizeClip(8, 2, 192), 190_448, 0.18),
        head={"aligned": True, "sampling_ratio": 2, "pool": "max", "context": True, "norm": True},
    ),
    "person_crops": Size(
        *("detectors.person_crops", "PersonCropDetector", "Crops of each person, for pose and for motion; bundled"),
        *(SizeClip(8, 4, 224), 3_450_592, 0.66),
        small={"crop_px": 64},
    ),
    "tiny_two_views": Size(
        *("detectors.two_views", "TwoViewDetector", "Two tiny_actions nets: whole frames, and each person cut out"),
        *(SizeClip(8, 2, 192), 380_896, 0.3),
        small={"crop_hw": (64, 64)},
    ),
    "slow_r50": _slow("Slow R50", SizeClip(4, 16, 256), 31_798_416, 41.6),
    "c2d_r50": _slow(
        *("C2D R50: frames by themselves, pooled by twos after res2", SizeClip(8, 8, 256), 23_671_952, 36.5),
        arguments={"temporal_kernels": ((1,), (1,), (1,), (1,)), "temporal_pool": 2},
    ),
    "i3d_r50": _slow(
        *("I3D R50: temporal kernels in every stage", SizeClip(8, 8, 256), 27_387_792, 49.8),
        arguments={"stem_kernel": 5, "temporal_kernels": _I3D_KERNELS, "temporal_pool": 2},
    ),
    "resnet3d": _slow(
        "A single-pathway 3-D ResNet",
        small={**_SHALLOW, "temporal_kernels": ((1,), (3,), (3,), (3,)), "head": {"acrn": {"width": 8}}},
    ),
    "slowfast_r50": _slowfast("SlowFast R50, every fourth frame slow", SizeClip(32, 2, 256), 33_828_888, 96.9),
    "slowfast": _slowfast(
        "A SlowFast net",
        small={**_SHALLOW, "fast_width": 4, "lateral_kernel": 5, "head": {"aligned": True, "acar": {"width": 8}}},
    ),
    "single_frame_r50": _frames(
        *("The middle frame alone: what can be known without time", SizeClip(1, 1, 224), 23_671_952, 6.2),
        arguments={"frames": "middle"},
    ),
    "early_fusion_r50": Size(
        *("backbones.frames", "EarlyFusion", "All frames meet at the pixels"),
        *(SizeClip(10, 1, 224), 23_756_624, 7.3),
        small={**_LEAN, "num_frames": 8},
    ),
    "late_fusion_r50": _frames(
        *("The first frame and the last pass one net; their maps meet", SizeClip(16, 1, 224), 23_835_792, 12.4),
        arguments={"frames": "ends", "windows": {"end": (2, 2)}},
    ),
    "slow_fusion_r50": _frames(
        *("Frames meet by fours at the pixels, then twice by twos", SizeClip(10, 1, 224), 23_884_496, 9.0),
        arguments={"windows": _MEETINGS},
        small={**_LEAN, "windows": {**_MEETINGS, "conv1": (2, 2)}},
    ),
    "tsn_r50": _frames(
        *("TSN: a frame of each segment, a consensus of their logits", SizeClip(3, 20, 224), 23_671_952, 18.6),
        arguments={"frames": 3},
        head={"kind": "consensus"},
    ),
    "conv_pooling_r50": _frames(
        *("All frames one by one; the maximum of their maps over time", SizeClip(30, 30, 224), 23_671_952, 186.2),
        head={"time_pool": "max"},
    ),
    "box_lstm_r50": _frames(
        *("An LSTM reads each box's features frame by frame", SizeClip(30, 30, 224), 28_796_048, 186.5),
        head={"kind": "lstm"},
        small={**_LEAN, "head": {"units": 16, "layers": 2}},
    ),
    "cell_lstm_r50": Size(
        *("backbones.frames", "FrameLstm", "An LSTM reads each cell of the maps frame by frame"),
        *(SizeClip(30, 30, 224), 28_796_048, 217.0),
        small={**_LEAN, "units": 16},
    ),
    "frame_resnet": _frames(
        "A ResNet of pictures over frames",
        small={"depths": (1, 1, 1, 1), "bottleneck": False, "windows": {"layer1": (2, 2), "layer4": (2, 1)}},
    ),
    "two_streams_r50": Size(
        *("detectors.two_streams", "TwoStreamDetector", "The middle frame and optical flow around it, an R50 for each"),
        *(SizeClip(11, 1, 224), 47_397_216, 13.1),
        small={**_LEAN, "fields": 5},
    ),
    "c3d": Size("backbones.c3d", "C3d", "C3D", SizeClip(16, 1, 112), 27_696_976, 38.5, small={"width": 8}),
    "r3d_18": _r3d("R3D-18: all kernels 3x3x3", SizeClip(16, 2, 112), 33_207_312, 40.7),
    "mc3_18": _r3d(
        *("MC3-18: time in the stem and the first stage only", SizeClip(16, 2, 112), 11_531_280, 43.3),
        arguments={"kinds": ("3d", "2d", "2d", "2d")},
    ),
    "r2plus1d_18": _r3d(
        *("R(2+1)D-18", SizeClip(16, 2, 112), 31_341_165, 40.5),
        arguments={"kinds": ("2plus1d",) * 4, "split_stem": True},
    ),
    "r2plus1d_34": _r3d(
        *("R(2+1)D-34 of the paper", SizeClip(32, 1, 112), 63_533_015, 152.4),
        arguments={"kinds": ("2plus1d",) * 4, "split_stem": True, "depths": (3, 4, 6, 3), "own_middle": True},
    ),
    "video_resnet": _r3d(
        "A ResNet of basic blocks over time", small={**_SHALLOW, "kinds": ("2d", "2plus1d", "3d", "2d")}
    ),
    "r2plus1d_r50": Size(
        *("backbones.r2plus1d", "SplitBottleneckNet", "R(2+1)D R50, of bottlenecks"),
        *(SizeClip(16, 4, 224), 27_451_920, 66.9),
        small=_SHALLOW,
    ),
    "ir_csn_50": _csn("ir-CSN-50", SizeClip(32, 2, 224), 12_475_472, 46.6, arguments={"depths": (3, 4, 6, 3)}),
    "ir_csn_101": _csn("ir-CSN-101", SizeClip(32, 2, 224), 21_558_096, 60.8),
    "ir_csn_152": _csn("ir-CSN-152", SizeClip(32, 2, 224), 29_047_888, 78.4, arguments={"depths": (3, 8, 36, 3)}),
    "ip_csn_152": _csn(
        *("ip-CSN-152", SizeClip(32, 2, 224), 32_360_912, 87.9),
        arguments={"depths": (3, 8, 36, 3), "preserved": True},
    ),
    "csn": _csn("A CSN", small={**_SHALLOW, "preserved": True}),
    "i3d_inception": Size(
        *("backbones.inception", "I3d", "I3D as first published, on Inception"),
        *(SizeClip(64, 1, 224), 12_369_264, 116.7),
        small={"width": 0.25, "depths": (1, 1, 0)},
    ),
    "s3d": Size(
        *("backbones.inception", "S3d", "S3D: filters over space, then over time"),
        *(SizeClip(64, 1, 224), 7_992_048, 75.6),
        small={"width": 0.25, "depths": (1, 1, 0)},
    ),
    "x3d_xs": _x3d("X3D-XS, the net of X3D-M", SizeClip(4, 12, 160), 2_124_578, 0.98),
    "x3d_s": _x3d("X3D-S, the net of X3D-M", SizeClip(13, 6, 160), 2_124_578, 3.2),
    "x3d_m": _x3d("X3D-M", SizeClip(16, 5, 224), 2_124_578, 7.7),
    "x3d_l": _x3d("X3D-L, deeper", SizeClip(16, 5, 312), 4_483_688, 31.2, arguments={"depth_factor": 5.0}),
    "x3d_xl": _x3d(
        *("X3D-XL, wider too", SizeClip(16, 5, 312), 9_036_480, 62.6),
        arguments={"depth_factor": 5.0, "width_factor": 2.9},
    ),
    "x3d": _x3d("An X3D"),
    "mvitv1_b_16x4": _mvit(
        *("MViT-B", SizeClip(16, 4, 224), 36_364_592, 70.6),
        arguments={**V1, "stages": pyramid((1, 2, 11, 2)), "drop_path": 0.2},
    ),
    "mvitv1_b_32x3": _mvit(
        *("MViT-B of 24 blocks", SizeClip(32, 3, 224), 52_869_200, 235.8),
        arguments={
            **V1,
            "stages": pyramid((2, 3, 16, 3)),
            "grid": (16, 56, 56),
            "pool_kernel": None,
            "drop_path": 0.3,
        },
    ),
    "mvitv2_s_16x4": _mvit(
        *("MViTv2-S", SizeClip(16, 4, 224), 34_291_664, 64.2),
        arguments={**V2, "stages": pyramid((1, 2, 11, 2)), "drop_path": 0.2},
    ),
    "mvitv2_b_32x3": _mvit(
        *("MViTv2-B", SizeClip(32, 3, 224), 50_984_048, 224.5),
        arguments={**V2, "stages": pyramid((2, 3, 16, 3)), "grid": (16, 56, 56), "drop_path": 0.3},
    ),
    "mvit": _mvit(
        "A multiscale transformer",
        small={**V2, **_STAGES, "grid": (3, 9, 11), "absolute_positions": "joint", "cls_token": False},
    ),
    "swin3d_t": _swin("Swin-T", SizeClip(32, 2, 224), 27_911_990, 87.8),
    "swin3d_s": _swin("Swin-S", SizeClip(32, 2, 224), 49_570_598, 165.7, arguments={"depths": (2, 2, 18, 2)}),
    "swin3d_b": _swin(
        *("Swin-B", SizeClip(32, 2, 224), 87_720_984, 281.3),
        arguments={"embed_dim": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32)},
    ),
    "swin3d": _swin("A Video Swin", small={**_WINDOWS, "maps": (1, 2)}),
    "vivit_b_16x2": _vivit("ViViT-B/16x2, form 1: all tokens attend to all", SizeClip(32, 2, 224), 88_707_920, 451.5),
    "vivit_b_16x2_factorised_encoder": _vivit(
        *("ViViT-B/16x2, form 2: frames, then time", SizeClip(32, 2, 224), 114_816_848, 283.3),
        arguments={"form": "factorised_encoder"},
        small={**_PLAIN, "temporal_depth": 1},
    ),
    "vivit_b_16x2_factorised_attention": _vivit(
        *("ViViT-B/16x2, form 3: both in each block", SizeClip(32, 2, 224), 117_073_232, 371.1),
        arguments={"form": "factorised_attention"},
    ),
    "vivit_b_16x2_factorised_dot_product": _vivit(
        *("ViViT-B/16x2, form 4: half of the heads for each", SizeClip(32, 2, 224), 88_706_384, 276.2),
        arguments={"form": "factorised_dot_product"},
    ),
    "vivit_l_16x2": _vivit("ViViT-L/16x2, form 1", SizeClip(32, 2, 224), 307_180_624, 1436.0, arguments=_LARGE),
    "vivit_l_16x2_factorised_encoder": _vivit(
        *("ViViT-L/16x2, form 2", SizeClip(32, 2, 224), 354_575_440, 988.2),
        arguments={**_LARGE, "form": "factorised_encoder"},
        small={**_PLAIN, "temporal_depth": 1},
    ),
    "vivit": _vivit("A ViViT", small={**_WIDE_TUBELETS, "gelu": "tanh"}),
    "timesformer_b": _timesformer("TimeSformer", SizeClip(8, 32, 224), 121_320_272, 195.8),
    "timesformer_b_hr": _timesformer(
        *("TimeSformer-HR, of larger pictures", SizeClip(16, 16, 448), 121_778_000, 1702.7),
        arguments={"grid": (16, 28, 28)},
    ),
    "timesformer_b_l": _timesformer(
        *("TimeSformer-L, of longer clips", SizeClip(96, 4, 224), 121_387_856, 2379.9),
        arguments={"grid": (96, 14, 14)},
    ),
    "timesformer": _timesformer("A TimeSformer", small={**_PLAIN, "patch": 8, "form": "joint"}),
    "videomae_s": _videomae(
        *("VideoMAE's ViT-S", SizeClip(16, 4, 224), 21_910_736, 56.9),
        arguments={"embed_dim": 384, "heads": 6, "drop_path": 0.1},
    ),
    "videomae_b": _videomae("VideoMAE's ViT-B", SizeClip(16, 4, 224), 86_288_720, 180.3, arguments={"drop_path": 0.2}),
    "videomae_l": _videomae(
        *("VideoMAE's ViT-L", SizeClip(16, 4, 224), 303_942_736, 596.8), arguments={**_LARGE, "drop_path": 0.2}
    ),
    "videomae_h": _videomae(
        *("VideoMAE's ViT-H", SizeClip(16, 4, 224), 631_709_520, 1191.0),
        arguments={"embed_dim": 1280, "depth": 32, "heads": 16, "drop_path": 0.2},
    ),
    "videomae": _videomae("VideoMAE's encoder", small={**_WIDE_TUBELETS, "mlp_ratio": 2.0}),
    "hiera_b": _hiera("Hiera-B", SizeClip(16, 4, 224), 50_877_968, 101.7, arguments={"drop_path": 0.1}),
    "hiera_b_plus": _hiera(
        *("Hiera-B+", SizeClip(16, 4, 224), 69_141_936, 132.3),
        arguments={"embed_dim": 112, "heads": 2, "drop_path": 0.1},
    ),
    "hiera_l": _hiera(
        *("Hiera-L", SizeClip(16, 4, 224), 212_769_872, 412.1),
        arguments={"embed_dim": 144, "heads": 2, "depths": (2, 6, 36, 4), "drop_path": 0.2},
    ),
    "hiera_h": _hiera(
        *("Hiera-H", SizeClip(16, 4, 224), 671_055_952, 1157.8),
        arguments={"embed_dim": 256, "heads": 4, "depths": (2, 6, 36, 4), "drop_path": 0.3},
    ),
    "hiera": _hiera("A Hiera", small={**_UNITS, "depths": (1, 2, 1), "mlp_ratio": 2.0, "maps": (1, 3)}),
    "vjepa2_l": _vjepa2("V-JEPA 2's ViT-L", SizeClip(16, 8, 256), 303_967_312, 827.9),
    "vjepa2_h": _vjepa2(
        *("V-JEPA 2's ViT-H", SizeClip(16, 8, 256), 631_750_480, 1636.1),
        arguments={"embed_dim": 1280, "depth": 32},
    ),
    "vjepa2_g": _vjepa2(
        *("V-JEPA 2's ViT-g", SizeClip(16, 8, 256), 1_012_286_672, 2543.8),
        arguments={"embed_dim": 1408, "depth": 40, "heads": 22, "mlp_ratio": 48 / 11},
    ),
    "vjepa2": _vjepa2("V-JEPA 2's encoder", small={**_ROTARY, "tubelet": (4, 8, 8), "mlp_ratio": 2.0}),
    "token_learner_vit_b": _learner(
        *("ViT-B, then TokenLearner's 8 learned tokens", SizeClip(16, 4, 224), 88_136_288, 94.9),
        small={**_PLAIN, "learn_after": 1},
    ),
    "token_learner_vit": _learner("A ViT with TokenLearner", small={**_WIDE_TUBELETS, "learn_after": 0, "tokens": 3}),
    "mtv_b": _mtv(
        *("MTV-B (Ti/8 + S/4 + B/2)", SizeClip(32, 2, 224), 303_840_464, 374.6),
        arguments={"views": _TI8_S4_B2, "drop_path": 0.1},
        small=_VIEWS,
    ),
    "mtv": _mtv("A multiview transformer", small={**_VIEWS, "patch": 8, "fuse_at": (0, 1), "grid": (4, 8, 8)}),
}
"""Name of an architecture -> its row."""


def families() -> dict[str, dict[str, Size]]:
    """Family -> its architectures, both in the order of the table."""
    found: dict[str, dict[str, Size]] = {}
    for name, size in SIZES.items():
        found.setdefault(size.family, {})[name] = size
    return found
