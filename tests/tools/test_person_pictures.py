"""Pictures in which people were drawn in: what is read from the files, and what the teacher may add."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import cv2
import gather_person_pictures
import numpy as np
import pytest
from person_training.config import PictureSet
from person_training.pictures import chosen_paths, join, picture_frames, read_phrases, read_yolo
from person_training.sources import Teacher

from avadet.errors import AvadetError
from avadet.types import PersonBoxes, UInt8Array


def teacher(*rows: tuple[float, float, float, float, float]) -> Teacher:
    """Sees these boxes (xyxy px and score) in every picture."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Teacher(lambda image: PersonBoxes(table[:, :4], table[:, 4], image.shape[:2]), 0.4, 0.12)


def picture(path: Path, size_hw: tuple[int, int] = (100, 200)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), 90, np.uint8))
    return path


def blank(size_hw: tuple[int, int] = (100, 100)) -> UInt8Array:
    return np.zeros((*size_hw, 3), np.uint8)


def test_a_yolo_file_holds_boxes_key_points_polygons_and_crowds(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    rows = [
        "0 0.5 0.5 0.2 0.4",
        "0 0.5 0.5 0.2 0.4 0.1 0.9 2.00",  # a key point follows
        "0 0.2 0.1 0.6 0.1 0.4 0.9 0.0 0.9",  # a box, sheared: x from 0.1 to 0.5 between the middles of its sides
        "0 0.1 0.2 0.3 0.1 0.5 0.6 0.4 0.8 0.2 0.7",  # an outline
        "-1 0.5 0.5 1.0 1.0",
        "7 0.5 0.5 0.1 0.1",
    ]
    file.write_text("\n".join(rows))
    corners, certain = read_yolo(file, (0,))
    expected = [[0.4, 0.3, 0.6, 0.7]] * 2 + [[0.1, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.8], [0, 0, 1, 1]]
    np.testing.assert_allclose(corners, expected, atol=1e-6)
    assert certain.tolist() == [True] * 4 + [False]
    assert len(read_yolo(file, ())[0]) == 6


def test_a_drawn_box_around_two_people_is_a_group() -> None:
    seen = teacher((10, 10, 30, 90, 0.9), (40, 10, 60, 90, 0.8), (80, 10, 90, 90, 0.2))
    frame = join(blank(), (np.array([[0.05, 0.05, 0.65, 0.95]], np.float32), np.ones(1, bool)), seen, 0.5)
    by_box = {tuple(box): worth for box, worth in zip(frame.boxes_px.round().tolist(), frame.worth.tolist())}
    assert by_box == {(10, 10, 30, 90): 1, (40, 10, 60, 90): 1, (80, 10, 90, 90): 0, (5, 5, 65, 95): 0}


def test_a_drawn_person_stays_one_whatever_the_teacher_says() -> None:
    frame = join(blank(), (np.array([[0.1, 0.1, 0.3, 0.9]], np.float32), np.ones(1, bool)), teacher(), 0.5)
    assert frame.worth.tolist() == [1]


def test_captions_name_persons_and_groups(tmp_path: Path) -> None:
    rows = [
        {"file": "a.jpg", "w": 200, "h": 100, "box": [20, 10, 100, 50], "single": single} for single in (True, False)
    ]
    (tmp_path / "p.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    corners, certain = read_phrases(tmp_path / "p.json.gz")["a.jpg"]
    np.testing.assert_allclose(corners, [[0.1, 0.1, 0.5, 0.5]] * 2)
    assert certain.tolist() == [True, False]


def test_of_one_source_so_many_pictures_are_used(tmp_path: Path) -> None:
    for name in ("film_jpg.rf.1", "film_jpg.rf.2", "film_jpg.rf.3", "street_jpg.rf.4", "never_jpg.rf.5"):
        picture(tmp_path / "set" / "images" / f"{name}.jpg")
    rows = PictureSet(
        name="set", folders=(Path("set/images"),), source=r"^(.*)_jpg\.rf", per_source=2, leave_out=("never",)
    )
    sources = [source for source, _ in chosen_paths(rows, tmp_path)]
    assert sources == ["film", "film", "street"]
    with pytest.raises(AvadetError, match=r"no folder .*gone; check data\.root"):
        chosen_paths(PictureSet(name="set", folders=(Path("gone"),)), tmp_path)


def test_pictures_nobody_drew_in_are_the_teachers(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "images" / "drawn.jpg")
    picture(tmp_path / "set" / "images" / "bare.jpg")
    (tmp_path / "set" / "labels").mkdir()
    (tmp_path / "set" / "labels" / "drawn.txt").write_text("0 0.5 0.5 0.5 0.5")
    rows = PictureSet(name="set", folders=(Path("set/images"),), complete=True)

    def boxes_by_name(*seen: tuple[float, float, float, float, float]) -> dict[str, list[list[float]]]:
        return {name: frame.boxes_px.tolist() for name, frame in picture_frames(rows, tmp_path, teacher(*seen))}

    drawn = [[50.0, 25.0, 150.0, 75.0]]
    assert boxes_by_name((1, 2, 30, 40, 0.9)) == {"set/drawn": drawn, "set/bare": [[1.0, 2.0, 30.0, 40.0]]}
    assert boxes_by_name() == {"set/drawn": drawn, "set/bare": []}
    assert boxes_by_name((1, 2, 30, 40, 0.3)) == {"set/drawn": drawn}  # in doubt: not learnt from
    assert [name for name, _ in picture_frames(rows, tmp_path)] == ["set/drawn"]


def test_pictures_are_taken_out_of_clones_without_those_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clones" / "some+one"
    for name in ("000000000001", "000000000002"):
        picture(clone / "train" / f"{name}.jpg")
    picture(clone / "test" / "000000000002.jpg")
    table = {
        "categories": [{"id": 3, "name": "person"}, {"id": 4, "name": "dog"}],
        "images": [{"id": 9, "file_name": "000000000001.jpg", "width": 200, "height": 100}],
        "annotations": [
            {"image_id": 9, "category_id": 3, "bbox": [20, 10, 100, 50]},
            {"image_id": 9, "category_id": 3, "bbox": [0, 0, 200, 100], "iscrowd": 1},
            {"image_id": 9, "category_id": 4, "bbox": [0, 0, 20, 10]},
        ],
    }
    (clone / "boxes.json").write_text(json.dumps(table))
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    source = gather_person_pictures.Source("coco", "some/one", "HEAD", r"train/(\d{12})\.jpg")
    rows = gather_person_pictures.Source("coco", "some/one", "HEAD", r"boxes\.json", kind="coco")
    monkeypatch.setattr(gather_person_pictures, "COCO_TEST", ("some/one", "HEAD", r"test/(\d{12})\.jpg"))
    never = gather_person_pictures.test_names(tmp_path / "clones")
    for part in (source, rows):
        gather_person_pictures.gather(part, tmp_path / "clones", tmp_path / "out", never)
    assert [path.name for path in (tmp_path / "out" / "coco" / "images").iterdir()] == ["000000000001.jpg"]
    corners, certain = read_yolo(tmp_path / "out" / "coco" / "labels" / "000000000001.txt", (0,))
    np.testing.assert_allclose(corners, [[0.1, 0.1, 0.6, 0.6], [0, 0, 1, 1]], atol=1e-6)
    assert certain.tolist() == [True, False]
