"""Running a person detector over the data it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jhmdb_clips import JhmdbClip, read_clips

from avadet import boxes
from avadet.errors import AvadetError
from avadet.persons.tiny import TinyPersons
from avadet.types import Float32Array, PersonDetector, UInt8Array
from avadet.video.read import VideoReader
from person_training.config import PersonDataConfig, PersonsConfig, PictureSet
from person_training.frames import FramePack
from person_training.packs import clip_paths, load_packs
from person_training.picture_scores import PictureScore, score_pictures
from person_training.pictures import picture_frames
from person_training.score import (
    ClipScore,
    ScoredFrame,
    actor_recall,
    score_clip,
    threshold_for,
)
from person_training.sources import read_ucf24_boxes

FLOOR = 0.02  # the detector's lowest score while it is scored
TEACHER_FLOOR = 0.1
BUDGETS = (1.5, 2.5)
FRAMES_A_CLIP = 60
COCO_TEST = "coco_test"


@dataclass(frozen=True)
class ActorScore:
    """Actors of JHMDB found in the middle frame of each video.

    Attributes:
        frames: how many.
        at_budget: recall by boxes a frame on average, one threshold for all frames.
        at_threshold: recall at the detector's own threshold.
        boxes_a_frame: boxes a frame at that threshold.
    """

    frames: int
    at_budget: dict[float, float]
    at_threshold: float
    boxes_a_frame: float


def score_actors(detector: TinyPersons, videos: Sequence[JhmdbClip], threshold: float) -> ActorScore:
    """Recall of the annotated actor at IoU 0.5 in the middle frame of every video."""
    found, actors = [], []
    for video in videos:
        middle = len(video.boxes_norm) // 2
        image = _frames_at(video.path, [middle])[0]
        found.append(detector(image))
        actors.append(boxes.to_px(video.boxes_norm[middle : middle + 1], image.shape[:2]))
    return ActorScore(
        len(found),
        {budget: actor_recall(found, actors, threshold_for(found, budget)) for budget in BUDGETS},
        actor_recall(found, actors, threshold),
        float(np.mean([(people.scores >= threshold).sum() for people in found])),
    )


def score_drawn(data: PersonDataConfig, detector: PersonDetector) -> dict[str, PictureScore]:
    """Score pictures in which everybody is drawn in; see `report_scores`.

    Raises:
        AvadetError: if a pack or the folder is missing.
    """
    test = PictureSet(name=COCO_TEST, folders=(Path(COCO_TEST, "images"),), person_classes=(0,), complete=True)
    frames = {COCO_TEST: FramePack.gather(picture_frames(test, data.root))}
    scores = {}
    for name, pack in [*frames.items(), *load_packs(data).validation.items()]:
        found = [detector(pack[i].image) for i in range(len(pack))]
        scores[name] = score_pictures(found, [pack.people(i) for i in range(len(pack))])
    return scores


def see_clip(
    path: Path, detector: PersonDetector, teacher: PersonDetector, annotated: dict[int, Float32Array]
) -> list[ScoredFrame]:
    """Let detector and teacher look at `FRAMES_A_CLIP` frames of a clip, evenly spread, at the clip's own size.

    Args:
        path: the clip.
        detector: who is scored.
        teacher: who stands in for the truth; looks once, without mirroring.
        annotated: boxes (A, 4) in 0-1 by 0-based frame number, where there are any.
    """
    with VideoReader(path) as reader:
        count = sum(1 for _ in reader.frames())
    wanted = np.unique(np.linspace(0, count - 1, min(count, FRAMES_A_CLIP)).round().astype(int)).tolist()
    nobody = np.zeros((0, 4), np.float32)
    return [
        ScoredFrame(
            path.stem,
            detector(image),
            teacher(image),
            boxes.to_px(annotated.get(index, nobody), image.shape[:2]),
        )
        for index, image in zip(wanted, _frames_at(path, wanted))
    ]


def _frames_at(path: Path, indices: Sequence[int]) -> list[UInt8Array]:
    """The frames with these increasing numbers."""
    wanted, images = set(indices), []
    with VideoReader(path) as reader:
        for index, frame in enumerate(reader.frames()):
            if index in wanted:
                images.append(frame.image)
            if index >= indices[-1]:
                break
    return images


def see_held_out(
    data: PersonDataConfig, detector: PersonDetector, teacher: PersonDetector
) -> dict[str, list[ScoredFrame]]:
    """Look at every clip of `data.held_out`.

    Raises:
        AvadetError: if a clip is not among the files of the data.
    """
    annotated = read_ucf24_boxes(data.ucf24 / "ucf24_demo_boxes.csv") if data.ucf24 else {}
    paths = {path.stem: path for path in clip_paths(data)}
    missing = [name for name in data.held_out if name not in paths]
    if missing:
        raise AvadetError(f"data.held_out names clips that are not there: {', '.join(missing)}")
    return {name: see_clip(paths[name], detector, teacher, annotated.get(name, {})) for name in data.held_out}


def report_scores(config: PersonsConfig, weights: str | Path | None, report: Callable[[str], None] = print) -> None:
    """Print the numbers of a trained detector.

    0. Pictures in which everybody is drawn in: the test half of coco128_yolo (folder `coco_test` of `data.root`), and
       the frames of each pack that were kept aside: COCO's AP, and recall and precision at the default threshold.
    1. Actors: JHMDB-21 test videos of the split, middle frame, recall at IoU 0.5 at 1.5 and 2.5 boxes a frame (one
       threshold for all frames) and at the detector's default threshold.
    2. Held-out clips, up to 60 frames of each, at the default threshold. Crowd recall: of the people that the teacher
       (one look, no mirroring) sees with a score of at least 0.5 in frames where it sees at least two such people,
       the share found, paired one to one at IoU 0.5. False boxes a frame: boxes that overlap neither any box of the
       teacher with a score of at least 0.1 nor an annotated person by IoU 0.5, over all frames.

    Args:
        config: names the data and the teacher.
        weights: a .safetensors file of `python tools/train_persons.py`, None = the bundled one.
        report: gets every line.
    """
    from avadet.persons.onnx_yolox import OnnxYolox

    detector = TinyPersons(threshold=FLOOR) if weights is None else TinyPersons(threshold=FLOOR, weights=weights)
    threshold = float(detector.card["threshold"])
    for name, score in score_drawn(config.data, detector).items():
        report(f"{name}: {score.line(threshold)}")
    actors = score_actors(detector, read_clips(config.data.jhmdb, f"test{config.data.split}"), threshold)
    report(f"threshold {threshold:.2f}")
    budgets = ", ".join(f"{recall:.3f} at {budget} boxes a frame" for budget, recall in actors.at_budget.items())
    report(
        f"actors of {actors.frames} test mid-frames: recall {budgets}, "
        f"{actors.at_threshold:.3f} at the threshold ({actors.boxes_a_frame:.2f} boxes a frame)"
    )
    teacher = OnnxYolox(config.teacher.path, threshold=TEACHER_FLOOR)
    seen = see_held_out(config.data, detector, teacher)
    report(f"{'held-out clip':44}{'frames':>7}{'crowd recall':>20}{'boxes':>7}{'false a frame':>15}")
    scores = {name: score_clip(frames, threshold) for name, frames in seen.items()}
    for name, score in {**scores, "all": ClipScore.total(scores.values())}.items():
        report(_row(name, score))


def _row(name: str, score: ClipScore) -> str:
    recall = f"{score.found} of {score.confident} {score.crowd_recall:7.3f}" if score.confident else "-"
    return f"{name:44}{score.frames:>7}{recall:>20}{score.shown:>7}{score.false_a_frame:>15.3f}"
