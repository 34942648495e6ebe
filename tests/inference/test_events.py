"""From scores along a track to "person 3 sits from 12.0 to 18.5 s"."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import staged

from avadet.errors import AvadetError
from avadet.inference.events import COLUMNS, ActionEvent, EventFinder, EventRules, EventsSink
from avadet.inference.schedule import Gap
from avadet.types import ActionDetections, Frame, FrameKey, LabelMap

LABELS = staged.labels("sit", "talk")
EXCLUSIVE = staged.labels("sit", "stand", exclusive=True)


def keyframe(time_s: float, people: dict[int, tuple[float, ...]]) -> ActionDetections:
    """Scores per track on one keyframe."""
    scores = np.array(list(people.values()), np.float32).reshape(-1, 2)
    boxes = np.tile(np.array([0.25, 0.5, 0.5, 1.0], np.float32), (len(people), 1))
    tracks = np.array(list(people), np.int64)
    return ActionDetections(FrameKey("clip", time_s), boxes, np.ones(len(people), np.float32), scores, (48, 64), tracks)


def events_of(
    keyframes: list[tuple[float, dict[int, tuple[float, ...]]]],
    end_s: float,
    labels: LabelMap = LABELS,
    threshold: float = 0.5,
    **rules: float,
) -> list[ActionEvent]:
    finder = EventFinder(labels, threshold, EventRules(**rules))
    found = [event for one in keyframes for event in finder.add(keyframe(*one))]
    return found + finder.finish(end_s)


def sitting(*scores: float | None, step_s: float = 1.0) -> list[tuple[float, dict[int, tuple[float, ...]]]]:
    """Person 1's score of "sit" at 0, 1, 2, ... steps; None = not seen."""
    return [(i * step_s, {} if score is None else {1: (score, 0.0)}) for i, score in enumerate(scores)]


def spans(events: list[ActionEvent]) -> list[tuple[float, float]]:
    return [(round(event.start_s, 6), round(event.end_s, 6)) for event in events]


def test_numbers_by_hand() -> None:
    """Enters at 0.5 (3 s), stays at 0.375 >= 0.7 x 0.5, leaves at 0.25 (6 s): from 2.5 to 5.5 s."""
    (event,) = events_of(sitting(0, 0, 0.375, 0.5, 0.75, 0.375, 0.25, 0.375, 0, 0), end_s=10.0)
    assert event == ActionEvent("clip", 1, 0, 2.5, 5.5, pytest.approx((0.5 + 0.75 + 0.375) / 3), 0.75, 4.0)


def test_one_keyframe_is_an_event_of_one_step() -> None:
    assert spans(events_of(sitting(0, 0, 0, 0.9, 0, 0, 0), 7.0)) == [(2.5, 3.5)]
    half_seconds = sitting(0, 0, 0, 0.9, 0, 0, 0, step_s=0.5)
    assert spans(events_of(half_seconds, 3.5)) == [(1.25, 1.75)]


def test_an_event_goes_to_the_ends_of_the_video_and_not_beyond() -> None:
    assert spans(events_of(sitting(0.9, 0.9, 0.9), 2.97)) == [(0.0, 2.97)]
    assert spans(events_of(sitting(0.9, 0.9, 0.9), 2.04)) == [(0.0, 2.04)]


def test_keyframes_of_a_part_of_the_video_speak_for_that_part() -> None:
    keyframes = [(10.0 + time_s, people) for time_s, people in sitting(0.9, 0.9, 0.9)]
    assert spans(events_of(keyframes, 60.0)) == [(9.5, 12.5)]


def test_the_only_keyframe_speaks_for_a_short_video_but_not_for_an_hour() -> None:
    assert spans(events_of([(0.4, {1: (0.9, 0.0)})], 0.8)) == [(0.0, 0.8)]
    assert spans(events_of([(100.0, {1: (0.9, 0.0)})], 3600.0)) == [(95.0, 105.0)]


def test_odd_steps_meet_half_way() -> None:
    keyframes = [(time_s, {1: (score, 0.0)}) for time_s, score in [(0, 0.1), (1, 0.9), (1.5, 0.1), (4, 0.9), (5, 0.1)]]
    assert spans(events_of(keyframes, 6.0)) == [(0.5, 1.25), (2.75, 4.5)]


def test_one_missed_keyframe_is_bridged_two_are_not() -> None:
    assert spans(events_of(sitting(0, 0.9, None, 0.9, 0), 5.0)) == [(0.5, 3.5)]
    assert spans(events_of(sitting(0, 0.9, None, None, 0.9, 0), 6.0)) == [(0.5, 1.5), (3.5, 4.5)]
    assert spans(events_of(sitting(0.9, None, None), 3.0)) == [(0.0, 0.5)]
    assert spans(events_of(sitting(0.9, None), 2.0)) == [(0.0, 0.5)]


def test_missed_keyframes_do_not_count_in_the_mean() -> None:
    (event,) = events_of(sitting(0, 0.5, None, 1.0, 0), 5.0)
    assert (event.mean_score, event.peak_score, event.peak_s) == (0.75, 1.0, 3.0)


def test_a_low_score_is_no_gap() -> None:
    assert spans(events_of(sitting(0, 0.9, 0.1, 0.9, 0), 5.0)) == [(0.5, 1.5), (2.5, 3.5)]


def test_time_without_evidence_ends_an_event() -> None:
    far_apart = [(time_s, {1: (0.9, 0.0)}) for time_s in (0, 10, 20.5, 30)]
    assert spans(events_of(far_apart, 31.0)) == [(0.0, 15.0), (15.5, 31.0)]


def test_short_events_are_dropped_unless_the_video_cuts_them_off() -> None:
    flicker = sitting(0.9, 0, 0, 0.9, 0, 0.9, 0.9, 0, 0, 0.9, step_s=0.2)
    assert spans(events_of(flicker, 1.9)) == [(0.0, 0.1), (0.9, 1.3), (1.7, 1.9)]
    assert spans(events_of(flicker, 1.9, shortest_s=0.5)) == [(0.0, 0.1), (1.7, 1.9)]
    assert (0.5, 0.7) in spans(events_of(flicker, 1.9, shortest_s=0.2))


def test_several_actions_and_people_at_once_each_have_their_own_events() -> None:
    both, sit, talk = (0.9, 0.8), (0.9, 0.0), (0.0, 0.8)
    events = events_of([(0, {1: sit, 2: talk}), (1, {1: both, 2: talk}), (2, {1: talk, 2: (0, 0)}), (3, {})], 4.0)
    assert [(e.track_id, e.class_index, e.start_s, e.end_s) for e in events] == [
        *((1, 0, 0.0, 1.5), (2, 1, 0.0, 1.5), (1, 1, 0.5, 2.5))
    ]


def test_of_classes_that_exclude_each_other_only_the_best_counts() -> None:
    """sit 0.6 | stand 0.55: sit still scores over the threshold of 0.4, but stands no longer."""
    keyframes = [(0, {1: (0.6, 0.4)}), (1, {1: (0.45, 0.55)}), (2, {1: (0.7, 0.3)})]
    events = events_of(keyframes, 3.0, EXCLUSIVE, threshold=0.4)
    assert [(e.class_index, e.start_s, e.end_s) for e in events] == [(0, 0.0, 0.5), (1, 0.5, 1.5), (0, 1.5, 3.0)]


def test_events_of_exclusive_classes_never_overlap() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(200)
    events = events_of([(i, {1: (x, 1 - x)}) for i, x in enumerate(first)], 200.0, EXCLUSIVE, threshold=0.3)
    assert len(events) > 50
    assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(events))


def test_people_on_no_track_have_no_events() -> None:
    assert events_of([(0, {-1: (0.9, 0.9)})], 1.0) == []
    untracked = dataclasses.replace(keyframe(0.0, {1: (0.9, 0.9)}), track_ids=None)
    assert EventFinder(LABELS, 0.5).add(untracked) == []


def test_events_come_in_the_order_of_their_ends_and_as_soon_as_they_are_known() -> None:
    rng = np.random.default_rng(1)
    finder, ends = EventFinder(LABELS, 0.5), []
    for index in range(300):
        people = {track: tuple(rng.random(2)) for track in range(1, 5) if rng.random() < 0.8}
        over = finder.add(keyframe(float(index), people))
        ends += [event.end_s for event in over]
        assert all(index - 3 < event.end_s < index for event in over)
    assert len(ends) > 200
    assert ends == sorted(ends)


def test_a_higher_threshold_finds_no_more_time() -> None:
    scores = np.random.default_rng(2).random(100)
    lengths = [
        sum(event.end_s - event.start_s for event in events_of(sitting(*scores), 100.0, threshold=threshold))
        for threshold in (0.2, 0.4, 0.6, 0.8)
    ]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_the_file_by_hand(tmp_path: Path) -> None:
    with EventsSink(tmp_path / "clip.events.csv", LABELS, 0.5) as sink:
        for index in range(25):  # frames at 0, 0.1, ... 2.4 s: the video ends at 2.5 s
            sink.frame(Frame(np.zeros((4, 4, 3), np.uint8), index / 10, index))
            if index % 10 == 0:
                sink.keyframe(keyframe(index / 10, {3: (0.625, 0.0), 4: (0.0, 0.75 if index else 0.0)}))
        assert not (tmp_path / "clip.events.csv").exists()
    assert (tmp_path / "clip.events.csv").read_text().splitlines() == [
        "video,track_id,action,action_id,group,start_s,end_s,mean_score,peak_score,peak_s",
        "clip,3,sit,11,pose,0,2.5,0.6250,0.6250,0",
        "clip,4,talk,12,pose,0.5,2.5,0.7500,0.7500,1",
    ]


def test_a_video_without_people_gives_a_header_alone(tmp_path: Path) -> None:
    with EventsSink(tmp_path / "clip.events.csv", LABELS, 0.5):
        pass
    assert (tmp_path / "clip.events.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_names_with_commas_quotes_and_line_breaks_stay_in_their_cell(tmp_path: Path) -> None:
    names = ('sit, "down"', "talk\nto\r=1+1")
    odd = dataclasses.replace(keyframe(0.0, {1: (0.9, 0.9)}), key=FrameKey("a,b\udcff", 0.0))
    with EventsSink(tmp_path / "odd.csv", dataclasses.replace(LABELS, names=names), 0.5) as sink:
        sink.keyframe(odd)
    with (tmp_path / "odd.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert {len(row) for row in rows} == {len(header)}
    assert [(row[0], row[2]) for row in rows] == [("a,b\\udcff", name) for name in names]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_broken_run_leaves_the_old_file_whole(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "clip.events.csv"
    old.write_text("old\n")

    def break_off() -> None:
        with EventsSink(old, LABELS, 0.5) as sink:
            sink.keyframe(keyframe(0.0, {1: (0.9, 0.9)}))
            raise error

    with pytest.raises(error):
        break_off()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old\n"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"leave_share": 1.5}, r"leave_share must lie in \[0, 1\], got 1.5"),
        ({"reach_s": 0.0}, "reach_s must be positive and shortest_s not negative, got 0.0"),
        ({"shortest_s": -1.0}, "got 5.0 and -1.0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        EventRules(**rules)


def test_no_event_reaches_into_a_gap() -> None:
    """Pictures of 0 to 2.4 s, 600.3 to 602.3 s and one at 700 s; keyframes come late."""
    finder, found = EventFinder(LABELS, 0.5), []
    gaps = {1.0: Gap(2.4, 600.3), 601.0: Gap(602.3, 700.0)}  # told before the keyframes at 2 and 602 s come
    for time_s in (0.0, 1.0, 2.0, 601.0, 602.0, 700.0):
        found += finder.add(keyframe(time_s, {1: (0.9, 0.0)}))
        if time_s in gaps:
            finder.gap(gaps[time_s])
    assert spans(found + finder.finish(700.1)) == [(0.0, 2.4), (600.3, 602.3), (700.0, 700.1)]
