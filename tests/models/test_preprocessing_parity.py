"""What models of other projects are shown: frames, their values, and boxes, against stored ones of PySlowFast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avadet import boxes
from avadet.models.backbones.slowfast import slow_frames
from avadet.models.build import build
from avadet.types import ClipSpec
from avadet.video.sample import clip_indices, resize_short

pytestmark = pytest.mark.shared

SHORT_SIDE = 64


def stored_of(shared: Path, name: str) -> Any:
    return np.load(shared / "parity" / "preproc" / name)


def shown(bgr_frames: np.ndarray) -> torch.Tensor:
    """Frames of a file as a model here gets them: (1, 3, T, H, W), of mean 0 and deviation 1."""
    small = [resize_short(np.ascontiguousarray(bgr[:, :, ::-1]), SHORT_SIDE) for bgr in bgr_frames]
    clip = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2)[None]
    return build("slow_r50", 1, width=4, depths=(1, 1, 1, 1)).normalise(clip)


def test_slow_frames_of_the_reference_tables(shared: Path) -> None:
    tables = json.loads((shared / "parity/preproc/index_tables.json").read_text())["linspace_long"]
    compared = 0
    for name, expected in tables.items():
        last, count = (int(part) for part in name.removeprefix("linspace(0,").removesuffix(").long()").split(","))
        if (last + 1) % count == 0:
            assert slow_frames(last + 1, (last + 1) // count).tolist() == expected, name
            compared += 1
    assert compared >= 10


def test_values_of_the_data_set_are_the_stored_ones(shared: Path) -> None:
    stored = stored_of(shared, "ava_dataset_test.npz")
    values = shown(stored["bgr_frames"])[0].numpy()
    np.testing.assert_allclose(values, stored["cv2_imgs"], atol=1e-6, rtol=0)
    # PySlowFast's other backend resizes floats where this one rounds to whole grey values: less than one of 255.
    np.testing.assert_allclose(values, stored["pt_imgs"].astype(np.float32), atol=1 / 255 / 0.225, rtol=0)


def test_values_of_the_demo_are_the_stored_ones(shared: Path) -> None:
    stored = stored_of(shared, "demo_slowfast.npz")
    # The demo spreads 32 frames over its 64 from the first to the last; the slow pathway does so again.
    fast = shown(stored["bgr_frames"][slow_frames(64, 2).numpy()])
    slow = fast[:, :, slow_frames(32, 4)]
    assert fast.shape == tuple(stored["fast_shape"])
    assert fast.double().sum().item() == pytest.approx(float(stored["fast_sum"]), rel=1e-6)
    assert slow.double().sum().item() == pytest.approx(float(stored["slow_sum"]), rel=1e-6)
    np.testing.assert_allclose(slow.numpy(), stored["slow"].astype(np.float32), atol=2e-3, rtol=0)  # stored as float16


def test_the_demo_differs_from_the_data_set_by_its_last_frames(shared: Path) -> None:
    # Here a video is sampled as PySlowFast's data set is, also where PySlowFast's demo does otherwise.
    tables = json.loads((shared / "parity/preproc/index_tables.json").read_text())
    spec = ClipSpec(32, 2, 30.0, 256, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    times_s = np.arange(64) / 30
    here = clip_indices(times_s, times_s[32], spec)
    demo = np.array(tables["linspace_long"]["linspace(0,63,32).long()"])
    assert here.tolist() == list(range(0, 64, 2))
    assert np.abs(here - demo).max() == 1
    assert np.flatnonzero(here != demo).tolist() == [31]


FRAME_HW, CLIP_HW = (90, 120), (64, 85)


def test_boxes_of_the_data_set_are_the_stored_ones(shared: Path) -> None:
    stored = stored_of(shared, "ava_dataset_test.npz")
    frame_px = boxes.to_px(stored["boxes_norm"], FRAME_HW)
    in_clip = boxes.clip_boxes(frame_px, FRAME_HW, CLIP_HW, "pyslowfast")
    np.testing.assert_allclose(in_clip, stored["cv2_boxes"], atol=1e-5, rtol=0)
    # PySlowFast's other backend takes the clip for a square when it cuts boxes; that is not followed here.
    np.testing.assert_allclose(np.minimum(in_clip, SHORT_SIDE - 1), stored["pt_boxes"], atol=1e-5, rtol=0)
    mirrored = in_clip.copy()
    mirrored[:, [0, 2]] = CLIP_HW[1] - 1 - in_clip[:, [2, 0]]
    np.testing.assert_allclose(mirrored, stored["flip_boxes"], atol=1e-5, rtol=0)


def test_the_mirrored_values_are_the_stored_ones(shared: Path) -> None:
    stored = stored_of(shared, "ava_dataset_test.npz")
    total = shown(stored["bgr_frames"]).flip(-1).double().sum().item()
    assert total == pytest.approx(float(stored["flip_sum"]), rel=1e-6)


def test_boxes_of_the_demo_are_scaled_alike_but_not_cut(shared: Path) -> None:
    demo = stored_of(shared, "demo_slowfast.npz")
    scaled = boxes.scale_by_long_side(demo["boxes_px"], FRAME_HW, CLIP_HW)
    np.testing.assert_allclose(scaled, demo["boxes_scaled"], atol=1e-5, rtol=0)
    # Its way back divides by the other side's factor: a full frame comes back 119.53 px wide.
    back = demo["boxes_scaled"] * (FRAME_HW[0] / CLIP_HW[0])
    np.testing.assert_allclose(back, demo["boxes_reverted"], atol=1e-4, rtol=0)


def test_continuous_boxes_differ_from_those_by_the_rounding_of_the_longer_side(shared: Path) -> None:
    demo = stored_of(shared, "demo_slowfast.npz")
    here = boxes.clip_boxes(demo["boxes_px"], FRAME_HW, CLIP_HW, "exact")
    np.testing.assert_allclose(here[:, [0, 2]], demo["boxes_scaled"][:, [0, 2]], atol=1e-5, rtol=0)
    # 90 px become 64, a factor of 0.7111, where 120 become 85, one of 0.7083.
    assert np.abs(here - demo["boxes_scaled"]).max() == pytest.approx(90 * (64 / 90 - 85 / 120), abs=1e-4)


def test_an_odd_clip_of_the_reference_is_the_one_around_the_frame_before(shared: Path) -> None:
    tables = json.loads((shared / "parity/preproc/index_tables.json").read_text())["get_sequence"]
    expected = tables["center=100,half=31,rate=2,n=200"]
    times_s = np.arange(200) / 30
    spec = ClipSpec(31, 2, 30.0, 256, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    assert clip_indices(times_s, times_s[99], spec).tolist() == expected
    assert 100 not in expected  # PySlowFast leaves out the keyframe itself; no published clip is of odd length


def test_every_stored_index_table_is_compared(shared: Path) -> None:
    tables = json.loads((shared / "parity/preproc/index_tables.json").read_text())
    assert set(tables) == {"get_sequence", "linspace_long"}
    endings = [name.removeprefix("linspace(0,").removesuffix(").long()") for name in tables["linspace_long"]]
    counts = [[int(part) for part in ending.split(",")] for ending in endings]
    # No slow pathway takes 32 of 100 frames: it is no divisor.
    assert [[last + 1, count] for last, count in counts if (last + 1) % count] == [[100, 32]]
