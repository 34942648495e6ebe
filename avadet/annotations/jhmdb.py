"""JHMDB-21: 928 short clips of one annotated person each, 21 actions, three official splits.

The folder holds `jhmdb21_boxes.csv`, `jhmdb21_splits.json` and `videos/CLASS/NAME.mp4` (or .avi); the files are
described in data_specs/jhmdb21/README.md. Times are names of frames, not times of the file: see `JhmdbVideo.times_s`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avadet.annotations.ava import box_cells, csv_line, format_time
from avadet.errors import AvadetError
from avadet.files import resource_folder, whole_file
from avadet.types import Float32Array, Float64Array, IntArray, LabelMap

FPS = 30.0
"""Frames per second that keyframe times are counted in."""

SIZE_HW = (240, 320)

_BOX_COLUMNS = ("video", "frame_1based", "x1", "y1", "x2", "y2", "label", "label_id_1based")
_ENDINGS = (".mp4", ".avi")


@dataclass(frozen=True)
class JhmdbVideo:
    """One clip and its person, annotated in every frame.

    Attributes:
        video_id: "CLASS/NAME", as the splits write it.
        path: the file; it need not exist.
        class_index: 0-based row of the label map "jhmdb21".
        boxes_norm: float32 (L, 4) xyxy, 0-1 of the frame.
        times_s: float64 (L,), (frame number - 1) / 30: the keyframes' names in CSV files. The files' own timestamps
            have gaps, so look frames up by `frame_indices`, never by time.
        group: the video that the clip was cut from; clips of one source never belong on both sides of a split.
    """

    video_id: str
    path: Path
    class_index: int
    boxes_norm: Float32Array
    times_s: Float64Array
    group: str

    @property
    def frame_indices(self) -> IntArray:
        """Which frame of the file each row is about: int64 (L,), 0-based in the order they are shown."""
        indices: IntArray = np.rint(self.times_s * FPS).astype(np.int64)
        return indices


@dataclass(frozen=True)
class JhmdbSplit:
    """One of the three official splits.

    Attributes:
        train: videos to learn from, sorted by id.
        test: videos to score on, sorted by id.
    """

    train: list[JhmdbVideo]
    test: list[JhmdbVideo]


def read_jhmdb21(root: str | Path, split: int, num_frames: Mapping[str, int] | None = None) -> JhmdbSplit:
    """Read one split.

    Three files have fewer frames than boxes; boxes without a frame (14 in all) are dropped.

    Args:
        root: folder of the data set.
        split: 1, 2 or 3.
        num_frames: frames in the file of each video that has fewer than the annotation says; None = the three known
            ones, from data_specs. Pass {} to keep every box.

    Raises:
        AvadetError: if files are missing or malformed, or there is no such split.
    """
    folder = Path(root)
    if split not in (1, 2, 3):
        raise AvadetError(f"JHMDB-21 has splits 1, 2 and 3, got {split}")
    splits = _read_splits(folder / "jhmdb21_splits.json")
    boxes = _read_boxes(folder / "jhmdb21_boxes.csv")
    shorter = _short_files() if num_frames is None else num_frames
    classes = {name: index for index, name in enumerate(splits["labels"])}
    parts = []
    for part in ("train_videos", "test_videos"):
        ids = sorted(splits[part][split - 1])
        _check_ids(ids, boxes, classes, folder)
        parts.append([_video(folder, video_id, boxes[video_id], classes, shorter.get(video_id)) for video_id in ids])
    return JhmdbSplit(*parts)


def source_of(video_id: str) -> str:
    """The video that a clip was cut from: "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0" -> "April_09".

    HMDB-51's names are SOURCE_CLASS_visible_camera_npPEOPLE_view_quality_NUMBER; the class does not belong to the
    source, since several actions are cut from one film. A name of another kind is its own source.
    """
    class_name, _, name = video_id.rpartition("/")
    tail = rf"_{re.escape(class_name)}_[a-z]+_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+"
    match = re.fullmatch(rf"(.+?){tail}", name)
    return match[1] if match else name


def write_ground_truth(path: str | Path, videos: Sequence[JhmdbVideo], labels: LabelMap) -> None:
    """Write annotations as an AVA ground-truth CSV; the one person of each video has id 1.

    Raises:
        AvadetError: if the file cannot be written.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for video in videos:
            end = [labels.ids[video.class_index], 1]
            for time_s, box in zip(video.times_s.tolist(), video.boxes_norm):
                file.write(csv_line([video.video_id, format_time(time_s), *box_cells(box), *end]) + "\n")


def _read_splits(path: Path) -> dict[str, Any]:
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        complete = all(len(splits[part]) == 3 for part in ("train_videos", "test_videos")) and splits["labels"]
    except OSError as error:
        raise AvadetError(f"cannot read {path}: {error.strerror}; is this the folder of JHMDB-21?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AvadetError(f"{path} is not JHMDB-21's splits ({type(error).__name__}: {error})") from error
    if not complete:
        raise AvadetError(f"{path} must hold 'labels' and three splits of train_videos and test_videos")
    return dict(splits)


def _read_boxes(path: Path) -> dict[str, IntArray]:
    """Rows (frame number, x1, y1, x2, y2), pixels, of each video by frame; int64 (L, 5)."""
    rows: dict[str, list[tuple[int, ...]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header != _BOX_COLUMNS:
                raise AvadetError(f"{path}:1: expected the columns {','.join(_BOX_COLUMNS)}, got {','.join(header)}")
            for cells in reader:
                rows.setdefault(cells[0], []).append(_box_row(cells, path, reader.line_num))
    except OSError as error:
        raise AvadetError(f"cannot read {path}: {error.strerror}; is this the folder of JHMDB-21?") from error
    return {video_id: np.array(sorted(found), np.int64) for video_id, found in rows.items()}


def _box_row(cells: list[str], path: Path, line: int) -> tuple[int, ...]:
    """Frame number and box of a row."""
    try:
        frame, x1, y1, x2, y2 = (int(cell) for cell in cells[1:6])
    except ValueError as error:
        got = ",".join(cells)
        raise AvadetError(
            f"{path}:{line}: expected whole numbers frame,x1,y1,x2,y2 in columns 2-6, got {got}"
        ) from error
    if frame < 1 or x2 < x1 or y2 < y1:
        raise AvadetError(f"{path}:{line}: expected frame >= 1, x1 <= x2, y1 <= y2, got {','.join(cells[1:6])}")
    return frame, x1, y1, x2, y2


def _short_files() -> dict[str, int]:
    with (resource_folder("data_specs") / "jhmdb21" / "short_files.csv").open(encoding="utf-8", newline="") as file:
        return {row["video_id"]: int(row["frames_in_file"]) for row in csv.DictReader(file)}


def _check_ids(ids: Sequence[str], boxes: Mapping[str, IntArray], classes: Mapping[str, int], folder: Path) -> None:
    """Raise unless every video has boxes and a known class."""
    for video_id in ids:
        if video_id not in boxes:
            raise AvadetError(f"{folder}: video '{video_id}' of the split has no row in jhmdb21_boxes.csv")
        if video_id.partition("/")[0] not in classes:
            raise AvadetError(f"{folder}: video '{video_id}' is of no class of {', '.join(classes)}")


def _video(
    folder: Path, video_id: str, rows: IntArray, classes: Mapping[str, int], num_frames: int | None
) -> JhmdbVideo:
    if num_frames is not None:
        rows = rows[rows[:, 0] <= num_frames]
    paths = [folder / "videos" / (video_id + ending) for ending in _ENDINGS]
    return JhmdbVideo(
        video_id,
        next((path for path in paths if path.is_file()), paths[0]),
        classes[video_id.partition("/")[0]],
        _to_norm(rows[:, 1:]),
        (rows[:, 0] - 1) / FPS,
        source_of(video_id),
    )


def _to_norm(pixels: IntArray) -> Float32Array:
    """First and last pixel of a person, both inside (0-319, 0-239) -> continuous box, 0-1 of the frame, clipped."""
    height, width = SIZE_HW
    corners = pixels + np.array([0, 0, 1, 1])
    boxes = np.clip(corners / np.array([width, height, width, height], np.float64), 0, 1)
    return np.asarray(boxes, np.float32)
