"""Report pages with known answers, for tests of the page, of the browser's view of it, and of the server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avadet.inference.overlay import OverlayTiming
from avadet.inference.pipeline import TrackedPersons
from avadet.inference.report.columns import _TYPES
from avadet.inference.report.sink import ReportSink
from avadet.synthetic.scene import SyntheticClip
from avadet.types import ActionDetections, Float32Array, Frame, FrameKey, LabelMap, PersonBoxes
from avadet.video.read import VideoReader

TIMING = OverlayTiming(wait_s=1.0, hold_box_s=1.0, hold_caption_s=1.0)


def keyframe(
    time_s: float, boxes_norm: Float32Array, tracks: Sequence[int], scores: Sequence[Sequence[float]]
) -> ActionDetections:
    """A keyframe's results on a frame of 100x200 px."""
    count = len(tracks)
    return ActionDetections(
        FrameKey("clip", time_s),
        np.asarray(boxes_norm, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.asarray(scores, np.float32),
        (100, 200),
        np.asarray(tracks, np.int64),
    )


def look(time_s: float, boxes_norm: Float32Array, tracks: Sequence[int]) -> TrackedPersons:
    """A detection on a frame of 100x200 px."""
    boxes_px = np.asarray(boxes_norm, np.float32).reshape(-1, 4) * np.float32([200, 100, 200, 100])
    people = PersonBoxes(boxes_px, np.full(len(tracks), 0.9, np.float32), (100, 200), np.asarray(tracks, np.int64))
    return TrackedPersons(time_s, people)


def write_page(
    page: Path, video: Path, clip: SyntheticClip, labels: LabelMap, *, step: int = 3, annotated: Path | None = None
) -> Path:
    """The page of a rendered clip: a look every `step` frames, a keyframe every 0.5 s; person n does labels[n]."""
    blank = np.zeros((2, 2, 3), np.uint8)
    with VideoReader(video) as reader, ReportSink(page, reader.info, labels, 0.3, TIMING, annotated) as sink:
        for index, boxes_norm in enumerate(clip.boxes_norm):
            time_s = float(clip.times_s[index])
            tracks = np.flatnonzero(clip.visible[index])
            sink.frame(Frame(blank, time_s, index))
            if index % step == 0:
                sink.persons(look(time_s, boxes_norm[tracks], (tracks + 1).tolist()))
            if index % round(clip.fps / 2) == 0:
                scores = np.full((len(tracks), len(labels)), 0.1)
                for row, person in enumerate(tracks):
                    scores[row, person % len(labels)] = 0.8
                sink.keyframe(keyframe(time_s, boxes_norm[tracks], (tracks + 1).tolist(), scores))
    return page


def data_of(page: Path) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """The JSON of a page, and its columns unpacked."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    facts = json.loads(text)
    columns = {name: np.frombuffer(base64.b64decode(b64), _TYPES[name]) for name, b64 in facts.pop("columns").items()}
    return facts, columns
