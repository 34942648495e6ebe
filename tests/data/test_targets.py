"""From tables to keyframes with their people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.ava import AvaTable, Keyframes
from avadet.annotations.splits import DataSplit, DataVideo
from avadet.data.index import AnnotationIndex
from avadet.data.keyframes import ProposalRule, scoring_index, training_index
from avadet.errors import AvadetError
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "talk", "sit"), (12, 79, 11), ("pose", "person", "pose"), (True,) * 3)
A, B = [0.1, 0.1, 0.3, 0.9], [0.5, 0.2, 0.8, 0.8]
NEAR_A = [0.1, 0.1, 0.3, 0.88]  # IoU with A: 0.78 / 0.80 = 0.975
NOBODY = [0.4, 0.0, 0.6, 0.1]
ZERO = [0.0] * 4

Row = tuple[str, float, list[float], int, float]
TRUTH: list[Row] = [
    ("v", 2.0, A, 12, 7),
    ("v", 2.0, B, 11, 8),
    ("v", 2.0, A, 79, 7),
    ("u", 5.0, B, 79, 1),
    ("v", 3.0, ZERO, 0, -1),
]
FOUND: list[Row] = [
    ("v", 2.0, NEAR_A, -1, 0.95),
    ("v", 2.0, NOBODY, -1, 0.9),
    ("v", 2.0, B, 12, 0.85),
    ("v", 3.0, NOBODY, 0, 0.5),
]


def table(rows: Sequence[Row], scored: bool = False) -> AvaTable:
    ids, times, boxes, classes, last = (list(column) for column in zip(*rows)) if rows else ([], [], [], [], [])
    names = np.array([*ids, ""], dtype=object)[:-1]
    box = np.array(boxes, np.float64).reshape(-1, 4)
    values = {"scores": np.array(last, float)} if scored else {"person_ids": np.array(last, np.int64)}
    return AvaTable(names, np.array(times, float), box, np.array(classes, np.int64), **values)


def split(
    truth: Sequence[Row], found: Sequence[Row] | None = None, excluded: Sequence[tuple[str, float]] = ()
) -> DataSplit:
    videos = tuple(DataVideo(name, None) for name in ("u", "v"))
    names, times = np.array([*(name for name, _ in excluded), ""], object)[:-1], np.array([s for _, s in excluded])
    proposals = None if found is None else table(found, scored=True)
    return DataSplit("train", videos, table(truth), Keyframes(names, times.astype(float)), proposals)


def told(targets: AnnotationIndex, keyframe: int) -> list[tuple[list[float], list[str]]]:
    """Boxes and names of labels of a keyframe, in order."""
    return [
        (
            targets.boxes_norm[row].astype(float).round(3).tolist(),
            [LABELS.names[i] for i in np.flatnonzero(targets.labels[row])],
        )
        for row in targets.rows(keyframe)
    ]


def test_rows_of_one_box_are_one_person() -> None:
    targets = training_index(split(TRUTH), LABELS)
    assert [targets.key(i).video_id for i in range(len(targets))] == ["u", "v"]
    assert targets.times_s.tolist() == [5.0, 2.0]
    assert told(targets, 0) == [(B, ["talk"])]
    assert told(targets, 1) == [(A, ["stand", "talk"]), (B, ["sit"])]
    assert targets.person_ids.tolist() == [1, 7, 8] and (targets.scores == 1).all()


def test_keyframes_without_people_are_kept_by_choice() -> None:
    targets = training_index(split(TRUTH), LABELS, keep_empty=True)
    assert targets.times_s.tolist() == [5.0, 2.0, 3.0] and told(targets, 2) == []


def test_excluded_keyframes_and_unlisted_videos_are_dropped() -> None:
    rows = [*TRUTH, ("stranger", 1.0, A, 12, 0)]
    targets = training_index(split(rows, excluded=[("v", 2.0), ("u", 2.0), ("nobody", 5.0)]), LABELS, keep_empty=True)
    assert targets.times_s.tolist() == [5.0, 3.0]


@each_case(
    ("rule", "expected"),
    [
        (ProposalRule(), [(A, ["stand", "talk"]), (B, ["sit"]), (NEAR_A, ["stand", "talk"]), (NOBODY, [])]),
        (ProposalRule(matched="drop"), [(A, ["stand", "talk"]), (B, ["sit"]), (NOBODY, [])]),
        (ProposalRule(unmatched="drop"), [(A, ["stand", "talk"]), (B, ["sit"]), (NEAR_A, ["stand", "talk"])]),
        (ProposalRule(threshold=0.92), [(A, ["stand", "talk"]), (B, ["sit"]), (NEAR_A, ["stand", "talk"])]),
        (ProposalRule(least_iou=0.98), [(A, ["stand", "talk"]), (B, ["sit"]), (NEAR_A, []), (NOBODY, [])]),
        # PySlowFast: the list's own labels; a box that stands in both lists is one person with the labels of both
        (ProposalRule(matched="own"), [(A, ["stand", "talk"]), (B, ["stand", "sit"]), (NEAR_A, []), (NOBODY, [])]),
        (ProposalRule(matched="own", unmatched="drop"), [(A, ["stand", "talk"]), (B, ["stand", "sit"])]),
    ],
)
def test_proposals_join_by_rule(rule: ProposalRule, expected: list[tuple[list[float], list[str]]]) -> None:
    targets = training_index(split(TRUTH, FOUND), LABELS, rule)
    assert told(targets, 1) == [(box, sorted(names, key=LABELS.names.index)) for box, names in expected]
    assert told(targets, 0) == [(B, ["talk"])]


@pytest.mark.parametrize("turned", [False, True])
def test_a_proposal_is_the_person_that_it_overlaps_most_by_nine_tenths(turned: bool) -> None:
    below, further = [0.1, 0.1, 0.3, 0.85], [0.1, 0.1, 0.3, 0.8]  # IoU of NEAR_A: 0.96 with the first, 0.975 with A
    truth = [("v", 2.0, A, 12, 1), ("v", 2.0, below, 11, 2)]
    found = [("v", 2.0, NEAR_A, -1, 0.9)]
    targets = training_index(split(truth[::-1] if turned else truth, found), LABELS, ProposalRule())
    assert told(targets, 0)[2] == (NEAR_A, ["stand"])
    alone = training_index(split(truth[:1], [("v", 2.0, further, -1, 0.9)]), LABELS, ProposalRule())  # IoU 0.875
    assert told(alone, 0) == [(A, ["stand"]), (further, [])]


def test_a_keyframe_of_negatives_alone_counts() -> None:
    targets = training_index(split(TRUTH, FOUND), LABELS, ProposalRule(threshold=0.4))
    assert targets.times_s.tolist() == [5.0, 2.0, 3.0] and told(targets, 2) == [(NOBODY, [])]


def test_testing_sees_proposals_only() -> None:
    data = split(TRUTH, FOUND, excluded=[("u", 5.0)])
    targets = scoring_index(data, LABELS, 0.9)
    assert told(targets, 0) == [(NEAR_A, []), (NOBODY, [])] and len(targets) == 1
    np.testing.assert_allclose(targets.scores, [0.95, 0.9])
    best = scoring_index(data, LABELS, 0.99, keep_best=True)
    assert [told(best, i) for i in range(2)] == [[(NEAR_A, [])], [(NOBODY, [])]]
    everywhere = scoring_index(split(TRUTH, FOUND), LABELS, 0.9, keep_empty=True)
    assert everywhere.times_s.tolist() == [5.0, 2.0, 3.0] and np.diff(everywhere.starts).tolist() == [0, 2, 0]


def test_select_takes_keyframes_with_their_people() -> None:
    targets = training_index(split(TRUTH, FOUND), LABELS, ProposalRule())
    turned = targets.select(np.array([1, 0]))
    assert [told(turned, i) for i in range(2)] == [told(targets, i) for i in (1, 0)]
    assert turned.key(0) == targets.key(1)
    assert len(targets.select(np.zeros(0, np.int64)).boxes_norm) == 0


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(
        AvadetError, match=r"annotations: class id 13 is not in the label map of 3 classes \(2 such rows\)"
    ):
        training_index(split([("v", 1.0, A, 13, 0), ("v", 2.0, A, 13, 0)]), LABELS)
    with pytest.raises(AvadetError, match=r"annotations:2: column 3 \(x1\) is '10', .*divide pixels by"):
        training_index(split([("v", 1.0, A, 12, 0), ("v", 1.0, [10.0, 20, 30, 40], 12, 0)]), LABELS)
    with pytest.raises(AvadetError, match="no proposals"):
        training_index(split(TRUTH), LABELS, ProposalRule())


def test_boxes_that_reach_out_a_little_are_cut() -> None:
    targets = training_index(split([("v", 1.0, [-0.1, 0.2, 1.1, 0.9], 12, 0)]), LABELS)
    np.testing.assert_allclose(targets.boxes_norm, [[0, 0.2, 1, 0.9]], atol=1e-6)


def test_nothing_at_all() -> None:
    targets = training_index(split([], []), LABELS, ProposalRule())
    assert len(targets) == 0 and targets.starts.tolist() == [0] and targets.labels.shape == (0, 3)


@each_case("seed", range(10))
def test_the_arrays_say_what_loops_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = [sorted(rng.uniform(0, 0.5, 2)) + sorted(rng.uniform(0.5, 1, 2)) for _ in range(6)]

    def rows(count: int, last: Sequence[float]) -> list[Row]:
        return [
            (str(rng.choice(["u", "v"])), float(rng.integers(3)), pool[rng.integers(6)], int(rng.choice([12, 79, 11])),
             float(rng.choice(last)))
            for _ in range(count)
        ]  # fmt: skip

    truth, found = rows(30, [1]), rows(20, [0.3, 0.9])
    targets = training_index(split(truth, found), LABELS, ProposalRule(matched="own", threshold=0.5))
    expected: dict[tuple[str, float], dict[tuple[float, ...], set[int]]] = {}
    for name, time_s, box, class_id, last in [*truth, *found]:
        if last > 0.5:
            expected.setdefault((name, time_s), {}).setdefault(tuple(box), set()).add(class_id)
    assert len(targets) == len(expected)
    for keyframe in range(len(targets)):
        key = targets.key(keyframe)
        boxes = expected[key.video_id, key.time_s]
        got = targets.rows(keyframe)
        np.testing.assert_allclose(targets.boxes_norm[got], np.array(list(boxes)), atol=1e-6)
        names = [{LABELS.ids[i] for i in np.flatnonzero(targets.labels[row])} for row in got]
        assert names == list(boxes.values())
