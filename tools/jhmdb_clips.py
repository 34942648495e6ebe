"""JHMDB-21's clips as the tools want them: one annotated person each, from the splits of the data set's spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet.annotations.dividing import hmdb_source
from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.data.clip_reader import existing
from avadet.data.keyframes import training_index
from avadet.data.video_facts import metadata_of
from avadet.types import Float32Array, IntArray


@dataclass(frozen=True)
class JhmdbClip:
    """One clip and its person, annotated in every frame that the file has.

    Attributes:
        video_id: "CLASS/NAME".
        path: the file.
        boxes_norm: float32 (L, 4) xyxy, 0-1 of the frame.
        frame_indices: int64 (L,), which frame of the file each box is about, from 0.
    """

    video_id: str
    path: Path
    boxes_norm: Float32Array
    frame_indices: IntArray


def read_clips(root: Path, split: str) -> list[JhmdbClip]:
    """The clips of a split, "train1" to "test3", sorted by id.

    Raises:
        AvadetError: if files are missing or malformed.
    """
    data = open_data_set("jhmdb21", root)
    index = training_index(read_split(data, split, metadata_of), data.labels)
    bounds = np.searchsorted(index.video_rows, np.arange(len(index.videos) + 1))
    clips = []
    for video, first, end in zip(index.videos, bounds[:-1], bounds[1:]):
        numbers = video.frame_indices(index.times_s[first:end])
        boxes = index.boxes_norm[index.starts[first] : index.starts[end]]
        clips.append(JhmdbClip(video.video_id, existing(video), boxes, numbers))
    return clips


def source_of(video_id: str) -> str:
    """The video that a clip was cut from: "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0" -> "April_09"."""
    return hmdb_source(video_id) or video_id.rpartition("/")[2]
