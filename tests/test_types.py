"""The words check themselves when they are made, and say what is wrong with what."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.types import (
    ActionDetections,
    Clip,
    ClipSpec,
    Frame,
    FrameKey,
    LabelMap,
    PersonBoxes,
    Tube,
)

BOX = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
ONE = np.ones(1, np.float32)
MEAN = (0.45, 0.45, 0.45)


def detections(**changes: object) -> ActionDetections:
    fields = {
        "key": FrameKey("v", 1.0),
        "boxes_norm": BOX,
        "person_scores": ONE,
        "scores": np.full((1, 3), 0.5, np.float32),
        "size_hw": (240, 320),
    }
    return ActionDetections(**(fields | changes))  # type: ignore[arg-type]


def test_frame_keys_are_equal_to_a_microsecond() -> None:
    assert FrameKey("v", 1 / 3) == FrameKey("v", 0.3333334)
    assert FrameKey("v", 0.333333) != FrameKey("v", 0.333335)
    assert sorted([FrameKey("b", 0), FrameKey("a", 2), FrameKey("a", 1)])[0] == FrameKey("a", 1)


def test_clip_offsets_by_hand() -> None:
    even = ClipSpec(4, 2, 10.0, 224, MEAN, MEAN)
    assert even.offsets_s() == pytest.approx([-0.4, -0.2, 0.0, 0.2])
    odd = ClipSpec(3, 5, 10.0, 224, MEAN, MEAN)
    assert odd.offsets_s() == pytest.approx([-0.5, 0.0, 0.5])


@each_case("field", ["num_frames", "stride", "fps", "short_side"])
def test_a_clip_needs_positive_numbers(field: str) -> None:
    values = {"num_frames": 8, "stride": 2, "fps": 30.0, "short_side": 224} | {field: 0}
    with pytest.raises(AvadetError, match=f"{field} must be positive, got 0"):
        ClipSpec(mean=MEAN, std=MEAN, **values)  # type: ignore[arg-type]


def test_a_clip_knows_how_boxes_become_its_own() -> None:
    assert ClipSpec(8, 2, 30.0, 224, MEAN, MEAN).boxes == "exact"
    with pytest.raises(AvadetError, match="boxes must be one of exact, pyslowfast, got 'near'"):
        ClipSpec(8, 2, 30.0, 224, MEAN, MEAN, boxes="near")  # type: ignore[arg-type]


def test_a_frame_is_uint8_rgb() -> None:
    with pytest.raises(AvadetError, match=r"image must be uint8 \(any, any, 3\), got float64 \(4, 4, 3\)"):
        Frame(np.zeros((4, 4, 3)), 0.0, 0)  # type: ignore[arg-type]


def test_the_keyframe_lies_in_the_clip() -> None:
    with pytest.raises(AvadetError, match=r"key_pos must lie in \[0, 2\), got 2"):
        Clip(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2), 2)


@each_case(
    ("box", "says"),
    [
        ([0.0, 0.0, 431.0, 0.5], r"in \[0, 1\], got \[0.0, 0.0, 431.0, 0.5\] in row 1; divide pixel boxes"),
        ([0.5, 0.0, 0.25, 0.5], r"x1 <= x2 and y1 <= y2, got \[0.5, 0.0, 0.25, 0.5\] in row 1"),
        ([0.0, 0.0, float("nan"), 0.5], "finite, got .* in row 1"),
    ],
)
def test_boxes_that_are_none_are_named(box: list[float], says: str) -> None:
    both = np.concatenate([BOX, np.array([box], np.float32)])
    with pytest.raises(AvadetError, match=says):
        detections(boxes_norm=both)


def test_detections_agree_in_length_and_range() -> None:
    assert len(detections()) == 1
    with pytest.raises(AvadetError, match=r"scores must be float32 \(1, any\), got float32 \(2, 3\)"):
        detections(scores=np.zeros((2, 3), np.float32))
    with pytest.raises(AvadetError, match=r"scores must lie in \[0, 1\], got 3.0 to 3.0"):
        detections(scores=np.full((1, 3), 3, np.float32))
    with pytest.raises(AvadetError, match="track_ids must be int64"):
        detections(track_ids=np.zeros(1, np.float32))


def test_people_stand_inside_the_frame() -> None:
    assert len(PersonBoxes.empty((240, 320))) == 0
    with pytest.raises(AvadetError, match="inside a 320x240 frame"):
        PersonBoxes(np.array([[0, 0, 321, 10]], np.float32), ONE, (240, 320))


def test_a_tube_goes_forward() -> None:
    two = np.repeat(BOX, 2, axis=0)
    assert Tube("v", 0, 1.0, np.array([0.0, 0.1]), two).class_index == 0
    with pytest.raises(AvadetError, match="must increase"):
        Tube("v", 0, 1.0, np.array([0.1, 0.1]), two)
    with pytest.raises(AvadetError, match="one box a moment, got 2 for 1"):
        Tube("v", 0, 1.0, np.array([0.1]), two)


def test_a_label_map_has_unique_ids() -> None:
    assert len(LabelMap(("a", "b"), (1, 5), ("pose", "pose"), (True, False))) == 2
    with pytest.raises(AvadetError, match="id 5 twice"):
        LabelMap(("a", "b"), (5, 5), ("pose", "pose"), (True, True))
    with pytest.raises(AvadetError, match="of one length"):
        LabelMap(("a",), (1, 2), ("pose", "pose"), (True, True))
