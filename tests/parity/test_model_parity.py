"""Scores of the reference implementations, given again by the models here."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from drawn import drawn_boxes, drawn_clips, drawn_weights
from stored import answers, models

from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.formats import recipe_of, recognise, translate
from avadet.models.checkpoints.formats.format import Tensors
from avadet.models.checkpoints.weights import COUNTER, read_checkpoint
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.zoo import LoadedModel

PYTORCH, CAFFE2, MMACTION = "checkpoint.pyth", "checkpoint_caffe2.pkl", "checkpoint.pth"
ATTENTION = {"slowfast_64x2_r101_nl": 0.12}
TINY = [
    # model, architecture, frames, stride, aligned, resolution
    ("slowfast_32x2_r50", "slowfast", 32, 2, True, 7),
    ("slowfast_64x2_r101_nl", "slowfast", 64, 2, False, 7),
    ("slow_4x16_r50", "resnet3d", 4, 16, True, 7),
    ("slow_8x8_r50", "resnet3d", 8, 8, True, 7),
    ("i3d_8x8_r50", "resnet3d", 8, 8, True, 7),
    ("i3d_nln_8x8_r50", "resnet3d", 8, 8, True, 7),
    ("c2d_8x8_r50", "resnet3d", 8, 8, True, 7),
    ("mvitv1_b_16x4_stride32", "mvit", 16, 4, True, 7),
    ("mvitv2_s_16x4_stride16", "mvit", 16, 4, True, 7),
    ("mm_slowfast_r50_8x8", "slowfast", 32, 2, True, 8),
    ("mm_slowfast_r50_4x16", "slowfast", 32, 2, True, 8),
    ("mm_slowfast_r50_8x8_tmax", "slowfast", 32, 2, True, 8),
    ("ptv_slow_r50_detection", "resnet3d", 4, 16, False, 7),
    ("ptv_slowfast_r50_detection", "slowfast", 32, 2, False, 7),
]


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


def load(path: Path) -> tuple[ActionDetector, LoadedModel]:
    """The model of a file, loaded by its path alone, and what was found out about it."""
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    assert isinstance(loaded.model, ActionDetector)
    return loaded.model, loaded


def tiny_weights(name: str) -> dict[str, np.ndarray]:
    return drawn_weights(models()["tiny"][name]["shapes"], ATTENTION.get(name, 1.0))


def write_checkpoint(folder: Path, name: str) -> Path:
    """A file of drawn weights as the project that the model is of would have stored it."""
    tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in tiny_weights(name).items()}
    content: dict[str, Any] = {"model_state": tensors}
    path = folder / f"{name}.pyth"
    if name.startswith("mm_"):
        text = "roi_extractor = dict(temporal_pool_mode='max')" if name.endswith("tmax") else ""
        content, path = {"meta": {"epoch": 20, "cfg": text}, "state_dict": tensors}, folder / f"{name}.pth"
    elif not name.startswith("ptv_"):
        content |= {"epoch": 0, "cfg": yaml.safe_dump(models()["tiny"][name]["settings"])}
    torch.save(content, path)
    return path


def write_caffe2(folder: Path) -> Path:
    """The weights of slowfast_32x2_r50 as PySlowFast's model zoo has them, with what a training leaves there."""
    weights = tiny_weights("slowfast_32x2_r50")
    blobs = {blob: weights[name] for blob, name in models()["caffe2"].items()}
    blobs |= {"lr": np.float32(0.1), "model_iter": np.int64(7), "conv1_w_momentum": np.zeros_like(blobs["conv1_w"])}
    path = folder / "SLOWFAST_32x2_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    return path


def inputs(name: str, frames: int, height: int = 64, width: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips and five boxes."""
    if name.startswith("mvit"):
        height = width = 96
    clips = torch.from_numpy(drawn_clips(frames, height, width)).permute(0, 4, 1, 2, 3)
    return clips, torch.from_numpy(drawn_boxes(height, width))


def assert_logits(model: ActionDetector, clips: torch.Tensor, boxes: torch.Tensor, name: str) -> None:
    expected = answers()[f"logits.{name}"]
    assert np.ptp(expected, axis=0).max() > 0.5  # what boxes hold matters
    with torch.no_grad(), one_thread():
        logits = model(clips, boxes).numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-4, rtol=2e-5)


@pytest.mark.parametrize(("name", "architecture", "frames", "stride", "aligned", "resolution"), TINY)
def test_drawn_weights_give_the_stored_logits(
    tmp_path: Path, name: str, architecture: str, frames: int, stride: int, aligned: bool, resolution: int
) -> None:
    model, loaded = load(write_checkpoint(tmp_path, name))
    spec, head = loaded.spec, loaded.card["arguments"]["head"]
    found = (loaded.card["architecture"], spec.num_frames, spec.stride, head["aligned"], head["resolution"])
    assert found == (architecture, frames, stride, aligned, resolution)
    assert_logits(model, *inputs(name, frames), name)


def test_every_stored_layout_is_compared() -> None:
    assert set(models()["tiny"]) == {row[0] for row in TINY}
    extra = {"slowfast_32x2_r50_not_aligned", "slow_4x16_r50_odd"}
    assert {key for key in answers() if key.startswith("logits.")} == {
        f"logits.{name}" for name in {*models()["tiny"], *extra}
    }


def test_caffe2_files_hold_the_same_weights_and_do_not_align(tmp_path: Path) -> None:
    path = write_caffe2(tmp_path)
    copy, own = (read_checkpoint(one).tensors for one in (path, write_checkpoint(tmp_path, "slowfast_32x2_r50")))
    assert set(copy) == {name for name in own if not name.endswith(COUNTER)}
    assert all(torch.equal(copy[name], own[name]) for name in copy)
    assert_logits(load(path)[0], *inputs("slowfast_32x2_r50", 32), "slowfast_32x2_r50_not_aligned")


def test_features_on_the_way_agree_too(tmp_path: Path) -> None:
    model, _ = load(write_checkpoint(tmp_path, "slowfast_32x2_r50"))
    clips, boxes = inputs("slowfast_32x2_r50", 32)
    with torch.no_grad(), one_thread():
        maps = model.backbone(model.normalise(clips))
        pooled = model.head.box_features(maps, boxes, (clips.shape[3], clips.shape[4]))
    for number, one_map in enumerate(maps):
        stored = answers()[f"map{number}.slowfast_32x2_r50"]
        np.testing.assert_allclose(one_map.mean((2, 3, 4)).numpy(), stored, atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(pooled.numpy(), answers()["pooled.slowfast_32x2_r50"], atol=2e-5, rtol=2e-5)


def test_a_width_that_16_does_not_divide(tmp_path: Path) -> None:
    # 85 px wide: read off the map as 85 / 6 instead of 16, the scale would change scores by up to 0.4.
    model, _ = load(write_checkpoint(tmp_path, "slow_4x16_r50"))
    assert_logits(model, *inputs("slow_4x16_r50", 4, 64, 85), "slow_4x16_r50_odd")


STORED = [
    # fixture, file: models of the same families as above, of weights drawn by torch and then moved
    ("ptv_slow_r50_detection_tiny", PYTORCH),
    ("ptv_slowfast_r50_detection_tiny", PYTORCH),
    ("slowfast_32x2_r50_tiny", PYTORCH),
    ("slowfast_32x2_r50_tiny", CAFFE2),
    ("slow_4x16_r50_cfg_SLOW_8x8_R50_SHORT_tiny", PYTORCH),
    ("slow_8x8_r50_tiny", PYTORCH),
    ("i3d_8x8_r50_tiny", PYTORCH),
    ("i3d_nln_8x8_r50_tiny", PYTORCH),
    ("c2d_8x8_r50_tiny", PYTORCH),
    ("mm_slowfast_r50_8x8_tiny", MMACTION),
    ("mvitv1_b_16x4_stride32_tiny", PYTORCH),
    ("mvitv2_s_16x4_stride16_tiny", PYTORCH),
]


@pytest.mark.shared
@pytest.mark.parametrize(("fixture", "file"), STORED)
def test_stored_checkpoints_give_their_stored_scores(shared: Path, fixture: str, file: str) -> None:
    folder = shared / "parity" / "models" / fixture
    model, _ = load(folder / file)
    if file == CAFFE2:  # the zoo does not align, but this is the copy of a model that does; no tensor could tell
        options = model.head.options
        model.head.options = replace(options, crop=replace(options.crop, aligned=True))
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


@pytest.mark.shared
def test_every_stored_checkpoint_is_compared(shared: Path) -> None:
    files = [
        (path.parent.name, path.name) for path in sorted((shared / "parity" / "models").glob("*_tiny/checkpoint*"))
    ]
    assert set(files) <= set(STORED)


def meta_tensors(fixture: str) -> Tensors:
    """Tensors of the names and shapes of a full-size model, without values."""
    shapes = models()["full"][fixture]["shapes"]
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


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
def test_full_key_lists_map_without_rest(fixture: str, count: int) -> None:
    tensors = meta_tensors(fixture)
    layout = recognise(tensors, fixture)
    renamed = translate(tensors, layout)
    assert len(renamed) == len(tensors) == count
    recipe = recipe_of(renamed, layout, models()["full"][fixture]["settings"], fixture)
    with torch.device("meta"):
        model = build(recipe.architecture, recipe.num_classes, pixels=recipe.clip.pixels, **recipe.arguments)
    own = {name: value.shape for name, value in model.state_dict().items()}
    if not any(name.endswith(COUNTER) for name in renamed):
        own = {name: shape for name, shape in own.items() if not name.endswith(COUNTER)}
    assert {name: value.shape for name, value in renamed.items()} == own
    # mmaction2 has a row of 2304 weights and a bias more, for the background.
    published = models()["full"][fixture]["parameters"] - 2305 * layout.background
    assert sum(value.numel() for value in model.parameters()) == published
    assert recipe.num_classes == 80


def test_every_full_key_list_is_mapped() -> None:
    assert set(models()["full"]) == {row[0] for row in FULL}


@pytest.mark.parametrize(
    ("fixture", "frames", "alpha", "kernel", "pool"),
    [
        ("slowfast_32x2_r101_full", 32, 4, 5, "avg"),
        ("slowfast_64x2_r101_nl_full", 64, 4, 5, "avg"),
        ("mm_slowfast_r50_4x16_full", 32, 8, 5, "avg"),
        ("mm_slowfast_r50_8x8_full", 32, 4, 7, "avg"),
    ],
)
def test_what_the_full_models_want(fixture: str, frames: int, alpha: int, kernel: int, pool: str) -> None:
    tensors = meta_tensors(fixture)
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
