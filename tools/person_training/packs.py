"""The packs of labelled frames of one config: making them, loading them, keeping some sources aside."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jhmdb_clips import read_clips, source_of

from avadet.errors import AvadetError
from person_training.config import PersonDataConfig, PersonsConfig, PictureSet, VideoSet
from person_training.frames import FramePack, LabelledFrame
from person_training.pictures import picture_frames
from person_training.sources import (
    Teacher,
    clip_frames,
    figure_frames,
    jhmdb_frames,
    read_ucf24_boxes,
    sure_frames,
)
from person_training.teacher import FOUR_VIEWS, careful

FIGURE_SEED = 0
NMS_IOU = 0.65
SHOWN = frozenset({".gif", ".mp4", ".mkv", ".avi", ".mov", ".webm"})

Frames = Iterator[tuple[str, LabelledFrame]]


@dataclass(frozen=True)
class Packs:
    """What a run learns from and what is kept aside.

    Attributes:
        training: packs by name.
        shares: how often a sample begins with a frame of each, against the others.
        validation: frames of sources kept aside, by the name of their pack.
    """

    training: dict[str, FramePack]
    shares: dict[str, float]
    validation: dict[str, FramePack]


def prepare(config: PersonsConfig, report: Callable[[str], None] = print) -> None:
    """Decode the training frames, let the teacher look at them, render the figures, write the packs.

    Packs that are there stay as they are; delete what is to be made again.

    Raises:
        AvadetError: if a file of the data is missing or cannot be read.
    """
    data, teacher = config.data, _teacher(config)
    for name, make in _makers(data, teacher).items():
        path = data.cache / f"{name}.npz"
        if not path.is_file():
            pack = FramePack.gather(make())
            pack.save(path)
            report(f"{path}: {len(pack)} frames of {len(pack.clip_names)} clips")


def _makers(data: PersonDataConfig, teacher: Teacher) -> dict[str, Callable[[], Frames]]:
    """What makes each pack, by its name."""
    makers: dict[str, Callable[[], Frames]] = {}
    for pictures in _used(data, data.pictures):
        makers[pictures.name] = lambda pictures=pictures: picture_frames(pictures, data.root, teacher)
    for videos in _used(data, data.videos):
        makers[videos.name] = lambda videos=videos: _video_frames(videos, data, teacher)
    train = read_clips(data.jhmdb, f"train{data.split}")
    makers["jhmdb"] = lambda: jhmdb_frames(train, data.frames_per_video, teacher)
    makers["clips"] = lambda: _clips(data, teacher)
    makers["figures"] = lambda: figure_frames(data.figures, data.frames_per_scene, FIGURE_SEED)
    return makers


def _used(data: PersonDataConfig, sets: tuple[PictureSet, ...] | tuple[VideoSet, ...]) -> list:
    """Those that may be learnt from and have a share."""
    return [row for row in sets if row.share and (data.research or not row.research)]


def load_packs(data: PersonDataConfig) -> Packs:
    """Read what `prepare` wrote.

    Raises:
        AvadetError: if a pack is missing.
    """
    sets = [*_used(data, data.pictures), *_used(data, data.videos)]
    shares = {row.name: row.share for row in sets} | dict(zip(("jhmdb", "clips", "figures"), data.shares))
    if not data.research:
        shares |= {"jhmdb": 0.0, "clips": 0.0}
    aside = {"jhmdb", *(row.name for row in _used(data, data.pictures) if row.aside)}
    training, validation = {}, {}
    for name in [name for name, share in shares.items() if share]:
        pack = FramePack.load(data.cache / f"{name}.npz")
        kept = np.array([name in aside and is_held_out(source_of(clip), data.validation) for clip in pack.clip_names])
        rows = kept[pack.clip_of] if len(pack) else np.zeros(0, bool)
        training[name] = pack.only(np.flatnonzero(~rows))
        if rows.any():
            validation[name] = pack.only(np.flatnonzero(rows))
    return Packs(training, {name: shares[name] for name in training}, validation)


def is_held_out(group: str, share: float) -> bool:
    """Whether a source belongs to the part kept aside; decided by its name alone."""
    return zlib.crc32(group.encode()) % 1000 < 1000 * share


def _teacher(config: PersonsConfig) -> Teacher:
    from avadet.persons.onnx_yolox import OnnxYolox

    cfg = config.teacher
    detector = OnnxYolox(cfg.path, threshold=cfg.maybe_score / 2, nms_iou=NMS_IOU)
    return Teacher(careful(detector, FOUR_VIEWS[: cfg.views]), cfg.person_score, cfg.maybe_score)


def _clips(data: PersonDataConfig, teacher: Teacher) -> Frames:
    """Frames of every clip that is not held out."""
    annotated = read_ucf24_boxes(data.ucf24 / "ucf24_demo_boxes.csv") if data.ucf24 else {}
    learnt = [path for path in clip_paths(data) if path.stem not in data.held_out]
    return itertools.chain.from_iterable(
        clip_frames(path, data.every, teacher, annotated.get(path.stem)) for path in learnt
    )


def _video_frames(videos: VideoSet, data: PersonDataConfig, teacher: Teacher) -> Frames:
    """Frames of the videos of a folder in which the teacher is sure of somebody."""
    folder = data.root / videos.folder
    if not folder.is_dir():
        raise AvadetError(f"no folder {folder}; check data.root and data.videos")
    shown = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SHOWN and path.is_file()]
    return sure_frames([path for path in shown if path.stem not in data.held_out], videos.frames, teacher)


def clip_paths(data: PersonDataConfig) -> list[Path]:
    """Every plain video of the data, held out or not.

    Raises:
        AvadetError: if a folder is missing.
    """
    folders = [folder for folder in (data.ucf24 and data.ucf24 / "videos", data.clips) if folder]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise AvadetError(f"no folder {', '.join(missing)}; check data.ucf24 and data.clips")
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
