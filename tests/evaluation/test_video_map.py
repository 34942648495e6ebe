"""Video-mAP: overlaps and AP by hand, laws, a second implementation that loops, files from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tube_files import write_tube_ground_truth

from avadet import boxes
from avadet.annotations.ava import AvaTable, csv_line
from avadet.annotations.tubes import (
    TubeSpec,
    read_tube_ground_truth,
    read_tube_spec,
    tube_table,
)
from avadet.errors import AvadetError
from avadet.evaluation.linking import Linking, Trimming, link_detections
from avadet.evaluation.video_map import RANGE, VideoMapResult, evaluate_video_map, overlaps, score_tubes
from avadet.labels import read_label_map
from avadet.types import LabelMap, Tube

LABELS = LabelMap(("walk", "wave", "fall"), (3, 7, 9), ("pose", "person", "pose"), (True, True, False))
FPS = 25.0
Box = tuple[float, float, float, float]
HERE: Box = (0.0, 0.0, 0.5, 0.5)
HALF: Box = (0.0, 0.0, 0.5, 0.25)
AWAY: Box = (0.5, 0.5, 1.0, 1.0)


def tube(
    frames: Sequence[int], box: Box | list[Box] = HERE, score: float = 1.0, video: str = "v", row: int = 0
) -> Tube:
    """A tube that stands still, or has these boxes."""
    given = box if isinstance(box, list) else [box] * len(frames)
    return Tube(video, row, score, np.array(frames, np.float64) / FPS, np.array(given, np.float32).reshape(-1, 4))


def overlap(found: Tube, true: Tube, counts_last_frame: bool = True) -> float:
    _, _, values = overlaps([found], [true], counts_last_frame)
    return float(values[0]) if len(values) else 0.0


def evaluate(truth: list[Tube], tubes: list[Tube], **more: bool) -> VideoMapResult:
    return evaluate_video_map(truth, tubes, LABELS, **more)


def test_overlap_by_hand() -> None:
    true = tube(range(4))
    assert overlap(true, true) == 1
    # 2 of 6 frames, where the boxes' IoU is 1 and 0.5: 2 / 6 * 0.75
    late = tube(range(2, 6), [HERE, HALF, HERE, HERE])
    assert overlap(late, true) == pytest.approx(0.25)
    # in steps: 1 of 5
    assert overlap(late, true, counts_last_frame=False) == pytest.approx(0.15)
    assert overlap(tube(range(4), HALF), true) == 0.5
    assert overlap(tube(range(4), AWAY), true) == 0
    assert overlap(tube(range(4, 8)), true) == 0
    assert overlap(tube(range(4), video="w"), true) == 0


def test_tubes_that_share_one_frame() -> None:
    assert overlap(tube([3, 4]), tube([2, 3])) == pytest.approx(1 / 3)
    assert overlap(tube([3, 4]), tube([2, 3]), counts_last_frame=False) == 0
    assert overlap(tube([3]), tube([3])) == 1
    assert overlap(tube([3]), tube([3]), counts_last_frame=False) == 0


def test_moments_are_one_frame_nearer_than_half_a_frame() -> None:
    true = tube([1, 2])
    for shift_s, fps, share in ((0.0099, None, 1), (0.0101, None, 0), (0.0199, 25.0, 1), (0.0049, 100.0, 1)):
        found = replace(true, times_s=true.times_s + shift_s)
        assert overlaps([found], [true], fps=fps)[2].tolist() == [1] * share


def test_average_precision_by_hand() -> None:
    truth = [tube(range(4), video="a"), tube(range(4), video="b"), tube(range(4), row=1)]
    found = [
        tube(range(4), score=0.9, video="a"),
        tube(range(4), AWAY, score=0.8, video="a"),
        tube(range(3), score=0.7, video="b"),  # overlap 0.75
    ]
    result = evaluate(truth, found)
    # hit, miss, hit: (1 + 2/3) / 2 for walk; nobody found the wave; fall does not count
    assert result.ap[:, 0] == pytest.approx([5 / 6] * 3)
    assert result.ap[:, 1].tolist() == [0, 0, 0]
    assert np.isnan(result.ap[:, 2]).all()
    # above 0.75 only the first is a hit: AP 1/2 at 0.8 to 0.95, 5/6 at 0.5 to 0.75
    assert result.ap_range[0] == pytest.approx((6 * 5 / 6 + 4 * 1 / 2) / 10)
    assert result.num_gt.tolist() == [2, 1, 0]
    assert result.num_tubes.tolist() == [3, 0, 0]
    assert result.num_tp[:, 0].tolist() == [2, 2, 2]
    assert result.mAP == pytest.approx({"0.2": 5 / 12, "0.5": 5 / 12, "0.75": 5 / 12, "0.5:0.95": 0.35})


def test_the_range_by_hand() -> None:
    # 5 of 8 frames are 0.625: found at 0.5, 0.55 and 0.6
    assert evaluate([tube(range(8))], [tube(range(5))]).ap_range[0] == pytest.approx(0.3)
    assert RANGE == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_a_true_tube_is_found_once_and_nobody_looks_further() -> None:
    near: Box = (0.0, 0.0, 0.5, 0.45)
    truth = [tube(range(4)), tube(range(4), near)]
    found = [tube(range(4), score=0.9), tube(range(4), (0.0, 0.0, 0.5, 0.49), score=0.8)]
    # the second overlaps the first true tube most (0.98 against 0.918), which is taken
    result = evaluate(truth, found)
    assert result.num_tp[:, 0].tolist() == [1, 1, 1]
    assert result.ap[:, 0] == pytest.approx([0.5] * 3)


def test_of_true_tubes_that_overlap_alike_the_first_counts() -> None:
    early, late = tube(range(4)), tube(range(2, 6))
    found = [tube(range(1, 5), score=0.9), tube(range(4), score=0.8)]  # the first covers 3 of 5 frames with either
    assert evaluate([early, late], found).num_tp[1, 0] == 1
    assert evaluate([late, early], found).num_tp[1, 0] == 2


def test_of_equal_scores_the_later_counts_first() -> None:
    hit, miss = tube(range(4), score=0.5), tube(range(4), AWAY, score=0.5)
    assert evaluate([tube(range(4))], [miss, hit]).ap[1, 0] == 1
    assert evaluate([tube(range(4))], [hit, miss]).ap[1, 0] == 0.5


def test_videos_without_truth_are_left_out_with_a_word() -> None:
    result = evaluate([tube(range(4))], [tube(range(4), score=0.9, video="other"), tube(range(4), score=0.8)])
    assert result.ap[1, 0] == 1
    assert result.warnings == ("1 of 2 tubes lie in videos without ground truth; they are left out",)


def test_nothing_found_and_nothing_to_find() -> None:
    assert evaluate([tube(range(4))], []).mAP == {"0.2": 0, "0.5": 0, "0.75": 0, "0.5:0.95": 0}
    assert np.isnan(list(evaluate([], [tube(range(4))]).mAP.values())).all()
    with pytest.raises(AvadetError, match=r"thresholds of overlap must be above 0, got 0.2, 0"):
        evaluate_video_map([], [], LABELS, (0.2, 0))


def test_json_and_table() -> None:
    result = evaluate([tube(range(8)), tube(range(4), row=1)], [tube(range(5))])
    held = json.loads(json.dumps(result.json()))
    assert held["video_mAP"] == pytest.approx({"0.2": 0.5, "0.5": 0.5, "0.75": 0, "0.5:0.95": 0.15})
    assert held["ap"]["0.5"] == {"3": 1, "7": 0}
    assert held["num_tp"] == {"0.2": {"3": 1, "7": 0}, "0.5": {"3": 1, "7": 0}, "0.75": {"3": 0, "7": 0}}
    assert (held["num_gt"], held["num_tubes"]) == ({"3": 1, "7": 1}, {"3": 1, "7": 0})
    assert (held["names"], held["frame_mAP"]) == ({"3": "walk", "7": "wave"}, None)
    lines = result.table().splitlines()
    assert lines[1].split() == ["3", "walk", "1", "1", "100.00", "100.00", "0.00", "30.00"]
    assert lines[3].split() == ["video-mAP", "2", "1", "50.00", "50.00", "0.00", "15.00"]
    assert json.loads(json.dumps(evaluate([], []).json()))["video_mAP"]["0.5"] is None


def random_problem(seed: int) -> tuple[list[Tube], list[Tube]]:
    """True tubes, and tubes near some of them; all scores differ."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(40):
        low, start = rng.uniform(0, 0.6, 2), int(rng.integers(0, 20))
        box = (*low.tolist(), *(low + rng.uniform(0.2, 0.4, 2)).tolist())
        frames = range(start, start + int(rng.integers(2, 20)))
        truth.append(tube(frames, box, 1.0, f"v{rng.integers(4)}", int(rng.integers(2))))
    for score in (rng.permutation(90) / 90).tolist():
        near = truth[rng.integers(len(truth))]
        cut = slice(int(rng.integers(0, 3)), None)
        moved = np.clip(near.boxes_norm + rng.normal(0, 0.02, 4), 0, 1).astype(np.float32)[cut]
        if len(moved):
            row = near.class_index if rng.random() < 0.8 else int(rng.integers(2))
            found.append(Tube(near.video_id, row, score, near.times_s[cut], moved))
    return truth, found


def looped(truth: list[Tube], found: list[Tube], row: int, threshold: float) -> float:
    """AP of a class, one tube at a time, from the description of the rules alone."""

    def both(one: Tube, other: Tube) -> float:
        if one.video_id != other.video_id:
            return 0.0
        first, second = ({round(t, 6): b for t, b in zip(t.times_s.tolist(), t.boxes_norm)} for t in (one, other))
        shared = sorted(first.keys() & second.keys())
        if not shared:
            return 0.0
        ious = [float(boxes.iou(first[t][None].astype(float), second[t][None].astype(float))[0, 0]) for t in shared]
        return float(np.mean(ious)) * len(shared) / len(first.keys() | second.keys())

    true = [one for one in truth if one.class_index == row]
    free, hits = set(range(len(true))), []
    for one in sorted((one for one in found if one.class_index == row), key=lambda one: -one.score):
        values = [both(one, other) for other in true]
        best = int(np.argmax(values))
        hits.append(values[best] >= threshold and best in free)
        free -= {best} if hits[-1] else set()
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return sum(max(precision[n:]) for n in np.flatnonzero(hits)) / len(true)


@pytest.mark.parametrize("seed", range(3))
def test_a_second_implementation_agrees(seed: int) -> None:
    truth, found = random_problem(seed)
    result = evaluate(truth, found)
    for place, threshold in enumerate(result.thresholds):
        for row in (0, 1):
            assert result.ap[place, row] == pytest.approx(looped(truth, found, row, threshold), abs=1e-12)
    assert 0.05 < result.mAP["0.5"] < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_laws(seed: int) -> None:
    truth, found = random_problem(seed)
    rng = np.random.default_rng(seed)
    result = evaluate(truth, found)

    def same(other: VideoMapResult) -> None:
        assert other.ap == pytest.approx(result.ap, nan_ok=True, abs=1e-12)
        assert other.ap_range == pytest.approx(result.ap_range, nan_ok=True, abs=1e-12)

    same(evaluate([truth[n] for n in rng.permutation(len(truth))], [found[n] for n in rng.permutation(len(found))]))
    new = {"v0": "z", "v1": "y", "v2": "v0", "v3": "a"}
    renamed = ([replace(one, video_id=new[one.video_id]) for one in tubes] for tubes in (truth, found))
    same(evaluate(*renamed))
    same(evaluate(truth, [replace(one, score=one.score**3 / 2) for one in found]))
    # a second data set just like it: each hit and miss comes twice, in pairs of equal score
    again = ([*tubes, *(replace(one, video_id=one.video_id + "+") for one in tubes)] for tubes in (truth, found))
    twice = evaluate(*again)
    assert twice.num_tp.tolist() == (2 * result.num_tp).tolist()
    more = evaluate(truth, [*found, tube(range(99, 103), score=-1.0, video="v0")])
    assert (np.nan_to_num(more.ap) <= np.nan_to_num(result.ap) + 1e-12).all()


def write_detections(path: Path, table: AvaTable) -> Path:
    rows = zip(table.video_ids, table.times_s.round(6).tolist(), table.boxes_norm.tolist(), table.class_ids.tolist())
    path.write_text("".join(csv_line([video, time, *box, class_id, 0.9]) + "\n" for video, time, box, class_id in rows))
    return path


def test_files_from_end_to_end(tmp_path: Path) -> None:
    truth = [tube(range(8)), tube(range(8), AWAY, video="w", row=1)]
    write_tube_ground_truth(tmp_path / "gt.csv", truth, LABELS)
    # the walk lacks frames 2 and 3, which linking fills; the wave stops after 5; a third video has no truth
    found = [tube([0, 1, 4, 5, 6, 7]), tube(range(5), AWAY, video="w", row=1), tube(range(3), video="x")]
    path = write_detections(tmp_path / "det.csv", tube_table(found, LABELS))
    result = score_tubes(path, tmp_path / "gt.csv", LABELS, TubeSpec(FPS))
    assert result.ap[:, 0].tolist() == [1, 1, 1]
    assert result.ap_range.tolist()[:2] == pytest.approx([1, 0.3])
    assert result.frames is not None
    # 6 of 8 walks and 5 of 8 waves
    assert result.frames.mAP == pytest.approx((6 / 8 + 5 / 8) / 2)
    assert result.json()["frame_mAP"] == pytest.approx(11 / 16)
    assert result.table().splitlines()[4].split() == ["frame-mAP@0.5", "68.75"]
    assert result.warnings == ("3 of 14 rows lie in videos without ground truth; they are left out",)
    # in steps the wave has 4 of 7
    steps = score_tubes(path, tmp_path / "gt.csv", LABELS, TubeSpec(FPS, counts_last_frame=False))
    assert steps.ap_range.tolist()[:2] == pytest.approx([1, 0.2])
    short = score_tubes(path, tmp_path / "gt.csv", LABELS, TubeSpec(FPS), linking=Linking(patience=1))
    assert short.num_tubes.tolist() == [2, 1, 0]


def test_frames_without_truth_cost_frame_precision(tmp_path: Path) -> None:
    write_tube_ground_truth(tmp_path / "gt.csv", [tube(range(4))], LABELS)
    path = write_detections(tmp_path / "det.csv", tube_table([tube(range(8))], LABELS))
    result = score_tubes(path, tmp_path / "gt.csv", LABELS, TubeSpec(FPS))
    assert result.frames is not None
    # eight detections of one score, four of them right: the four that come last in the file count first
    assert result.frames.ap_tie_lo[0] == pytest.approx(0.5)
    assert result.frames.num_det[0] == 8
    assert result.ap[:, 0].tolist() == [1, 1, 0]


def test_in_a_frame_the_best_score_chooses_first(tmp_path: Path) -> None:
    write_tube_ground_truth(tmp_path / "gt.csv", [tube([0])], LABELS)
    (tmp_path / "det.csv").write_text("v,0,0,0,0.5,0.5,3,0.3\nv,0,0,0,0.5,0.4,3,0.9\n")
    result = score_tubes(tmp_path / "det.csv", tmp_path / "gt.csv", LABELS, TubeSpec(FPS))
    assert result.frames is not None
    assert result.frames.ap[0] == 1


def test_tubes_are_trimmed_where_actions_do_not_fill_the_clip(tmp_path: Path) -> None:
    write_tube_ground_truth(tmp_path / "gt.csv", [tube(range(20, 40))], LABELS)
    scores = [0.05] * 20 + [0.9] * 20
    lines = [csv_line(["v", n / FPS, *HERE, 3, score]) + "\n" for n, score in enumerate(scores)]
    (tmp_path / "det.csv").write_text("".join(lines))

    def ap(spec: TubeSpec, trimming: Trimming | None = None) -> float:
        result = score_tubes(tmp_path / "det.csv", tmp_path / "gt.csv", LABELS, spec, trimming=trimming)
        return float(result.ap[2, 0])

    assert ap(TubeSpec(FPS)) == 1
    assert ap(TubeSpec(FPS, fills_clip=True)) == 0
    assert ap(TubeSpec(FPS, fills_clip=True), Trimming()) == 1


def test_files_of_different_videos_are_named(tmp_path: Path) -> None:
    write_tube_ground_truth(tmp_path / "gt.csv", [tube(range(4), video="walk/a")], LABELS)
    path = write_detections(tmp_path / "det.csv", tube_table([tube(range(4), video="a")], LABELS))
    with pytest.raises(AvadetError, match=r"det.csv and .*gt.csv have no video in common \('a' and 'walk/a'\)"):
        score_tubes(path, tmp_path / "gt.csv", LABELS, TubeSpec(FPS))


@pytest.mark.shared
def test_perfect_detections_of_jhmdb21_score_one(shared: Path) -> None:
    labels, spec = read_label_map("jhmdb21"), read_tube_spec("jhmdb21")
    truth = read_tube_ground_truth(shared / "data/jhmdb21/jhmdb21_boxes.csv", labels, spec, split=1)
    found = tube_table(truth, labels)
    order = np.random.default_rng(0).permutation(len(found))
    shuffled = AvaTable(
        *(column[order] for column in (found.video_ids, found.times_s, found.boxes_norm, found.class_ids))
    )
    tubes = link_detections(shuffled, labels, spec.fps)
    result = evaluate_video_map(truth, tubes, labels)
    assert result.mAP == {"0.2": 1, "0.5": 1, "0.75": 1, "0.5:0.95": 1}
    assert (len(tubes), result.num_gt.sum()) == (268, 268)
