"""What models of other projects are shown: frames, their values, and boxes, against stored ones of PySlowFast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avadet import boxes
from avadet.models.slow import slow_r50
from avadet.models.slowfast import slow_frames
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
    return slow_r50(1, width=4, depths=(1, 1, 1, 1)).normalise(clip)


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


def test_boxes_are_the_stored_ones_up_to_the_size_in_pixels(shared: Path) -> None:
    """Continuous boxes here; PySlowFast's reach to the last pixel's index, and it has one factor for both axes.

    A box away from the edges differs by the rounding of the longer side (120 to 85 px is a factor of 0.7083, 90 to 64
    one of 0.7111), 0.4 %; at the right and lower edge by a pixel of either size besides.
    """
    stored = stored_of(shared, "ava_dataset_test.npz")
    here = boxes.clip_px(boxes.to_px(stored["boxes_norm"], (64, 85)), (64, 85))
    inside = (here[:, 2] < 84) & (here[:, 3] < 63)
    assert inside.tolist() == [True, False, False]
    np.testing.assert_allclose(here[inside], stored["cv2_boxes"][inside], atol=0.25, rtol=0)
    np.testing.assert_allclose(here, stored["cv2_boxes"], atol=1.0, rtol=0)
    demo = stored_of(shared, "demo_slowfast.npz")
    scaled = boxes.to_px(boxes.to_norm(demo["boxes_px"], (90, 120)), (64, 85))
    np.testing.assert_allclose(scaled[:, [0, 2]], demo["boxes_scaled"][:, [0, 2]], atol=1e-4, rtol=0)
    np.testing.assert_allclose(scaled[:, [1, 3]], demo["boxes_scaled"][:, [1, 3]], atol=0.26, rtol=0)
    # PySlowFast's way back is not the inverse of its way there: a full frame comes back 119.53 px wide.
    back = boxes.to_px(boxes.to_norm(scaled, (64, 85)), (90, 120))
    np.testing.assert_allclose(back, demo["boxes_px"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(back, demo["boxes_reverted"], atol=0.47, rtol=0)
