"""What is written, and that it is written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import staged
from each_case import each_case

from avadet.annotations.ava import read_detections
from avadet.errors import AvadetError
from avadet.inference.sinks import AvaCsvSink, JsonlSink, Sink, feed, named_actions
from avadet.inference.summary import Span, Summary
from avadet.types import ActionDetections, Frame, FrameKey

LABELS = staged.labels("stand", "walk", "talk")


def found(
    time_s: float, *people: tuple[int, list[float]], boxes_norm: list[list[float]] | None = None
) -> ActionDetections:
    """A keyframe's results: (track id, scores) per person."""
    boxes = np.array(boxes_norm or [[0.25, 0.5, 0.5, 1.0]] * len(people), np.float32).reshape(-1, 4)
    scores = np.array([scores for _, scores in people], np.float32).reshape(-1, 3)
    tracks = np.array([track for track, _ in people], np.int64)
    return ActionDetections(
        FrameKey("clip", time_s), boxes, np.full(len(people), 0.875, np.float32), scores, (48, 64), tracks
    )


def test_actions_over_the_threshold_best_first() -> None:
    actions = named_actions(np.array([0.3, 0.9, 0.29], np.float32), LABELS, float(np.float32(0.3)))
    assert [(a.name, a.id, a.group) for a in actions] == [("walk", 12, "pose"), ("stand", 11, "pose")]
    assert actions[0].score == pytest.approx(0.9)


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    names = [a.name for a in named_actions(np.full(3, 0.5, np.float32), LABELS, 0.0)]
    assert names == ["stand", "walk", "talk"]


def test_a_json_line_by_hand(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "clip.jsonl", LABELS, threshold=0.5) as sink:
        sink.keyframe(found(1.0, (7, [0.1, 0.71236, 0.5]), (-1, [0.1, 0.2, 0.3])))
        sink.keyframe(found(2.0))
    first, second = (json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines())
    assert first == {
        "video": "clip",
        "time_s": 1.0,
        "track_id": 7,
        "person_score": 0.875,
        "box_px": [16.0, 24.0, 32.0, 48.0],
        "box_norm": [0.25, 0.5, 0.5, 1.0],
        "actions": [
            {"name": "walk", "id": 12, "group": "pose", "score": 0.7124},
            {"name": "talk", "id": 13, "group": "pose", "score": 0.5},
        ],
    }
    assert second["track_id"] is None
    assert second["actions"] == []


def test_the_ava_csv_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "clip.ava.csv"
    with AvaCsvSink(path, LABELS) as sink:
        sink.keyframe(found(1.0, (1, [0.25, 0.75, 0.001])))
        sink.keyframe(found(2.5, (1, [0.5, 0.0, 0.125])))
    table = read_detections(path)
    assert list(table.video_ids) == ["clip"] * 4
    assert table.times_s.tolist() == [1.0, 1.0, 2.5, 2.5]
    assert sorted(zip(table.times_s, table.class_ids, table.scores)) == [
        (1.0, 11, 0.25),
        (1.0, 12, 0.75),
        (2.5, 11, 0.5),
        (2.5, 13, 0.125),
    ]
    np.testing.assert_allclose(table.boxes_norm, [[0.25, 0.5, 0.5, 1.0]] * 4, atol=1e-6)


@each_case(
    ("exclusive", "asked", "score"),
    [(False, None, 0.5), (True, None, 0.4375), (True, False, 0.5), (False, True, 0.4375)],
)
def test_the_ava_csv_weighs_by_persons_where_classes_exclude_each_other(
    tmp_path: Path, exclusive: bool, asked: bool | None, score: float
) -> None:
    path = tmp_path / "clip.ava.csv"
    with AvaCsvSink(path, replace(LABELS, exclusive=exclusive), times_person=asked) as sink:
        sink.keyframe(found(1.0, (1, [0.5, 0.0, 0.0])))
    assert read_detections(path).scores.tolist() == [score]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_new_and_the_old_file_whole(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "clip.jsonl"
    old.write_text("old\n")

    def break_off() -> None:
        with JsonlSink(old, LABELS, 0.5) as jsonl, AvaCsvSink(tmp_path / "clip.ava.csv", LABELS) as ava:
            jsonl.keyframe(found(1.0, (1, [1, 1, 1])))
            ava.keyframe(found(1.0, (1, [1, 1, 1])))
            raise error

    with pytest.raises(error):
        break_off()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.jsonl"]
    assert old.read_text() == "old\n"


def test_nothing_stands_under_its_name_before_it_is_whole(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "clip.jsonl", LABELS, 0.5) as sink:
        sink.keyframe(found(1.0, (1, [1, 1, 1])))
        assert not (tmp_path / "clip.jsonl").exists()
    assert (tmp_path / "clip.jsonl").exists()


def test_a_folder_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = JsonlSink(tmp_path / "file" / "clip.jsonl", LABELS, 0.5)
    with pytest.raises(AvadetError, match=r"cannot write .*clip\.jsonl"):
        sink.__enter__()


class Noted(Sink):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def frame(self, frame: Frame) -> None:
        self.notes.append(f"frame {frame.index}")

    def keyframe(self, detections: ActionDetections) -> None:
        self.notes.append(f"keyframe {detections.key.time_s}")


def test_feed_hands_every_event_to_every_sink_in_order() -> None:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 0)
    events = [frame, found(0.0), frame]
    sinks = [Noted(), Noted()]
    assert list(feed(events, sinks)) == events
    assert sinks[0].notes == sinks[1].notes == ["frame 0", "keyframe 0.0", "frame 0"]


def test_the_summary_joins_equal_neighbours() -> None:
    summary = Summary(LABELS, threshold=0.5)
    walk, talk, nothing = [0.0, 0.6, 0.1], [0.0, 0.1, 0.9], [0.1, 0.1, 0.1]
    for time_s, people in enumerate(
        [[(1, walk)], [(1, [0, 0.8, 0]), (2, talk)], [(1, nothing)], [(1, walk)], [(2, talk)], [(1, walk)], []]
    ):
        summary.keyframe(found(float(time_s), *people))
    assert summary.spans[1] == [
        Span("walk", 0.0, 1.0, pytest.approx(0.8)),
        Span("", 2.0, 2.0, 0.0),
        Span("walk", 3.0, 3.0, pytest.approx(0.6)),
        Span("walk", 5.0, 5.0, pytest.approx(0.6)),  # not seen at 4 s: a new stretch
    ]
    assert [(span.start_s, span.end_s) for span in summary.spans[2]] == [(1.0, 1.0), (4.0, 4.0)]
    assert (summary.num_keyframes, summary.people.boxes) == (7, 7)
