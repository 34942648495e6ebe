"""Checkpoints that only start a training: recognised, renamed without rest, and the same features from them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video import resnet as torchvision_resnet
from torchvision.models.video.mvit import MSBlockConfig
from torchvision.models.video.mvit import MViT as TorchvisionMViT
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from avadet.errors import AvadetError
from avadet.models.backbones.mvit_stages import pyramid
from avadet.models.build import build
from avadet.models.checkpoints.formats import recipe_of, recognise, translate
from avadet.models.checkpoints.weights import load_tensors, read_checkpoint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorchvideo.models import hub
    from pytorchvideo.models.vision_transformers import create_multiscale_vision_transformers
    from pytorchvideo.models.x3d import create_x3d


def shaken(net: nn.Module) -> nn.Module:
    """The net in eval mode, no tensor as it starts."""
    torch.manual_seed(0)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.2, 0.3)
            nn.init.uniform_(tensor, low, high)
    return net.eval()


def saved(net: nn.Module, path: Path, key: str = "") -> Path:
    """The net's weights as `torch.save` writes them."""
    state = net.state_dict()
    torch.save({key: state} if key else state, path)
    return path


def features(model: nn.Module, clip: Tensor) -> Tensor:
    """The mean of a detector's map, (B, C)."""
    with torch.no_grad():
        (one_map,) = model.backbone(clip)  # type: ignore[operator]
    answer: Tensor = one_map.mean(dim=(2, 3, 4))
    return answer


def logits(model: nn.Module, clip: Tensor) -> Tensor:
    """What a classifier of whole clips made of the same parts would answer."""
    with torch.no_grad():
        answer: Tensor = model.head.proj(features(model, clip))  # type: ignore[operator, union-attr]
    return answer


FULL_SIZES: list[tuple[Callable[[], nn.Module], str, str]] = [
    (hub.slow_r50, "slow_r50", "pytorchvideo"),
    (hub.c2d_r50, "c2d_r50", "pytorchvideo with a pool after res2"),
    (hub.i3d_r50, "i3d_r50", "pytorchvideo with a pool after res2"),
    (hub.slowfast_r50, "slowfast_r50", "pytorchvideo"),
    (hub.csn_r101, "ir_csn_101", "pytorchvideo"),
    (hub.r2plus1d_r50, "r2plus1d_r50", "pytorchvideo"),
    (hub.x3d_m, "x3d_m", "pytorchvideo x3d"),
    (video.r3d_18, "r3d_18", "torchvision r3d"),
    (video.mc3_18, "mc3_18", "torchvision r3d"),
    (video.r2plus1d_18, "r2plus1d_18", "torchvision r3d"),
    (video.s3d, "s3d", "torchvision s3d"),
    (video.swin3d_t, "swin3d_t", "torchvision swin3d"),
    (video.swin3d_s, "swin3d_s", "torchvision swin3d"),
    (video.swin3d_b, "swin3d_b", "torchvision swin3d"),
    (video.mvit_v1_b, "mvitv1_b_16x4", "torchvision mvit"),
    (video.mvit_v2_s, "mvitv2_s_16x4", "torchvision mvit"),
]


@each_case(("theirs", "ours", "layout"), FULL_SIZES, ids=[f"{one[1]}-{one[2]}" for one in FULL_SIZES])
def test_full_sizes_map_without_rest(theirs: Callable[[], nn.Module], ours: str, layout: str) -> None:
    with torch.device("meta"):
        foreign, own = theirs().state_dict(), build(ours, 400).state_dict()
    found = recognise(foreign, "x.pth")
    assert found.name == layout
    named = translate(foreign, found)
    assert set(named) == set(own)
    differ = [name for name in own if name != "head.proj.weight" and named[name].shape != own[name].shape]
    assert differ == []
    # X3D classifies from 2048 features that stand behind its pooling, S3D by a convolution of one cell.
    expected = {"pytorchvideo x3d": (400, 2048), "torchvision s3d": (400, 1024, 1, 1, 1)}
    assert named["head.proj.weight"].shape == expected.get(layout, own["head.proj.weight"].shape)


@each_case("makers", [torchvision_resnet.Conv3DSimple, torchvision_resnet.Conv2Plus1D])
def test_torchvisions_video_resnets(tmp_path: Path, makers: Any) -> None:
    split = makers is torchvision_resnet.Conv2Plus1D
    stem = torchvision_resnet.R2Plus1dStem if split else torchvision_resnet.BasicStem
    theirs = shaken(torchvision_resnet.VideoResNet(torchvision_resnet.BasicBlock, [makers] * 4, [1] * 4, stem, 7))
    own = build("video_resnet", 7, kinds=("2plus1d" if split else "3d",) * 4, split_stem=split, depths=(1,) * 4)
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "r3d.pth"))
    assert load_tensors(own.eval(), checkpoint.tensors, "r3d.pth").is_whole
    clip = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(logits(own, clip), theirs(clip))


def test_torchvisions_swin(tmp_path: Path) -> None:
    sizes = {"depths": [2, 2], "window": [2, 3, 3], "heads": [1, 2]}
    theirs = shaken(
        SwinTransformer3d(
            [2, 4, 4], 8, sizes["depths"], sizes["heads"], sizes["window"], num_classes=7, patch_embed=PatchEmbed3d
        )
    )
    own = build("swin3d", 7, embed_dim=8, **sizes)
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "swin.pth"))
    assert checkpoint.format.name == "torchvision swin3d"
    assert load_tensors(own.eval(), checkpoint.tensors, "swin.pth").is_whole
    clip = torch.randn(2, 3, 4, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(logits(own, clip), theirs(clip), atol=1e-5, rtol=1e-4)


@each_case("second", [False, True])
def test_torchvisions_mvit(tmp_path: Path, second: bool) -> None:
    stages = pyramid((1, 1), width=8)
    setting = [
        MSBlockConfig(1, 8, 16 if not second else 8, [3, 3, 3], [1, 8, 8], [], [1, 8, 8]),
        MSBlockConfig(2, 16 if not second else 8, 16, [3, 3, 3], [1, 4, 4], [1, 2, 2], [1, 4, 4]),
    ]
    for config, stage in zip(setting, stages):
        config.kernel_kv, config.stride_kv = [3, 3, 3], list(stage["kv_stride"])
        config.stride_q, config.kernel_q = list(stage["q_stride"]), [3, 3, 3]
        if not second and config.num_heads == 1:
            config.stride_q, config.kernel_q = [], []
    theirs = shaken(
        TorchvisionMViT(
            (32, 32),
            4,
            setting,
            residual_pool=second,
            residual_with_cls_embed=False,
            rel_pos_embed=second,
            proj_after_attn=second,
            num_classes=7,
        )
    )
    own = build(
        "mvit",
        7,
        stages=stages,
        grid=(2, 8, 8),
        absolute_positions="none" if second else "separate",
        pool_all_queries=second,
        widen_in_attention=second,
        residual_pooling=second,
        relative_positions=second,
    )
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "mvit.pth"))
    assert load_tensors(own.eval(), checkpoint.tensors, "mvit.pth").is_whole
    clip = torch.randn(1, 3, 4, 32, 32)
    seen: list[Tensor] = []
    theirs.norm.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    with torch.no_grad():
        theirs(clip)
    torch.testing.assert_close(features(own, clip), seen[0][:, 1:].mean(dim=1), atol=1e-5, rtol=1e-4)


def test_pytorchvideos_x3d(tmp_path: Path) -> None:
    theirs = shaken(create_x3d(stem_dim_in=8, width_factor=1.0, depth_factor=0.6, model_num_class=7))
    own = build("x3d", 7, width=8, width_factor=1.0, depth_factor=0.6, output_stride=32)
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "x3d.pyth", "model_state"))
    report = load_tensors(own.eval(), checkpoint.tensors, "x3d.pyth", allow_partial=True)
    assert (report.missing, report.unexpected) == ((), ())
    assert [line.split()[0] for line in report.reshaped] == ["head.proj.weight"]
    clip, seen = torch.randn(1, 3, 4, 32, 32), []
    theirs.blocks[5].pool.pre_act.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    theirs.blocks[5].pool.pool = nn.Identity()
    with torch.no_grad():
        theirs(clip)
        torch.testing.assert_close(own.backbone(clip)[0], seen[0], atol=1e-5, rtol=1e-4)


def test_pytorchvideos_mvit(tmp_path: Path) -> None:
    theirs = shaken(
        create_multiscale_vision_transformers(
            spatial_size=32,
            temporal_size=4,
            depth=3,
            patch_embed_dim=8,
            embed_dim_mul=[[1, 2.0]],
            atten_head_mul=[[1, 2.0]],
            pool_q_stride_size=[[1, 1, 2, 2]],
            pool_kv_stride_adaptive=[1, 8, 8],
            pool_kvq_kernel=[3, 3, 3],
            head_num_classes=7,
        )
    )
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "mvit.pyth", "model_state"))
    own = build("mvit", 7, stages=pyramid((1, 2), width=8), grid=(2, 8, 8), absolute_positions="separate")
    assert load_tensors(own.eval(), checkpoint.tensors, "mvit.pyth").is_whole
    clip, seen = torch.randn(1, 3, 4, 32, 32), []
    theirs.norm_embed.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    with torch.no_grad():
        theirs(clip)
    torch.testing.assert_close(features(own, clip), seen[0][:, 1:].mean(dim=1), atol=1e-4, rtol=1e-3)


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PLAIN = {"embed_dim": 16, "depth": 2, "heads": 2}


def older_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' tensors of a ViViT as its older releases, which wrote the published files, called them."""
    renames = (
        ("vivit.layers.", "vivit.encoder.layer."),
        (".attention.q_proj.", ".attention.attention.query."),
        (".attention.k_proj.", ".attention.attention.key."),
        (".attention.v_proj.", ".attention.attention.value."),
        (".attention.o_proj.", ".attention.output.dense."),
        (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    )
    named = {}
    for name, tensor in state.items():
        for new, old in renames:
            name = name.replace(new, old)
        named[name] = tensor
    return named


@each_case("older", [False, True])
def test_transformers_vivit(older: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    config = transformers.VivitConfig(image_size=32, num_frames=8, num_labels=7, **SMALL)
    theirs = shaken(transformers.VivitForVideoClassification(config))
    own = build("vivit", 7, **PLAIN, grid=(4, 2, 2), gelu="tanh")
    state = older_names(theirs.state_dict()) if older else theirs.state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    checkpoint = read_checkpoint(tmp_path / "pytorch_model.bin")
    assert checkpoint.format.name == "transformers vivit"
    assert load_tensors(own.eval(), checkpoint.tensors, "vivit").is_whole
    clip = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        expected = theirs.vivit(clip.transpose(1, 2)).last_hidden_state[:, 1:].mean(dim=1)
    torch.testing.assert_close(features(own, clip), expected, atol=1e-4, rtol=1e-3)


def test_transformers_timesformer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    config = transformers.TimesformerConfig(image_size=32, num_frames=3, num_labels=7, **SMALL)
    theirs = shaken(transformers.TimesformerForVideoClassification(config))
    own = build("timesformer", 7, **PLAIN, grid=(3, 2, 2))
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "pytorch_model.bin"))
    assert load_tensors(own.eval(), checkpoint.tensors, "timesformer").is_whole
    clip = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.timesformer(clip.transpose(1, 2)).last_hidden_state[:, 1:].mean(dim=1)
    torch.testing.assert_close(features(own, clip), expected, atol=1e-4, rtol=1e-3)


def test_transformers_videomae(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    config = transformers.VideoMAEConfig(
        image_size=32, num_frames=4, num_labels=7, layer_norm_eps=1e-6, use_mean_pooling=True, **SMALL
    )
    theirs = shaken(transformers.VideoMAEForVideoClassification(config))
    own = build("videomae", 7, **PLAIN, grid=(2, 2, 2))
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "pytorch_model.bin"))
    assert load_tensors(own.eval(), checkpoint.tensors, "videomae").is_whole
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        tokens = theirs.videomae(clip.transpose(1, 2)).last_hidden_state
        expected = theirs(clip.transpose(1, 2)).logits
        (one_map,) = own.backbone(clip)
        normed = theirs.fc_norm(tokens)
        found = own.head.proj(theirs.fc_norm(tokens.mean(dim=1)))
    torch.testing.assert_close(one_map.flatten(2).transpose(1, 2), normed, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found, expected)


def test_transformers_pre_training_of_videomae_leaves_its_decoder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    config = transformers.VideoMAEConfig(
        image_size=32, num_frames=4, decoder_hidden_size=8, decoder_num_attention_heads=2, **SMALL
    )
    theirs = transformers.VideoMAEForPreTraining(config)
    own = build("videomae", 7, **PLAIN, grid=(2, 2, 2))
    checkpoint = read_checkpoint(saved(theirs, tmp_path / "pytorch_model.bin"))
    report = load_tensors(own, checkpoint.tensors, "videomae", allow_partial=True)
    assert (report.unexpected, report.reshaped) == ((), ())
    assert {name.rpartition(".")[0] for name in report.missing} == {"backbone.norm", "head.proj"}


def test_the_authors_wrap_videomae_in_module(tmp_path: Path) -> None:
    own = build("videomae", 7, **PLAIN, grid=(2, 2, 2))
    named = {name.replace("backbone.norm.", "fc_norm."): tensor for name, tensor in own.state_dict().items()}
    named = {
        name.replace(".patch_embed.", ".patch_embed.proj.").replace("head.proj.", "head."): t
        for name, t in named.items()
    }
    foreign = {name.removeprefix("backbone."): tensor for name, tensor in named.items()}
    torch.save({"module": foreign}, tmp_path / "checkpoint.pth")
    checkpoint = read_checkpoint(tmp_path / "checkpoint.pth")
    assert checkpoint.format.name == "videomae"
    assert load_tensors(own, checkpoint.tensors, "videomae").is_whole


def test_a_classifier_of_clips_is_no_detector(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(
        saved(
            torchvision_resnet.VideoResNet(
                torchvision_resnet.BasicBlock,
                [torchvision_resnet.Conv3DSimple] * 4,
                [1] * 4,
                torchvision_resnet.BasicStem,
                7,
            ),
            tmp_path / "r3d.pth",
        )
    )
    message = r"r3d\.pth: weights that classify whole clips \(torchvision r3d\), not persons in boxes"
    with pytest.raises(AvadetError, match=message):
        recipe_of(checkpoint.tensors, checkpoint.format, {}, checkpoint.source)


def mmaction_names(state: dict[str, Tensor], classifier: str) -> dict[str, Tensor]:
    """A backbone of bottlenecks as mmaction2 would call it, with a classifier of whole clips."""
    renames = (
        (r"^head\.proj\.", classifier),
        (r"^backbone\.stem\.conv\.", "backbone.conv1.conv."),
        (r"^backbone\.stem\.norm\.", "backbone.conv1.bn."),
        *((rf"^backbone\.res{number + 1}\.", f"backbone.layer{number}.") for number in (1, 2, 3, 4)),
        (r"\.branch1_conv\.", ".downsample.conv."),
        (r"\.branch1_norm\.", ".downsample.bn."),
        *((rf"\.branch2\.conv_{letter}\.", f".conv{number}.conv.") for number, letter in enumerate("abc", 1)),
        *((rf"\.branch2\.norm_{letter}\.", f".conv{number}.bn.") for number, letter in enumerate("abc", 1)),
    )
    named = {}
    for name, tensor in state.items():
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    return named


def test_a_classifier_of_mmaction2_leaves_its_head(tmp_path: Path) -> None:
    own = build("slow_r50", 7, width=8, depths=(1, 1, 1, 1))
    torch.save({"state_dict": mmaction_names(own.state_dict(), "cls_head.fc_cls.")}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.format.name == "mmaction2"
    report = load_tensors(own, checkpoint.tensors, "x.pth", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())


def mmaction_csn_names(state: dict[str, Tensor], preserved: bool) -> dict[str, Tensor]:
    """A CSN as mmaction2 would call it: the middle of a block is a list of one or two convolutions with their norms."""
    named = {}
    for name, tensor in mmaction_names(state, "cls_head.fc_cls.").items():
        if preserved:
            name = name.replace(".conv2.conv.2.", ".conv2.1.conv.").replace(".conv2.bn.", ".conv2.1.bn.")
            name = name.replace(".conv2.conv.0.", ".conv2.0.conv.").replace(".conv2.conv.1.", ".conv2.0.bn.")
        else:
            name = name.replace(".conv2.conv.", ".conv2.0.conv.").replace(".conv2.bn.", ".conv2.0.bn.")
        named[name] = tensor
    return named


@each_case("preserved", [False, True])
def test_csn_of_mmaction2_whose_norms_add_a_thousandth(tmp_path: Path, preserved: bool) -> None:
    sizes = {"width": 8, "depths": (1, 2, 1, 1), "preserved": preserved, "output_stride": 32}
    theirs, own = (build("csn", 7, **sizes).eval() for _ in range(2))
    theirs = shaken(theirs)
    for norm in (part for part in theirs.modules() if isinstance(part, nn.BatchNorm3d)):
        norm.eps = 1e-3
        norm.running_var[0] = 1e-4  # there the two differ by far more than rounding
    torch.save({"state_dict": mmaction_csn_names(theirs.state_dict(), preserved)}, tmp_path / "csn.pth")
    checkpoint = read_checkpoint(tmp_path / "csn.pth")
    assert checkpoint.format.name == "mmaction2 csn"
    report = load_tensors(own, checkpoint.tensors, "csn.pth", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())
    clip = torch.randn(2, 3, 8, 32, 32)
    expected = features(theirs, clip)
    torch.testing.assert_close(features(own, clip), expected, atol=1e-5, rtol=1e-4)
    for norm in (part for part in theirs.modules() if isinstance(part, nn.BatchNorm3d)):
        norm.eps = 1e-5
    assert (features(theirs, clip) - expected).abs().max() > 0.01 * expected.abs().max()
    with pytest.raises(AvadetError, match=r"csn\.pth: weights that classify whole clips \(mmaction2 csn\)"):
        recipe_of(checkpoint.tensors, checkpoint.format, {}, checkpoint.source)


def test_videomae_of_mmaction2_that_classifies_clips(tmp_path: Path) -> None:
    own = build("videomae", 7, **PLAIN, grid=(2, 2, 2))
    renames = (
        ("backbone.patch_embed.", "backbone.patch_embed.projection."),
        ("backbone.norm.", "backbone.fc_norm."),
        (".mlp.fc1.", ".mlp.layers.0.0."),
        (".mlp.fc2.", ".mlp.layers.1."),
        ("head.proj.", "cls_head.fc_cls."),
    )
    foreign = {"backbone.pos_embed": torch.zeros(1, 8, 16)}
    for name, tensor in own.state_dict().items():
        for ours, theirs in renames:
            name = name.replace(ours, theirs)
        foreign[name] = tensor
    torch.save({"state_dict": foreign}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.format.name == "mmaction2 vit"
    report = load_tensors(own, checkpoint.tensors, "x.pth", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())
