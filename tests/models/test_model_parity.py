"""Stored scores of the reference implementations, given again by the models here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from small_heads import crop_otherwise

from avadet.models import zoo
from avadet.models.backbones.slowfast import slow_frames
from avadet.models.build import build
from avadet.models.checkpoints.formats import recipe_of, recognise, translate
from avadet.models.checkpoints.formats.format import Tensors
from avadet.models.checkpoints.weights import COUNTER, read_checkpoint
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.zoo import LoadedModel

pytestmark = pytest.mark.shared

PYTORCH, CAFFE2, MMACTION = "checkpoint.pyth", "checkpoint_caffe2.pkl", "checkpoint.pth"

TINY = [
    # fixture, file, architecture, frames, stride, aligned, resolution
    ("ptv_slow_r50_detection_tiny", PYTORCH, "resnet3d", 4, 16, False, 7),
    ("ptv_slowfast_r50_detection_tiny", PYTORCH, "slowfast", 32, 2, False, 7),
    ("slowfast_32x2_r50_tiny", PYTORCH, "slowfast", 32, 2, True, 7),
    ("slowfast_32x2_r50_tiny", CAFFE2, "slowfast", 32, 2, False, 7),
    ("slow_4x16_r50_cfg_SLOW_8x8_R50_SHORT_tiny", PYTORCH, "resnet3d", 4, 16, True, 7),
    ("slow_8x8_r50_tiny", PYTORCH, "resnet3d", 8, 8, True, 7),
    ("i3d_8x8_r50_tiny", PYTORCH, "resnet3d", 8, 8, True, 7),
    ("i3d_nln_8x8_r50_tiny", PYTORCH, "resnet3d", 8, 8, True, 7),
    ("c2d_8x8_r50_tiny", PYTORCH, "resnet3d", 8, 8, True, 7),
    ("mm_slowfast_r50_8x8_tiny", MMACTION, "slowfast", 32, 2, True, 8),
    ("mvitv1_b_16x4_stride32_tiny", PYTORCH, "mvit", 16, 4, True, 7),
    ("mvitv2_s_16x4_stride16_tiny", PYTORCH, "mvit", 16, 4, True, 7),
]
PERHAPS_ABSENT = [("slowfast_64x2_r101_nl_tiny", PYTORCH), ("slowfast_64x2_r101_nl_tiny", CAFFE2)]


def load_tiny(path: Path) -> tuple[ActionDetector, LoadedModel]:
    """The fixture's model, loaded by its path alone, and what was found out about it."""
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    assert isinstance(loaded.model, ActionDetector)
    return loaded.model, loaded


@contextmanager
def one_thread() -> Iterator[None]:
    """Add numbers up in one order, as the stored scores were.

    The softmax of i3d_nln_8x8_r50_tiny sees inner products up to 377 and so makes rounding visible: its scores here are
    6e-6 off with one thread, 1.05e-4 with two, and in exact (float64) arithmetic 2.6e-4.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_scores(model: ActionDetector, folder: Path) -> None:
    """Compare mean, deviation, logits and scores with the stored ones."""
    stored = np.load(folder / "io.npz")
    scale = 255 if stored["mean"].max() > 1 else 1  # mmaction2 counts pixels so
    assert model.mean.flatten().tolist() == pytest.approx((stored["mean"] / scale).tolist())
    assert model.std.flatten().tolist() == pytest.approx((stored["std"] / scale).tolist())
    clips = torch.from_numpy(stored["frames"]).permute(0, 4, 1, 2, 3)
    with torch.no_grad(), one_thread():
        logits = model(clips, torch.from_numpy(stored["boxes"]))
    expected = stored["logits"] if "logits" in stored else stored["logits81"][:, 1:]
    np.testing.assert_allclose(logits.sigmoid().numpy(), stored["scores"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(logits.numpy(), expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize(("fixture", "file", "architecture", "frames", "stride", "aligned", "resolution"), TINY)
def test_tiny_checkpoints_give_the_stored_scores(
    shared: Path, fixture: str, file: str, architecture: str, frames: int, stride: int, aligned: bool, resolution: int
) -> None:
    folder = shared / "parity" / "models" / fixture
    model, loaded = load_tiny(folder / file)
    spec, head = loaded.spec, loaded.card["arguments"]["head"]
    found = (loaded.card["architecture"], spec.num_frames, spec.stride, head["aligned"], head["resolution"])
    assert found == (architecture, frames, stride, aligned, resolution)
    if file == CAFFE2:  # the zoo does not align, but this is the copy of a model that does; no tensor could tell
        crop_otherwise(model.head, aligned=True)
    check_scores(model, folder)


@pytest.mark.parametrize(("fixture", "file"), PERHAPS_ABSENT)
def test_tiny_checkpoints_that_may_be_added(shared: Path, fixture: str, file: str) -> None:
    folder = shared / "parity" / "models" / fixture
    if not (folder / file).exists():
        pytest.skip(f"no {fixture} among the shared models")
    check_scores(load_tiny(folder / file)[0], folder)


def test_every_tiny_checkpoint_is_compared(shared: Path) -> None:
    files = [
        (path.parent.name, path.name) for path in sorted((shared / "parity" / "models").glob("*_tiny/checkpoint*"))
    ]
    assert set(files) <= {row[:2] for row in TINY} | set(PERHAPS_ABSENT)


def test_the_caffe2_copy_holds_the_same_weights(shared: Path) -> None:
    folder = shared / "parity" / "models" / "slowfast_32x2_r50_tiny"
    copy, own = read_checkpoint(folder / CAFFE2).tensors, read_checkpoint(folder / PYTORCH).tensors
    assert set(copy) == {name for name in own if not name.endswith(COUNTER)}
    assert all(torch.equal(copy[name], own[name]) for name in copy)


def test_features_on_the_way_agree_too(shared: Path) -> None:
    folder = shared / "parity" / "models" / "slowfast_32x2_r50_tiny"
    model, _ = load_tiny(folder / PYTORCH)
    stored = np.load(folder / "io.npz")
    clips = torch.from_numpy(stored["frames"]).permute(0, 4, 1, 2, 3)
    rois = torch.from_numpy(stored["boxes"])
    with torch.no_grad(), one_thread():
        maps = model.backbone(model.normalise(clips))
        pooled = model.head.box_features(maps, rois, (clips.shape[3], clips.shape[4]))
    for one_map, name in zip(maps, ("feat0", "feat1")):
        np.testing.assert_allclose(one_map.numpy(), stored[name], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(pooled.numpy(), stored["roi_pooled"], atol=1e-4, rtol=1e-4)


def test_a_width_that_16_does_not_divide(shared: Path) -> None:
    # 85 px wide: read off the map as 85 / 6 instead of 16, the scale would change scores by up to 0.4.
    model, _ = load_tiny(shared / "parity" / "models" / "slowfast_32x2_r50_tiny" / PYTORCH)
    demo = np.load(shared / "parity" / "preproc" / "demo_slowfast.npz")
    chosen = demo["bgr_frames"][slow_frames(64, 2).numpy()]
    small = [cv2.resize(np.ascontiguousarray(bgr[:, :, ::-1]), (85, 64)) for bgr in chosen]
    clip = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2)[None]
    rois = torch.from_numpy(np.concatenate([np.zeros((3, 1), np.float32), demo["boxes_scaled"]], axis=1))
    with torch.no_grad(), one_thread():
        scores = model(clip, rois).sigmoid()
    np.testing.assert_allclose(scores.numpy(), demo["scores"], atol=1e-4, rtol=0)


def meta_tensors(folder: Path) -> Tensors:
    """Tensors of the names and shapes of a full-size model, without values."""
    listed = json.loads((folder / "keys.json").read_text())
    return {name: torch.empty(shape, device="meta") for name, (shape, _) in listed.items()}


FULL = [
    # fixture, number of its tensors
    ("ptv_slow_r50_detection_full", 320),
    ("ptv_slowfast_r50_detection_full", 662),
    ("slow_4x16_r50_cfg_SLOW_8x8_R50_SHORT_full", 320),
    ("slow_8x8_r50_full", 320),
    ("c2d_8x8_r50_full", 320),
    ("i3d_8x8_r50_full", 320),
    ("i3d_nln_8x8_r50_full", 385),
    ("slowfast_32x2_r50_full", 662),
    ("slowfast_32x2_r101_full", 1313),
    ("slowfast_64x2_r101_nl_full", 1313),
    ("mvitv1_b_16x4_stride32_full", 313),
    ("mvitv1_b_32x3_stride32_full", 439),
    ("mvitv2_s_16x4_stride16_full", 397),
    ("mvitv2_s_16x4_stride32_full", 397),
    ("mvitv2_b_32x3_stride32_full", 589),
    ("mm_slowfast_r50_4x16_full", 642),
    ("mm_slowfast_r50_8x8_full", 642),
    ("mm_slowfast_r50_8x8_tmax_ava22_full", 642),
]


@pytest.mark.parametrize(("fixture", "count"), FULL)
def test_full_key_lists_map_without_rest(shared: Path, fixture: str, count: int) -> None:
    folder = shared / "parity" / "models" / fixture
    tensors = meta_tensors(folder)
    config = folder / "cfg.yaml"
    settings = yaml.safe_load(config.read_text()) if config.exists() else {}
    layout = recognise(tensors, fixture)
    renamed = translate(tensors, layout)
    assert len(renamed) == len(tensors) == count
    recipe = recipe_of(renamed, layout, settings, fixture)
    with torch.device("meta"):
        model = build(recipe.architecture, recipe.num_classes, pixels=recipe.clip.pixels, **recipe.arguments)
    own = {name: value.shape for name, value in model.state_dict().items()}
    if not any(name.endswith(COUNTER) for name in renamed):
        own = {name: shape for name, shape in own.items() if not name.endswith(COUNTER)}
    assert {name: value.shape for name, value in renamed.items()} == own
    # mmaction2 has a row of 2304 weights and a bias more, for the background.
    published = json.loads((folder / "stats.json").read_text())["params_M"] * 1e6 - 2305 * layout.background
    assert sum(value.numel() for value in model.parameters()) == round(published)
    assert recipe.num_classes == 80


def test_every_full_key_list_is_mapped(shared: Path) -> None:
    names = {path.parent.name for path in (shared / "parity" / "models").glob("*_full/keys.json")}
    assert names == {row[0] for row in FULL}


@pytest.mark.parametrize(
    ("fixture", "frames", "alpha", "kernel", "pool"),
    [
        ("slowfast_32x2_r101_full", 32, 4, 5, "avg"),
        ("slowfast_64x2_r101_nl_full", 64, 4, 5, "avg"),
        ("mm_slowfast_r50_4x16_full", 32, 8, 5, "avg"),
        ("mm_slowfast_r50_8x8_full", 32, 4, 7, "avg"),
    ],
)
def test_what_the_full_models_want(shared: Path, fixture: str, frames: int, alpha: int, kernel: int, pool: str) -> None:
    tensors = meta_tensors(shared / "parity" / "models" / fixture)
    layout = recognise(tensors, fixture)
    # No settings: 64x2 is told by the name, 4x16 of mmaction2 by its lateral kernels as well.
    recipe = recipe_of(translate(tensors, layout), layout, {}, fixture)
    arguments = recipe.arguments
    assert (recipe.clip.num_frames, recipe.clip.stride, recipe.clip.short_side) == (frames, 2, 256)
    assert (arguments["alpha"], arguments["lateral_kernel"], arguments["head"]["time_pool"]) == (alpha, kernel, pool)
    if "r101" in fixture:
        assert arguments["slow_kernels"] == [[1] * 3, [1] * 4, [3] * 6 + [1] * 17, [3] * 3]
        assert arguments["nonlocal_after"] == [[], [], [6, 13, 20], []]
        assert arguments["nonlocal_options"] == {"softmax": False, "pool": [2, 2, 2]}
