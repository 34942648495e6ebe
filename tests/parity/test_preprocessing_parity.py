"""What models of other projects are shown: frames, their values, and boxes, against stored ones of PySlowFast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import drawn_frames
from stored import answers, index_tables

from avadet import boxes
from avadet.models.backbones.slowfast import slow_frames
from avadet.models.build import build
from avadet.types import ClipSpec
from avadet.video.sample import clip_indices, resize_short

FRAME_HW, SHORT_SIDE, CLIP_HW = (90, 120), 64, (64, 85)
GRID = 8
"""Of every so many rows of pixels one is stored, of all the sums."""


def shown(bgr_frames: np.ndarray) -> torch.Tensor:
    """Frames of a file as a model here gets them: (1, 3, T, H, W), of mean 0 and deviation 1."""
    small = [resize_short(np.ascontiguousarray(bgr[:, :, ::-1]), SHORT_SIDE) for bgr in bgr_frames]
    clip = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2)[None]
    return build("slow_r50", 1, width=4, depths=(1, 1, 1, 1)).normalise(clip)


@pytest.fixture(scope="module")
def bgr_frames() -> np.ndarray:
    return drawn_frames(64, *FRAME_HW, seed=3)


@pytest.fixture(scope="module")
def values(bgr_frames: np.ndarray) -> torch.Tensor:
    return shown(bgr_frames)


def test_slow_frames_of_the_reference_tables() -> None:
    compared = 0
    for name, expected in index_tables()["linspace_long"].items():
        last, count = (int(part) for part in name.removeprefix("linspace(0,").removesuffix(").long()").split(","))
        if (last + 1) % count == 0:
            assert slow_frames(last + 1, (last + 1) // count).tolist() == expected, name
            compared += 1
    assert compared >= 10


def test_values_of_the_data_set_are_the_stored_ones(values: torch.Tensor) -> None:
    here, stored = values[0, :, :8].numpy(), answers()
    assert here.shape == (3, 8, *CLIP_HW)
    np.testing.assert_allclose(here[:, :, ::GRID], stored["dataset.rows"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(here.sum((2, 3), dtype=np.float64), stored["dataset.sums"], atol=1e-3, rtol=0)
    # PySlowFast's other backend resizes floats where this one rounds to whole grey values: less than one of 255.
    other = stored["dataset.torch_rows"].astype(np.float32).swapaxes(0, 1)
    np.testing.assert_allclose(here[:, :, ::GRID], other, atol=1 / 255 / 0.225, rtol=0)


def test_values_of_the_demo_are_the_stored_ones(values: torch.Tensor) -> None:
    # The demo spreads 32 frames over its 64 from the first to the last; the slow pathway does so again.
    fast = values[:, :, slow_frames(64, 2)]
    slow, stored = fast[:, :, slow_frames(32, 4)], answers()
    assert fast.shape == (1, 3, 32, *CLIP_HW)
    for name, here in (("demo.fast_sums", fast), ("demo.slow_sums", slow)):
        np.testing.assert_allclose(here.double().sum((3, 4)).numpy(), stored[name], atol=1e-3, rtol=0)
    np.testing.assert_allclose(slow[:, :, :, ::GRID].numpy(), stored["demo.slow_rows"], atol=1e-6, rtol=0)


def test_the_demo_differs_from_the_data_set_by_its_last_frames() -> None:
    # Here a video is sampled as PySlowFast's data set is, also where PySlowFast's demo does otherwise.
    spec = ClipSpec(32, 2, 30.0, 256, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    times_s = np.arange(64) / 30
    here = clip_indices(times_s, times_s[32], spec)
    demo = np.array(index_tables()["linspace_long"]["linspace(0,63,32).long()"])
    assert here.tolist() == list(range(0, 64, 2))
    assert np.abs(here - demo).max() == 1
    assert np.flatnonzero(here != demo).tolist() == [31]


def test_boxes_of_the_data_set_are_the_stored_ones() -> None:
    stored = answers()
    frame_px = boxes.to_px(stored["dataset.boxes_norm"], FRAME_HW)
    in_clip = boxes.clip_boxes(frame_px, FRAME_HW, CLIP_HW, "pyslowfast")
    np.testing.assert_allclose(in_clip, stored["dataset.boxes"], atol=1e-5, rtol=0)
    # PySlowFast's other backend takes the clip for a square when it cuts boxes; that is not followed here.
    np.testing.assert_allclose(np.minimum(in_clip, SHORT_SIDE - 1), stored["dataset.torch_boxes"], atol=1e-5, rtol=0)
    mirrored = in_clip.copy()
    mirrored[:, [0, 2]] = CLIP_HW[1] - 1 - in_clip[:, [2, 0]]
    np.testing.assert_allclose(mirrored, stored["flip.boxes"], atol=1e-5, rtol=0)


def test_the_mirrored_values_are_the_stored_ones(values: torch.Tensor) -> None:
    sums = values[0, :, :8].flip(-1).double().sum((2, 3)).numpy()
    np.testing.assert_allclose(sums, answers()["flip.sums"], atol=1e-3, rtol=0)


def test_boxes_of_the_demo_are_scaled_alike_but_not_cut() -> None:
    stored = answers()
    scaled = boxes.scale_by_long_side(stored["demo.px"], FRAME_HW, CLIP_HW)
    np.testing.assert_allclose(scaled, stored["demo.scaled"], atol=1e-5, rtol=0)
    # Its way back divides by the other side's factor: a full frame comes back 119.53 px wide.
    back = stored["demo.scaled"] * (FRAME_HW[0] / CLIP_HW[0])
    np.testing.assert_allclose(back, stored["demo.reverted"], atol=1e-4, rtol=0)


def test_continuous_boxes_differ_from_those_by_the_rounding_of_the_longer_side() -> None:
    stored = answers()
    here = boxes.clip_boxes(stored["demo.px"], FRAME_HW, CLIP_HW, "exact")
    np.testing.assert_allclose(here[:, [0, 2]], stored["demo.scaled"][:, [0, 2]], atol=1e-5, rtol=0)
    # 90 px become 64, a factor of 0.7111, where 120 become 85, one of 0.7083.
    assert np.abs(here - stored["demo.scaled"]).max() == pytest.approx(90 * (64 / 90 - 85 / 120), abs=1e-4)


def test_an_odd_clip_of_the_reference_is_the_one_around_the_frame_before() -> None:
    expected = index_tables()["get_sequence"]["center=100,half=31,rate=2,n=200"]
    times_s = np.arange(200) / 30
    spec = ClipSpec(31, 2, 30.0, 256, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    assert clip_indices(times_s, times_s[99], spec).tolist() == expected
    assert 100 not in expected  # PySlowFast leaves out the keyframe itself; no published clip is of odd length


def test_every_stored_index_table_is_compared() -> None:
    tables = index_tables()
    assert set(tables) == {"get_sequence", "linspace_long"}
    endings = [name.removeprefix("linspace(0,").removesuffix(").long()") for name in tables["linspace_long"]]
    counts = [[int(part) for part in ending.split(",")] for ending in endings]
    # No slow pathway takes 32 of 100 frames: it is no divisor.
    assert [[last + 1, count] for last, count in counts if (last + 1) % count] == [[100, 32]]
