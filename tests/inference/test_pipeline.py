"""The pass over a video: which frames are looked at, what the model is shown, what comes out and when."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import staged
import torch
from each_case import each_case
from staged import StagedPeople, StagedVideo, staged_model, staged_video

from avadet.annotations.box_files import read_boxes
from avadet.errors import AvadetError
from avadet.inference import pipeline
from avadet.inference.pipeline import Event, TrackedPersons, stream
from avadet.inference.schedule import Gap
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.persons.tracking import PersonTracker
from avadet.types import ActionDetections, ClipSpec, Frame, PersonBoxes
from avadet.video.ahead import MAX_ITEMS

ONE = (16, 8, 32, 40)


def keyframes(events) -> list[ActionDetections]:
    return [event for event in events if isinstance(event, ActionDetections)]


def times(events) -> list[float]:
    return [detections.key.time_s for detections in keyframes(events)]


def test_keyframes_every_second_and_every_frame_once_in_order() -> None:
    video, people = staged_video(3.0), StagedPeople(ONE)
    events = list(stream(video, staged_model(), people))
    assert [e.index for e in events if isinstance(e, Frame)] == list(range(30))
    assert times(events) == [0.0, 1.0, 2.0]
    assert people.seen == [0, 10, 20]
    assert [e.time_s for e in events if isinstance(e, TrackedPersons)] == [0.0, 1.0, 2.0]
    assert video.walks == 1
    assert {d.key.video_id for d in keyframes(events)} == {"staged"}


def test_people_are_found_on_the_frame_nearest_to_the_keyframe() -> None:
    video, people, model = StagedVideo([0.0, 0.4, 0.9, 1.3, 1.8, 2.2], 2.6), StagedPeople(ONE), staged_model()
    events = list(stream(video, model, people))
    assert people.seen == [0, 2, 4]  # 1.0 is nearer to 0.9 than to 1.3; 2.0: 1.8 and 2.2 tie, the earlier wins
    assert times(events) == [0.0, 1.0, 2.0]
    key_position = staged.SPEC.num_frames // 2
    assert [clips[0, 0, key_position, 0, 0] for clips in model.model.clips] == [0, 2, 4]


def test_people_are_looked_for_between_keyframes_and_once_a_frame() -> None:
    people = StagedPeople(ONE)
    events = list(stream(staged_video(2.0), staged_model(), people, detect_every_s=0.5))
    assert people.seen == [0, 5, 10, 15, 19]  # the last frame serves 2.0 s, where it ends
    assert [e.time_s for e in events if isinstance(e, TrackedPersons)] == [0.0, 0.5, 1.0, 1.5, 1.9]
    assert times(events) == [0.0, 1.0]


def test_clips_repeat_the_edges() -> None:
    model = staged_model()
    list(stream(staged_video(2.1), model, StagedPeople(ONE)))
    shown = [clips[0, 0, :, 0, 0].tolist() for clips in model.model.clips]
    assert shown == [[0, 0, 0, 2], [6, 8, 10, 12], [16, 18, 20, 20]]  # offsets -4, -2, 0, +2 frames at 10 fps


def test_a_keyframe_comes_out_as_soon_as_its_clip_is_whole() -> None:
    events = list(stream(staged_video(4.0), staged_model(), StagedPeople(ONE)))
    after = {}
    for event in events:
        if isinstance(event, Frame):
            last = event.index
        elif isinstance(event, ActionDetections):
            after[event.key.time_s] = last
    assert after == {0.0: 2, 1.0: 12, 2.0: 22, 3.0: 32}


def test_boxes_are_scaled_to_the_clip_and_to_the_unit_square() -> None:
    model = staged_model()
    (found,) = keyframes(stream(staged_video(1.0), model, StagedPeople(ONE, (0, 0, 64, 48))))
    np.testing.assert_allclose(found.boxes_norm, [[0.25, 1 / 6, 0.5, 5 / 6], [0, 0, 1, 1]], atol=1e-6)
    assert found.size_hw == (48, 64)
    assert model.model.clips[0].shape == (1, 3, 4, 24, 32)
    np.testing.assert_allclose(model.model.rois[0], [[0, 8, 4, 16, 20], [0, 0, 0, 32, 24]], atol=1e-4)


@pytest.mark.parametrize(
    ("exclusive", "expected"), [(False, [1 / (1 + np.exp(-2.0)), 0.5]), (True, [np.exp(2) / (np.exp(2) + 1), None])]
)
def test_scores_are_a_sigmoid_or_a_softmax(exclusive: bool, expected: list[float | None]) -> None:
    (found,) = keyframes(stream(staged_video(1.0), staged_model((2.0, 0.0), exclusive), StagedPeople(ONE)))
    assert found.scores[0, 0] == pytest.approx(expected[0], abs=1e-6)
    assert found.scores[0, 1] == pytest.approx(expected[1] or 1 - expected[0], abs=1e-6)


def test_nobody_there_means_no_model_run_and_empty_results() -> None:
    model = staged_model()
    found = keyframes(stream(staged_video(2.0), model, StagedPeople()))
    assert [len(d) for d in found] == [0, 0]
    assert found[0].scores.shape == (0, 2)
    assert model.model.clips == []


class ComesAndGoes(StagedPeople):
    """Somebody is there on every other frame that is looked at."""

    def __call__(self, frame: np.ndarray) -> PersonBoxes:
        found = super().__call__(frame)
        return found if len(self.seen) % 2 else PersonBoxes.empty(found.size_hw)


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_batches_change_nothing_but_the_number_of_runs(batch: int) -> None:
    model = staged.random_model(5)
    alone = keyframes(stream(staged_video(7.0), model, ComesAndGoes(ONE, (0, 0, 20, 20))))
    together = keyframes(stream(staged_video(7.0), model, ComesAndGoes(ONE, (0, 0, 20, 20)), batch=batch))
    assert [d.key for d in together] == [d.key for d in alone]
    assert [len(d) for d in alone] == [2, 0, 2, 0, 2, 0, 2]
    for one, other in zip(alone, together):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_the_tracker_numbers_people_and_sees_time_go_forward() -> None:
    events = list(
        stream(
            staged_video(3.0),
            staged_model(),
            StagedPeople(ONE, (40, 8, 56, 40)),
            detect_every_s=0.2,
            tracker=PersonTracker(),
        )
    )
    for found in keyframes(events):
        assert found.track_ids.tolist() == [1, 2]


def test_a_keyframe_after_the_end_is_left_out() -> None:
    cut = StagedVideo([index / 10 for index in range(16)], duration_s=20.0)
    assert times(stream(cut, staged_model(), StagedPeople(ONE))) == [0.0, 1.0]


@each_case("promised_s", [0.0, 0.5, 1.6, 20.0, 1e6])
def test_a_short_video_gets_its_middle_whatever_its_header_promises(promised_s: float) -> None:
    model, people = staged_model(), StagedPeople(ONE)
    cut = StagedVideo([index / 10 for index in range(16)], duration_s=promised_s)
    assert times(stream(cut, model, people, every_s=30.0)) == pytest.approx([0.8])
    assert people.seen == [8]
    assert model.model.clips[0][0, 0, :, 0, 0].tolist() == [4, 6, 8, 10]


@each_case("promised_s", [0.0, 1.0, 4.0, 40.0])
def test_pictures_decide_on_keyframes_and_not_a_header(promised_s: float) -> None:
    video = StagedVideo([index / 10 for index in range(40)], duration_s=promised_s)
    assert times(stream(video, staged_model(), StagedPeople(ONE))) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("promised_s", [0.0, 0.04])
def test_a_video_of_one_frame(promised_s: float) -> None:
    assert times(stream(StagedVideo([0.0], promised_s), staged_model(), StagedPeople(ONE))) == [0.05]


def gap_video(gap_s: float) -> StagedVideo:
    """Two seconds at 10 frames a second, a gap, and 1.3 s more."""
    return StagedVideo([*(np.arange(20) / 10), *(np.arange(13) / 10 + 1.9 + gap_s)], 0.0)


def test_nothing_is_said_of_a_gap_and_tracks_end_there() -> None:
    events = list(
        stream(gap_video(600.0), staged_model(), StagedPeople(ONE), detect_every_s=0.5, tracker=PersonTracker())
    )
    assert times(events) == [0.0, 1.0, 602.0, 603.0]
    assert [detections.track_ids.tolist() for detections in keyframes(events)] == [[1], [1], [2], [2]]
    looked = [event.time_s for event in events if isinstance(event, TrackedPersons)]
    assert looked == pytest.approx([0.0, 0.5, 1.0, 1.5, 1.9, 602.0, 602.5, 603.0])
    assert [event for event in events if isinstance(event, Gap)] == [(pytest.approx(2.0), pytest.approx(601.9))]
    place = next(index for index, event in enumerate(events) if isinstance(event, Gap))
    assert [event.index for event in events[:place] if isinstance(event, Frame)] == list(range(20))
    tracker = PersonTracker()
    short = list(stream(gap_video(1.5), staged_model(), StagedPeople(ONE), detect_every_s=0.5, tracker=tracker))
    assert times(short) == [0.0, 1.0, 4.0]
    assert {int(detections.track_ids[0]) for detections in keyframes(short)} == {1}  # unseen for less than 2.5 s


def test_a_jump_of_26_hours_costs_what_its_frames_cost() -> None:
    people = StagedPeople(ONE)
    began_s = time.monotonic()
    found = keyframes(stream(gap_video(26 * 3600.0), staged_model(), people, every_s=0.1, detect_every_s=0.001))
    assert len(people.seen) == 33 and len(found) == 33
    assert len(list(stream(gap_video(1e12), staged_model(), StagedPeople(ONE)))) < 50
    assert time.monotonic() - began_s < 20


def test_a_stretch_between_gaps_has_a_keyframe() -> None:
    bursts = [start_s + index / 10 for start_s in (0.0, 100.3, 200.2) for index in range(5)]
    assert times(stream(StagedVideo(bursts, 0.0), staged_model(), StagedPeople(ONE))) == pytest.approx(
        [0, 100.7, 200.6]
    )


def test_a_time_lapse_has_a_keyframe_a_picture_and_no_gap() -> None:
    events = list(stream(StagedVideo([0.0, 10.0, 20.0, 30.0, 40.0], 50.0), staged_model(), StagedPeople(ONE)))
    assert times(events) == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert not [event for event in events if isinstance(event, Gap)]


def test_known_boxes_in_a_gap_are_left_out(tmp_path) -> None:
    known = known_boxes(tmp_path, *(f"staged,{time_s},0.25,0.25,0.5,0.5" for time_s in (1.0, 2.0, 300.0, 601.89, 603)))
    moments = [1.0, 2.0, 300.0, 601.89, 603.0]
    assert times(stream(gap_video(600.0), staged_model(), known, keyframes_s=moments)) == [1.0, 2.0, 601.89, 603.0]
    known = known_boxes(tmp_path, "staged,300,0.25,0.25,0.5,0.5", "staged,400,0.25,0.25,0.5,0.5")
    with pytest.raises(AvadetError, match="are at 300 to 400 s, of which it has no picture"):
        list(stream(gap_video(600.0), staged_model(), known, keyframes_s=[300.0, 400.0]))


def test_a_video_of_no_frame_is_an_error() -> None:
    with pytest.raises(AvadetError, match=r"staged\.mp4: no picture could be decoded"):
        list(stream(StagedVideo([], 5.0), staged_model(), StagedPeople(ONE)))


def known_boxes(tmp_path, *rows: str) -> PrecomputedBoxes:
    path = tmp_path / "boxes.csv"
    path.write_text("".join(f"{row}\n" for row in rows))
    return PrecomputedBoxes(read_boxes(path))


def test_known_boxes_replace_detection(tmp_path) -> None:
    known = known_boxes(tmp_path, "staged,0.5,0.25,0.25,0.5,0.5", "staged,1.5,0,0,1,1", "staged,1.5,0,0,0.5,1")
    events = list(stream(staged_video(2.0), staged_model(), known, keyframes_s=[0.5, 1.5], detect_every_s=0.1))
    found = keyframes(events)
    assert [d.key.time_s for d in found] == [0.5, 1.5]
    np.testing.assert_allclose(found[0].boxes_norm, [[0.25, 0.25, 0.5, 0.5]], atol=1e-6)
    assert len(found[1]) == 2
    assert [e.time_s for e in events if isinstance(e, TrackedPersons)] == [0.5, 1.5]


def test_two_known_moments_of_one_frame_keep_their_own_people(tmp_path) -> None:
    known = known_boxes(tmp_path, "staged,1,0,0,0.5,0.5", "staged,1.03,0,0,0.5,0.75", "staged,1.08,0,0,0.5,1")
    events = stream(staged_video(2.0), staged_model(), known, keyframes_s=[1.0, 1.03, 1.08], tracker=PersonTracker())
    found = keyframes(events)
    assert [d.boxes_norm[0, 3] for d in found] == [0.5, 0.75, 1.0]
    assert [d.track_ids.tolist() for d in found] == [[1], [1], [1]]


def test_known_boxes_beyond_the_end_are_an_error_that_says_why(tmp_path) -> None:
    known = known_boxes(tmp_path, "staged,902,0.25,0.25,0.5,0.5")
    with pytest.raises(AvadetError, match=r"begin at 902 s, but its last frame is at 1\.900 s"):
        list(stream(staged_video(2.0), staged_model(), known, keyframes_s=[902.0]))


def peak_bytes(seconds: float, every_s: float, overlap: bool) -> int:
    video = staged_video(seconds)
    tracemalloc.start()
    for _ in stream(video, staged_model(), StagedPeople(), every_s=every_s, overlap=overlap):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@each_case(("overlap", "frames_more"), [(False, 10), (True, 3 * (MAX_ITEMS + 2))])
@each_case("every_s", [1.0, 1000.0])
def test_memory_is_bounded_by_the_clip_and_what_is_ahead(every_s: float, overlap: bool, frames_more: int) -> None:
    frame_bytes = 48 * 64 * 3
    assert peak_bytes(200.0, every_s, overlap) < peak_bytes(20.0, every_s, overlap) + frames_more * frame_bytes


def told(events) -> list[tuple]:
    """Events as values that compare exactly."""
    tell = {
        Frame: lambda one: (one.index, one.time_s, int(one.image.sum())),
        TrackedPersons: lambda one: (one.time_s, one.persons.boxes_px.tolist(), one.persons.track_ids.tolist()),
        ActionDetections: lambda one: (one.key, one.boxes_norm.tolist(), one.scores.tolist(), one.track_ids.tolist()),
    }
    return [(type(one).__name__, *tell[type(one)](one)) for one in events]


class Dawdler(StagedPeople):
    """A detector that takes now longer, now shorter."""

    def __call__(self, frame: np.ndarray) -> PersonBoxes:
        time.sleep(0.003 * (len(self.seen) % 3))
        return super().__call__(frame)


@each_case("cores_free", [False, True])
@each_case("batch", [1, 2])
def test_overlap_changes_neither_the_events_nor_their_order(
    cores_free: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_leaves_cores_free", lambda model, cores: cores_free)
    model = staged.random_model(5)

    def walk(people: StagedPeople, overlap: bool) -> Iterator[Event]:
        tracker = PersonTracker()
        return stream(
            staged_video(4.0), model, people, detect_every_s=0.2, tracker=tracker, batch=batch, overlap=overlap
        )

    assert told(walk(Dawdler(ONE), True)) == told(walk(StagedPeople(ONE), False))


@pytest.mark.parametrize("cores_free", [False, True])
def test_a_reader_that_stops_ends_every_thread(cores_free: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_leaves_cores_free", lambda model, cores: cores_free)
    before = threading.active_count()
    video = staged_video(1000.0)
    events = stream(video, staged_model(), StagedPeople(ONE))
    assert next(events).index == 0
    assert threading.active_count() == before + (3 if cores_free else 1)
    events.close()
    assert threading.active_count() == before


class CountsCores(StagedPeople):
    """A detector that notes how many cores torch has where it runs."""

    def __call__(self, frame: np.ndarray) -> PersonBoxes:
        self.cores = torch.get_num_threads()
        return super().__call__(frame)


@each_case("overlap", [False, True])
@each_case(("parameters", "expected"), [(10**9, 1), (0, 3)])
def test_small_models_compute_with_one_core_and_large_ones_with_all(
    overlap: bool, parameters: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SMALL_PARAMETERS", parameters)
    model, people, seen = staged.random_model(5), CountsCores(ONE), []
    model.model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert len(list(stream(staged_video(2.0), model, people, overlap=overlap))) > 0
        assert (seen, people.cores, torch.get_num_threads()) == ([expected] * len(seen), 3, 3)
        assert seen
    finally:
        torch.set_num_threads(before)


def test_the_tiny_detector_computes_with_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = []
    monkeypatch.setattr(
        pipeline.TinyPersons,
        "__call__",
        lambda self, frame: cores.append(torch.get_num_threads()) or PersonBoxes.empty(frame.shape[:2]),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(stream(staged_video(2.0), staged_model(), pipeline.TinyPersons()))
        assert set(cores) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class BreaksAt(StagedPeople):
    """A detector that fails on its third frame."""

    def __call__(self, frame: np.ndarray) -> PersonBoxes:
        if len(self.seen) == 2:
            raise ZeroDivisionError("third frame")
        return super().__call__(frame)


@pytest.mark.parametrize("overlap", [False, True])
def test_an_exception_comes_after_the_events_before_it_and_ends_every_thread(overlap: bool) -> None:
    before = threading.active_count()
    seen = []
    with pytest.raises(ZeroDivisionError, match="third frame"):
        for event in stream(staged_video(5.0), staged_model(), BreaksAt(ONE), overlap=overlap):
            seen.append(event)
    assert [event.index for event in seen if isinstance(event, Frame)] == list(range(21))
    assert times(seen) == [0.0, 1.0]
    assert threading.active_count() == before


def test_a_long_clip_at_the_end_waits_for_the_flush() -> None:
    spec = ClipSpec(num_frames=32, stride=2, fps=10.0, short_side=24, mean=(0.45,) * 3, std=(0.225,) * 3)
    assert times(stream(staged_video(3.0), staged_model(spec=spec), StagedPeople(ONE))) == [0.0, 1.0, 2.0]
