"""Ids stay with people at the low rates at which people are detected."""

import csv
import warnings
from collections import defaultdict

import numpy as np
import pytest

from avadet.errors import AvadetError
from avadet.persons.tracking import PersonTracker
from avadet.types import PersonBoxes

SIZE_HW = (480, 640)


def people(boxes_px, scores=None):
    boxes_px = np.asarray(boxes_px, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes_px), 0.8) if scores is None else scores
    return PersonBoxes(boxes_px, np.asarray(scores, np.float32), SIZE_HW)


def walker(x, y=100.0, height=240.0):
    return [x, y, x + 0.4 * height, y + height]


def test_ids_start_at_one_at_first_sight_and_boxes_come_back_unchanged():
    found = people([walker(400), walker(100), walker(250)], [0.9, 0.5, 0.7])
    tracked = PersonTracker().update(found, 0.0)
    assert sorted(tracked.track_ids.tolist()) == [1, 2, 3] and tracked.track_ids.dtype == np.int64
    assert tracked.boxes_px is found.boxes_px and tracked.scores is found.scores and found.track_ids is None


@pytest.mark.parametrize("step_s", [0.2, 0.5, 1.0])
def test_walking_people_keep_their_ids_whatever_the_order_of_the_boxes(step_s):
    tracker, rng = PersonTracker(), np.random.default_rng(0)
    seen = []
    for time_s in np.arange(0, 5, step_s):
        boxes = np.array([walker(20 + 50 * time_s), walker(500 - 40 * time_s, 200, 150), walker(300, 20, 100)])
        order = rng.permutation(3)
        ids = tracker.update(people(boxes[order]), time_s).track_ids
        seen.append(ids[np.argsort(order)].tolist())
    assert all(ids == seen[0] for ids in seen)


def test_people_who_cross_keep_their_ids_though_one_hides_the_other():
    """Two walk towards each other at 100 px/s; the farther one is unseen for a second while they cross."""
    for seed in range(20):
        tracker, rng, first = PersonTracker(), np.random.default_rng(seed), None
        for time_s in np.arange(0, 4.0, 0.2):
            boxes = np.array([walker(70 + 100 * time_s, 120), walker(470 - 100 * time_s, 140)])
            boxes += rng.normal(0, 2, (2, 4))
            both = abs(time_s - 2.0) > 0.5
            ids = tracker.update(people(boxes if both else boxes[:1]), time_s).track_ids.tolist()
            first = first or ids
            assert ids == (first if both else first[:1]), (seed, time_s)


def test_a_missed_keyframe_is_forgiven_a_long_absence_is_not():
    tracker = PersonTracker()
    assert tracker.update(people([walker(100)]), 0.0).track_ids.tolist() == [1]
    assert len(tracker.update(people([]), 1.0)) == 0
    assert tracker.update(people([walker(105)]), 2.0).track_ids.tolist() == [1]
    tracker.update(people([]), 3.0)
    assert tracker.update(people([walker(105)]), 5.0).track_ids.tolist() == [2]


def test_somebody_else_far_away_is_a_new_person():
    tracker = PersonTracker()
    tracker.update(people([walker(20)]), 0.0)
    assert tracker.update(people([walker(500)]), 0.2).track_ids.tolist() == [2]


def test_unsure_boxes_continue_a_track_but_start_none():
    tracker = PersonTracker(new_track_score=0.5)
    assert tracker.update(people([walker(100), walker(400)], [0.9, 0.4]), 0.0).track_ids.tolist() == [1, -1]
    assert tracker.update(people([walker(102), walker(401)], [0.4, 0.4]), 0.2).track_ids.tolist() == [1, -1]
    assert tracker.update(people([walker(104), walker(402)], [0.9, 0.6]), 0.4).track_ids.tolist() == [1, 2]


def test_trackers_share_nothing_and_reset_forgets():
    first, second = PersonTracker(), PersonTracker()
    assert first.update(people([walker(100), walker(400)]), 0.0).track_ids.tolist() == [1, 2]
    assert second.update(people([walker(400)]), 7.0).track_ids.tolist() == [1]
    first.update(people([walker(100)]), 5.0)
    first.reset()
    assert first.update(people([walker(400)]), 0.0).track_ids.tolist() == [1]


def test_time_that_runs_backwards_is_refused_and_the_same_moment_twice_is_not():
    tracker = PersonTracker()
    tracker.update(people([walker(100)]), 3.0)
    assert tracker.update(people([walker(100)]), 3.0).track_ids.tolist() == [1]
    with pytest.raises(AvadetError, match=r"got 1\.0 s after 3\.0"):
        tracker.update(people([walker(100)]), 1.0)
    with pytest.raises(AvadetError, match="got nan"):
        tracker.update(people([walker(100)]), float("nan"))


def test_it_neither_warns_nor_prints(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker = PersonTracker()
        for time_s in (0.0, 0.0, 1.0):
            tracker.update(people([walker(100), walker(400)]), time_s)
            tracker.update(people([]), time_s)
    assert capfd.readouterr() == ("", "")


def annotated_tracks(shared):
    """UCF24 boxes and track ids by video and 0-based frame; file coordinates are of 320x240."""
    tracks = defaultdict(lambda: defaultdict(list))
    with (shared / "data/ucf24/ucf24_demo_boxes.csv").open() as file:
        for row in csv.DictReader(file):
            box = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
            tracks[row["video"]][int(row["frame_1based"]) - 1].append((box, int(row["track_id"])))
    return tracks


def count_changes(frames, stride):
    """How often a person's id changes when every `stride`-th frame is looked at (25 frames a second)."""
    tracker, last, changes = PersonTracker(), {}, 0
    for index in range(0, max(frames) + 1, stride):
        rows = frames.get(index, [])
        boxes = np.clip(np.array([box for box, _ in rows]).reshape(-1, 4), 0, [640, 480, 640, 480])
        ids = tracker.update(people(boxes), index / 25).track_ids
        for (_, person), track in zip(rows, ids.tolist()):
            changes += last.get(person, track) != track
            last[person] = track
    return changes


@pytest.mark.shared
@pytest.mark.parametrize(("stride", "at_most"), [(5, 1), (12, 3), (25, 4)])
def test_annotated_people_of_nine_real_clips_keep_their_ids(shared, stride, at_most):
    """Dancers, fencers, skaters; the package's own settings change ids 6, 25 and 27 times."""
    changes = {name: count_changes(frames, stride) for name, frames in annotated_tracks(shared).items()}
    assert len(changes) == 9
    assert sum(changes.values()) <= at_most, changes
