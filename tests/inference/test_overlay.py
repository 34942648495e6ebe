"""The annotated video: where boxes are between detections, what stands beside them, what is held and for how long."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import staged

from avadet.inference import overlay
from avadet.inference.overlay import BoxTrail, CaptionTrail, OverlayTiming, VideoSink
from avadet.inference.pipeline import TrackedPersons
from avadet.inference.schedule import Gap
from avadet.types import ActionDetections, Frame, FrameKey, PersonBoxes, VideoInfo
from avadet.video.read import VideoReader

LABELS = staged.labels("stand", "walk", "talk", "sit")


def seen(time_s: float, *people: tuple[int, float], size_hw: tuple[int, int] = (48, 64)) -> TrackedPersons:
    """People as (track id, left edge): boxes of 10 x 20 px."""
    boxes_px = np.array([[left, 10, left + 10, 30] for _, left in people], np.float32).reshape(-1, 4)
    tracks = np.array([track for track, _ in people], np.int64)
    return TrackedPersons(time_s, PersonBoxes(boxes_px, np.full(len(people), 0.9, np.float32), size_hw, tracks))


def lefts(trail: BoxTrail, time_s: float) -> dict[int, float]:
    drawn = trail.at(time_s)
    return dict(zip(drawn.track_ids.tolist(), drawn.boxes_px[:, 0].tolist()))


def test_a_track_moves_in_a_straight_line_between_detections() -> None:
    trail = BoxTrail(hold_s=1.0)
    trail.add(seen(1.0, (1, 0)))
    trail.add(seen(2.0, (1, 40)))
    assert lefts(trail, 1.0) == {1: 0}
    assert lefts(trail, 1.25) == {1: pytest.approx(10)}
    assert lefts(trail, 2.0) == {1: 40}


def test_who_is_in_one_detection_only_gets_its_half_of_the_time() -> None:
    trail = BoxTrail(hold_s=1.0)
    trail.add(seen(1.0, (1, 0), (-1, 20)))
    trail.add(seen(2.0, (2, 40), (-1, 30)))
    assert lefts(trail, 1.4) == {1: 0, -1: 20}
    assert lefts(trail, 1.6) == {2: 40, -1: 30}


def test_a_box_is_held_for_a_while_and_no_longer() -> None:
    trail = BoxTrail(hold_s=0.5)
    trail.add(seen(1.0, (1, 0)))
    assert lefts(trail, 0.6) == {1: 0}
    assert lefts(trail, 1.5) == {1: 0}
    assert lefts(trail, 1.6) == {}
    assert lefts(trail, 0.4) == {}


def test_forgetting_changes_nothing_for_later_frames() -> None:
    trail = BoxTrail(hold_s=1.0)
    for time_s in range(5):
        trail.add(seen(float(time_s), (1, 10.0 * time_s)))
    trail.forget_before(2.5)
    assert lefts(trail, 2.5) == {1: pytest.approx(25)}
    assert len(trail._seen) == 3


def result(time_s: float, *people: tuple[int, list[float]], box: tuple[float, ...] = (0, 0, 0.5, 0.5)):
    boxes_norm = np.array([box] * len(people), np.float32).reshape(-1, 4)
    scores = np.array([scores for _, scores in people], np.float32).reshape(-1, 4)
    tracks = np.array([track for track, _ in people], np.int64)
    ones = np.ones(len(people), np.float32)
    return ActionDetections(FrameKey("clip", time_s), boxes_norm, ones, scores, (48, 64), tracks)


BOX = np.array([0, 0, 0.5, 0.5], np.float32)


def test_the_caption_is_that_of_the_nearest_keyframe_of_the_track() -> None:
    captions = CaptionTrail(LABELS, threshold=0.5, hold_s=2.0)
    captions.add(result(1.0, (1, [0.75, 0.1, 0.6, 0.1]), (2, [0, 0, 0, 1])))
    captions.add(result(2.0, (1, [0.1, 0.9, 0.1, 0.1])))
    assert captions.of(1, BOX, 1.4) == ["stand 0.75", "talk 0.60"]
    assert captions.of(1, BOX, 1.6) == ["walk 0.90"]
    assert captions.of(2, BOX, 1.9) == ["sit 1.00"]
    assert captions.of(2, BOX, 3.5) == []
    assert captions.of(3, BOX, 1.0) == []


def test_at_most_three_actions_are_shown() -> None:
    captions = CaptionTrail(LABELS, threshold=0.1, hold_s=2.0)
    captions.add(result(1.0, (1, [0.2, 0.3, 0.4, 0.5])))
    assert captions.of(1, BOX, 1.0) == ["sit 0.50", "talk 0.40", "walk 0.30"]


def test_people_on_no_track_are_told_apart_by_overlap() -> None:
    captions = CaptionTrail(LABELS, threshold=0.5, hold_s=2.0)
    captions.add(result(1.0, (-1, [1, 0, 0, 0])))
    assert captions.of(-1, BOX, 1.2) == ["stand 1.00"]
    assert captions.of(-1, np.array([0.5, 0.5, 1, 1], np.float32), 1.2) == []


@pytest.mark.parametrize(
    ("track", "lines", "expected"),
    [(3, ["walk 0.90", "talk 0.60"], ["#3 walk 0.90", "talk 0.60"]), (3, [], ["#3"]), (-1, ["sit 1.00"], ["sit 1.00"])],
)
def test_a_person_has_its_number_before_the_first_line(track: int, lines: list[str], expected: list[str]) -> None:
    assert overlay.with_track(track, lines) == expected


@pytest.fixture
def info() -> VideoInfo:
    return VideoInfo(Path("nowhere.mp4"), (48, 64), Fraction(10), 30, 0.0, 3.0)


def grey_frames(count: int, fps: int = 10) -> list[Frame]:
    return [Frame(np.full((48, 64, 3), 60, np.uint8), index / fps, index) for index in range(count)]


def test_every_frame_is_written_at_its_time(tmp_path: Path, info: VideoInfo) -> None:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, info, LABELS, 0.5, OverlayTiming.of(1.0, 0.2)) as sink:
        for frame in grey_frames(25):
            sink.frame(frame)
            if frame.index % 10 == 0:
                sink.persons(seen(frame.time_s, (1, 20)))
                sink.keyframe(result(frame.time_s, (1, [1, 0, 0, 0])))
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert [frame.time_s for frame in frames] == pytest.approx([index / 10 for index in range(25)], abs=1e-3)
    assert all(np.abs(frame.image[10:30, 20:30].astype(int) - 60).max() > 40 for frame in frames), "a box on each"


def test_frames_wait_for_what_comes_after_them_but_not_forever(tmp_path: Path, info: VideoInfo) -> None:
    held = []
    with VideoSink(tmp_path / "clip.mp4", info, LABELS, 0.5, OverlayTiming(0.5, 0.5, 1.0)) as sink:
        for frame in grey_frames(30, fps=8):
            sink.frame(frame)
            held.append(len(sink._held))
            if frame.index == 16:
                sink.persons(seen(2.0))
                sink.keyframe(result(2.0))
    assert max(held) == 4  # half a second at 8 fps
    assert held[16] == 4
    assert held[17] == 1  # all up to 2.0 s are known


def test_held_frames_have_a_budget_in_bytes(tmp_path: Path, info: VideoInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "MAX_HELD_BYTES", 3 * 48 * 64 * 3)
    with VideoSink(tmp_path / "clip.mp4", info, LABELS, 0.5, OverlayTiming(100.0, 0.5, 1.0)) as sink:
        for frame in grey_frames(30):
            sink.frame(frame)
            assert len(sink._held) <= 3


def test_an_error_leaves_no_video(tmp_path: Path, info: VideoInfo) -> None:
    def break_off() -> None:
        with VideoSink(tmp_path / "clip.mp4", info, LABELS, 0.5, OverlayTiming.of(1.0, 0.2)) as sink:
            for frame in grey_frames(30):
                sink.frame(frame)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_rare_keyframes_do_not_make_frames_wait_for_long() -> None:
    assert OverlayTiming.of(60.0, 0.5) == OverlayTiming(wait_s=1.5, hold_box_s=1.0, hold_caption_s=2.0)
    assert OverlayTiming.of(0.25, 0.5) == OverlayTiming(wait_s=0.75, hold_box_s=0.25, hold_caption_s=1.0)


def test_boxes_neither_move_nor_stay_over_a_gap() -> None:
    trail = BoxTrail(hold_s=1.0)
    trail.add(seen(1.0, (1, 0)))
    trail.gap(Gap(1.3, 3.0))
    trail.add(seen(3.5, (1, 40)))
    assert lefts(trail, 1.2) == {1: 0} and lefts(trail, 3.0) == {1: 40}
    trail.forget_before(3.5)
    assert lefts(trail, 4.0) == {1: 40}


def test_a_picture_is_bare_while_a_gap_lasts(tmp_path: Path) -> None:
    info = VideoInfo(tmp_path / "source.mp4", (48, 64), Fraction(10), 0, 0.0, 0.0)
    with VideoSink(tmp_path / "gap.mp4", info, LABELS, 0.5, OverlayTiming.of(1.0, 0.2)) as sink:
        for index, time_s in enumerate([0.0, 0.1, 0.2, 600.0, 600.1]):
            sink.frame(Frame(np.full((48, 64, 3), 128, np.uint8), time_s, index, index == 3))
            sink.persons(seen(time_s, (1, 20)))
            if index == 2:
                sink.gap(Gap(0.3, 600.0))
    with VideoReader(tmp_path / "gap.mp4") as reader:
        drawn = {round(frame.time_s, 3): bool(np.ptp(frame.image) > 60) for frame in reader.frames()}
    assert drawn == {0.0: True, 0.1: True, 0.2: True, 0.3: False, 600.0: True, 600.1: True}
