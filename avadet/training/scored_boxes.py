"""Which boxes a model is scored on: annotated, of a file, or found by a detector; and which are one person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from avadet import boxes as box_math
from avadet.annotations.ava import AvaTable
from avadet.annotations.box_files import read_boxes
from avadet.annotations.splits import DataSplit
from avadet.data.batching import ClipLoader, OnError, batches_by_size, frame_sizes
from avadet.data.clips import BrokenSample, ClipDataset
from avadet.data.frame_cache import FrameCache
from avadet.data.index import AnnotationIndex
from avadet.errors import AvadetError, unknown_name
from avadet.evaluation.protocols import protocol_rules
from avadet.keyframes import join_keyframes, same_times
from avadet.types import ClipSpec, Float32Array, IntArray, PersonDetector

_LINK_IOU = 0.3


def video_names(targets: AnnotationIndex) -> NDArray[Any]:
    """The video of each keyframe, object (F,)."""
    return np.array([video.video_id for video in targets.videos], object)[targets.video_rows]


def scored_keyframes(targets: AnnotationIndex, split: DataSplit, protocol: str, step: int = 1) -> AnnotationIndex:
    """Every `step`-th of each video's keyframes that count under a protocol.

    Detections on keyframes that the annotations do not list change nothing, except under protocols for which they are
    false positives ("slowfast"); so those keyframes are not looked at.

    Args:
        targets: keyframes in order of video and time.
        split: its annotations.
        protocol: whose rules.
        step: keyframes from one scored keyframe to the next.
    """
    if protocol_rules(protocol).listed_by != "none":
        own, annotated = keyframe_numbers(targets, split.table)
        targets = targets.select(np.flatnonzero(np.isin(own, annotated)))
    _, first, video = np.unique(targets.video_rows, return_index=True, return_inverse=True)
    place = np.arange(len(targets)) - first[video] if len(targets) else np.zeros(0, np.int64)
    return targets.select(np.flatnonzero(place % step == 0))


def keyframe_numbers(targets: AnnotationIndex, table: AvaTable) -> list[IntArray]:
    """Numbers of the keyframes (F,) and of those of a table's rows (n,), the same for the same keyframe."""
    return join_keyframes([(video_names(targets), targets.times_s), (table.video_ids, table.times_s)]).numbers


def with_boxes_of(split: DataSplit, path: Path, fps: float | None) -> DataSplit:
    """The split with the boxes of a file as its proposals.

    The file names a video as the annotations do, or by its file's name without folder and ending.

    Args:
        split: annotations and videos.
        path: of any form that `box_files.read_boxes` reads.
        fps: frames per second of the videos, by which times are the same keyframe; None = not known.

    Raises:
        AvadetError: if the file is malformed.
    """
    table = read_boxes(path)
    ids = np.asarray(table.video_ids, object)
    known = set(np.unique(ids.astype(str)).tolist())
    stems = {one.path.stem: one.video_id for one in split.videos if one.path is not None and one.video_id not in known}
    if stems:
        ids = np.array([stems.get(str(name), name) for name in ids], object)
    tables = [(one.video_ids, one.times_s) for one in (split.table, split.excluded, replace(table, video_ids=ids))]
    times_s, joined = same_times(tables, fps)
    notes = [f"{path}: {note}" for note in (*table.notes, *joined.notes("the annotations"))]
    return replace(split, proposals=replace(table, video_ids=ids, times_s=times_s[2]), notes=(*split.notes, *notes))


def check_coverage(targets: AnnotationIndex, table: AvaTable, path: Path) -> str:
    """How many of the keyframes a file of boxes names, and how many others, in words.

    Raises:
        AvadetError: if it does not name a video of them, or less than half of the keyframes of one.
    """
    own, others = keyframe_numbers(targets, table)
    named = np.isin(own, others)
    known = set(np.unique(np.asarray(table.video_ids, dtype=str)).tolist())
    for row in np.unique(targets.video_rows):
        video, of_video = targets.videos[row], targets.video_rows == row
        if video.video_id not in known:
            raise AvadetError(f"{path}: {unknown_name('video in the boxes file', video.video_id, known)}")
        missing = np.flatnonzero(of_video & ~named)
        if 2 * len(missing) > of_video.sum():
            raise AvadetError(
                f"{path}: the boxes of video '{video.video_id}' cover {of_video.sum() - len(missing)} of its "
                f"{of_video.sum()} scored keyframes (that at {targets.times_s[missing[0]]:g} s, for example, they do "
                "not); find persons in every frame: `avadet detect-persons --every 1/30`"
            )
    more = np.setdiff1d(others, own)
    return f"{path} names {named.sum()} of {len(named)} scored keyframes, and {len(more)} that are not scored"


def found_boxes(
    targets: AnnotationIndex,
    persons: PersonDetector,
    workers: int = 0,
    on_error: OnError = "stop",
    cache: FrameCache | None = None,
    progress: bool = False,
) -> tuple[AnnotationIndex, list[BrokenSample]]:
    """What a detector finds on the frames of keyframes, in the files' own pixels.

    Args:
        targets: the keyframes; their boxes do not matter.
        persons: the detector.
        workers: processes that decode.
        on_error: a keyframe whose frame cannot be read is an error ("stop"), or nobody is found there ("skip").
        cache: of decoded frames at their own size; None = each is decoded from its file.
        progress: whether to show a bar on stderr.

    Returns:
        the keyframes with the boxes found, of which nothing else is known; and what cannot be read.
    """
    boxes: list[Float32Array] = [np.zeros((0, 4), np.float32)] * len(targets)
    scores: list[Float32Array] = [np.zeros(0, np.float32)] * len(targets)
    broken: list[BrokenSample] = []
    short_sides = frame_sizes(targets).min(axis=1, initial=1 << 30).clip(min=1)
    with tqdm(total=len(targets), desc="finding persons", disable=not progress, leave=False) as bar:
        for side in np.unique(short_sides).tolist():
            chosen = np.flatnonzero(short_sides == side)
            spec = ClipSpec(1, 1, 1.0, side, (0.0,) * 3, (1.0,) * 3)  # a frame of that size stays as it is
            plan = batches_by_size(np.zeros((len(chosen), 2), np.int64), 1)
            clips = ClipDataset(targets.select(chosen), spec, cache=cache)
            with closing(ClipLoader(clips, plan, workers=workers, on_error=on_error)) as loader:
                for batch in filter(lambda batch: len(batch.clips), loader.batches()):
                    row, image = int(chosen[int(batch.keyframes)]), batch.clips[0, :, 0].permute(1, 2, 0)
                    found = persons(np.ascontiguousarray(image.numpy()))
                    boxes[row] = np.clip(box_math.to_norm(found.boxes_px, found.size_hw), 0, 1)
                    scores[row] = found.scores
                    bar.update()
                broken += [replace(one, keyframe=int(chosen[one.keyframe])) for one in loader.skipped.values()]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in boxes])]).astype(np.int64)
    return replace(
        targets,
        starts=starts,
        boxes_norm=np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
        labels=np.zeros((starts[-1], targets.labels.shape[1]), np.bool_),
        scores=np.concatenate([np.zeros(0, np.float32), *scores]),
        person_ids=np.full(starts[-1], -1, np.int64),
    ), broken


def track_numbers(targets: AnnotationIndex) -> IntArray:
    """Number the persons of all videos, int64 (M,): by their ids where all have one, else by overlap over time."""
    keyframes = np.repeat(np.arange(len(targets)), np.diff(targets.starts))
    videos = targets.video_rows[keyframes]
    if (targets.person_ids >= 0).all():
        pairs = np.column_stack([videos, targets.person_ids])
        return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    changes = np.flatnonzero(np.diff(targets.video_rows)) + 1
    numbers, count = [np.zeros(0, np.int64)], 0
    for first, end in pairwise([0, *changes.tolist(), len(targets)]):
        rows = [targets.rows(keyframe) for keyframe in range(first, end)]
        numbers.append(link_boxes([targets.boxes_norm[one] for one in rows]) + count)
        count += int((numbers[-1] - count).max(initial=-1)) + 1
    return np.concatenate(numbers)


def link_boxes(boxes: Sequence[Float32Array], least_iou: float = _LINK_IOU) -> IntArray:
    """Number persons so that one who stays keeps his number.

    Frame by frame, each pair of a box and a known person's latest box is joined in order of falling IoU, down to
    `least_iou`; boxes left over are new persons. Nobody is forgotten: clips last a second or two.

    Args:
        boxes: float32 (N_i, 4) of each frame, in order of time.
        least_iou: 0-1.

    Returns:
        int64 (sum N_i,), from 0.
    """
    latest = np.zeros((0, 4), np.float32)
    numbers: list[int] = []
    for current in boxes:
        own = np.full(len(current), -1, np.int64)
        overlap = box_math.iou(current, latest)
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, person = np.unravel_index(flat, overlap.shape)
            if overlap[row, person] < least_iou:
                break
            if own[row] < 0 and person not in own:
                own[row] = person
        fresh = own < 0
        own[fresh] = len(latest) + np.arange(fresh.sum())
        latest = np.concatenate([latest, current[fresh]])
        latest[own] = current
        numbers.extend(own.tolist())
    return np.array(numbers, np.int64)
