"""Figure clips as files: videos, and AVA-format annotations beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet.figures.scene import FigureClip, random_scene
from avadet.files import whole_file
from avadet.labels import read_label_map
from avadet.types import LabelMap
from avadet.video.write import VideoWriter

DATASET_ACTIONS = ("jump", "walk", "wave")


@dataclass(frozen=True)
class FigureDataset:
    """Where a small data set of figures lies.

    Attributes:
        videos: one mp4 a clip; the stem is the video id.
        ground_truth: AVA csv, no header: video_id, seconds, x1, y1, x2, y2 (0-1), action_id, person_id.
        boxes: the same without the last two columns.
        label_map: csv with the header id,name,group.
    """

    videos: tuple[Path, ...]
    ground_truth: Path
    boxes: Path
    label_map: Path


def write_video(path: str | Path, clip: FigureClip) -> None:
    """Write the frames of a clip as an mp4.

    Raises:
        AvadetError: if the file cannot be written.
    """
    with VideoWriter(path, (clip.frames.shape[1], clip.frames.shape[2]), clip.fps) as writer:
        for image, time_s in zip(clip.frames, clip.times_s):
            writer.write(image, float(time_s))


def keyframes(clip: FigureClip, every_s: float) -> list[tuple[float, int]]:
    """Times 0, every_s, 2 every_s ... inside the clip, and the index of the frame shown nearest to each."""
    last_s = (len(clip.frames) - 1) / clip.fps
    times = np.arange(0, last_s + 1e-6, every_s)
    return [(round(float(time_s), 6), int(np.rint(time_s * clip.fps))) for time_s in times]


def truth_rows(video_id: str, clip: FigureClip, labels: LabelMap, every_s: float = 1.0) -> list[str]:
    """AVA ground truth of a clip, one line a visible person and keyframe, person ids counted from 1.

    Args:
        video_id: first column.
        clip: what was rendered.
        labels: gives the action ids.
        every_s: time between keyframes, seconds.
    """
    rows = []
    for time_s, frame in keyframes(clip, every_s):
        for person in np.flatnonzero(clip.visible[frame]):
            corners = ",".join(f"{value:.6f}" for value in clip.boxes_norm[frame, person])
            action_id = labels.ids[labels.names.index(clip.labels[person])]
            rows.append(f"{video_id},{time_s:g},{corners},{action_id},{person + 1}")
    return rows


def write_truth(path: str | Path, clips: Mapping[str, FigureClip], labels: LabelMap, every_s: float = 1.0) -> None:
    """Write the AVA ground truth of clips by video id.

    Raises:
        AvadetError: if the file cannot be written.
    """
    rows = [row for video_id, clip in clips.items() for row in truth_rows(video_id, clip, labels, every_s)]
    _write_lines(path, rows)


def write_dataset(
    folder: str | Path,
    num_videos: int = 4,
    *,
    seed: int = 0,
    size_hw: tuple[int, int] = (120, 160),
    num_frames: int = 45,
    fps: float = 15.0,
    num_people: int | tuple[int, int] = (1, 2),
    actions: Sequence[str] = DATASET_ACTIONS,
    every_s: float = 1.0,
) -> FigureDataset:
    """Write a small data set in AVA's format: videos/figures_000.mp4 ..., ground_truth.csv, boxes.csv, labels.csv.

    Args:
        folder: where; made if missing.
        num_videos: how many clips.
        seed: the same seed gives the same data set.
        size_hw: (height, width) px of the videos.
        num_frames: length of each video.
        fps: frames per second.
        num_people: people a video, or (least, most), inclusive.
        actions: JHMDB-21 names; labels.csv lists these alone, with the ids of JHMDB-21.
        every_s: time between annotated keyframes, seconds.

    Raises:
        AvadetError: if an action is unknown or a file cannot be written.
    """
    root, labels = Path(folder), read_label_map("jhmdb21")
    clips, paths = {}, []
    for number in range(num_videos):
        rng = np.random.default_rng([seed, number])
        name = f"figures_{number:03d}"
        clips[name] = random_scene(rng, size_hw, num_frames, fps, num_people, actions)
        paths.append(root / "videos" / f"{name}.mp4")
        write_video(paths[-1], clips[name])
    rows = [row for name, clip in clips.items() for row in truth_rows(name, clip, labels, every_s)]
    _write_lines(root / "ground_truth.csv", rows)
    _write_lines(root / "boxes.csv", list(dict.fromkeys(row.rsplit(",", 2)[0] for row in rows)))
    chosen = [row for row in zip(labels.ids, labels.names, labels.groups) if row[1] in actions]
    _write_lines(root / "labels.csv", ["id,name,group", *(f"{i},{name},{group}" for i, name, group in chosen)])
    return FigureDataset(tuple(paths), root / "ground_truth.csv", root / "boxes.csv", root / "labels.csv")


def _write_lines(path: str | Path, lines: Sequence[str]) -> None:
    """Write text lines, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
