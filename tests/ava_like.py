"""Small data sets in AVA's format, from JHMDB's clips or from rendered figures.

Several people a frame, several labels a person, keyframes at whole seconds of a clock that does not start at the
file's first frame, excluded keyframes, proposals good and bad: what a loader has to cope with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import yaml
from jhmdb_clips import JhmdbClip, read_clips

from avadet.labels import read_label_map
from avadet.synthetic.dataset import truth_rows, write_video
from avadet.synthetic.scene import random_scene
from avadet.video.read import VideoReader

STARTS_AT_S = 900.0
BESIDE = "beside somebody"


@dataclass(frozen=True)
class Actor:
    """Somebody in a film: boxes float (T, 4), 0-1; nan where he is not to be seen."""

    labels: tuple[str, ...]
    boxes_norm: np.ndarray


@dataclass(frozen=True)
class Film:
    """Frames uint8 (T, H, W, 3), who is in them, and the keyframes that are not to be used, seconds from its start."""

    frames: np.ndarray
    fps: float
    actors: tuple[Actor, ...]
    excluded_s: tuple[float, ...] = ()


def write_film(
    path: Path, images: Sequence[np.ndarray], times_s: Sequence[float], gop: int = 250, bframes: int = 2
) -> Path:
    """H.264 at any times, counted in 1/90000 s."""
    clock = Fraction(1, 90000)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        options = {"crf": "12", "preset": "ultrafast", "g": str(gop), "bf": str(bframes), "sc_threshold": "0"}
        stream = output.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.codec_context.time_base, stream.codec_context.thread_count = clock, 1
        for image, time_s in zip(images, times_s):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time_s / clock), clock
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_set(folder: Path, films: Mapping[str, Film], classes: Sequence[str], val: Sequence[str]) -> Path:
    """Videos, CSVs, labels and the YAML that describes them; films named in `val` make the split "val"."""
    for name, film in films.items():
        write_film(folder / "videos" / f"{name}.mp4", film.frames, np.arange(len(film.frames)) / film.fps)
    parts = {"train": [name for name in films if name not in val], "val": list(val)}
    for part, names in parts.items():
        truth = [row for name in names for row in _truth(name, films[name], classes)]
        _write(folder / f"{part}.csv", truth)
        _write(folder / f"{part}_proposals.csv", _proposals(truth))
        out = [f"{name},{STARTS_AT_S + s:g}" for name in names for s in films[name].excluded_s]
        _write(folder / f"{part}_excluded.csv", out)
    _write(folder / "labels.csv", ["id,name", *(f"{index},{name}" for index, name in enumerate(classes, start=1))])
    keys = ("annotations", "excluded", "proposals")
    files = {part: dict(zip(keys, (f"{part}.csv", f"{part}_excluded.csv", f"{part}_proposals.csv"))) for part in parts}
    spec = {
        "labels": "labels.csv",
        "videos": {"starts_at_s": STARTS_AT_S},
        "keyframes": {"every_s": 1},
        "splits": files,
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def _truth(name: str, film: Film, classes: Sequence[str]) -> list[str]:
    rows = []
    for second in range(int((len(film.frames) - 1) / film.fps) + 1):
        for person, actor in enumerate(film.actors):
            box = actor.boxes_norm[round(second * film.fps)]
            if np.isfinite(box).all():
                cells = ",".join(f"{value:.4f}" for value in box)
                ids = (classes.index(label) + 1 for label in actor.labels)
                rows += [f"{name},{STARTS_AT_S + second:g},{cells},{class_id},{person}" for class_id in ids]
    return rows


def _proposals(truth: Sequence[str]) -> list[str]:
    """Near every true box one found surely; on every keyframe a box of nobody, surely too; a doubtful one."""
    rows = []
    for start in dict.fromkeys(row.rsplit(",", 2)[0] for row in truth):
        name, time, *box = start.split(",")
        near = np.clip(np.array(box, float) + np.array([0.002, -0.002, 0.002, 0.002]), 0, 1)
        rows.append(f"{name},{time},{','.join(f'{value:.4f}' for value in near)},,0.97")
    for key in dict.fromkeys(",".join(row.split(",")[:2]) for row in truth):
        rows += [f"{key},0.45,0.01,0.55,0.08,,0.95", f"{key},0.02,0.02,0.2,0.1,,0.4"]
    return rows


def _write(path: Path, rows: Sequence[str]) -> None:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def figures_set(folder: Path, count: int = 3, size_hw: tuple[int, int] = (96, 128)) -> Path:
    """Rendered figures, 15 fps, 3 s each."""
    films = {}
    for number in range(count):
        clip = random_scene(np.random.default_rng([5, number]), size_hw, 46, 15.0, (2, 2), ("wave", "walk", "jump"))
        boxes = np.where(clip.visible[..., None], clip.boxes_norm, np.nan)
        actors = tuple(Actor((label, BESIDE), boxes[:, person]) for person, label in enumerate(clip.labels))
        films[f"figures_{number}"] = Film(clip.frames, 15.0, actors, (1.0,) if number == 0 else ())
    return write_set(folder, films, ["wave", "walk", "jump", BESIDE], [f"figures_{count - 1}"])


def rendered_set(root: Path, count: int, size_hw: tuple[int, int], num_frames: int, fps: float) -> None:
    """videos/figures_000.mp4 ..., ground_truth.csv with a keyframe per second, and labels.csv of three actions."""
    labels, actions, rows = read_label_map("jhmdb21"), ("jump", "walk", "wave"), []
    for number in range(count):
        clip = random_scene(np.random.default_rng([7, number]), size_hw, num_frames, fps, (1, 2), actions)
        write_video(root / "videos" / f"figures_{number:03d}.mp4", clip)
        rows += truth_rows(f"figures_{number:03d}", clip, labels, round(fps))
    _write(root / "ground_truth.csv", rows)
    _write(root / "labels.csv", ["id,name,group", "6,jump,pose", "20,walk,pose", "21,wave,person"])


def jhmdb_set(folder: Path, root: Path, count: int = 3, clips: int = 4) -> Path:
    """JHMDB's clips, two side by side and `clips` one after the other, 30 fps; keyframes near a join are excluded."""
    classes = read_label_map("jhmdb21").names
    videos = [video for video in read_clips(root, "train1") if len(video.boxes_norm) >= 30]
    chosen = [videos[index] for index in np.linspace(0, len(videos) - 1, 2 * clips * count).astype(int)]
    films = {}
    for number in range(count):
        part = chosen[number::count]
        films[f"pair_{number}"] = _side_by_side(part[0::2], part[1::2], classes)
    return write_set(folder, films, [*classes, BESIDE], [f"pair_{count - 1}"])


def _side_by_side(left: Sequence[JhmdbClip], right: Sequence[JhmdbClip], classes: Sequence[str]) -> Film:
    sides = [[_decoded(video) for video in videos] for videos in (left, right)]
    length = min(sum(len(frames) for frames in side) for side in sides)
    rows = [np.concatenate(side)[:length] for side in sides]
    actors, joins = [], []
    for column, (videos, side) in enumerate(zip((left, right), sides)):
        first = 0
        for video, frames in zip(videos, side):
            boxes = np.full((length, 4), np.nan)
            rows_here = video.frame_indices[
                (video.frame_indices < len(frames)) & (video.frame_indices + first < length)
            ]
            halved = video.boxes_norm[: len(rows_here)] * [0.5, 1, 0.5, 1] + [0.5 * column, 0, 0.5 * column, 0]
            boxes[rows_here + first] = halved
            actors.append(Actor((video.video_id.partition("/")[0], BESIDE), boxes))
            first += len(frames)
            joins.append(first)
    seconds = range(length // 30 + 1)
    excluded = tuple(float(s) for s in seconds if any(abs(30 * s - join) <= 2 for join in joins))
    return Film(np.concatenate(rows, axis=2), 30.0, tuple(actors), excluded)


def _decoded(video: JhmdbClip) -> np.ndarray:
    with VideoReader(video.path) as reader:
        return np.stack([frame.image for frame in reader.frames()])
