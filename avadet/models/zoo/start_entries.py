"""Weights that a training may start from, published by others: of videos, of pictures, of self-supervised training.

Addresses and numbers are those of torchvision's own tables, of the model zoos of pytorchvideo, PySlowFast, mmaction2,
Hiera, V-JEPA 2, TimeSformer, ViViT and VideoMAE; files of the last three are those of the Hugging Face hub. `top1` is
on the validation part of the data named, in percent. The last digits of the names of torchvision's and OpenMMLab's
files begin their hashes.
"""

from __future__ import annotations

from typing import Any

from avadet.models.zoo.entry import Entry, start, unstated_license
from avadet.types import ClipSpec

_Color = tuple[float, float, float]
_GREY: tuple[_Color, _Color] = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_IMAGENET: tuple[_Color, _Color] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINETICS: tuple[_Color, _Color] = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_HALF: tuple[_Color, _Color] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def _clip(num_frames: int, stride: int, side: int, colors: tuple[_Color, _Color] = _GREY) -> ClipSpec:
    return ClipSpec(num_frames, stride, fps=30.0, short_side=side, mean=colors[0], std=colors[1])


_TORCHVISION_LICENSE = unstated_license("torchvision", "BSD-3-Clause")


def _torchvision(
    name: str, file: str, architecture: str, clip: ClipSpec, top1: float, parameters: int, views: str, **more: Any
) -> Entry:
    """A classifier of torchvision's; `more`: what differs from Kinetics-400."""
    facts = {"data": "Kinetics-400", **more}
    what = f"{architecture} of torchvision, trained on {facts['data']}"
    return start(
        name,
        f"https://download.pytorch.org/models/{file}.pth",
        architecture,
        clip,
        license_note=_TORCHVISION_LICENSE,
        parameters=parameters,
        summary=what,
        top1=top1,
        protocol=views,
        sha256=file.rpartition("-")[2],
        **facts,
    )


_FIVE = "five clips a video"
_TWELVE = "twelve clips a video"
_K400 = _clip(16, 2, 112, _KINETICS)
_SWIN = _clip(32, 2, 224, _IMAGENET)
_TORCHVISION = (
    _torchvision("r3d_18_k400", "r3d_18-b3b3357e", "r3d_18", _K400, 63.2, 33_371_472, _FIVE),
    _torchvision("mc3_18_k400", "mc3_18-a90a0ba3", "mc3_18", _K400, 63.96, 11_695_440, _FIVE),
    _torchvision("r2plus1d_18_k400", "r2plus1d_18-91a641e6", "r2plus1d_18", _K400, 67.463, 31_505_325, _FIVE),
    _torchvision(
        *("s3d_k400", "s3d-d76dad2f", "s3d", _clip(128, 2, 224, _KINETICS), 68.368, 8_320_048, "one clip a video")
    ),
    _torchvision("swin3d_t_k400", "swin3d_t-7615ae03", "swin3d_t", _SWIN, 77.715, 28_158_070, _TWELVE),
    _torchvision("swin3d_s_k400", "swin3d_s-da41c237", "swin3d_s", _SWIN, 79.521, 49_816_678, _TWELVE),
    _torchvision("swin3d_b_k400", "swin3d_b_1k-24f7c7c6", "swin3d_b", _SWIN, 79.427, 88_048_984, _TWELVE),
    _torchvision(
        *("swin3d_b_in22k_k400", "swin3d_b_22k-7c6ae6fa", "swin3d_b", _SWIN, 81.643, 88_048_984, _TWELVE),
        data="ImageNet-22K, Kinetics-400",
    ),
    _torchvision(
        *("torchvision_mvitv1_b_16x4_k400", "mvit_v1_b-dbeb1030", "mvitv1_b_16x4", _clip(16, 4, 224)),
        *(78.477, 36_610_672, _FIVE),
    ),
    _torchvision(
        *("torchvision_mvitv2_s_16x4_k400", "mvit_v2_s-ae3be167", "mvitv2_s_16x4", _clip(16, 4, 224)),
        *(80.757, 34_537_744, _FIVE),
    ),
)

_PICTURE = {"data": "ImageNet-1K", "classifies": "pictures"}
_STILL = _clip(1, 1, 224, _IMAGENET)
_PICTURES = tuple(
    _torchvision(name, file, architecture, clip, top1, parameters, "centre crop", **_PICTURE, arguments=arguments)
    for name, file, architecture, clip, top1, parameters, arguments in (
        (
            *("resnet18_in1k", "resnet18-f37072fd", "frame_resnet", _STILL, 69.758, 11_689_512),
            {"depths": [2, 2, 2, 2], "bottleneck": False},
        ),
        ("resnet50_in1k", "resnet50-0676ba61", "frame_resnet", _STILL, 76.13, 25_557_032, {}),
        ("resnet50_in1k_v2", "resnet50-11ad3fa6", "frame_resnet", _STILL, 80.858, 25_557_032, {}),
        (
            *("resnet101_in1k", "resnet101-63fe2227", "frame_resnet", _STILL, 77.374, 44_549_160),
            {"depths": [3, 4, 23, 3]},
        ),
        (  # torchvision's weights see pixels of mean and deviation 0.5
            *("googlenet_in1k", "googlenet-1378be20", "i3d_inception", _clip(64, 1, 224, _HALF), 69.778, 6_624_904),
            {},
        ),
        ("vit_b_16_in1k", "vit_b_16-c867db91", "vivit_b_16x2", _clip(32, 2, 224, _IMAGENET), 81.072, 86_567_656, {}),
        ("vit_l_16_in1k", "vit_l_16-852ce7e3", "vivit_l_16x2", _clip(32, 2, 224, _IMAGENET), 79.662, 304_326_632, {}),
    )
)
"""For nets of frames and two streams, for 3-D ResNets (I3D, C2D, Slow) and Inception, for ViViT and TimeSformer."""

_FAIR = "https://dl.fbaipublicfiles.com/"
_THIRTY = "three crops of ten clips"
_SLOWFAST_4X16 = {"alpha": 8, "lateral_kernel": 5}
_R101 = {"depths": [3, 4, 23, 3], "lateral_kernel": 5}
_HALF_TEMPORAL = [3] * 6 + [1] * 17
_R101_50_50 = {
    **_R101,
    "slow_kernels": [[1], [1], _HALF_TEMPORAL, [3]],
    "fast_kernels": [[3], [3], _HALF_TEMPORAL, [3]],
}


def _hub(
    name: str,
    file: str,
    architecture: str,
    clip: ClipSpec,
    top1: float,
    parameters: int,
    arguments: dict[str, Any] | None = None,
    views: str = _THIRTY,
) -> Entry:
    """A classifier of pytorchvideo's hub."""
    return start(
        name,
        f"{_FAIR}pytorchvideo/model_zoo/kinetics/{file}.pyth",
        architecture,
        clip,
        data="Kinetics-400",
        license_note=unstated_license("pytorchvideo", "Apache-2.0"),
        parameters=parameters,
        summary=f"{architecture} of pytorchvideo, {clip.num_frames} frames every {clip.stride}, of Kinetics-400",
        arguments=arguments,
        top1=top1,
        protocol=views,
        file=f"pytorchvideo_{file}.pyth",
    )


_PYTORCHVIDEO = (
    _hub("c2d_r50_8x8_k400", "C2D_8x8_R50", "c2d_r50", _clip(8, 8, 256), 71.46, 24_327_632),
    _hub("i3d_r50_8x8_k400", "I3D_8x8_R50", "i3d_r50", _clip(8, 8, 256), 73.27, 28_043_472),
    _hub("slow_r50_4x16_k400", "SLOW_4x16_R50", "slow_r50", _clip(4, 16, 256), 72.40, 32_454_096),
    _hub("slow_r50_8x8_k400", "SLOW_8x8_R50", "slow_r50", _clip(8, 8, 256), 74.58, 32_454_096),
    _hub(
        *("slowfast_r50_4x16_k400", "SLOWFAST_4x16_R50", "slowfast_r50", _clip(32, 2, 256), 75.34, 34_480_216),
        _SLOWFAST_4X16,
    ),
    _hub("slowfast_r50_8x8_k400", "SLOWFAST_8x8_R50", "slowfast_r50", _clip(32, 2, 256), 76.94, 34_566_488),
    _hub("slowfast_r101_8x8_k400", "SLOWFAST_8x8_R101", "slowfast", _clip(32, 2, 256), 77.90, 62_826_968, _R101),
    _hub(
        *("slowfast_r101_16x8_k400", "SLOWFAST_16x8_R101_50_50", "slowfast", _clip(64, 2, 256), 78.70, 53_774_808),
        _R101_50_50,
    ),
    _hub("ir_csn_101_k400", "CSN_32x2_R101", "ir_csn_101", _clip(32, 2, 256), 77.00, 22_213_776),
    _hub("r2plus1d_r50_k400", "R2PLUS1D_16x4_R50", "r2plus1d_r50", _clip(16, 4, 256), 76.01, 28_107_600),
    _hub("x3d_xs_k400", "X3D_XS", "x3d_xs", _clip(4, 12, 182), 69.12, 3_794_274),
    _hub("x3d_s_k400", "X3D_S", "x3d_s", _clip(13, 6, 182), 73.33, 3_794_274),
    _hub("x3d_m_k400", "X3D_M", "x3d_m", _clip(16, 5, 256), 75.94, 3_794_274),
    _hub("x3d_l_k400", "X3D_L", "x3d_l", _clip(16, 5, 356), 77.44, 6_153_384),
    _hub("mvitv1_b_16x4_k400", "MVIT_B_16x4", "mvitv1_b_16x4", _clip(16, 4, 224), 78.85, 36_610_672, views=_FIVE),
    _hub(
        *("mvitv1_b_32x3_shallow_k400", "MVIT_B_32x3_f294077834", "mvitv1_b_16x4", _clip(32, 3, 224)),
        *(80.30, 36_611_440, {"grid": [16, 56, 56]}, _FIVE),
    ),
)


def _pyslowfast(
    name: str,
    path: str,
    architecture: str,
    clip: ClipSpec,
    top1: float | None,
    parameters: int,
    arguments: dict[str, Any] | None = None,
    views: str = _THIRTY,
    data: str = "Kinetics-400",
) -> Entry:
    """A classifier of PySlowFast's model zoo."""
    what = f"{architecture} of PySlowFast, {clip.num_frames} frames every {clip.stride}"
    return start(
        f"pyslowfast_{name}",
        f"{_FAIR}pyslowfast/model_zoo/{path}",
        architecture,
        clip,
        data=data,
        license_note=unstated_license("PySlowFast", "Apache-2.0"),
        parameters=parameters,
        summary=f"{what}, trained on {data}",
        arguments=arguments,
        top1=top1,
        protocol=views,
        file=f"pyslowfast_{path.replace('/', '_')}",
    )


_NONLOCAL: dict[str, Any] = {
    "nonlocal_after": [[], [1, 3], [1, 3, 5], []],
    "nonlocal_options": {"softmax": True, "pool": [1, 2, 2]},
}
_MVITV2 = "mvitv2/pysf_video_models/MViTv2"
_PYSLOWFAST = (
    _pyslowfast("i3d_r50_8x8_k400", "kinetics400/I3D_8x8_R50.pkl", "i3d_r50", _clip(8, 8, 256), 73.5, 28_043_472),
    _pyslowfast(
        *("i3d_r50_8x8_nonlocal_k400", "kinetics400/I3D_NLN_8x8_R50.pkl", "i3d_r50", _clip(8, 8, 256)),
        *(74.0, 35_401_936, _NONLOCAL),
    ),
    _pyslowfast(
        *("slow_r50_4x16_k400", "kinetics400/SLOWONLY_4x16_R50.pkl", "slow_r50", _clip(4, 16, 256), 72.7, 32_454_096)
    ),
    _pyslowfast(
        *("slow_r50_8x8_k400", "kinetics400/SLOWONLY_8x8_R50.pkl", "slow_r50", _clip(8, 8, 256), 74.8, 32_454_096)
    ),
    _pyslowfast(
        *("slowfast_r50_4x16_k400", "kinetics400/SLOWFAST_4x16_R50.pkl", "slowfast_r50", _clip(32, 2, 256)),
        *(75.6, 34_480_216, _SLOWFAST_4X16),
    ),
    _pyslowfast(
        *("slowfast_r50_8x8_k400", "kinetics400/SLOWFAST_8x8_R50.pkl", "slowfast_r50", _clip(32, 2, 256)),
        *(77.0, 34_566_488),
    ),
    _pyslowfast(
        *("mvitv1_b_32x3_k400", "mvit/k400.pyth", "mvitv1_b_32x3", _clip(32, 3, 224), 80.4, 53_115_280),
        views=_FIVE,
    ),
    _pyslowfast(
        *("mvitv1_b_32x3_k600", "mvit/k600.pyth", "mvitv1_b_32x3", _clip(32, 3, 224), 83.9, 53_269_080),
        views=_FIVE,
        data="Kinetics-600",
    ),
    _pyslowfast(
        *("mvitv2_s_16x4_k400", f"{_MVITV2}_S_16x4_k400_f302660347.pyth", "mvitv2_s_16x4", _clip(16, 4, 224)),
        *(81.0, 34_537_744),
        views=_FIVE,
    ),
    _pyslowfast(
        *("mvitv2_b_32x3_k400", f"{_MVITV2}_B_32x3_k400_f304025456.pyth", "mvitv2_b_32x3", _clip(32, 3, 224)),
        *(82.9, 51_230_128),
        views=_FIVE,
    ),
)

_OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/recognition/"
_IR_CSN = "csn/{0}/{0}_20220811".format("ircsn_ig65m-pretrained-{0}-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb")
_IP_CSN = "csn/vmz/vmz_ipcsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617"
_MMACTION2 = (
    *(
        start(
            f"mmaction2_videomae_{size[0]}_k400",
            f"{_OPENMMLAB}videomae/vit-{size}-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-{digits}.pth",
            f"videomae_{size[0]}",
            _clip(16, 4, 224, _IMAGENET),
            data="Kinetics-400",
            license_note="CC-BY-NC-4.0, as VideoMAE's weights, which these are; mmaction2 publishes them",
            parameters=parameters,
            summary=f"ViT-{size[0].upper()} as VideoMAE trained it, first without labels, converted by mmaction2",
            top1=top1,
            sha256=digits,
        )
        for size, digits, top1, parameters in (
            ("base", "860a3cd3", 81.3, 86_534_800),
            ("large", "229dbb03", 85.3, 304_270_736),
        )
    ),
    *(
        start(
            f"mmaction2_{architecture}_ig65m_k400",
            f"{address}-{digits}.pth",
            architecture,
            _clip(32, 2, 224, _IMAGENET),
            data="IG-65M, Kinetics-400",
            license_note=unstated_license("mmaction2", "Apache-2.0"),
            parameters=parameters,
            summary=f"{architecture} of mmaction2, trained on IG-65M, then Kinetics-400",
            top1=top1,
            sha256=digits,
        )
        for architecture, address, digits, top1, parameters in (
            ("ir_csn_50", _OPENMMLAB + _IR_CSN.format("r50"), "44395bae", 79.44, 13_131_152),
            ("ir_csn_152", _OPENMMLAB + _IR_CSN.format("r152"), "7d1dacde", 82.84, 29_703_568),
            ("ip_csn_152", _OPENMMLAB.replace("v1.0/", "") + _IP_CSN, "c3be9793", 82.68, 33_016_592),
        )
    ),
)

_HIERA = tuple(
    start(
        f"{architecture}_{kind}k400",
        f"{_FAIR}hiera/{kind}hiera_{size}_16x224.pth",
        architecture,
        _clip(16, 4, 224),
        data="Kinetics-400" if kind == "" else "Kinetics-400 without labels",
        license_note="CC-BY-NC-4.0",
        parameters=encoder + (0 if kind else 400 * (channels + 1)),
        summary=f"{architecture} of its authors, trained on Kinetics-400" + (" without labels" if kind else ""),
        top1=None if kind else top1,
        protocol="as published",
        classifies="nothing" if kind else "whole clips",
    )
    for architecture, size, top1, encoder, channels in (
        ("hiera_b", "base", 84.0, 50_784_960, 768),
        ("hiera_b_plus", "base_plus", 85.0, 69_033_440, 896),
        ("hiera_l", "large", 87.3, 212_630_400, 1152),
        ("hiera_h", "huge", 87.8, 670_808_064, 2048),
    )
    for kind in ("", "mae_")
)

_VJEPA2 = tuple(
    start(
        f"vjepa2_{size}_pretrained",
        f"{_FAIR}vjepa2/vit{size}.pt",
        f"vjepa2_{size}",
        _clip(16, 8, 256, _IMAGENET),
        data="videos of the internet without labels",
        license_note="not stated with the weights; V-JEPA 2, which publishes them, is mostly under MIT",
        parameters=parameters,
        summary=f"ViT-{size} of V-JEPA 2, trained without labels; the file holds its predictor and a copy too",
        classifies="nothing",
        file=f"vjepa2_vit{size}.pt",
    )
    for size, parameters in (("l", 303_885_312), ("h", 631_648_000), ("g", 1_012_173_952))
)

# mmaction2 shows C3D RGB of 0 to 255 less these means.
_C3D_PIXELS: tuple[_Color, _Color] = (104 / 255, 117 / 255, 128 / 255), (1 / 255, 1 / 255, 1 / 255)
_C3D_UCF101 = "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb"
_C3D_ENCODER = 77_995_776
"""Parameters of its convolutions and of the two wide layers behind them, which a detector leaves."""
_C3D = tuple(
    start(
        f"mmaction2_c3d_{name}",
        f"{address}-{digits}.pth",
        "c3d",
        _clip(16, 1, 112, _C3D_PIXELS),
        data=data,
        license_note=unstated_license("mmaction2", "Apache-2.0"),
        parameters=parameters,
        summary=f"C3D of mmaction2, trained on {data}",
        top1=top1,
        protocol="ten clips a video, split 1",
        sha256=digits,
    )
    for name, address, digits, data, top1, parameters in (
        (
            *("sports1m", _OPENMMLAB.replace("v1.0/", "") + "c3d/c3d_sports1m_pretrain_20201016", "dcc47ddc"),
            *("Sports-1M", None, _C3D_ENCODER),
        ),
        (
            *("ucf101", f"{_OPENMMLAB}c3d/{_C3D_UCF101}/{_C3D_UCF101}_20220811", "31723200"),
            *("Sports-1M, UCF101", 83.08, _C3D_ENCODER + 101 * 4097),
        ),
    )
)


def _transformers(
    name: str, repository: str, architecture: str, clip: ClipSpec, parameters: int, license_note: str, **facts: Any
) -> Entry:
    """A model of the Hugging Face hub, where every file has the same name; `facts` as `start` takes them."""
    what = f"{architecture} as its authors trained it on {facts['data']}, converted for transformers"
    return start(
        name,
        f"https://huggingface.co/{repository}/resolve/main/pytorch_model.bin",
        architecture,
        clip,
        license_note=license_note,
        parameters=parameters,
        summary=what,
        file=f"{repository.partition('/')[2]}.bin",
        **facts,
    )


_THREE_CROPS = "three crops of one clip"
_TIMESFORMER = tuple(
    _transformers(
        f"{architecture}_{data.replace('Kinetics-', 'k')}",
        repository,
        architecture,
        clip,
        parameters,
        "CC-BY-NC-4.0",
        data=data,
        top1=top1,
        protocol=_THREE_CROPS,
    )
    for architecture, repository, clip, data, top1, parameters in (
        (
            *("timesformer_b", "facebook/timesformer-base-finetuned-k400", _clip(8, 32, 224)),
            *("Kinetics-400", 77.9, 121_566_352),
        ),
        (
            *("timesformer_b", "facebook/timesformer-base-finetuned-k600", _clip(8, 32, 224)),
            *("Kinetics-600", 79.1, 121_720_152),
        ),
        (
            *("timesformer_b_hr", "facebook/timesformer-hr-finetuned-k400", _clip(16, 16, 448)),
            *("Kinetics-400", 79.6, 122_024_080),
        ),
        (
            *("timesformer_b_hr", "facebook/timesformer-hr-finetuned-k600", _clip(16, 16, 448)),
            *("Kinetics-600", 81.8, 122_177_880),
        ),
        (
            *("timesformer_b_l", "fcakyon/timesformer-large-finetuned-k400", _clip(96, 4, 224)),
            *("Kinetics-400", 80.6, 121_633_936),
        ),
    )
)

_VIVIT = (
    _transformers(
        "vivit_b_16x2_k400",
        "google/vivit-b-16x2-kinetics400",
        "vivit_b_16x2",
        _clip(32, 2, 224, _HALF),  # trained on pixels from -1 to 1; the hub's settings of its preprocessing vary
        88_954_000,
        "MIT",
        data="Kinetics-400",
        arguments={"gelu": "tanh"},
        top1=79.9,
        protocol="three crops of four clips",
    ),
)

# Of the base model `top1` is its card's, which is lower than its authors' today; of the large one it is not known.
_VIDEOMAE = (
    *(
        _transformers(
            f"videomae_{size[0]}_k400",
            f"MCG-NJU/videomae-{size}-finetuned-kinetics",
            f"videomae_{size[0]}",
            _clip(16, 4, 224, _IMAGENET),
            parameters,
            "CC-BY-NC-4.0",
            data="Kinetics-400",
            top1=top1,
            protocol="as published",
        )
        for size, top1, parameters in (
            ("small", 79.0, 22_033_936),
            ("base", 80.9, 86_534_800),
            ("large", None, 304_270_736),
            ("huge", 86.6, 632_119_440),
        )
    ),
    *(
        _transformers(
            f"videomae_{size[0]}_pretrained",
            f"MCG-NJU/videomae-{size}",
            f"videomae_{size[0]}",
            _clip(16, 4, 224, _IMAGENET),
            parameters,
            "CC-BY-NC-4.0",
            data="Kinetics-400 without labels",
            classifies="nothing",
        )
        for size, parameters in (("base", 86_227_200), ("large", 303_860_736))
    ),
)

STARTS = (
    *(*_TORCHVISION, *_PICTURES, *_PYTORCHVIDEO, *_PYSLOWFAST, *_MMACTION2, *_HIERA, *_VJEPA2, *_C3D),
    *(*_TIMESFORMER, *_VIVIT, *_VIDEOMAE),
)
