"""Labels made by eye for this model: `labels/pictures.csv` and `labels/videos.csv`.

A row names the source, the file inside it, the second of a video (empty for a picture), the box in whole px (those of a
video of frames whose shorter side is at most 480), the pose, the actions that are plainly there, and those that may be.
Two poses joined by "|" are about as likely as each other; of a video the first is the likelier. "?" = cannot be told;
"x" = no one person, nothing can be learnt from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet import boxes
from avadet.errors import AvadetError, unknown_name
from tiny_actions.classes import ACTION_IDS, POSE_IDS, SELDOM_SEEN
from tiny_actions.persons import Ledger, Person

FOLDER = Path(__file__).resolve().parent / "labels"
COLUMNS = ("source", "file", "seconds", "x1", "y1", "x2", "y2", "pose", "actions", "unsure")
USELESS = "x"
FIRST_OF_TWO = 0.65
ABSENT_WEIGHT = 0.7
SAME_IOU = 0.7
SAME_IOU_IN_VIDEO = 0.5
SAME_SECONDS = 0.05


@dataclass(frozen=True)
class EyeLabel:
    """One row.

    Attributes:
        source: name of the source.
        file: path inside its folder.
        seconds: of a video; None of a picture.
        box: xyxy px.
        pose: AVA id (or 0) -> probability; empty if the row is of no use.
        present: AVA ids that are plainly there.
        absent: AVA ids that are plainly not.
    """

    source: str
    file: str
    seconds: float | None
    box: tuple[float, float, float, float]
    pose: dict[int, float]
    present: list[int]
    absent: list[int]

    def give(self, person: Person) -> None:
        """Replace the labels of a person by these."""
        person.by_eye = True
        person.pose, person.pose_weight = dict(self.pose), 1.0 if self.pose else 0.0
        person.present, person.absent = list(self.present), list(self.absent)
        person.present_weight, person.absent_weight = 1.0, ABSENT_WEIGHT


def read_labels(path: Path) -> list[EyeLabel]:
    """Read one of the two tables.

    Raises:
        AvadetError: for a file that is missing or has a word or number that does not belong there.
    """
    if not path.is_file():
        raise AvadetError(f"{path} is missing; it lies in tools/tiny_actions/labels of the repository")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise AvadetError(
                f"{path}: expected the columns {','.join(COLUMNS)}, got {','.join(rows.fieldnames or ())}"
            )
        return [_label(row, f"{path}:{line}") for line, row in enumerate(rows, start=2)]


def _label(row: dict[str, str], where: str) -> EyeLabel:
    try:
        x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
        seconds = float(row["seconds"]) if row["seconds"] else None
    except (TypeError, ValueError) as error:
        raise AvadetError(f"{where}: seconds and box must be numbers: {error}") from error
    pose = read_pose(row["pose"], seconds is not None, where)
    present, absent = read_actions(row["actions"], row["unsure"], where) if pose else ([], [])
    return EyeLabel(row["source"], row["file"], seconds, (x1, y1, x2, y2), pose, present, absent)


def read_pose(words: str, in_video: bool, where: str) -> dict[int, float]:
    """Probabilities of poses: "sit" -> {11: 1}, "stand|walk" -> halves in a picture, 0.65 and 0.35 in a video.

    Raises:
        AvadetError: for an unknown word.
    """
    if words == USELESS:
        return {}
    ids = [_id_of(word, POSE_IDS, where) for word in words.split("|")]
    parts = [FIRST_OF_TWO, 1 - FIRST_OF_TWO] if in_video and len(ids) == 2 else [1 / len(ids)] * len(ids)
    return dict(zip(ids, parts))


def read_actions(sure: str, unsure: str, where: str) -> tuple[list[int], list[int]]:
    """Actions present, and absent: all that eyes look for but those present, unsure, or seldom written down.

    Raises:
        AvadetError: for an unknown word.
    """
    present, maybe = ([_id_of(word, ACTION_IDS, where) for word in words.split()] for words in (sure, unsure))
    looked_for = sorted(set(ACTION_IDS.values()) - SELDOM_SEEN)
    return present, [class_id for class_id in looked_for if class_id not in present and class_id not in maybe]


def _id_of(word: str, ids: dict[str, int], where: str) -> int:
    if word not in ids:
        raise unknown_name(f"label in {where}", word, list(ids))
    return ids[word]


def attach(persons: Sequence[Person], labels: Sequence[EyeLabel], ledger: Ledger) -> int:
    """Give each label to the person whom it is about: same file, same moment, the box that overlaps it most.

    Labels that find nobody are counted as left out; so much depends on the detector that found the boxes.

    Returns:
        how many found theirs.
    """
    of_file: dict[tuple[str, str], list[Person]] = {}
    for person in persons:
        of_file.setdefault((person.source, person.file), []).append(person)
    found = 0
    for label in labels:
        match = _match(of_file.get((label.source, label.file), []), label)
        if match is None:
            ledger.leave_out(label.source, "labels by eye that no box matches")
        else:
            label.give(match)
            found += 1
    return found


def _match(persons: Sequence[Person], label: EyeLabel) -> Person | None:
    near = list(_at_that_moment(persons, label.seconds))
    if not near:
        return None
    overlaps = boxes.iou(np.array([label.box]), np.array([person.box for person in near]))[0]
    best = int(np.argmax(overlaps))
    needed = SAME_IOU if label.seconds is None else SAME_IOU_IN_VIDEO
    return near[best] if overlaps[best] >= needed else None


def _at_that_moment(persons: Sequence[Person], seconds: float | None) -> Iterator[Person]:
    for person in persons:
        same = seconds is None or (person.seconds is not None and abs(person.seconds - seconds) <= SAME_SECONDS)
        if same and person.box and not person.by_eye:
            yield person
