"""The packs of labelled frames of one config: making them, loading them, keeping some clips aside."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet.annotations.jhmdb import read_jhmdb21, source_of
from avadet.data.person_sources import (
    Teacher,
    clip_frames,
    figure_frames,
    jhmdb_frames,
    read_ucf24_boxes,
    sure_frames,
)
from avadet.data.person_teacher import careful
from avadet.data.persons import FramePack, LabelledFrame
from avadet.errors import AvadetError
from avadet.training.persons_config import PersonDataConfig, PersonsConfig

FIGURE_SEED = 0
NMS_IOU = 0.65
SHOWN = frozenset({".jpg", ".jpeg", ".png", ".gif", ".mp4", ".mkv", ".avi", ".mov", ".webm"})  # of `data.extra`


@dataclass(frozen=True)
class Packs:
    """What a run learns from, and what its threshold is chosen on."""

    jhmdb: FramePack
    clips: FramePack
    figures: FramePack
    extra: FramePack
    validation: FramePack


def prepare(config: PersonsConfig, report: Callable[[str], None] = print) -> None:
    """Decode the training frames, let the teacher look at them, render the figures, write the packs.

    Raises:
        AvadetError: if a file of the data is missing or cannot be read.
    """
    data, folder = config.data, config.data.cache
    teacher = _teacher(config)
    train = read_jhmdb21(data.jhmdb, data.split).train
    clips, extra = _clips(data, teacher), _extra(data, teacher)  # what is missing is missed before the work begins
    _write(folder / "figures.npz", figure_frames(data.figures, data.frames_per_scene, FIGURE_SEED), report)
    _write(folder / "clips.npz", clips, report)
    _write(folder / "extra.npz", extra, report)
    _write(folder / "jhmdb.npz", jhmdb_frames(train, data.frames_per_video, teacher), report)


def load_packs(data: PersonDataConfig) -> Packs:
    """Read what `prepare` wrote.

    Raises:
        AvadetError: if a pack is missing.
    """
    names = ("jhmdb", "clips", "figures", "extra")
    jhmdb, clips, figures, extra = (FramePack.load(data.cache / f"{name}.npz") for name in names)
    aside = np.array([is_held_out(source_of(name), data.validation) for name in jhmdb.clip_names])[jhmdb.clip_of]
    return Packs(jhmdb.only(np.flatnonzero(~aside)), clips, figures, extra, jhmdb.only(np.flatnonzero(aside)))


def is_held_out(group: str, share: float) -> bool:
    """Whether a source video belongs to the part kept aside; decided by its name alone."""
    return zlib.crc32(group.encode()) % 1000 < 1000 * share


def _teacher(config: PersonsConfig) -> Teacher:
    from avadet.persons.onnx_yolox import OnnxYolox

    knobs = config.teacher
    look = careful(OnnxYolox(knobs.path, threshold=knobs.maybe_score / 2, nms_iou=NMS_IOU))
    return Teacher(look, knobs.person_score, knobs.maybe_score)


def _clips(data: PersonDataConfig, teacher: Teacher) -> Iterator[tuple[str, LabelledFrame]]:
    """Frames of every clip that is not held out."""
    annotated = read_ucf24_boxes(data.ucf24 / "ucf24_demo_boxes.csv") if data.ucf24 else {}
    learnt = [path for path in clip_paths(data) if path.stem not in data.held_out]
    return itertools.chain.from_iterable(
        clip_frames(path, data.every, teacher, annotated.get(path.stem)) for path in learnt
    )


def _extra(data: PersonDataConfig, teacher: Teacher) -> Iterator[tuple[str, LabelledFrame]]:
    """Frames of the pictures and videos of `data.extra` that are not held out."""
    if data.extra is None:
        return iter(())
    if not data.extra.is_dir():
        raise AvadetError(f"no folder {data.extra}; check data.extra")
    shown = [path for path in sorted(data.extra.rglob("*")) if path.suffix.lower() in SHOWN and path.is_file()]
    return sure_frames([path for path in shown if path.stem not in data.held_out], data.extra_frames, teacher)


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


def _write(path: Path, frames: Iterator[tuple[str, LabelledFrame]], report: Callable[[str], None]) -> None:
    pack = FramePack.gather(frames)
    pack.save(path)
    report(f"{path}: {len(pack)} frames of {len(pack.clip_names)} clips")
