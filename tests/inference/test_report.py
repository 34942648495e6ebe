"""STEM.html as a file: what it holds, that it is whole, small and safe. How a browser shows it: test_report_page."""

from __future__ import annotations

import base64
import hashlib
import re
import tracemalloc
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import staged
from each_case import each_case
from staged_report import TIMING, data_of, keyframe, look

from avadet.inference.report.page import script_json
from avadet.inference.report.sink import ReportSink, link
from avadet.types import Frame, LabelMap, VideoInfo

LABELS = staged.labels("stand", "walk", "talk")
BOX = np.float32([[0.25, 0.5, 0.5, 1.0]])
HOSTILE = '</script><script>alert(1)</script><!--" onload="alert(2)'


def info(path: Path) -> VideoInfo:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return VideoInfo(path, (100, 200), Fraction(10), 40, 0.0, 4.0)


def sink(folder: Path, labels: LabelMap = LABELS, threshold: float = 0.3, video: str = "clip.mp4") -> ReportSink:
    return ReportSink(folder / "clip.html", info(folder / "videos" / video), labels, threshold, TIMING)


def test_the_data_by_hand(tmp_path: Path) -> None:
    with sink(tmp_path) as page:
        page.frame(Frame(np.zeros((2, 2, 3), np.uint8), 0.0, 0))
        page.persons(look(0.0, BOX, [7]))
        page.keyframe(keyframe(0.0, BOX, [7], [[0.04, 0.75, 0.5]]))
        page.persons(look(0.5, np.concatenate([BOX, BOX]), [7, -1]))
        page.keyframe(keyframe(1.0, np.zeros((0, 4)), [], np.zeros((0, 3))))
        page.frame(Frame(np.zeros((2, 2, 3), np.uint8), 0.1, 1))
    facts, columns = data_of(tmp_path / "clip.html")
    assert facts["labels"] == ["stand", "walk", "talk"]
    assert facts["sources"] == [{"href": "videos/clip.mp4", "name": "clip.mp4", "drawn": False}]
    assert (facts["threshold"], facts["floor"], facts["end_s"]) == (0.3, 0.05, 0.2)
    assert {name: column.tolist() for name, column in columns.items()} == {
        "look_ticks": [0, 5000],
        "look_people": [1, 2],
        "look_back": [0, 2500],
        "look_ahead": [2500, 10000],
        "box_next": [1, 0, 0],
        "box_track": [7, 7, -1],
        "box_corners": [16384, 32768, 32768, 65535] * 3,
        "key_ticks": [0, 10000],
        "key_people": [1, 0],
        "key_back": [0, 5000],
        "key_ahead": [5000, 0],
        "person_track": [7],
        "person_corners": [16384, 32768, 32768, 65535],
        "person_fresh": [1],
        "person_actions": [2],
        "action_class": [1, 2],
        "action_score": [7500, 5000],
        "action_level": [7500, 5000],
    }


def test_people_on_no_track_and_low_thresholds(tmp_path: Path) -> None:
    with sink(tmp_path, threshold=0.01) as page:
        page.keyframe(keyframe(0.0, BOX, [-1], [[0.011, 0.009, 0.0]]))
    _, columns = data_of(tmp_path / "clip.html")
    assert columns["action_class"].tolist() == [0]
    assert columns["person_track"].tolist() == [-1]


@each_case(
    ("video", "expected"),
    [
        ("/a/b/clip.mp4", "../b/clip.mp4"),
        ("/a/out/clip.mp4", "clip.mp4"),
        ("/a/b/a b#c?d%e.mp4", "../b/a%20b%23c%3Fd%25e.mp4"),
        ("/a/out/javascript:alert(1).mp4", "javascript%3Aalert%281%29.mp4"),
        ('/a/b/é\udcff\n".mp4', "../b/%C3%A9%FF%0A%22.mp4"),
    ],
)
def test_the_way_to_the_video(video: str, expected: str) -> None:
    assert link(Path(video), Path("/a/out")) == expected


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_names_of_strangers_stay_text(tmp_path: Path) -> None:
    labels = staged.labels(HOSTILE, "{{ 7 * 7 }}")
    for folder, names, video in (
        (tmp_path / "a", labels, "<img src=x onerror=alert(1)>\n'.mp4"),
        (tmp_path / "b", LABELS, "c.mp4"),
    ):
        with sink(folder, names, video=video) as page:
            page.keyframe(keyframe(0.0, BOX, [1], [[0.9] * len(names)]))
    hostile, plain = (Tags((tmp_path / name / "clip.html").read_text()) for name in "ab")
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert hostile.tags[-1] == plain.tags[-1]
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert data_of(tmp_path / "a" / "clip.html")[0]["labels"] == [HOSTILE, "{{ 7 * 7 }}"]
    assert script_json("</script><!--") == '"\\u003c/script>\\u003c!--"'


def test_the_policy_allows_this_script_and_style_alone(tmp_path: Path) -> None:
    with sink(tmp_path):
        pass
    html = (tmp_path / "clip.html").read_text()
    tags = Tags(html)
    (policy,) = (at["content"] or "" for tag, at in tags.tags if at.get("http-equiv") == "Content-Security-Policy")
    for kind in ("script", "style"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(r"https?://", html), "the page asks for nothing from elsewhere"


def test_an_error_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), sink(tmp_path) as page:
        page.persons(look(0.0, BOX, [7]))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_a_camera_is_no_source(tmp_path: Path) -> None:
    camera = VideoInfo(Path("rtsp://camera/1"), (100, 200), Fraction(10), 0, 0.0, 0.0)
    with ReportSink(tmp_path / "live.html", camera, LABELS, 0.3, TIMING):
        pass
    assert data_of(tmp_path / "live.html")[0]["sources"] == []


def test_memory_does_not_grow_with_the_video_and_the_page_stays_small(tmp_path: Path) -> None:
    labels = staged.labels(*(f"action {index}" for index in range(80)))
    rng = np.random.default_rng(0)
    boxes_norm = np.tile(BOX, (4, 1))
    peaks = []
    for minutes in (1, 4):
        tracemalloc.start()
        with sink(tmp_path, labels) as page:
            for second in range(60 * minutes):
                for part in range(5):
                    page.persons(look(second + part / 5, boxes_norm, [1, 2, 3, 4]))
                page.keyframe(keyframe(second, boxes_norm, [1, 2, 3, 4], rng.beta(0.1, 3, (4, 80))))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 300_000
    assert (tmp_path / "clip.html").stat().st_size < 60_000 + 4 * 60_000


def test_the_page_names_the_model_and_what_it_knows(tmp_path: Path) -> None:
    def text_of(*model: str) -> str:
        with ReportSink(tmp_path / "clip.html", info(tmp_path / "clip.mp4"), LABELS, 0.3, TIMING, None, *model):
            pass
        return (tmp_path / "clip.html").read_text()

    assert "Action model tiny names: stand &amp; walk." in text_of("tiny", "tiny names: stand & walk")
    hostile = text_of(HOSTILE)
    assert "Action model: &lt;/script&gt;" in hostile and "<script>alert(1)" not in hostile
    assert "Action model" not in text_of()
