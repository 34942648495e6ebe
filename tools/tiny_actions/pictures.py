"""Step `pictures`: the persons of all pictures, with what their captions, classes and boxes say of them."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from avadet.errors import AvadetError
from tiny_actions import weak_labels as weak
from tiny_actions.labels import FOLDER, EyeLabel, read_labels
from tiny_actions.persons import Ledger, Person, Report, write_persons
from tiny_actions.sources import CAPSTON2, CLASSROOM, FALLEN, FALLS, FLICKR8K, HAR, HOMES, SPORTS, Source

PHRASES = "person_phrases.json.gz"
CLASSROOM_PART = 0.35
CLASSROOM_SMALLEST_PX = 15
HOMES_EVERY = 6
CAPSTON2_NAME = re.compile(r"[-_ ]?\(?\d+\)?$")


def flickr8k(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """Persons whom phrases of captions are about.

    `person_phrases.json.gz` in the folder is a list of {file, w, h: true px, box: xyxy px of them, pose and act: how
    many captions say which word, ncap: how many speak of the person}.
    """
    for row in json.loads(gzip.decompress((folder / PHRASES).read_bytes())):
        pose, weight = weak.caption_poses(row["pose"])
        rides = row["pose"].get("ride", 0)
        present, absent = weak.caption_actions(row["act"], rides, row["ncap"], rng)
        yield Person(
            FLICKR8K.name,
            f"data/images/{row['file']}",
            f"flickr/{row['file']}",
            [float(side) for side in row["box"]],
            [row["h"], row["w"]],
            pose,
            weight,
            present,
            absent,
            absent_weight=0.25,
        )


def har(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """The main person of stock photos of 15 classes; a detector finds the box."""
    for part in ("train", "test"):
        for name in weak.HAR_CLASSES:
            weight = 0.3 if name == "cycling" else 0.35
            for path in sorted((folder / "data" / part / name).glob("*.jpg")):
                yield Person(
                    HAR.name,
                    str(path.relative_to(folder)),
                    f"har/{path.name}",
                    pose=dict(weak.HAR_POSES.get(name, {})),
                    pose_weight=weight,
                    present=sorted(weak.HAR_ACTIONS[name]),
                    absent=sorted(weak.har_absent(name)),
                )


def sports(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """The main person of pictures of sports."""
    for name, (pose, present) in weak.SPORTS.items():
        for path in sorted((folder / "train" / name).glob("*.jpg")):
            yield Person(
                SPORTS.name,
                str(path.relative_to(folder)),
                f"sports/{name}{path.name}",
                pose=dict(pose),
                pose_weight=0.5,
                present=sorted(present),
                absent=sorted(weak.sports_absent(name)),
            )


def falls(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """People indoors in drawn boxes (YOLO txt): fallen, standing, sitting."""
    for table in sorted((folder / "images").glob("*.txt")):
        path = table.with_suffix(".jpg")
        image = cv2.imread(str(path)) if path.is_file() else None
        if image is None:
            ledger.leave_out(FALLS.name, "without a readable picture")
            continue
        height, width = image.shape[:2]
        for cells in (line.split() for line in table.read_text().splitlines()):
            if len(cells) != 5:
                continue
            x, y, w, h = (float(cell) for cell in cells[1:])
            yield Person(
                FALLS.name,
                str(path.relative_to(folder)),
                f"fallmb/{table.name}",
                [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height],
                [height, width],
                dict(weak.FALLS_POSES.get(cells[0], {})),
                1.0,
                absent=[15, 49, 62, 64, 70],
            )


def classroom(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """About a third of the pupils of filmed classrooms, each with what he or she does."""
    for part in ("train", "valid", "test"):
        here = folder / "Dataset for Detection" / part
        table = json.loads((here / "_annotations.coco.json").read_text(encoding="utf-8"))
        names = {row["id"]: row["name"] for row in table["categories"]}
        images = {row["id"]: row for row in table["images"]}
        for row in table["annotations"]:
            if rng.random() > CLASSROOM_PART:
                ledger.leave_out(CLASSROOM.name, "not drawn, a third is enough")
                continue
            image, (x, y, w, h) = images[row["image_id"]], row["bbox"]
            labels = weak.CLASSROOM.get(names[row["category_id"]])
            if labels is None or min(w, h) <= CLASSROOM_SMALLEST_PX:
                ledger.leave_out(CLASSROOM.name, "of another class, or tiny")
                continue
            yield Person(
                CLASSROOM.name,
                f"Dataset for Detection/{part}/{image['file_name']}",
                f"bav/{image['file_name'].split('_jpg')[0]}",
                [float(x), float(y), float(x + w), float(y + h)],
                [image["height"], image["width"]],
                dict(labels[0]),
                0.5,
                sorted(labels[1]),
                sorted({*labels[2], 49, 64, 70, 20} - set(labels[1])),
                present_weight=0.5,
            )


def homes(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """Every sixth frame of somebody at home who sits or stands; a hundred frames are a group."""
    for name, class_id in (("sitting", 11), ("standing", 12)):
        numbered = {_last_number(path): path for path in (folder / "dataset_fixed" / name).glob("*.jpg")}
        for number in sorted(numbered)[::HOMES_EVERY]:
            yield Person(
                HOMES.name,
                str(numbered[number].relative_to(folder)),
                f"elderly/{name}{number // 100}",
                pose={class_id: 1.0},
                pose_weight=0.7,
                absent=[49, 64, 70],
            )


def fallen(folder: Path, rng: random.Random, ledger: Ledger) -> Iterator[Person]:
    """People who lie; mirrored and numbered near-copies are left out."""
    for part in ("train", "val"):
        for path in sorted((folder / part / "images").glob("*")):
            if "flip" in path.name or path.name.startswith("not") or re.search(r"_\d", path.name):
                ledger.leave_out(FALLEN.name, "near-copies, or not fallen")
                continue
            yield Person(
                FALLEN.name,
                str(path.relative_to(folder)),
                f"skm/{path.name}",
                pose={8: 1.0},
                pose_weight=0.5,
                absent=[49, 64, 70],
            )


def capston2(labels: list[EyeLabel], folder: Path, ledger: Ledger) -> Iterator[Person]:
    """People of Capston2 whom somebody labelled by eye; the labels name file and box."""
    for label in labels:
        if not (folder / label.file).is_file():
            ledger.leave_out(CAPSTON2.name, "without a picture")
            continue
        base = Path(label.file).name.split("_jpg.rf")[0]
        group = base if base.isdigit() else CAPSTON2_NAME.sub("", base)
        yield Person(CAPSTON2.name, label.file, f"capston/{group}", list(label.box))


READERS: dict[Source, Callable[[Path, random.Random, Ledger], Iterator[Person]]] = {
    FLICKR8K: flickr8k,
    HAR: har,
    SPORTS: sports,
    FALLS: falls,
    CLASSROOM: classroom,
    HOMES: homes,
    FALLEN: fallen,
}


def read_pictures(data: Path, permissive_only: bool, ledger: Ledger, seed: int = 0) -> list[Person]:
    """Persons of all pictures under `data`, without the labels made by eye but with whom those are about.

    Args:
        data: holds one folder a source.
        permissive_only: leave out sources whose pictures are for research only or of unstated licence.
        ledger: counts.
        seed: of what is drawn by chance.
    """
    rng = random.Random(seed)
    persons: list[Person] = []
    for source, reader in READERS.items():
        folder = source_folder(data, source, permissive_only, ledger)
        if folder is not None:
            persons += reader(folder, rng, ledger)
    folder = source_folder(data, CAPSTON2, permissive_only, ledger)
    if folder is not None:
        labels = [label for label in read_labels(FOLDER / "pictures.csv") if label.source == CAPSTON2.name]
        persons += capston2(labels, folder, ledger)
    return persons


def source_folder(data: Path, source: Source, permissive_only: bool, ledger: Ledger) -> Path | None:
    """The folder of a source; None, and counted, if it is absent or may not be used."""
    if permissive_only and not source.permissive and not source.permissive_files:
        ledger.leave_out(source.name, "whole, for research only or of unstated licence")
        return None
    if not (data / source.name).is_dir():
        ledger.leave_out(source.name, "whole, its folder is not there")
        return None
    return data / source.name


def run(data: Path, work: Path, permissive_only: bool, report: Report, seed: int = 0) -> None:
    """Write `pictures.jsonl`, say what was taken."""
    if not data.is_dir():
        raise AvadetError(f"{data} is no folder; give the one that holds a folder of each source with --data")
    ledger = Ledger()
    persons = read_pictures(data, permissive_only, ledger, seed)
    for person in persons:
        ledger.take(person.source)
    write_persons(work / "pictures.jsonl", persons)
    for line in ledger.lines():
        report(line)


def _last_number(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[-1])
