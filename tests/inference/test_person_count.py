"""People are counted in one way: by track, on keyframes; the command line, live runs and the page say the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import staged
from each_case import each_case
from staged_report import TIMING, data_of, keyframe, look

from avadet.cli.infer import headline
from avadet.cli.live import LiveState
from avadet.inference.person_count import PersonCount
from avadet.inference.report.sink import ReportSink
from avadet.inference.summary import Summary
from avadet.types import ActionDetections, Frame, VideoInfo

LABELS = staged.labels("stand", "walk", "talk")
BOX = [0.1, 0.1, 0.2, 0.2]


def at(time_s: float, *tracks: int) -> ActionDetections:
    return keyframe(time_s, [BOX] * len(tracks), tracks, np.full((len(tracks), 3), 0.9))


@each_case(
    ("keyframes", "said"),
    [
        ([], "no people found"),
        ([at(0), at(1)], "no people found"),
        ([at(0, 4), at(1, 4)], "1 person tracked"),
        ([at(0, 1, 7), at(1, 7, 9)], "3 people tracked"),  # distinct ids: not the highest (9), nor the most at once (2)
        ([at(0, 1, -1, -1), at(1, 2)], "2 people tracked, 2 boxes without a track"),
        ([at(0, -1)], "no people tracked, 1 box without a track"),
    ],
)
def test_in_words(keyframes: list[ActionDetections], said: str) -> None:
    count = PersonCount()
    for one in keyframes:
        count.add(one)
    assert str(count) == said


def test_the_command_line_live_runs_and_the_page_agree(tmp_path: Path) -> None:
    info = VideoInfo(tmp_path / "none.mp4", (100, 200), Fraction(10), 0, 0.0, 0.0)
    keyframes = [at(0.0, 1, 7), at(1.0, 7, -1)]
    summary = Summary(LABELS, 0.3)
    live = LiveState(_Reader())
    with ReportSink(tmp_path / "clip.html", info, LABELS, 0.3, TIMING) as page:
        page.persons(look(0.5, np.float32([BOX]), [5]))  # between keyframes alone: no result, nobody counted
        for detections in keyframes:
            for sink in (summary, page):
                sink.frame(Frame(np.zeros((2, 2, 3), np.uint8), detections.key.time_s, 0))
                sink.keyframe(detections)
            live.see(detections)
    said = "2 people tracked, 1 box without a track"
    assert f", {said} (" in headline(summary, 1.0)
    assert f", {said}, " in live.headline()
    assert data_of(tmp_path / "clip.html")[0]["people"] == said


class _Reader:
    """As much of a live reader as counting asks for."""

    dropped, arrived, damaged, is_recording = 0, 0, 0, True

    def latency_s(self, time_s: float) -> float:
        return 0.0
