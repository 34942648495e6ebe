"""Tubes: one person doing one thing over time, as the ground truth of JHMDB-21, UCF101-24 and MultiSports has them.

Three forms are read: AVA's CSV with person ids; a CSV with a header and frame numbers; and the pickle that the field
passes around (JHMDB-GT.pkl, UCF101v2-GT.pkl, multisports_GT.pkl), which is read without running what is in it. Frame
number n, counted from 1, is the moment (n - 1) / fps. Both forms with frame numbers are described in
data_specs/ucf24/README.md.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, AvaTable, format_time, read_ground_truth
from avadet.annotations.csv_rows import open_text
from avadet.boxes import clip_norm
from avadet.errors import AvadetError, unknown_name
from avadet.keyframes import join_keyframes
from avadet.types import Float32Array, IntArray, LabelMap, Tube

if TYPE_CHECKING:
    from avadet.annotations.specs import DataSpec

_COLUMNS = ("video", "frame_1based", "x1", "y1", "x2", "y2", "label", "label_id_1based")
_TRACK = "track_id"
_PICKLES = (".pkl", ".pickle")

Part = Literal["train", "test"]


@dataclass(frozen=True)
class TubeSpec:
    """What a data set means by a frame number, a pixel box and the extent of an action.

    Attributes:
        fps: frames per second that keyframes are named in.
        size_hw: (height, width) px of every video; None = the ground truth says it of each.
        last_pixel_inside: whether x2 and y2 are the last pixel of the person (else the first one beyond).
        fills_clip: whether actions last from the first to the last frame, so that tubes are not to be trimmed.
        counts_last_frame: whether the data set's own script counts a tube's length in frames (else in steps from the
            first to the last frame, one less); see `evaluation.video_map`.
    """

    fps: float
    size_hw: tuple[int, int] | None = None
    last_pixel_inside: bool = False
    fills_clip: bool = False
    counts_last_frame: bool = True

    def __post_init__(self) -> None:
        """Check the frame rate, by which frame numbers are divided."""
        if not self.fps > 0:
            raise AvadetError(f"fps must be positive, got {self.fps}")


def tube_spec_names() -> list[str]:
    """Data sets of data_specs that are scored by tubes, sorted."""
    from avadet.annotations.specs import data_set_names, read_data_spec

    return [name for name in data_set_names() if read_data_spec(name).tubes is not None]


def read_tube_spec(name: str) -> TubeSpec:
    """What data_specs says of a data set's tubes.

    Args:
        name: "jhmdb21", "ucf24" or "multisports".

    Raises:
        AvadetError: for another name.
    """
    from avadet.annotations.specs import read_data_spec

    if name not in tube_spec_names():
        raise unknown_name("data set with tubes", name, tube_spec_names())
    return tube_spec_of(name, read_data_spec(name))


def tube_spec_of(name: str, spec: DataSpec) -> TubeSpec:
    """What a spec says of its tubes.

    Args:
        name: of the data set, for messages.
        spec: a spec with `tubes`.

    Raises:
        AvadetError: if it has none, or does not say how many frames make a second.
    """
    if spec.tubes is None or spec.videos.fps is None:
        raise AvadetError(f"{name}: tubes count frames; its spec must say tubes and videos.fps")
    return TubeSpec(fps=spec.videos.fps, size_hw=spec.videos.size_hw, **spec.tubes.model_dump())


def read_tube_ground_truth(
    path: str | Path,
    labels: LabelMap,
    spec: TubeSpec | None = None,
    split: int | None = None,
    max_gap_s: float | None = None,
) -> list[Tube]:
    """Read ground-truth tubes, each with score 1.

    Args:
        path: an AVA ground-truth CSV, one tube for each video, person id and class (without ids, a video may have one
            box of a class at a moment: one tube); a CSV with the header video,frame_1based,...; or a `.pkl`.
        labels: the classes. The pickle's and the header CSV's are matched by name.
        spec: what frame numbers and pixels mean; only an AVA CSV needs none.
        split: 1-based; only the test videos of this split, of the pickle, or of NAME_splits.json beside
            NAME_boxes.csv. None = every video.
        max_gap_s: a person who stops an action for longer than this and starts it again has two tubes. None = one.

    Raises:
        AvadetError: if the file is missing or malformed, or names classes or a split that are not there.
    """
    file = Path(path)
    if file.suffix in _PICKLES:
        facts = _read_pickle(file)
        video_ids = None if split is None else _split_of(facts, split, "test", file)
        return _tubes_of_pickle(file, facts, labels, _needed(spec, file), video_ids)
    if not _has_header(file):
        if split is not None:
            raise AvadetError(f"{file} has no splits: an AVA CSV holds the videos that count; leave the split away")
        return tubes_of_table(read_ground_truth(file), labels, str(file), max_gap_s)
    table = _read_header_csv(file, labels, _needed(spec, file))
    if split is not None:
        table = _of_videos(table, _split_of(_read_splits(file), split, "test", file))[0]
    return tubes_of_table(table, labels, str(file), max_gap_s)


class TubeRows(NamedTuple):
    """Ground truth of tubes as rows.

    Attributes:
        table: one row a box.
        lines: int64 (n,), each row's line in its file, from 1; 0 = it has no lines.
        video_ids: the videos that were asked for, sorted; None = those of the rows.
    """

    table: AvaTable
    lines: IntArray
    video_ids: list[str] | None


def read_tube_rows(
    path: str | Path, labels: LabelMap, spec: TubeSpec, part: Part | None = None, number: int = 1
) -> TubeRows:
    """Read ground-truth tubes of any form as rows, in file order where the file has lines.

    Args:
        path: see `read_tube_ground_truth`.
        labels: the classes.
        spec: what frame numbers and pixels mean.
        part: only the videos of this list of a split. None = every video.
        number: which split, from 1.

    Raises:
        AvadetError: if the file is missing or malformed, or has no such split.
    """
    file = Path(path)
    if file.suffix in _PICKLES:
        facts = _read_pickle(file)
        video_ids = None if part is None else sorted(_split_of(facts, number, part, file))
        table = tube_table(_tubes_of_pickle(file, facts, labels, spec, video_ids), labels)
        return TubeRows(table, np.zeros(len(table), np.int64), video_ids)
    header = _has_header(file)
    if not header and part is not None:
        raise AvadetError(f"{file} has no splits: an AVA CSV holds the videos that count; leave 'part' away")
    table = _read_header_csv(file, labels, spec) if header else read_ground_truth(file)
    lines = np.arange(len(table), dtype=np.int64) + (2 if header else 1)
    if part is None:
        return TubeRows(table, lines, None)
    video_ids = sorted(_split_of(_read_splits(file), number, part, file))
    table, rows = _of_videos(table, video_ids)
    return TubeRows(table, lines[rows], video_ids)


def tubes_of_table(
    table: AvaTable, labels: LabelMap, where: str = "ground truth", max_gap_s: float | None = None
) -> list[Tube]:
    """Gather rows into tubes, by video, class, person and time; see `read_tube_ground_truth`.

    Args:
        table: ground truth; rows of class 0 are left out.
        labels: the classes.
        where: what to call the rows in errors.
        max_gap_s: where to split a person's rows.

    Raises:
        AvadetError: if a class id is not in the map, a person has two boxes of a class at a moment, or a box is pixels.
    """
    class_of = {class_id: index for index, class_id in enumerate(labels.ids)}
    foreign = sorted(set(np.unique(table.class_ids).tolist()) - {NO_CLASS, *labels.ids})
    if foreign:
        raise AvadetError(
            f"{where}: class id {foreign[0]} is not in the label map of {len(labels)} classes; is it the right one?"
        )
    parts, boxes = _instances(table, where, max_gap_s), clip_norm(table.boxes_norm)
    try:
        return [
            Tube(
                str(table.video_ids[rows[0]]),
                class_of[int(table.class_ids[rows[0]])],
                1.0,
                np.asarray(table.times_s[rows], np.float64),
                np.asarray(boxes[rows], np.float32),
            )
            for rows in parts
        ]
    except AvadetError as error:
        raise AvadetError(f"{where}: {error}") from error


def tube_table(tubes: Sequence[Tube], labels: LabelMap) -> AvaTable:
    """The tubes' boxes as rows of an AVA ground truth; each tube of a video is a person of its own, from 1."""
    counts = [len(tube.times_s) for tube in tubes]
    seen: dict[str, int] = {}
    persons = []
    for tube in tubes:
        seen[tube.video_id] = seen.get(tube.video_id, 0) + 1
        persons.append(seen[tube.video_id])
    class_ids = [labels.ids[tube.class_index] for tube in tubes]
    names = np.empty(len(tubes), dtype=object)
    names[:] = [tube.video_id for tube in tubes]
    return AvaTable(
        np.repeat(names, counts),
        np.concatenate([np.zeros(0), *(tube.times_s for tube in tubes)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(tube.boxes_norm for tube in tubes)]),
        np.repeat(np.array(class_ids, np.int64), counts),
        person_ids=np.repeat(np.array(persons, np.int64), counts),
    )


def _needed(spec: TubeSpec | None, path: Path) -> TubeSpec:
    if spec is None:
        raise AvadetError(f"{path} counts frames and pixels; say whose they are: {', '.join(tube_spec_names())}")
    return spec


def _instances(table: AvaTable, where: str, max_gap_s: float | None) -> list[IntArray]:
    """The rows of each tube, in order of time."""
    chosen = np.flatnonzero(table.class_ids != NO_CLASS)
    if not len(chosen):
        return []
    persons = np.zeros(len(table), np.int64) if table.person_ids is None else table.person_ids
    _, videos = np.unique(table.video_ids[chosen].astype(str), return_inverse=True)
    moments = np.rint(table.times_s[chosen] * 1e6).astype(np.int64)
    keys = np.stack([videos, table.class_ids[chosen], persons[chosen]])
    order = np.lexsort((moments, *keys[::-1]))
    same = (np.diff(keys[:, order], axis=1) == 0).all(axis=0)
    waits = np.diff(moments[order])
    keyframes = join_keyframes([(table.video_ids[chosen], table.times_s[chosen])]).numbers[0]
    twice = np.flatnonzero(same & (np.diff(keyframes[order]) == 0))
    if len(twice):
        row = int(chosen[order[twice[0]]])
        who = "nobody has a person id" if table.person_ids is None else f"both of person {persons[row]}"
        raise AvadetError(
            f"{where}: two boxes of class {table.class_ids[row]} in video '{table.video_ids[row]}' at "
            f"{format_time(float(table.times_s[row]))} s, {who}; tubes need an eighth column that tells people apart"
        )
    if max_gap_s is not None:
        same &= waits <= max_gap_s * 1e6
    return np.split(chosen[order], np.flatnonzero(~same) + 1)


def _to_norm(pixels: NDArray[np.floating], size_hw: tuple[int, int], last_pixel_inside: bool) -> Float32Array:
    """Boxes (L, 4) in pixels -> 0-1 of the frame, clipped at its edges."""
    height, width = size_hw
    corners = np.asarray(pixels, np.float64) + np.array([0, 0, 1, 1]) * last_pixel_inside
    return np.asarray(np.clip(corners / np.array([width, height, width, height]), 0, 1), np.float32)


def _has_header(path: Path) -> bool:
    with open_text(path) as text:
        return text.readline().startswith(",".join(_COLUMNS[:2]))


def _read_header_csv(path: Path, labels: LabelMap, spec: TubeSpec) -> AvaTable:
    """Rows of video,frame_1based,x1,y1,x2,y2,label,label_id_1based and perhaps track_id."""
    if spec.size_hw is None:
        raise AvadetError(f"{path} has boxes in pixels, but the data set has no one frame size; write 0-1 as AVA does")
    known = dict(zip(labels.names, labels.ids))
    names: list[str] = []
    numbers: list[tuple[float, ...]] = []
    with open_text(path) as text:
        reader = csv.reader(text)
        header = tuple(next(reader))
        if header not in (_COLUMNS, (*_COLUMNS, _TRACK)):
            want = f"{','.join(_COLUMNS)} and perhaps {_TRACK}"
            raise AvadetError(f"{path}:1: expected the columns {want}, got {','.join(header)}")
        for cells in reader:
            numbers.append(_header_row(cells, len(header), known, f"{path}:{reader.line_num}"))
            names.append(cells[0])
    columns = np.array(numbers, np.float64).reshape(-1, 7)
    video_ids = np.empty(len(names), dtype=object)
    video_ids[:] = names
    return AvaTable(
        video_ids,
        (columns[:, 0] - 1) / spec.fps,
        _to_norm(columns[:, 1:5], spec.size_hw, spec.last_pixel_inside),
        columns[:, 5].astype(np.int64),
        person_ids=columns[:, 6].astype(np.int64),
    )


def _header_row(cells: list[str], width: int, known: Mapping[str, int], where: str) -> tuple[float, ...]:
    """(frame, x1, y1, x2, y2, class id, track) of a row."""
    try:
        frame, *box = (float(cell) for cell in cells[1:6])
        track = int(cells[8]) if width > len(_COLUMNS) else 0
        fits = len(cells) == width and frame >= 1 and frame.is_integer() and box[0] <= box[2] and box[1] <= box[3]
    except (ValueError, IndexError):
        fits = False
    if not fits:
        raise AvadetError(
            f"{where}: expected {width} cells, a frame number from 1 in column 2, a box x1 <= x2, y1 <= y2 in columns "
            f"3-6, got {','.join(cells)}"
        )
    if cells[6] not in known:
        raise AvadetError(f"{where}: column 7 is not in the label map: {unknown_name('class', cells[6], known)}")
    return frame, *box, known[cells[6]], track


def _read_splits(path: Path) -> dict[str, Any]:
    """NAME_splits.json beside NAME_boxes.csv."""
    beside = path.with_name(path.name.replace("_boxes.csv", "_splits.json"))
    try:
        return dict(json.loads(beside.read_text(encoding="utf-8")))
    except OSError as error:
        raise AvadetError(f"a split of {path} needs {beside}, which cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise AvadetError(f"{beside} must hold JSON with lists test_videos ({error})") from error


def _split_of(facts: Mapping[str, Any], split: int, part: Part, path: Path) -> list[str]:
    """The training or test videos of a split."""
    splits = facts.get(f"{part}_videos")
    if not isinstance(splits, list) or not 1 <= split <= len(splits):
        held = f"{len(splits)} splits" if isinstance(splits, list) else "no splits"
        raise AvadetError(f"{path} has {held} (lists in {part}_videos), got split {split}")
    return [str(video_id) for video_id in splits[split - 1]]


def _of_videos(table: AvaTable, video_ids: Sequence[str]) -> tuple[AvaTable, IntArray]:
    """The rows of some videos, and their numbers."""
    wanted = set(video_ids)
    rows = np.flatnonzero(np.array([video_id in wanted for video_id in table.video_ids], np.bool_))
    return table.rows(rows), rows


def _read_pickle(path: Path) -> dict[str, Any]:
    """{labels: [name], gttubes: {video: {index: [(n, 5)]}}, resolution: {video: (h, w)}, test_videos: [[id]], ...}.

    `resolution` may be missing where the data set has one size.
    """
    from avadet.plain_pickle import read_plain_pickle

    facts = read_plain_pickle(path)
    if not isinstance(facts, dict) or not {"labels", "gttubes"} <= facts.keys():
        raise AvadetError(f"{path} must hold a dict with 'labels' and 'gttubes', as JHMDB-GT.pkl does")
    return facts


def _tubes_of_pickle(
    path: Path, facts: Mapping[str, Any], labels: LabelMap, spec: TubeSpec, wanted: Sequence[str] | None
) -> list[Tube]:
    """The tubes of a pickle's content, of some videos or, for None, of all."""
    classes = [_class_index(str(name), labels, path) for name in facts["labels"]]
    video_ids = sorted(facts["gttubes"]) if wanted is None else wanted
    tubes = []
    for video_id in video_ids:
        size_hw = facts.get("resolution", {}).get(video_id, spec.size_hw)
        for label, arrays in sorted(facts["gttubes"].get(video_id, {}).items()):
            if size_hw is None or not 0 <= label < len(classes):
                what = "no resolution" if size_hw is None else f"a label {label}, expected 0 to {len(classes) - 1}"
                raise AvadetError(f"{path}: video '{video_id}' has {what}")
            tubes += [_tube(path, video_id, classes[label], array, (size_hw[0], size_hw[1]), spec) for array in arrays]
    return tubes


def _class_index(name: str, labels: LabelMap, path: Path) -> int:
    if name not in labels.names:
        raise AvadetError(f"{path}: {unknown_name('class', name, labels.names)}; is this its label map?")
    return labels.names.index(name)


def _tube(path: Path, video_id: str, class_index: int, rows: Any, size_hw: tuple[int, int], spec: TubeSpec) -> Tube:
    """A tube from rows (n, 5): frame number, x1, y1, x2, y2."""
    array = np.asarray(rows, np.float64)
    if array.ndim != 2 or array.shape[1] != 5 or not len(array):
        raise AvadetError(f"{path}: a tube of '{video_id}' must be (n, 5) frame,x1,y1,x2,y2, got {array.shape}")
    array = array[np.argsort(array[:, 0], kind="stable")]
    boxes = _to_norm(array[:, 1:], size_hw, spec.last_pixel_inside)
    try:
        return Tube(video_id, class_index, 1.0, (array[:, 0] - 1) / spec.fps, boxes)
    except AvadetError as error:
        raise AvadetError(f"{path}: video '{video_id}': {error}") from error
