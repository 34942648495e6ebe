"""Checkpoints in mmaction2's names, made here from random weights, against a plain restatement of its head."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv3d, max_pool3d
from torchvision.ops import roi_align

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.backbones.nonlocal_block import NonLocal
from avadet.models.build import build
from avadet.models.checkpoints.formats.mmaction2 import has_background, mmaction_settings
from avadet.models.checkpoints.weights import read_checkpoint
from avadet.types import ClipSpec

ACRN = {"join": "conv1.conv", "join_norm": "conv1.bn", "conv": "conv2.conv", "conv_norm": "conv2.bn"}
TO_MMACTION = (
    (r"\.stem\.conv\.", ".conv1.conv."),
    (r"\.stem\.norm\.", ".conv1.bn."),
    (r"\.nonlocal(\d+)\.conv_(theta)\.", r".\1.non_local_block.\2.conv."),
    (r"\.nonlocal(\d+)\.conv_(phi|g)\.", r".\1.non_local_block.\2.0.conv."),
    (r"\.nonlocal(\d+)\.conv_out\.", r".\1.non_local_block.conv_out.conv."),
    (r"\.nonlocal(\d+)\.norm\.", r".\1.non_local_block.conv_out.bn."),
    (r"\.branch1_conv\.", ".downsample.conv."),
    (r"\.branch1_norm\.", ".downsample.bn."),
    *((rf"\.branch2\.conv_{letter}\.", f".conv{index}.conv.") for index, letter in enumerate("abc", 1)),
    *((rf"\.branch2\.norm_{letter}\.", f".conv{index}.bn.") for index, letter in enumerate("abc", 1)),
    *((rf"\.res{number + 1}\.", f".layer{number}.") for number in (1, 2, 3, 4)),
)
NORM = ("running_mean", "running_var", "weight", "bias")
CLIP = torch.linspace(0, 255, 3 * 4 * 64 * 96).view(1, 3, 4, 64, 96).sin().mul(127).add(128).byte()
ROIS = torch.tensor([[0.0, 4, 4, 40, 60], [0, 30, 2, 96, 64], [0, 50, 20, 52, 23]])


def random_model(**arguments: Any) -> nn.Module:
    """A small Slow whose norms and classifier all matter."""
    torch.manual_seed(0)
    spec = ClipSpec(4, 16, 30.0, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    model = build(
        "slow_r50", 5, pixels=spec.pixels, **{"width": 4, "depths": [1, 2, 1, 1], "last_dilation": 1, **arguments}
    )
    for name, value in model.state_dict().items():
        if value.is_floating_point() and ("norm" in name or name.startswith("head")):
            value.copy_(torch.rand(value.shape) + 0.5 if name.endswith(("weight", "var")) else torch.randn(value.shape))
    return model.eval()


def mmaction_tensors(model: nn.Module, background: bool = True) -> dict[str, Tensor]:
    """The model's weights as mmaction2 would store them."""
    tensors = {}
    layers = hasattr(model.head, "hidden") and model.head.hidden is not None
    for name, value in model.state_dict().items():
        if name.startswith("head.proj."):
            rows = torch.cat([torch.full_like(value[:1], 9.0), value]) if background else value
            tensors[f"roi_head.bbox_head.fc_cls.{'2.' if layers else ''}{name.rpartition('.')[2]}"] = rows
        elif name.startswith("head.hidden."):
            tensors[f"roi_head.bbox_head.fc_cls.0.{name.rpartition('.')[2]}"] = value
        elif name.startswith("head.acrn."):
            _, _, part, kind = name.split(".")
            tensors[f"roi_head.shared_head.{ACRN[part]}.{kind}"] = value
        elif name.startswith("backbone."):
            for pattern, replacement in TO_MMACTION:
                name = re.sub(pattern, replacement, name)
            tensors[name] = value
    return tensors


def plain_logits(model: nn.Module, tensors: dict[str, Tensor], time_max: bool, context: bool) -> Tensor:
    """mmaction2's RoI head in a few lines, on the maps of our backbone."""
    (one_map,) = model.backbone(model.normalise(CLIP))
    frame = one_map.amax(2) if time_max else one_map.mean(2)
    cells = roi_align(frame, ROIS, 8, 1 / 16, 0, True)
    if context:
        cells = torch.cat([cells, adaptive_avg_pool2d(frame, 8).expand(len(ROIS), -1, -1, -1)], dim=1)
    features = cells.flatten(2).amax(2)
    if "roi_head.shared_head.conv1.conv.weight" in tensors:
        features = plain_relation(features, frame, tensors)
    key = "roi_head.bbox_head.fc_cls."
    if f"{key}0.weight" in tensors:
        features = (features @ tensors[f"{key}0.weight"].T + tensors[f"{key}0.bias"]).clamp(min=0)
        key += "2."
    return (features @ tensors[f"{key}weight"].T + tensors[f"{key}bias"])[:, 1:]


def plain_relation(features: Tensor, frame: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """Its ACRN: every actor tiled beside the one map, a 1x1 and a 3x3 convolution, the maximum over places."""
    tiled = features[..., None, None].expand(-1, -1, *frame.shape[2:])
    x = torch.cat([tiled, frame.expand(len(features), -1, -1, -1)], dim=1)[:, :, None]
    for name, padding in (("conv1", 0), ("conv2", (0, 1, 1))):
        norm = (tensors[f"roi_head.shared_head.{name}.bn.{part}"] for part in NORM)
        x = batch_norm(conv3d(x, tensors[f"roi_head.shared_head.{name}.conv.weight"], padding=padding), *norm).relu()
    return x.flatten(2).amax(2)


@each_case("context", [False, True])
def test_relations_give_the_logits_of_mmaction2(tmp_path: Path, context: bool) -> None:
    head = {"aligned": True, "resolution": 8, "context": context, "context_cells": 8}
    model = random_model(head={**head, "acrn": {"width": 6}})
    tensors = mmaction_tensors(model)
    path = tmp_path / "slowonly-acrn_8xb8-4x16x1.pth"
    torch.save({"state_dict": tensors}, path)
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    assert loaded.card["arguments"]["head"]["acrn"] == {"width": 6}
    with torch.no_grad():
        expected = plain_logits(model, tensors, False, context)
        torch.testing.assert_close(loaded.model(CLIP, ROIS), expected, atol=1e-4, rtol=1e-4)
    assert expected.std(0).min() > 1e-3


@each_case("hidden", [False, True])
@each_case("context", [False, True])
@each_case("time_pool", ["avg", "max"])
def test_every_head_gives_the_logits_of_mmaction2(tmp_path: Path, hidden: bool, context: bool, time_pool: str) -> None:
    head = {"aligned": True, "resolution": 8, "hidden": hidden, "context": context, "context_cells": 8}
    model = random_model(head={**head, "time_pool": time_pool})
    tensors = mmaction_tensors(model)
    path = tmp_path / "slowonly_8xb8-4x16x1.pth"
    config = f"roi_head=dict(bbox_roi_extractor=dict(output_size=8, temporal_pool_mode='{time_pool}'))"
    torch.save({"state_dict": tensors, "meta": {"cfg": config}}, path)
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    assert (loaded.spec.num_frames, loaded.spec.stride, loaded.spec.boxes) == (4, 16, "exact")
    with torch.no_grad():
        expected = plain_logits(model, tensors, time_pool == "max", context)
        torch.testing.assert_close(loaded.model(CLIP, ROIS), expected, atol=1e-4, rtol=1e-4)
    assert expected.std(0).min() > 1e-3  # the boxes differ


def test_nonlocal_blocks_of_mmaction2_load_and_pool_what_they_projected(tmp_path: Path) -> None:
    options = {"softmax": True, "pool": [1, 2, 2], "pool_projections": True}
    head = {"aligned": True, "resolution": 8}
    model = random_model(nonlocal_after=[[], [0], [], []], nonlocal_options=options, head=head)
    path = tmp_path / "slowonly-nl_8xb16-4x16x1.pth"
    tensors = mmaction_tensors(model)
    assert "backbone.layer2.0.non_local_block.g.0.conv.weight" in tensors
    assert "backbone.layer2.0.non_local_block.conv_out.conv.bias" not in tensors
    torch.save({"state_dict": tensors}, path)
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(CLIP, ROIS), model(CLIP, ROIS))


def test_a_pooled_projection_by_plain_sums() -> None:
    torch.manual_seed(1)
    block = NonLocal(4, pool_projections=True).eval()
    nn.init.uniform_(block.norm.weight)
    state = block.state_dict()
    x = torch.randn(2, 4, 3, 4, 6)

    def project(name: str) -> Tensor:
        return conv3d(x, state[f"conv_{name}.weight"], state[f"conv_{name}.bias"])

    key, value = (max_pool3d(project(name), (1, 2, 2)).flatten(2) for name in ("phi", "g"))
    weights = torch.einsum("nct,ncp->ntp", project("theta").flatten(2), key).div(2**0.5).softmax(2)
    looked_up = torch.einsum("ntp,ncp->nct", weights, value).view(2, 2, 3, 4, 6)
    out = conv3d(looked_up, state["conv_out.weight"])
    norm = (state[f"norm.{part}"] for part in NORM)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x + batch_norm(out, *norm))
        other = NonLocal(4).eval()
        other.load_state_dict({**state, "conv_out.bias": torch.zeros(4)})
        assert (other(x) - block(x)).abs().max() > 1e-4  # the order of pooling and projecting matters


def test_a_row_for_no_action_is_dropped_only_where_there_is_one(tmp_path: Path) -> None:
    assert mmaction_settings("bbox_head=dict(background_class=False)")["DETECTION"] == {"BACKGROUND": False}
    assert mmaction_settings("bbox_head=dict(background_class=True)")["DETECTION"] == {}
    assert has_background({}, "slowonly_ava21-rgb.pth")
    assert not has_background({}, "slowonly_multisports-rgb_20230320-a1ca5e76.pth")
    assert not has_background({"DETECTION": {"BACKGROUND": False}}, "mine.pth")
    model = random_model(head={"aligned": True, "resolution": 8})
    for name, config in (("mine.pth", "background_class=False"), ("my_multisports.pth", "")):
        stored = {"state_dict": mmaction_tensors(model, background=False), "meta": {"cfg": config}}
        torch.save(stored, tmp_path / name)
        assert torch.equal(read_checkpoint(tmp_path / name).tensors["head.proj.weight"], model.head.proj.weight)


@pytest.mark.parametrize(
    ("tensor", "part"),
    [
        ("roi_head.shared_head.fbo.st_feat_conv.weight", r"the long-term feature bank \(LFB\) of its head"),
    ],
)
def test_a_part_that_is_not_built_is_named(tmp_path: Path, tensor: str, part: str) -> None:
    path = tmp_path / "x.pth"
    tensors = {**mmaction_tensors(random_model()), tensor: torch.zeros(2)}
    torch.save({"state_dict": tensors}, path)
    with pytest.raises(AvadetError, match=rf"x\.pth: avadet does not build {part} \(tensor {re.escape(tensor)}\); "):
        zoo.load(path)


def a_file(path: Path, config: str | None, **head: Any) -> None:
    """With `context` it has the tensors of mmaction2's LFB-Max, whose classifier is as wide."""
    model = random_model(head={"aligned": True, "resolution": 8, **head})
    torch.save({"state_dict": mmaction_tensors(model), "meta": {"cfg": config}}, path)


@each_case(
    ("name", "config"),
    [
        ("x.pth", "shared_head=dict(fbo_cfg=dict(type='max'), type='FBOHead')"),
        ("slowonly-lfb-max_kinetics400-pretrained-r50_8xb12-4x16x1-20e_ava21-rgb_20220906-4963135b.pth", None),
        ("lfb_max_slowonly_r50_ava.pth", None),
    ],
)
def test_a_bank_without_tensors_is_told_by_config_or_name(tmp_path: Path, name: str, config: str | None) -> None:
    a_file(tmp_path / name, config, context=True, context_cells=8)
    with pytest.raises(AvadetError, match=r"avadet does not build the long-term feature bank \(LFB\) of its head; it "):
        zoo.load(tmp_path / name)


@each_case("config", ["shared_head=dict(dataset_mode='val', type='LFBInferHead')", None])
def test_a_model_that_only_fills_a_bank_has_none(tmp_path: Path, config: str | None) -> None:
    a_file(tmp_path / "slowonly-lfb-infer_r50_ava21-rgb.pth", config)
    assert zoo.load(tmp_path / "slowonly-lfb-infer_r50_ava21-rgb.pth").report.is_whole
