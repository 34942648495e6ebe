"""Tubes from the pickles that the field passes around, which are read without running what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avadet.annotations.tube_units import TubeSpec, to_norm
from avadet.annotations.video_lists import read_video_list
from avadet.errors import AvadetError, unknown_name
from avadet.types import LabelMap, Tube

_MOST_SPLITS = 9


def read_tube_pickle(path: Path, labels: LabelMap) -> dict[str, Any]:
    """{labels: [name], gttubes: {video: {index: [(n, 5)]}}, resolution: {video: (h, w)}, test_videos: [[id]], ...}.

    `resolution` may be missing where the data set has one size. The corrected annotations of UCF101-24, {video: {label,
    numf, annotations: [{label, sf, ef, boxes}]}}, are brought into this form; their labels are positions in the label
    map, and their splits stand in text files.

    Raises:
        AvadetError: if the file is missing or damaged, or holds something else.
    """
    from avadet.plain_pickle import read_plain_pickle

    content = read_plain_pickle(path)
    if isinstance(content, dict) and {"labels", "gttubes"} <= content.keys():
        return content
    entries = list(content.items()) if isinstance(content, dict) else []
    if not entries or not all(isinstance(one, dict) and "annotations" in one for _, one in entries):
        raise AvadetError(
            f"{path} must hold a dict with 'labels' and 'gttubes', as JHMDB-GT.pkl does, or of videos with "
            "'annotations', as UCF24's pyannot.pkl"
        )
    tubes = {
        str(video_id): _corrected_tubes(path, str(video_id), one["annotations"], labels) for video_id, one in entries
    }
    return {"labels": labels.names, "gttubes": tubes, **_listed_splits(path, sorted(tubes))}


def _corrected_tubes(path: Path, video_id: str, annotations: Any, labels: LabelMap) -> dict[int, list[Any]]:
    """The tubes of a video by label, rows (n, 5) of frame from 1 and xyxy; there frames are from 0 and boxes xywh."""
    tubes: dict[int, list[Any]] = {}
    for one in annotations if isinstance(annotations, list | tuple) else ():
        try:
            label, first, end = (int(one[key]) for key in ("label", "sf", "ef"))
            boxes = np.asarray(one["boxes"], np.float64)
        except (TypeError, KeyError, ValueError) as error:
            raise AvadetError(f"{path}: '{video_id}' has a tube without label, sf, ef or boxes ({error})") from error
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) not in (end - first, end - first + 1):
            raise AvadetError(
                f"{path}: '{video_id}' has a tube from frame {first} up to {end}, expected so many boxes x,y,w,h, got "
                f"{boxes.shape}"
            )
        folder = video_id.partition("/")[0]
        if folder in labels.names and 0 <= label < len(labels) and labels.names[label] != folder:
            raise AvadetError(
                f"{path}: '{video_id}' has label {label}, which is {labels.names[label]} in the label map; labels must "
                "be its classes in order, from 0"
            )
        frames = first + 1 + np.arange(len(boxes))
        rows = np.c_[frames, boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]
        if len(rows):
            tubes.setdefault(label, []).append(rows)
    return tubes


def _listed_splits(path: Path, video_ids: list[str]) -> dict[str, list[list[str]]]:
    """`train_videos` and `test_videos` by trainlist01.txt, testlist01.txt, and so on, beside the file or in a folder.

    Where there is a list of one part only, the other is all the rest; none where there are no lists.
    """
    splits: dict[str, list[list[str]]] = {"train_videos": [], "test_videos": []}
    files = {file.name: file for file in split_lists(path)}
    for number in range(1, _MOST_SPLITS + 1):
        named = {part: f"{part}list{number:02d}.txt" for part in ("train", "test")}
        lists = {part: {*read_video_list(files[name])} for part, name in named.items() if name in files}
        if not lists:
            break
        for part, other in (("train", "test"), ("test", "train")):
            own = lists.get(part, set(video_ids) - lists.get(other, set()))
            splits[f"{part}_videos"].append([video_id for video_id in video_ids if video_id in own])
    return splits if splits["train_videos"] else {}


def split_lists(path: Path) -> list[Path]:
    """trainlist01.txt, testlist01.txt, trainlist02.txt and so on beside a file, or in a folder there."""
    folders = [path.parent / name for name in ("", "splitfiles", "ucfTrainTestlist", "annotations")]
    names = [f"{part}list{number:02d}.txt" for number in range(1, _MOST_SPLITS + 1) for part in ("train", "test")]
    found = [next((folder / name for folder in folders if (folder / name).is_file()), None) for name in names]
    return [file for file in found if file is not None]


def tubes_of_pickle(
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
    boxes = to_norm(array[:, 1:], size_hw, spec.last_pixel_inside)
    try:
        return Tube(video_id, class_index, 1.0, (array[:, 0] - 1) / spec.fps, boxes)
    except AvadetError as error:
        raise AvadetError(f"{path}: video '{video_id}': {error}") from error
