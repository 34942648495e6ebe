"""Rendered clips as files: videos, AVA annotations beside them, and whole data sets with a spec."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from avadet.annotations.ava import box_cells, csv_line, format_time
from avadet.annotations.specs import SPEC_FILE
from avadet.errors import AvadetError
from avadet.files import check_target, whole_file
from avadet.labels import label_map_names, read_label_map
from avadet.synthetic.scene import SyntheticClip
from avadet.types import LabelMap
from avadet.video.write import VideoWriter


def write_video(path: str | Path, clip: SyntheticClip) -> None:
    """Write the frames of a clip as an mp4, whole or not at all.

    Raises:
        AvadetError: if the file cannot be written.
    """
    with VideoWriter(path, (clip.frames.shape[1], clip.frames.shape[2]), clip.fps) as writer:
        for image, time_s in zip(clip.frames, clip.times_s):
            writer.write(image, float(time_s))


def truth_rows(video_id: str, clip: SyntheticClip, labels: LabelMap, step: int = 1) -> list[str]:
    """AVA ground truth of a clip, a line per visible person and keyframe: every `step`-th frame; ids count from 1."""
    rows = []
    for frame in range(0, len(clip.frames), step):
        for person in np.flatnonzero(clip.visible[frame]).tolist():
            action_id = labels.ids[labels.names.index(clip.labels[person])]
            box = box_cells(clip.boxes_norm[frame, person])
            rows.append(csv_line([video_id, format_time(clip.times_s[frame]), *box, action_id, person + 1]))
    return rows


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines of text, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_data_set(folder: str | Path, clips: Iterable[SyntheticClip], labels: str | Path, step: int = 1) -> Path:
    """Write a data set of one split, "train": videos/synthetic_0000.mp4 ..., train.csv and spec.yaml, which it returns.

    Args:
        folder: comes into being when everything is written; until then it lies beside, under a hidden name.
        clips: of one frame rate and size, at least one; rendered one at a time where this is a generator.
        labels: a label map by name, or its file, of which the data set gets a copy.
        step: frames from one keyframe to the next.

    Raises:
        AvadetError: if the folder is there and not empty, or a file cannot be written.
    """
    final, named = Path(folder), str(labels) in label_map_names()
    if final.is_file() or (final.is_dir() and any(final.iterdir())):
        raise AvadetError(f"{final} is there already; remove it, or choose another folder")
    check_target(final / SPEC_FILE)
    final.parent.mkdir(parents=True, exist_ok=True)
    classes, rows, count = read_label_map(labels), [], 0
    with TemporaryDirectory(prefix=f".{final.name}.partial-", dir=final.parent) as hidden:
        root = Path(hidden, "set")
        for count, clip in enumerate(clips, start=1):
            name = f"synthetic_{count - 1:04d}"
            write_video(root / "videos" / f"{name}.mp4", clip)
            rows += truth_rows(name, clip, classes, step)
        write_lines(root / "train.csv", rows)
        label_map = str(labels) if named else shutil.copyfile(labels, root / Path(labels).name).name
        videos = {"fps": clip.fps, "size_hw": list(clip.frames.shape[1:3])}
        train = {"annotations": "train.csv", "counts": {"videos": count, "rows": len(rows)}}
        values = {"labels": label_map, "videos": videos, "splits": {"train": train}}
        write_lines(root / SPEC_FILE, [yaml.safe_dump(values, sort_keys=False, default_flow_style=None)])
        root.rename(final)
    return final / SPEC_FILE
