"""Stored scores of the reference implementations, given again by the models here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avadet.models.detector import ActionDetector
from avadet.models.layouts import recipe_of, recognise, translate
from avadet.models.slow import slow_r50
from avadet.models.slowfast import slow_frames, slowfast_r50
from avadet.models.weights import COUNTER, load_tensors, read_checkpoint
from avadet.models.zoo import build

pytestmark = pytest.mark.shared

TINY = [
    # fixture, architecture, frames, stride, aligned
    ("ptv_slow_r50_detection_tiny", "resnet3d", 4, 16, False),
    ("ptv_slowfast_r50_detection_tiny", "slowfast", 32, 2, False),
    ("slowfast_32x2_r50_tiny", "slowfast", 32, 2, True),
    ("slow_4x16_r50_cfg_SLOW_8x8_R50_SHORT_tiny", "resnet3d", 4, 16, True),
    ("slow_8x8_r50_tiny", "resnet3d", 8, 8, True),
    ("i3d_8x8_r50_tiny", "resnet3d", 8, 8, True),
    ("c2d_8x8_r50_tiny", "resnet3d", 8, 8, True),
]


def load_tiny(folder: Path) -> tuple[ActionDetector, str, int, int, bool]:
    """The fixture's model, with architecture, frames, stride and alignment as they were found out."""
    checkpoint = read_checkpoint(folder / "checkpoint.pyth")
    recipe = recipe_of(checkpoint.tensors, checkpoint.layout, checkpoint.settings, checkpoint.source)
    model = build(recipe.architecture, recipe.num_classes, recipe.clip, recipe.arguments)
    report = load_tensors(model, checkpoint.tensors, checkpoint.source)
    assert report.loaded == len(model.state_dict())
    aligned = recipe.arguments["head"]["aligned"]
    return model.eval(), recipe.architecture, recipe.clip.num_frames, recipe.clip.stride, aligned


@pytest.mark.parametrize(("fixture", "architecture", "frames", "stride", "aligned"), TINY)
def test_tiny_checkpoints_give_the_stored_scores(
    shared: Path, fixture: str, architecture: str, frames: int, stride: int, aligned: bool
) -> None:
    folder = shared / "parity" / "models" / fixture
    model, *found = load_tiny(folder)
    assert found == [architecture, frames, stride, aligned]
    stored = np.load(folder / "io.npz")
    assert model.mean.flatten().tolist() == pytest.approx(stored["mean"].tolist())
    clips = torch.from_numpy(stored["frames"]).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        logits = model(clips, torch.from_numpy(stored["boxes"]))
    np.testing.assert_allclose(logits.sigmoid().numpy(), stored["scores"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(logits.numpy(), stored["logits"], atol=1e-4, rtol=0)


def test_features_on_the_way_agree_too(shared: Path) -> None:
    folder = shared / "parity" / "models" / "slowfast_32x2_r50_tiny"
    model, *_ = load_tiny(folder)
    stored = np.load(folder / "io.npz")
    clips = torch.from_numpy(stored["frames"]).permute(0, 4, 1, 2, 3)
    rois = torch.from_numpy(stored["boxes"])
    with torch.no_grad():
        maps = model.backbone(model.normalise(clips))
        pooled = model.head.box_features(maps, rois, (clips.shape[3], clips.shape[4]))
    for one_map, name in zip(maps, ("feat0", "feat1")):
        np.testing.assert_allclose(one_map.numpy(), stored[name], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(pooled.numpy(), stored["roi_pooled"], atol=1e-4, rtol=1e-4)


def test_a_width_that_16_does_not_divide(shared: Path) -> None:
    # 85 px wide: read off the map as 85 / 6 instead of 16, the scale would change scores by up to 0.4.
    model, *_ = load_tiny(shared / "parity" / "models" / "slowfast_32x2_r50_tiny")
    demo = np.load(shared / "parity" / "preproc" / "demo_slowfast.npz")
    chosen = demo["bgr_frames"][slow_frames(64, 2).numpy()]
    small = [cv2.resize(np.ascontiguousarray(bgr[:, :, ::-1]), (85, 64)) for bgr in chosen]
    clip = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2)[None]
    rois = torch.from_numpy(np.concatenate([np.zeros((3, 1), np.float32), demo["boxes_scaled"]], axis=1))
    with torch.no_grad():
        scores = model(clip, rois).sigmoid()
    np.testing.assert_allclose(scores.numpy(), demo["scores"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("fixture", "builder"),
    [
        ("ptv_slow_r50_detection_full", slow_r50),
        ("ptv_slowfast_r50_detection_full", slowfast_r50),
        ("slowfast_32x2_r50_full", slowfast_r50),
        ("slow_8x8_r50_full", slow_r50),
    ],
)
def test_full_key_lists_map_without_rest(shared: Path, fixture: str, builder: type) -> None:
    listed = json.loads((shared / "parity" / "models" / fixture / "keys.json").read_text())
    tensors = {name: torch.empty(shape, device="meta") for name, (shape, _) in listed.items()}
    renamed = translate(tensors, recognise(tensors, fixture))
    with torch.device("meta"):
        own = builder(80).state_dict()
    own_shapes = {name: tuple(value.shape) for name, value in own.items()}
    shapes = {name: tuple(value.shape) for name, value in renamed.items()}
    if not any(name.endswith(COUNTER) for name in shapes):
        own_shapes = {name: shape for name, shape in own_shapes.items() if not name.endswith(COUNTER)}
    assert shapes == own_shapes
