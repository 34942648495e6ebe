"""Weights to start a training from: held against the tables of those who publish them; never taken for detectors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from torchvision.models import get_model_weights
from zoo_entry import put_in_zoo

from avadet.config import ClipConfig, ModelConfig
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.sizes import SIZES
from avadet.models.zoo.entries import Entry
from avadet.training.setup import build_model
from avadet.types import ClipSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorchvideo.models import hub
    from pytorchvideo.models.hub import csn, r2plus1d, resnet, slowfast, vision_transformers, x3d

STARTS = {entry.name: entry for entry in zoo.models() if entry.is_start}
TORCHVISION = {
    "r3d_18_k400": ("r3d_18", "KINETICS400_V1"),
    "mc3_18_k400": ("mc3_18", "KINETICS400_V1"),
    "r2plus1d_18_k400": ("r2plus1d_18", "KINETICS400_V1"),
    "s3d_k400": ("s3d", "KINETICS400_V1"),
    "swin3d_t_k400": ("swin3d_t", "KINETICS400_V1"),
    "swin3d_s_k400": ("swin3d_s", "KINETICS400_V1"),
    "swin3d_b_k400": ("swin3d_b", "KINETICS400_V1"),
    "swin3d_b_in22k_k400": ("swin3d_b", "KINETICS400_IMAGENET22K_V1"),
    "torchvision_mvitv1_b_16x4_k400": ("mvit_v1_b", "KINETICS400_V1"),
    "torchvision_mvitv2_s_16x4_k400": ("mvit_v2_s", "KINETICS400_V1"),
    "resnet18_in1k": ("resnet18", "IMAGENET1K_V1"),
    "resnet50_in1k": ("resnet50", "IMAGENET1K_V1"),
    "resnet50_in1k_v2": ("resnet50", "IMAGENET1K_V2"),
    "resnet101_in1k": ("resnet101", "IMAGENET1K_V1"),
    "googlenet_in1k": ("googlenet", "IMAGENET1K_V1"),
    "vit_b_16_in1k": ("vit_b_16", "IMAGENET1K_V1"),
    "vit_l_16_in1k": ("vit_l_16", "IMAGENET1K_V1"),
}
HUB: dict[str, tuple[dict[str, str], str]] = {
    "c2d_r50_8x8_k400": (resnet.checkpoint_paths, "c2d_r50"),
    "i3d_r50_8x8_k400": (resnet.checkpoint_paths, "i3d_r50"),
    "slow_r50_8x8_k400": (resnet.checkpoint_paths, "slow_r50"),
    "slowfast_r50_8x8_k400": (slowfast.checkpoint_paths, "slowfast_r50"),
    "slowfast_r101_8x8_k400": (slowfast.checkpoint_paths, "slowfast_r101"),
    "slowfast_r101_16x8_k400": (slowfast.checkpoint_paths, "slowfast_16x8_r101_50_50"),
    "ir_csn_101_k400": (csn.checkpoint_paths, "csn_r101"),
    "r2plus1d_r50_k400": (r2plus1d.checkpoint_paths, "r2plus1d_r50"),
    "x3d_xs_k400": (x3d.checkpoint_paths, "x3d_xs"),
    "x3d_s_k400": (x3d.checkpoint_paths, "x3d_s"),
    "x3d_m_k400": (x3d.checkpoint_paths, "x3d_m"),
    "x3d_l_k400": (x3d.checkpoint_paths, "x3d_l"),
    "mvitv1_b_16x4_k400": (vision_transformers.checkpoint_paths, "mvit_base_16x4"),
    "mvitv1_b_32x3_shallow_k400": (vision_transformers.checkpoint_paths, "mvit_base_32x3"),
}


def test_all_of_torchvisions_are_held_against_its_table() -> None:
    assert set(TORCHVISION) == {name for name, entry in STARTS.items() if "download.pytorch.org" in entry.url}


@each_case("name", TORCHVISION)
def test_torchvision_says_the_same(name: str) -> None:
    model, weights = TORCHVISION[name]
    entry, published = STARTS[name], get_model_weights(model)[weights]
    (scores,) = published.meta["_metrics"].values()
    assert entry.url == published.url
    assert entry.card["parameters"] == published.meta["num_params"]
    assert entry.card["numbers"]["top1"] == scores["acc@1"]
    # torch.hub checks the digits at the end of a file's name against its hash, and so does avadet.
    assert entry.url.endswith(f"-{entry.sha256}.pth") and len(entry.sha256) == 8
    seen = published.transforms()
    if name != "googlenet_in1k":
        assert (list(entry.card["clip"]["mean"]), list(entry.card["clip"]["std"])) == (list(seen.mean), list(seen.std))


@each_case("name", HUB)
def test_pytorchvideo_says_the_same(name: str) -> None:
    paths, key = HUB[name]
    assert STARTS[name].url == paths[key]


@each_case("name", ["slow_r50_8x8_k400", "slowfast_r101_16x8_k400", "x3d_m_k400", "ir_csn_101_k400"])
def test_parameters_are_those_of_the_published_model(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(hub, HUB[name][1])()
    assert sum(p.numel() for p in theirs.parameters()) == STARTS[name].card["parameters"]


@each_case("name", STARTS)
def test_it_starts_a_model_that_can_be_built(name: str) -> None:
    card = STARTS[name].card
    assert card["architecture"] in SIZES
    assert card["license"] and card["data"] and card["classifies"] in ("whole clips", "pictures", "nothing")
    if card["classifies"] in ("pictures", "nothing") or card["architecture"].startswith(("x3d", "hiera", "c3d")):
        return  # what they have besides is not what a detector has
    classes = 600 if "600" in card["data"] else 400
    with torch.device("meta"):
        model = build(card["architecture"], classes, **card["arguments"])
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]


@each_case("name", STARTS)
def test_it_is_never_taken_for_a_detector(name: str) -> None:
    with pytest.raises(AvadetError, match=rf"{name} finds no actions of people in boxes.*model\.init={name}"):
        zoo.load(name)


def test_those_who_look_for_a_detector_are_not_offered_it() -> None:
    with pytest.raises(AvadetError) as caught:
        zoo.load("r3d_18_k40")
    assert "r3d_18_k400" not in str(caught.value)


def test_a_path_stays_a_path_and_a_wrong_word_gets_close_matches(tmp_path: Path) -> None:
    assert zoo.fetched(tmp_path / "mine.pth") == tmp_path / "mine.pth"
    assert zoo.fetched("weights/mine") == Path("weights/mine")
    assert zoo.fetched("tiny").name == "tiny.safetensors"
    with pytest.raises(AvadetError, match="unknown weights 'r3d_18_k40'; did you mean r3d_18_k400"):
        zoo.fetched("r3d_18_k40")


def cached(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any, architecture: str) -> Entry:
    """A start entry whose file lies in the cache already."""
    monkeypatch.setenv("AVADET_CACHE", str(tmp_path))
    clip = ClipSpec(4, 2, fps=30.0, short_side=64, mean=(0.45,) * 3, std=(0.225,) * 3)
    card = make_card(name, architecture, {}, clip, "classes of Kinetics-400", use="start")
    entry = Entry(name, f"{name}.pth", "small", f"https://example.org/{name}.pth", card=card)
    torch.save(state, tmp_path / entry.file)
    put_in_zoo(monkeypatch, entry)
    return entry


CLIP = ClipConfig(num_frames=4, stride=2, fps=30, short_side=64, mean=(0.45,) * 3, std=(0.225,) * 3)


def test_a_training_starts_from_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"width": 8, "depths": [1, 1, 1, 1]}
    torch.manual_seed(0)
    theirs = build("r3d_18", 400, **small).state_dict()
    state = {name.removeprefix("backbone.").replace("head.proj", "fc"): tensor for name, tensor in theirs.items()}
    cached("small_k400", tmp_path, monkeypatch, state, "r3d_18")
    config = ModelConfig(family="r3d_18", arguments=small, init=Path("small_k400"))
    model, origin = build_model(config, CLIP, zoo.numbered_labels(3))
    assert torch.equal(model.backbone.layer4[0].conv2[0].weight, theirs["backbone.layer4.0.conv2.0.weight"])
    assert "1 reshaped" not in origin and "2 reshaped (head.proj.weight 400x64 for 3x64" in origin


def test_a_training_starts_from_pictures_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.resnet import Bottleneck, ResNet

    net = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5, width_per_group=8)
    cached("small_in1k", tmp_path, monkeypatch, net.state_dict(), "frame_resnet")
    config = ModelConfig(
        family="tsn_r50",
        arguments={"depths": [1, 1, 1, 1], "width_per_group": 8, "segments": 2},
        init=Path("small_in1k"),
    )
    model, origin = build_model(config, CLIP, zoo.numbered_labels(3))
    assert torch.equal(model.backbone.conv1.weight, net.conv1.weight)
    assert "2 missing (head.proj.weight, head.proj.bias)" in origin


def test_the_shallow_mvit_of_more_frames_is_the_same_net() -> None:
    with torch.device("meta"):
        model = build("mvitv1_b_16x4", 400, grid=[16, 56, 56])
    assert sum(p.numel() for p in model.parameters()) == STARTS["mvitv1_b_32x3_shallow_k400"].card["parameters"]
