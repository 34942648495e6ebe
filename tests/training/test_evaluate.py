"""Scoring: linking, averaging, tables, and that files give the same number as memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from staged_squares import LABELS, SquareStore, video

from avadet.annotations.ava import AvaTable, read_detections, read_ground_truth, write_detections
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.models.build import build
from avadet.models.checkpoints.weights import LoadReport
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.zoo import LoadedModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training.evaluate import (
    ClipScorer,
    People,
    ScoredVideo,
    action_detections,
    average_tracks,
    detections_table,
    frame_map,
    given_people,
    link_boxes,
    score_videos,
    summarise,
    truth_table,
    write_truth,
)
from avadet.types import ClipSpec, PersonBoxes

NOT_READ = LoadReport("nowhere", 0, (), (), ())
SPEC = ClipSpec(num_frames=4, stride=1, fps=30.0, short_side=48, mean=(0.0,) * 3, std=(1.0,) * 3)


class BoxCentre(ActionModel):
    """Logits that tell what the model was shown: x of the box's centre, mean of the clip, 0."""

    num_classes = 3

    def forward(self, clips: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        centre = (rois[:, 1] + rois[:, 3]) / 2 / clips.shape[-1]
        mean = clips.float().mean(dim=(1, 2, 3, 4))[rois[:, 0].long()] / 255
        return torch.stack([centre, mean, torch.zeros_like(mean)], dim=1)


def _scorer(model: ActionModel | None = None, **options: object) -> ClipScorer:
    loaded = LoadedModel(model or BoxCentre(), SPEC, LABELS, "staged", {"scores": "softmax"}, NOT_READ)
    return ClipScorer(loaded, **options)


def _scored(index: int, scores: list[list[float]], tracks: list[int], rows: list[int]) -> ScoredVideo:
    annotation = video(index)
    boxes = annotation.boxes_norm[rows]
    people = People(np.array(rows), boxes, np.ones(len(rows), np.float32), np.array(tracks))
    return ScoredVideo(annotation, np.unique(rows), people, np.array(scores, np.float32), (48, 64))


def test_linking_by_hand() -> None:
    left, right = [0, 0, 0.4, 1], [0.6, 0, 1, 1]
    moved = [0.05, 0, 0.45, 1]
    frames = [
        np.array(boxes, np.float32).reshape(-1, 4) for boxes in ([left, right], [right], [], [moved, right, left])
    ]
    # In the last frame both `moved` and `left` overlap person 0, the exact one more.
    assert link_boxes(frames).tolist() == [0, 1, 1, 2, 1, 0]
    assert link_boxes([]).tolist() == []


def test_averaging_by_hand() -> None:
    scored = _scored(0, [[0.2, 0.8, 0], [0.9, 0.1, 0], [0.4, 0.6, 0]], [5, 7, 5], [0, 0, 1])
    np.testing.assert_allclose(average_tracks(scored).scores, [[0.3, 0.7, 0], [0.9, 0.1, 0], [0.3, 0.7, 0]], atol=1e-6)


def test_frame_map_by_hand() -> None:
    perfect = [_scored(i, [np.eye(3)[i].tolist()] * 2, [0, 0], [0, 4]) for i in range(3)]
    assert summarise(perfect, LABELS) == {"frame_map": 100, "track_map": 100, "accuracy": 100}
    # The first of two frames of video 0 prefers class 1; its mean over the track does not.
    torn = [_scored(0, [[0.4, 0.6, 0], [0.9, 0.1, 0]], [0, 0], [0, 4]), *perfect[1:]]
    numbers = summarise(torn, LABELS)
    assert numbers["accuracy"] == pytest.approx(100 * 5 / 6, abs=1e-3)
    assert numbers["track_map"] == 100 and numbers["frame_map"] == 100  # .6 of class 1 ranks below the two right 1s


def test_a_doubtful_person_ranks_lower_only_if_its_score_counts() -> None:
    # The wrong box is scored higher, but its person is in doubt: 0.5 * 0.9 over 0.6 * 0.2, or 0.5 under 0.6.
    annotation, row = video(0), np.array([2])
    boxes = np.concatenate([annotation.boxes_norm[row], np.array([[0.9, 0.9, 1, 1]], np.float32)])
    people = People(np.array([2, 2]), boxes, np.array([0.9, 0.2], np.float32), np.array([0, 1]))
    scored = ScoredVideo(annotation, row, people, np.array([[0.5, 0, 0], [0.6, 0, 0]], np.float32), (48, 64))
    for times_person, expected in ((True, 100), (False, 50)):
        numbers = summarise([scored], LABELS, times_person)
        assert (numbers["frame_map"], numbers["track_map"]) == (expected, expected)
        (detections,) = action_detections(scored, times_person)
        assert detections.scores[:, 0].argmax() == (0 if times_person else 1)


def test_a_clip_sees_its_own_frames_and_box() -> None:
    annotation, stored = video(1), SquareStore().open("right/1", Path())
    rows = np.array([0, 3, 7])
    logits = torch.from_numpy(_scorer(batch_size=2).score(annotation, stored, given_people(annotation, rows))).log()
    centres = (annotation.boxes_norm[rows, 0] + annotation.boxes_norm[rows, 2]) / 2
    np.testing.assert_allclose((logits[:, 0] - logits[:, 2]).numpy(), centres, atol=1e-5)
    shown = [np.clip(np.arange(row - 2, row + 2), 0, 7) for row in rows]
    means = [stored.frames[indices].mean() / 255 for indices in shown]
    np.testing.assert_allclose((logits[:, 1] - logits[:, 2]).numpy(), means, atol=1e-5)


def test_boxes_are_shown_as_the_model_knows_them() -> None:
    # A 48x64 px frame stays as it is: the other rule only cuts at the index of the last pixel, 63.
    annotation, stored = video(0), SquareStore().open("left/0", Path())
    whole = People(np.array([2]), np.array([[0, 0, 1, 1]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    for rule, centre in (("exact", 0.5), ("pyslowfast", 31.5 / 64)):
        loaded = replace(_scorer().loaded, spec=replace(SPEC, boxes=rule))
        scorer = ClipScorer(loaded)
        logits = torch.from_numpy(scorer.score(annotation, stored, whole)).log()
        assert (logits[0, 0] - logits[0, 2]).item() == pytest.approx(centre, abs=1e-5)


def test_flip_averages_with_the_mirrored_clip() -> None:
    annotation, stored = video(0), SquareStore().open("left/0", Path())
    people = given_people(annotation, np.array([2]))
    x = float(annotation.boxes_norm[2, [0, 2]].mean())
    mean = stored.frames[0:4].mean() / 255
    expected = sum(torch.tensor([centre, mean, 0.0]).softmax(0) for centre in (x, 1 - x)) / 2
    np.testing.assert_allclose(_scorer(flip=True).score(annotation, stored, people)[0], expected, atol=1e-5)


def test_batches_do_not_change_scores() -> None:
    torch.manual_seed(0)
    model = build("tiny_actions", 3, num_frames=4)
    videos = [video(0), video(1)]
    one = score_videos(_scorer(model, batch_size=1), videos, SquareStore())
    many = score_videos(_scorer(model, batch_size=32), videos, SquareStore())
    for first, second in zip(one, many):
        assert len(first.scores) == 8
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


def _two_people(frame: np.ndarray) -> PersonBoxes:
    """The square, found surely, and a wrong box, in doubt; nobody in frames whose square is far left."""
    columns = np.flatnonzero((frame.max(axis=2) > 200).any(axis=0))
    if columns[0] < 16:
        return PersonBoxes.empty((48, 64))
    boxes = np.array([[columns[0], 14, columns[-1] + 1, 34], [0, 0, 10, 10]], np.float32)
    return PersonBoxes(boxes, np.array([0.9, 0.2], np.float32), (48, 64))


def test_found_people_are_scored_linked_and_weighed(tmp_path: Path) -> None:
    scored = score_videos(_scorer(), [video(0), video(2)], SquareStore(), persons=_two_people)
    left, still = scored
    assert len(left.rows) == 8 and 0 < len(left.people.rows) < 16  # some frames are empty
    assert still.people.tracks.tolist() == [0, 1] * 8
    table = detections_table(scored, LABELS)
    assert len(table) == 3 * (len(left.people.rows) + 16)
    assert table.scores[-6:-3] == pytest.approx(0.9 * still.scores[-2], abs=1e-6)
    assert table.scores[-3:] == pytest.approx(0.2 * still.scores[-1], abs=1e-6)
    assert detections_table(scored, LABELS, times_person=False).scores[-3:] == pytest.approx(still.scores[-1], abs=1e-6)
    assert "accuracy" not in summarise(scored, LABELS)


def _known(rows: list[tuple[str, float, list[float], float]]) -> PrecomputedBoxes:
    """Boxes as a file would give them."""
    names, times_s, boxes, scores = zip(*rows)
    classes = np.zeros(len(rows), np.int64)
    return PrecomputedBoxes(AvaTable(np.array(names), np.array(times_s), np.array(boxes), classes, np.array(scores)))


@pytest.mark.parametrize("name", ["left/0", "left_0"])
def test_people_of_a_file_are_those_of_the_detector_that_wrote_it(name: str) -> None:
    annotation, stored = video(0), SquareStore().open("left/0", Path())
    rows = []
    for image, time_s in zip(stored.frames, annotation.times_s.tolist()):
        found = _two_people(image)
        boxes = (found.boxes_px / [64, 48, 64, 48]).tolist() or [[0.0] * 4]
        scores = found.scores.tolist() or [np.nan]
        rows += [(name, round(time_s, 6), box, score) for box, score in zip(boxes, scores)]
    (ours,) = score_videos(_scorer(), [annotation], SquareStore(), persons=_two_people)
    (theirs,) = score_videos(_scorer(), [annotation], SquareStore(), persons=_known(rows))
    assert 0 < len(ours.people.rows) < 16  # nobody is in some frames
    np.testing.assert_array_equal(theirs.people.rows, ours.people.rows)
    np.testing.assert_array_equal(theirs.people.tracks, ours.people.tracks)
    np.testing.assert_allclose(theirs.people.boxes_norm, ours.people.boxes_norm, atol=1e-6)
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-5)


def test_a_file_may_leave_out_moments_but_not_most_of_them() -> None:
    box, times_s = [0.2, 0.2, 0.5, 0.8], video(2).times_s.tolist()
    half = _known([("still/2", time_s, box, 0.5) for time_s in times_s[::2]])
    (scored,) = score_videos(_scorer(), [video(2)], SquareStore(), persons=half)
    assert scored.people.rows.tolist() == [0, 2, 4, 6]
    few = _known([("still/2", time_s, box, 0.5) for time_s in times_s[::3]])
    says = r"the boxes of video 'still/2' cover 3 of its 8 scored moments \(of 0\.033333 s, for example, they do not\)"
    with pytest.raises(AvadetError, match=says):
        score_videos(_scorer(), [video(2)], SquareStore(), persons=few)
    with pytest.raises(AvadetError, match=r"unknown video in the boxes file 'right_1'; .*known: still/2"):
        score_videos(_scorer(), [video(1)], SquareStore(), persons=few)


def test_nobody_found_anywhere_scores_zero() -> None:
    scored = score_videos(_scorer(), [video(0)], SquareStore(), persons=lambda frame: PersonBoxes.empty((48, 64)))
    assert summarise(scored, LABELS) == {"frame_map": 0, "track_map": 0}


def test_files_give_the_number_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(3)
    videos = [video(index) for index in range(6)]
    model = build("tiny_actions", 3, num_frames=4)
    scored = score_videos(_scorer(model), videos, SquareStore(), frame_step=3, persons=_two_people)
    truth, found = tmp_path / "gt.csv", tmp_path / "det.csv"
    write_truth(truth, scored, LABELS)
    write_detections(found, (keyframe for one in scored for keyframe in action_detections(one)), LABELS)
    read = evaluate_frame_map(read_ground_truth(truth), read_detections(found), LABELS)
    run = frame_map(scored, LABELS)
    np.testing.assert_array_equal(read.ap, run.ap)
    np.testing.assert_array_equal(read.num_tp, run.num_tp)
    assert len(truth_table(scored, LABELS)) == 6 * 3
