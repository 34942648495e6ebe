"""One scoring code: by hand, with every kind of boxes and views, and one number from training, `test` and `eval`."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataSplit, read_split
from avadet.cli.main import main
from avadet.data.index import AnnotationIndex
from avadet.data.keyframes import scoring_index, training_index
from avadet.errors import AvadetError
from avadet.models.checkpoints.weights import LoadReport
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.loaded import LoadedModel
from avadet.training import scored_boxes
from avadet.training.distributed import Processes
from avadet.training.scoring import ClipScore, ClipScorer, mean_by_track
from avadet.types import ClipSpec, LabelMap, PersonBoxes
from avadet.video.write import VideoWriter

FPS, LENGTH = 10, 20
NAMES = ("red", "blue", "green")
COLOUR = {"red": (240, 40, 40), "blue": (40, 40, 240), "green": (40, 240, 40)}
BOXES = ((0.125, 0.25, 0.375, 0.875), (0.625, 0.25, 0.875, 0.875))
KEYFRAMES_S = (0.4, 0.6, 0.8, 1.0, 1.2)
SPEC = ClipSpec(num_frames=2, stride=1, fps=FPS, short_side=48, mean=(0.0,) * 3, std=(1.0,) * 3)
TRAIN = """
seed: 0
device: cpu
model: {family: tiny_actions, init: null, stages: [3, 4], frozen: 0, resolution: 7, pool: max, context: true}
clip: {num_frames: 2, stride: 1, fps: 10.0, short_side: 48}
data: {train: all, scored: all, batch_size: 6}
augment: {size_hw: [48, 64], saturation: 0.0, grayscale: 0.0}
schedule: {epochs: 1}
loss: {kind: cross_entropy}
train: {threads: 1}
evaluate: {every_epochs: 1, frame_step: 2}
"""


def colours(number: int) -> tuple[str, str]:
    """Of the persons of film `number`."""
    return NAMES[number % 3], NAMES[(number + 1) % 3]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four films, each of two persons of one colour that stand still; the frame's corner is as bright as it is late.

    The second is twice as large as the others.
    """
    folder = tmp_path_factory.mktemp("films")
    rows = []
    for number in range(4):
        scale = 2 if number == 1 else 1
        size_hw = (48 * scale, 64 * scale)
        with VideoWriter(folder / "videos" / f"f{number}.mp4", size_hw, Fraction(FPS)) as writer:
            for index in range(LENGTH):
                frame = np.full((48, 64, 3), 30, np.uint8)
                frame[:8, :16] = 10 * index
                for (x1, y1, x2, y2), name in zip(BOXES, colours(number)):
                    frame[round(y1 * 48) : round(y2 * 48), round(x1 * 64) : round(x2 * 64)] = COLOUR[name]
                writer.write(frame.repeat(scale, axis=0).repeat(scale, axis=1), index / FPS)
        for time_s in KEYFRAMES_S:
            for person, (box, name) in enumerate(zip(BOXES, colours(number))):
                rows.append(f"f{number},{time_s},{','.join(map(str, box))},{NAMES.index(name) + 1},{person}\n")
    (folder / "all.csv").write_text("".join(rows))
    (folder / "films.yaml").write_text("labels: [red, blue, green]\nsplits:\n  all: {annotations: all.csv}\n")
    (folder / "train.yaml").write_text(TRAIN)
    return folder


class Oracle(ActionModel):
    """Says of a box the colour that it has; of a dark one nothing."""

    num_classes = 3

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        found = []
        for owner, x1, y1, x2, y2 in rois.round().int().tolist():
            red, green, blue = clips[owner, :, 0, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].float().mean(dim=(1, 2)).tolist()
            found.append([red, blue, green])
        return torch.tensor(found).reshape(-1, 3) / 20


class Clock(ActionModel):
    """How bright the corner of the first frame is, as a logit."""

    num_classes = 3

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        side = clips.shape[3] // 8
        time = clips[rois[:, 0].long(), :, 0, 1:side, 1:side].float().mean(dim=(1, 2, 3)) / 100
        return torch.stack([time, torch.zeros_like(time), torch.zeros_like(time)], dim=1)


def loaded(model: ActionModel, labels: LabelMap) -> LoadedModel:
    return LoadedModel(model, SPEC, labels, "staged", {"scores": "sigmoid"}, LoadReport("nowhere", 0, (), (), ()))


def opened(films: Path, exclusive: bool = False) -> tuple[DataSet, DataSplit, AnnotationIndex, LabelMap]:
    data = open_data_set(films / "films.yaml")
    split = read_split(data, "all")
    return data, split, training_index(split, data.labels), replace(data.labels, exclusive=exclusive)


def score(films: Path, model: ActionModel, exclusive: bool = False, **more: object) -> ClipScore:
    _, split, targets, labels = opened(films, exclusive)
    own = more.pop("labels", labels)
    scorer = ClipScorer(loaded(model, own), **more.pop("scorer", {}))
    return ClipScore(scorer, more.pop("split", split), more.pop("targets", targets), labels, **more)


def test_linking_and_averaging_by_hand() -> None:
    left, right, moved = [0, 0, 0.4, 1], [0.6, 0, 1, 1], [0.05, 0, 0.45, 1]
    frames = [
        np.array(boxes, np.float32).reshape(-1, 4) for boxes in ([left, right], [right], [], [moved, right, left])
    ]
    # In the last frame both `moved` and `left` overlap person 0, the exact one more.
    assert scored_boxes.link_boxes(frames).tolist() == [0, 1, 1, 2, 1, 0]
    assert scored_boxes.link_boxes([]).tolist() == []
    scores = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], np.float32)
    np.testing.assert_allclose(mean_by_track(scores, np.array([5, 7, 5])), [[0.3, 0.7], [0.9, 0.1], [0.3, 0.7]])


def test_persons_are_one_by_id_or_by_overlap(films: Path) -> None:
    _, _, targets, _ = opened(films)
    by_id = scored_boxes.track_numbers(targets)
    assert by_id.tolist() == [2 * video + person for video in range(4) for _ in KEYFRAMES_S for person in range(2)]
    unknown = replace(targets, person_ids=np.full_like(targets.person_ids, -1))
    np.testing.assert_array_equal(scored_boxes.track_numbers(unknown), by_id)


def test_who_knows_everything_scores_100(films: Path) -> None:
    assert score(films, Oracle())(Oracle()).metrics == {"frame_map": 100.0}
    outcome = score(films, Oracle(), exclusive=True)(Oracle())
    assert outcome.metrics == {"frame_map": 100.0, "track_map": 100.0, "accuracy": 100.0}
    assert len(outcome.found) == 4 * len(KEYFRAMES_S) * 2 * 3 and "green" in outcome.table


def test_one_keyframe_wrong_of_a_track(films: Path) -> None:
    """Where one of five keyframes is taken for another class, accuracy says so and the mean of the track forgives."""

    class Once(Oracle):
        def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
            logits = super().forward(clips, rois)
            logits[0] = logits[0].roll(1)
            return logits

    outcome = score(films, Once(), exclusive=True, scorer={"batch_size": 100})(Once())
    assert outcome.metrics["accuracy"] == pytest.approx(100 * 39 / 40)
    assert outcome.metrics["track_map"] == 100 > outcome.metrics["frame_map"]


@pytest.mark.parametrize(("shifts", "firsts"), [(1, [6]), (2, [4, 8]), (3, [4, 6, 8])])
def test_shifts_lie_over_half_a_clip(shifts: int, firsts: list[int], films: Path) -> None:
    """A clip of 2 frames 0.4 s apart lasts 0.8 s; its first frame lies 4 before the keyframe, frame 10."""
    _, split, targets, labels = opened(films)
    model = replace(loaded(Clock(), labels), spec=replace(SPEC, stride=4))
    found = ClipScore(ClipScorer(model, shifts=shifts), split, targets.select(np.array([3])), labels)(Clock()).found
    expected = np.mean([1 / (1 + np.exp(-first / 10)) for first in firsts])
    assert found.scores[0] == pytest.approx(expected, abs=3e-3)


def test_views_are_averaged(films: Path) -> None:
    """Two sizes and the mirror: the mean of what each says."""
    options = [{}, {"short_sides": (64,)}, {"flip": True, "short_sides": (64,)}, {"flip": True}]
    alone = [score(films, Oracle(), scorer=one)(Oracle()).found.scores for one in options]
    both = {"short_sides": (48, 64), "flip": True}
    together = score(films, Oracle(), scorer=both)
    assert together.scorer.views == "flip x 2 scales (48, 64)" and len(together.scorer.specs) == 2
    np.testing.assert_allclose(together(Oracle()).found.scores, (alone[3] + alone[2]) / 2, atol=1e-8)
    assert np.abs(alone[0] - alone[1]).max() > 1e-6


def test_a_film_that_cannot_be_read(films: Path) -> None:
    _, _, targets, _ = opened(films)
    videos = tuple(replace(one, path=None) if one.video_id == "f1" else one for one in targets.videos)
    lost = replace(targets, videos=videos)
    with pytest.raises(AvadetError, match="f1 has no file"):
        score(films, Oracle(), targets=lost)(Oracle())
    skipping = score(films, Oracle(), exclusive=True, targets=lost, on_error="skip", scorer={"short_sides": (48, 64)})
    outcome = skipping(Oracle())
    assert len(outcome.skipped) == 5 and {one.video_id for one in outcome.skipped} == {"f1"}
    assert len(outcome.truth) == 40 and len(outcome.found) == 30 * 3  # nothing is found there
    assert outcome.metrics["accuracy"] == 100 > outcome.metrics["frame_map"]
    with pytest.raises(
        AvadetError, match=r"1 of 20 keyframes cannot be read, more than data\.max_skipped=0 allows; 1 clips"
    ):
        replace(skipping, max_skipped=0.0, targets=lost.select(np.r_[0:5, 5, 10:20, 10:14]))(Oracle())


def test_keyframes_that_count(films: Path) -> None:
    _, split, targets, labels = opened(films)
    every = scored_boxes.scored_keyframes(targets, split, "activitynet", 2)
    assert every.times_s.tolist() == [0.4, 0.8, 1.2] * 4
    few = replace(split, table=split.table.rows(split.table.times_s < 0.7))
    proposed = scoring_index(replace(few, proposals=split.table), labels, 0.0, keep_empty=True)
    assert len(scored_boxes.scored_keyframes(proposed, few, "activitynet")) == 8
    assert len(scored_boxes.scored_keyframes(proposed, few, "slowfast")) == 20  # they are false positives there


def bright(frame: np.ndarray) -> PersonBoxes:
    """Every coloured column of the frame's middle, left and right apart; the right one in doubt."""
    scale = frame.shape[0] // 48
    assert frame.shape == (48 * scale, 64 * scale, 3) and frame.dtype == np.uint8
    found = []
    for half in (0, 32):
        columns = np.flatnonzero(
            (frame[::scale, ::scale][12:42, half : half + 32].max(axis=2) > 150).mean(axis=0) > 0.8
        )
        found.append([columns[0] + half, 12, columns[-1] + half + 1, 42])
    boxes_px = np.array(found, np.float32) * scale
    return PersonBoxes(boxes_px, np.array([0.9, 0.4], np.float32), (48 * scale, 64 * scale))


@pytest.mark.parametrize("workers", [0, 1])
def test_boxes_of_a_detector(workers: int, films: Path) -> None:
    _, _, targets, _ = opened(films)
    found, broken = scored_boxes.found_boxes(targets, bright, workers)
    assert not broken and not found.labels.any() and set(found.scores.tolist()) == {np.float32(0.9), np.float32(0.4)}
    np.testing.assert_allclose(found.boxes_norm, targets.boxes_norm, atol=0.04)
    assert score(films, Oracle(), targets=found)(Oracle()).metrics == {"frame_map": 100.0}
    weighed = score(films, Oracle(), targets=found, times_person=True)(Oracle())
    assert (
        weighed.metrics["frame_map"] < 100
    )  # what is wrong of a sure box comes before what is right of a doubtful one
    assert weighed.found.scores.max() <= 0.9 and weighed.found.scores[3:6].max() <= 0.4
    videos = tuple(replace(one, path=None) if one.video_id == "f1" else one for one in targets.videos)
    lost = replace(targets, videos=videos)
    with pytest.raises(AvadetError, match="f1 has no file"):
        scored_boxes.found_boxes(lost, bright, workers)
    found, broken = scored_boxes.found_boxes(lost, bright, workers, "skip")
    assert [one.keyframe for one in broken] == list(range(5, 10))
    assert len(found) == 20 and len(found.labels) == 30


def test_shares_of_processes_make_the_whole(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[np.ndarray] = []
    monkeypatch.setattr(Processes, "gather", lambda self, item: parts.append(item) or [item])
    for processes in (Processes(), Processes(0, 2), Processes(1, 2)):
        score(films, Oracle(), processes=processes, scorer={"batch_size": 3})(Oracle())
    np.testing.assert_array_equal(parts[0], parts[1] + parts[2])
    assert (parts[1] == 0).all(axis=1).any() and (parts[0] > 0).all()


def test_classes_are_found_by_name(films: Path) -> None:
    more = LabelMap(("other", "green", "red", "blue"), (1, 2, 3, 4), ("action",) * 4, (True,) * 4)

    class Wider(Oracle):
        def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
            red, blue, green = super().forward(clips, rois).T
            return torch.stack([torch.full_like(red, 9.0), green, red, blue], dim=1)

    assert score(films, Wider(), labels=more)(Wider()).metrics == {"frame_map": 100.0}
    less = LabelMap(("red", "green"), (1, 2), ("action",) * 2, (True,) * 2)
    with pytest.raises(AvadetError, match=r"staged has 2 classes, of the data set's 3 it lacks 1 \(blue\)"):
        score(films, Oracle(), labels=less)(Oracle())


@pytest.fixture(scope="module")
def run_dir(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    values = [f"data.spec={films / 'films.yaml'}", f"run_dir={folder}", "loss.kind=bce"]
    assert main(["train", str(films / "train.yaml"), *values]) == 0
    return folder


def test_training_test_and_eval_say_one_number(
    run_dir: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])["frame_map"]
    out = tmp_path / "det.csv"
    assert main(["test", str(run_dir), "--keyframe-step", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == (
        f"frame-mAP@0.5 (activitynet): {trained:.2f} on films all, one keyframe of 2; boxes: truth; views: 1; "
        "score: action"
    )
    result = tmp_path / "result.json"
    command = ["eval", str(out), "--gt", str(tmp_path / "det.gt.csv"), "--labels", str(films / "films.yaml")]
    assert main([*command, "--json", str(result)]) == 0
    assert round(100 * json.loads(result.read_text())["mAP"], 3) == trained
    assert 0 < trained < 100


def test_a_file_of_boxes(run_dir: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its rows are those of the annotations, some ms off and with scores; the same number as on true boxes."""
    rows = [line.split(",") for line in (films / "all.csv").read_text().splitlines()]
    boxes, spec = tmp_path / "boxes.csv", str(films / "films.yaml")
    boxes.write_text(
        "".join(f"{r[0]},{float(r[1]) + 0.004:g},{','.join(r[2:6])},,0.{5 + i % 2}\n" for i, r in enumerate(rows))
    )

    def last(*more: str) -> str:
        assert main(["test", str(run_dir), spec, *more]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    truth, file = last(), last("--boxes", str(boxes))
    assert main(["test", str(run_dir), spec, "--boxes", str(boxes), "--keyframe-step", "2"]) == 0
    assert f"{boxes} names 12 of 12 scored keyframes, and 8 that are not scored" in capsys.readouterr().out
    assert file == truth.replace("boxes: truth", f"boxes: {boxes}")
    half = last("--boxes", str(boxes), "--person-score", "0.55")
    assert f"boxes: {boxes} of 0.55 or more" in half and half.split()[2] != file.split()[2]
    assert last("--boxes", str(boxes), "--times-person").endswith("score: action x person")
    few = tmp_path / "few.csv"
    few.write_text("".join(line for line in boxes.read_text().splitlines(True) if ",0.404," in line))
    assert main(["test", str(run_dir), spec, "--boxes", str(few)]) == 1
    assert (
        "few.csv: the boxes of video 'f0' cover 1 of its 5 scored keyframes (that at 0.6 s" in capsys.readouterr().err
    )
    few.write_text("".join(line for line in boxes.read_text().splitlines(True) if line[:2] != "f2"))
    assert main(["test", str(run_dir), spec, "--boxes", str(few)]) == 1
    assert "few.csv: unknown video in the boxes file 'f2'; did you mean f" in capsys.readouterr().err
    assert main(["test", str(run_dir), spec, "--boxes", "proposals"]) == 1
    assert "split all has no proposals" in capsys.readouterr().err


def test_a_detector_and_missing_films(run_dir: Path, films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, empty = str(films / "films.yaml"), "videos.folder=elsewhere"
    assert main(["test", str(run_dir), spec, "--boxes", "tiny", "--keyframe-step", "3"]) == 0
    assert "boxes: tiny; views: 1" in capsys.readouterr().out.splitlines()[-1]
    assert main(["test", str(run_dir), empty]) == 1  # an override of the run's own data set
    assert "4 of 4 videos have no file in" in capsys.readouterr().err
    assert (
        main(["test", str(run_dir), spec, empty, "--on-error", "skip"]) == 1
    )  # a folder that is not there is a mistake
    assert "4 of 4 videos have no file in" in capsys.readouterr().err
    for number in range(3):
        (films / "some").mkdir(exist_ok=True)
        (films / "some" / f"f{number}.mp4").symlink_to(films / "videos" / f"f{number}.mp4")
    most = "videos.folder=some"
    assert main(["test", str(run_dir), spec, most, "--on-error", "skip"]) == 0
    said = capsys.readouterr()
    assert "5 clips cannot be read; nothing is found on their keyframes" in said.out
    assert "5 clips of f3 left out: video f3 has no file" in said.err
    assert main(["test", str(run_dir), spec, most, "--on-error", "skip", "--boxes", "tiny"]) == 0
    assert "5 clips cannot be read" in capsys.readouterr().out  # frames for the detector, too, are counted
