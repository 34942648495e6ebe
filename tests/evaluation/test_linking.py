"""Linking: every rule by hand, laws, and a second implementation that loops over everything."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from each_case import each_case

from avadet import boxes
from avadet.annotations.ava import AvaTable
from avadet.errors import AvadetError
from avadet.evaluation.linking import Linking, Trimming, active_frames, link_detections, spans
from avadet.types import LabelMap, Tube

LABELS = LabelMap(("walk", "wave", "fall"), (3, 7, 9), ("pose", "person", "pose"), (True, True, False))
FPS = 30.0
HERE = (0.1, 0.1, 0.5, 0.9)
NEAR = (0.14, 0.1, 0.54, 0.9)  # IoU with HERE 0.36 / 0.44
BESIDE = (0.4, 0.1, 0.8, 0.9)  # IoU with HERE 0.1 / 0.7
AWAY = (0.6, 0.1, 1.0, 0.9)
Row = tuple[str, int, tuple[float, float, float, float], int, float]


def table(*rows: Row) -> AvaTable:
    """Rows of (video, frame from 0, box, class id, score); times as a file has them."""
    return AvaTable(
        np.array([row[0] for row in rows], dtype=object),
        np.array([row[1] / FPS for row in rows], np.float64).round(6),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.int64),
        np.array([row[4] for row in rows], np.float64),
    )


def link(*rows: Row, trimming: Trimming | None = None, **rules: float) -> list[Tube]:
    return link_detections(table(*rows), LABELS, FPS, Linking(**rules), trimming)


def frames_of(tube: Tube) -> list[int]:
    return np.rint(tube.times_s * FPS).astype(int).tolist()


def described(tubes: list[Tube]) -> list[tuple[str, int, list[int], list[list[float]], float]]:
    return [(t.video_id, t.class_index, frames_of(t), t.boxes_norm.tolist(), round(t.score, 9)) for t in tubes]


def moving(frame: int, start: float = 0.1) -> tuple[float, float, float, float]:
    return (start + 0.01 * frame, 0.1, start + 0.3 + 0.01 * frame, 0.9)


def test_a_person_who_moves_is_one_tube() -> None:
    (tube,) = link(*(("v", frame, moving(frame), 7, 0.5 + 0.1 * frame) for frame in range(3)))
    assert (tube.video_id, tube.class_index) == ("v", 1)
    assert tube.times_s.tolist() == [0.0, 0.033333, 0.066667]
    assert tube.boxes_norm == pytest.approx(np.array([moving(frame) for frame in range(3)]))
    assert tube.score == pytest.approx(0.6)  # the mean of 0.5, 0.6, 0.7


def test_people_videos_and_classes_are_kept_apart() -> None:
    rows = [(video, frame, box, 3, 0.5) for video in "ab" for frame in (0, 1) for box in (HERE, AWAY)]
    tubes = link(*rows, ("a", 2, HERE, 7, 0.5), ("a", 2, HERE, 9, 0.5), ("a", 2, HERE, 44, 0.5))
    # 9 is not evaluated, 44 is not in the map
    assert [(t.video_id, t.class_index, frames_of(t)) for t in tubes] == [
        ("a", 0, [0, 1]),
        ("a", 0, [0, 1]),
        ("a", 1, [2]),
        ("b", 0, [0, 1]),
        ("b", 0, [0, 1]),
    ]


def test_of_boxes_that_overlap_the_best_stays() -> None:
    rows = [("v", 0, HERE, 3, 0.6), ("v", 0, NEAR, 3, 0.7), ("v", 0, AWAY, 3, 0.1)]
    # IoU of HERE and NEAR is 0.818
    assert sorted(round(tube.score, 6) for tube in link(*rows)) == [0.1, 0.7]
    assert len(link(*rows, nms_iou=0.82)) == 3
    assert len(link(*rows, nms_iou=0.81)) == 2


def test_a_suppressed_box_suppresses_nobody() -> None:
    # each overlaps the next by 0.3 / 0.5 = 0.6 only; the middle one is gone before it can take the last
    rows = [("v", 0, (start, 0.0, start + 0.4, 1.0), 3, score) for start, score in ((0, 0.9), (0.1, 0.8), (0.2, 0.7))]
    assert sorted(round(tube.score, 6) for tube in link(*rows, nms_iou=0.5)) == [0.7, 0.9]


def test_a_frame_keeps_so_many_boxes_of_a_class() -> None:
    rows = [("v", 0, HERE, 3, 0.6), ("v", 0, AWAY, 3, 0.7), ("v", 0, HERE, 7, 0.5)]
    tubes = link(*rows, top_per_frame=1)
    assert [(tube.class_index, round(tube.score, 6)) for tube in tubes] == [(0, 0.7), (1, 0.5)]


def test_a_box_far_from_the_last_starts_a_tube() -> None:
    # 0.1 / 0.7 = 0.143
    rows = [("v", 0, HERE, 3, 0.5), ("v", 1, BESIDE, 3, 0.5)]
    assert [frames_of(tube) for tube in link(*rows)] == [[0], [1]]
    assert [frames_of(tube) for tube in link(*rows, link_iou=0.14)] == [[0, 1]]


def test_the_better_tube_chooses_first_and_takes_the_better_box() -> None:
    low, high = (0.1, 0.1, 0.5, 0.6), (0.1, 0.4, 0.5, 0.9)  # IoU 0.2 / 0.8 = 0.25 with each other
    middle = (0.1, 0.25, 0.5, 0.75)  # IoU 0.35 / 0.65 = 0.54 with both
    rows = [("v", 0, low, 3, 0.6), ("v", 0, high, 3, 0.8), ("v", 1, middle, 3, 0.9), ("v", 1, low, 3, 0.4)]
    tubes = link(*rows, nms_iou=0.9)
    # the tube of `high` (0.8) takes `middle`, that of `low` (0.6) what is left
    assert sorted(round(tube.score, 6) for tube in tubes) == [0.5, 0.85]


def test_a_gap_is_filled_in_between() -> None:
    (tube,) = link(("v", 1, moving(0), 3, 0.9), ("v", 2, moving(1), 3, 0.5), ("v", 5, moving(4), 3, 0.8))
    assert tube.times_s.tolist() == [0.033333, 0.066667, 0.1, 0.133333, 0.166667]
    assert tube.boxes_norm == pytest.approx(np.array([moving(frame) for frame in range(5)]))
    assert tube.score == pytest.approx((0.9 + 0.5 + 0.6 + 0.7 + 0.8) / 5)


def test_times_stay_as_the_file_has_them() -> None:
    rows = table(("v", 1, HERE, 3, 0.5), ("v", 2, HERE, 3, 0.5), ("v", 4, HERE, 3, 0.5))
    rough = AvaTable(rows.video_ids, rows.times_s.round(4), rows.boxes_norm, rows.class_ids, rows.scores)
    (tube,) = link_detections(rough, LABELS, FPS)
    assert tube.times_s.tolist() == [0.0333, 0.0667, 0.1, 0.1333]


@pytest.mark.parametrize(("patience", "num_tubes"), [(3, 2), (4, 1)])
def test_a_tube_ends_after_frames_without_a_box(patience: int, num_tubes: int) -> None:
    # frames 1, 2 and 3 have no box of it; another person is in them all
    rows = [("v", frame, HERE, 3, 0.5) for frame in (0, 4)] + [("v", frame, AWAY, 3, 0.4) for frame in range(5)]
    tubes = link(*rows, patience=patience)
    assert sum(round(tube.score, 6) == 0.5 for tube in tubes) == num_tubes


def test_keyframes_may_be_every_second_frame() -> None:
    rows = [("v", frame, HERE, 3, 0.5) for frame in (0, 2, 4, 10)]
    assert [frames_of(tube) for tube in link(*rows)] == [[0, 2, 4, 6, 8, 10]]
    assert [frames_of(tube) for tube in link(*rows, patience=2)] == [[0, 2, 4], [10]]


def test_short_and_weak_tubes_are_dropped() -> None:
    rows = [("v", frame, HERE, 3, 0.5) for frame in range(3)] + [("v", frame, AWAY, 3, 0.005) for frame in range(9)]
    assert [frames_of(tube) for tube in link(*rows)] == [[0, 1, 2]]
    assert len(link(*rows, min_score=0)) == 2
    assert [len(tube.times_s) for tube in link(*rows, min_score=0, min_frames=4)] == [9]


def test_boxes_end_at_the_frame_and_empty_ones_are_left_out() -> None:
    rows = [("v", 0, (-0.2, 0.1, 0.5, 1.3), 3, 0.5), ("v", 1, (1.1, 0, 1.2, 1), 3, 0.5), ("v", 2, HERE, 3, np.nan)]
    (tube,) = link(*rows, ("v", 3, (np.nan, 0, 1, 1), 3, 0.5))
    assert tube.boxes_norm == pytest.approx(np.array([[0, 0.1, 0.5, 1]]))


def test_nothing_gives_nothing() -> None:
    assert link() == []
    assert link(("v", 0, HERE, 44, 0.5)) == []


def test_a_time_between_frames_is_named() -> None:
    one = table(("v", 0, HERE, 3, 0.5))
    late = AvaTable(one.video_ids, one.times_s + 0.05, one.boxes_norm, one.class_ids, one.scores)
    with pytest.raises(AvadetError, match=r"at 0.05 s of video 'v' are on no frame at 25 frames per second"):
        link_detections(late, LABELS, 25.0)


def test_what_is_on_by_hand() -> None:
    scores = np.array([0.1, 0.1, 1.0, 1.0, 0.1, 1.0, 0.1, 0.1, 0.1])
    # gains are -0.4 and 0.5; leaving for the one weak frame saves 0.4 and costs two changes
    assert active_frames(scores, Trimming(0.5, 0.3)).tolist() == [False, False, True, True, True, True] + [False] * 3
    assert active_frames(scores, Trimming(0.5, 0.1)).tolist() == [*[False] * 2, True, True, False, True, *[False] * 3]
    # staying on costs 5 * 0.4 in all, changing twice 20
    assert active_frames(scores, Trimming(0.3, 10)).all()
    assert active_frames(np.zeros(3), Trimming()).all()


@each_case("cost", [0.0, 0.15, 0.4, 1.0])
def test_no_other_labelling_scores_more(cost: float) -> None:
    rng = np.random.default_rng(int(cost * 100))
    trimming = Trimming(0.6, cost)
    for _ in range(20):
        scores = rng.random(8)
        gains = scores / scores.max() - trimming.level

        def worth(states: np.ndarray, gains: np.ndarray = gains) -> float:
            return float(gains[states].sum() - cost * (states[1:] != states[:-1]).sum())

        best = max(worth(np.array(states)) for states in product((False, True), repeat=8))
        assert worth(active_frames(scores, trimming)) == pytest.approx(best)


def test_a_trimmed_tube_is_where_the_action_is_on() -> None:
    scores = [0.1] * 4 + [0.9] * 4 + [0.1] * 4 + [0.8] * 4
    rows = [("v", frame, HERE, 3, score) for frame, score in enumerate(scores)]
    whole, parts = link(*rows), link(*rows, trimming=Trimming(0.5, 0.5))
    assert [len(tube.times_s) for tube in whole] == [16]
    assert [(frames_of(tube), round(tube.score, 6)) for tube in parts] == [
        ([4, 5, 6, 7], 0.9),
        ([12, 13, 14, 15], 0.8),
    ]


def crowd(seed: int, num_frames: int = 12) -> list[Row]:
    """People who walk about in three videos, with boxes that come and go; all scores differ."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for video, class_id in product("abc", (3, 7)):
        places = rng.uniform(0, 0.7, (4, 2))
        for frame in range(num_frames):
            places = np.clip(places + rng.normal(0, 0.02, places.shape), 0, 0.7)
            for place in places[rng.random(4) < 0.7]:
                size = rng.uniform(0.2, 0.3, 2)
                rows.append((video, frame, (*place.tolist(), *(place + size).tolist()), class_id, float(rng.random())))
    return rows


def looped(rows: list[Row], rules: Linking) -> list[list[int]]:
    """Row numbers of each tube, one box at a time, from the description of the rules alone."""

    def overlap(first: int, second: int) -> float:
        one, other = (np.array([rows[row][2]]) for row in (first, second))
        return float(boxes.iou(one, other)[0, 0])

    def mean(tube: list[int]) -> float:
        return float(np.mean([rows[row][4] for row in tube]))

    done = []
    for video, class_id in product("abc", (3, 7)):
        tubes: list[list[int]] = []
        for frame in range(1 + max(row[1] for row in rows)):
            here = [n for n, row in enumerate(rows) if row[0] == video and row[1] == frame and row[3] == class_id]
            free: list[int] = []
            for row in sorted(here, key=lambda n: -rows[n][4]):
                if all(overlap(row, other) <= rules.nms_iou for other in free):
                    free.append(row)
            free = free[: rules.top_per_frame]
            alive = [tube for tube in tubes if frame - rows[tube[-1]][1] <= rules.patience]
            for tube in sorted(alive, key=lambda one: -mean(one)):
                near = [row for row in free if overlap(row, tube[-1]) >= rules.link_iou]
                if near:
                    tube.append(near[0])
                    free.remove(near[0])
            tubes += [[row] for row in free]
        done += tubes
    return done


@each_case("seed", range(4))
def test_a_second_implementation_agrees(seed: int) -> None:
    rows = crowd(seed)
    rules = Linking(nms_iou=0.4, top_per_frame=3, link_iou=0.3, patience=2 + seed % 2, min_score=0)
    expected = []
    for tube in looped(rows, rules):
        frames = list(range(rows[tube[0]][1], rows[tube[-1]][1] + 1))
        known = [rows[row][1] for row in tube]
        score = float(np.interp(frames, known, [rows[row][4] for row in tube]).mean())
        video, _, _, class_id, _ = rows[tube[0]]
        expected.append((video, LABELS.ids.index(class_id), frames, round(score, 9)))
    found = [(video, index, frames, score) for video, index, frames, _, score in described(link(*rows, **vars(rules)))]
    assert sorted(found) == sorted(expected)
    assert any(len(frames) > 8 for _, _, frames, _ in found)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    # also where scores are equal
    rows = [(*row[:4], round(row[4], 1)) for row in crowd(seed)]
    shuffled = [rows[n] for n in np.random.default_rng(seed).permutation(len(rows))]
    trimming = Trimming(0.6, 0.2)
    assert described(link(*rows, trimming=trimming)) == described(link(*shuffled, trimming=trimming))


def test_the_names_of_videos_change_nothing() -> None:
    rows = crowd(5)
    new = {"a": "z", "b": "y", "c": "x"}
    renamed = described(link(*((new[row[0]], *row[1:]) for row in rows)))
    assert sorted(renamed) == sorted((new[tube[0]], *tube[1:]) for tube in described(link(*rows)))


def test_spans_by_hand() -> None:
    assert spans(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert spans(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []
