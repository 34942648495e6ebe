"""Clips whose pictures are damaged: every annotated one is decoded, as training decodes it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from avadet.annotations.ava import format_time
from avadet.annotations.rules.issues import Issue, Ledger
from avadet.annotations.rules.videos import last_keyframes
from avadet.annotations.split_rows import SplitRows
from avadet.annotations.splits import DataVideo, find_videos
from avadet.data.clip_reader import OpenVideos, read_frames
from avadet.errors import AvadetError
from avadet.types import ClipSpec, Float64Array, UInt8Array

DAMAGED = "clips-damaged"
"""The rule's name."""


def check_clips(rows: SplitRows, span_s: float, examples: int = 3) -> list[Issue]:
    """Decode the clip of every keyframe of a split.

    Args:
        rows: the split.
        span_s: seconds that a clip lasts, the keyframe in its middle.
        examples: how many rows are shown.
    """
    ledger = damaged_rows(rows, span_s, examples)
    return ledger.issues


def damaged_rows(rows: SplitRows, span_s: float, examples: int = 3) -> Ledger:
    """The same, with the rows."""
    ledger, table = Ledger(rows.name, examples), rows.table
    names, times = np.asarray(table.video_ids).astype(str), np.asarray(table.times_s, np.float64)
    wanted = last_keyframes(rows)
    videos = [video for video in find_videos(rows.data, rows.video_ids) if video.path and video.video_id in wanted]
    own_s = [np.unique(times[names == video.video_id]) for video in videos]
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        found = list(pool.map(lambda video, own: _damaged_s(video, own, span_s), videos, own_s))
    mask = np.zeros(len(table), np.bool_)
    for video, bad_s in zip(videos, found):
        mask |= (names == video.video_id) & np.isin(times, bad_s)
    keyframes = sum(len(bad_s) for bad_s in found)
    shown = [f"{video.video_id} at {', '.join(map(format_time, bad_s[:3].tolist()))} s"
             for video, bad_s in zip(videos, found) if len(bad_s)]  # fmt: skip
    message = (
        f"{{rows}} a clip with damaged pictures ({keyframes} keyframes of {', '.join(shown[:3])}); fetch the videos "
        "again, or leave such clips out with data.on_error=skip"
    )
    ledger.add_rows(DAMAGED, "error", message, mask, rows.annotated)
    return ledger


def _damaged_s(video: DataVideo, times_s: Float64Array, span_s: float) -> Float64Array:
    """Which of these keyframes of a video have damaged pictures; where there is none at all is for other rules."""
    spec = ClipSpec(3, 1, 2 / span_s, 1, (0.0,) * 3, (1.0,) * 3)  # the clip's first moment, its middle, its last
    files, bad_s = OpenVideos(1), []
    try:
        for time_s in times_s.tolist():
            reader = files.reader(video)
            damaged = reader.damaged
            try:
                read_frames(reader, files.keyframe_s(video, time_s), spec, _nothing)
            except AvadetError:
                if reader.damaged > damaged:
                    bad_s.append(time_s)
    finally:
        files.close()
    return np.array(bad_s, np.float64)


def _nothing(image: UInt8Array) -> UInt8Array:
    return np.zeros((1, 1, 3), np.uint8)
