"""STEM.html in a browser: it plays, seeks, draws the right box at the right frame, filters, and no name does anything.

Driven over pipes in headless Chromium; skipped where there is none.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import staged
from devtools import Browser, find_chromium
from staged_report import TIMING, keyframe, look, write_page

from avadet.inference.events import EventFinder
from avadet.inference.overlay import BoxTrail
from avadet.inference.pipeline import TrackedPersons
from avadet.inference.report.server import make_server
from avadet.inference.report.sink import ReportSink
from avadet.inference.schedule import Gap
from avadet.synthetic.dataset import write_video
from avadet.synthetic.scene import SyntheticClip, random_scene
from avadet.types import ActionDetections, Frame, VideoInfo
from avadet.video.read import VideoReader
from avadet.video.write import VideoWriter

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")

LABELS = staged.labels("stand", "walk", "talk")
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
READY = "source.ready"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def clip() -> SyntheticClip:
    return random_scene(np.random.default_rng(4), (180, 320), 60, 15.0, 2, ["walk", "wave"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clip: SyntheticClip) -> Path:
    """A video and its page, as infer lays them out."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "clip.mp4", clip)
    write_page(folder / "out" / "clip.html", folder / "videos" / "clip.mp4", clip, LABELS)
    return folder


@pytest.fixture
def page(browser: Browser, folder: Path) -> Browser:
    """The page, loaded from disk and playing nothing yet."""
    browser.open((folder / "out" / "clip.html").as_uri())
    browser.wait(READY)
    return browser


def seek(page: Browser, time_s: float) -> float:
    """Go to a moment and return the time of the frame then shown."""
    page.value(f"seek({time_s})")
    page.wait(f"!video.seeking && Math.abs(clock.time - {time_s}) < FRAME_S / 2 + 0.001")
    return float(page.value("clock.time"))


def truth(clip: SyntheticClip, time_s: float, step: int = 3) -> dict[int, np.ndarray]:
    """Boxes of people at a moment by hand: on a straight line between looks `step` frames apart."""
    index = round(time_s * clip.fps)
    before = index // step * step
    after = min(before + step, len(clip.frames) - 1) if before + step < len(clip.frames) else before
    part = (index - before) / step if after > before else 0.0
    both = clip.visible[before] & clip.visible[after]
    line = (1 - part) * clip.boxes_norm[before] + part * clip.boxes_norm[after]
    return {int(person) + 1: line[person] for person in np.flatnonzero(both)}


def test_it_opens_from_disk_and_plays(page: Browser) -> None:
    assert page.value("location.protocol") == "file:"
    page.key(" ", "Space")
    page.wait("clock.time > 0.3")
    assert page.value("byId('play').getAttribute('aria-label')") == "Pause"
    page.key(" ", "Space")
    page.wait("video.paused")
    assert page.value("byId('facts').textContent") == "0:04.0 · 320x180, 15 fps · 2 people tracked · 8 keyframes"
    assert page.errors == []


@pytest.mark.parametrize("index", [0, 7, 20, 33, 59])
def test_the_right_box_at_the_right_frame(page: Browser, clip: SyntheticClip, index: int) -> None:
    shown_s = seek(page, index / clip.fps)
    assert shown_s == pytest.approx(index / clip.fps, abs=1e-3)
    found = {one["track"]: one["box"] for one in page.value("shown")}
    expected = truth(clip, shown_s)
    assert set(expected) <= set(found)
    for track, box in expected.items():
        np.testing.assert_allclose(found[track], box, atol=1e-4)
        assert drawn(page, box, track) > 0.6, "the box is not on the canvas"


def drawn(page: Browser, box: np.ndarray, track: int) -> float:
    """Share of points along a box that have the track's colour on the canvas; labels may cover some."""
    return float(
        page.value(f"""(() => {{
        const probe = document.createElement("canvas").getContext("2d");
        probe.fillStyle = trackColour({track});
        probe.fillRect(0, 0, 1, 1);
        const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
        const [x1, y1, x2, y2] = {[float(side) for side in box]};
        const points = [];
        for (let i = 1; i < 20; i++) {{
          const part = i / 20;
          points.push([x1, y1 + part * (y2 - y1)], [x2, y1 + part * (y2 - y1)]);
          points.push([x1 + part * (x2 - x1), y1], [x1 + part * (x2 - x1), y2]);
        }}
        const clamp = (value, end) => Math.min(Math.max(Math.round(value), 0), end - 1);
        const hits = points.filter(([x, y]) => {{
          const [px, py] = [clamp(x * canvas.width - 0.5, canvas.width), clamp(y * canvas.height - 0.5, canvas.height)];
          const [red, green, blue] = pen.getImageData(px, py, 1, 1).data;
          return Math.abs(red - r) + Math.abs(green - g) + Math.abs(blue - b) < 60;
        }});
        return hits.length / points.length;
        }})()""")
    )


def square_page(folder: Path, video: Path, annotated: Path | None = None) -> Path:
    """The page of staged.write_video: a look at every frame, by a detector that sees the square."""
    detector = staged.BrightSquare()
    with (
        VideoReader(video) as reader,
        ReportSink(folder / "square.html", reader.info, LABELS, 0.3, TIMING, annotated) as sink,
    ):
        for frame in reader.frames():
            sink.frame(frame)
            people = detector(frame.image)
            sink.persons(
                TrackedPersons(
                    frame.time_s, type(people)(people.boxes_px, people.scores, people.size_hw, np.array([1]))
                )
            )
    return folder / "square.html"


def square_and_box(page: Browser) -> tuple[list[int], list[int]]:
    """From a picture of the window: left and right edge, px, of the bright square and of the blue box around it."""
    left, top, width, height = page.value("Object.values(stage.getBoundingClientRect().toJSON()).slice(0, 4)")
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR).astype(int)
    middle = picture[round(top + height * 24 / 48), round(left) : round(left + width)]
    bright = np.flatnonzero(middle.min(axis=1) > 150)
    blue = np.flatnonzero((middle[:, 0] > 180) & (middle[:, 2] < 130))
    return [int(bright.min()), int(bright.max())], [int(blue.min()), int(blue.max())]


def test_the_box_on_screen_is_around_what_the_picture_shows(browser: Browser, tmp_path: Path) -> None:
    browser.open(square_page(tmp_path, staged.write_video(tmp_path / "square.mp4")).as_uri())
    browser.wait(READY)
    for index in (0, 9, 22):
        seek(browser, index / 10)
        square, box = square_and_box(browser)
        assert box == pytest.approx(square, abs=6), f"frame {index}"


def test_a_video_whose_clock_begins_late(browser: Browser, tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    with av.open(str(staged.write_video(tmp_path / "square.mp4"))) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                shift = round(7 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                target.mux(packet)
    browser.open(square_page(tmp_path, late).as_uri())
    browser.wait(READY)
    assert browser.value("source.offset") == pytest.approx(7, abs=0.01)
    seek(browser, 1.4)
    square, box = square_and_box(browser)
    assert box == pytest.approx(square, abs=6)


def test_filters(page: Browser) -> None:
    seek(page, 1.0)
    assert page.value("shown.map(({ track }) => track)") == [1, 2]
    assert page.value("events.length") == 2
    page.value("byId('person').value = '2'; byId('person').dispatchEvent(new Event('change'))")
    assert page.value("shown.map(({ track }) => track)") == [2]
    assert page.value("[...document.querySelectorAll('#events tr')].map((row) => row.cells[1].textContent)") == ["walk"]
    page.key("Escape")
    page.value("[...document.querySelectorAll('.chip')].find(({ textContent }) => textContent === 'stand').click()")
    assert page.value("shown.map(({ track }) => track)") == [1]
    page.key("Escape")
    page.value("byId('min').value = 0.9; byId('min').dispatchEvent(new Event('input'))")
    assert page.value("[events.length, shown.flatMap(({ actions }) => actions).length, shown.length]") == [0, 0, 2]
    page.value("byId('min').value = 0.05; byId('min').dispatchEvent(new Event('input'))")
    assert page.value("events.length") == 6
    page.key("Escape")
    assert page.value("events.length") == 2


def test_the_search_filters_everything_on_the_page(page: Browser) -> None:
    # Person 1 stands (0.8), person 2 walks (0.8); both do the rest with 0.1, under the score shown.
    seek(page, 1.0)
    page.value("byId('find').value = ' WaL'; byId('find').dispatchEvent(new Event('input'))")
    assert page.value("shown.map(({ track, actions }) => [track, actions.map(({ action }) => action)])") == [[2, [1]]]
    assert page.value("[...document.querySelectorAll('#events tr')].map((row) => row.cells[1].textContent)") == ["walk"]
    assert page.value("rows.map(({ track, action }) => [track.id, action])") == [[2, None], [2, 1]]
    assert page.value("byId('count').textContent") == "1 event of 1 person"
    chips = "[...document.querySelectorAll('#actions li:not([hidden])')].map(({ textContent }) => textContent)"
    assert page.value(chips) == ["walk"]
    assert page.value("byId('reset').hidden") is False
    page.value("byId('find').value = 'swim'; byId('find').dispatchEvent(new Event('input'))")
    assert page.value("[shown.length, events.length, byId('no-events').hidden]") == [0, 0, False]
    page.value("byId('reset').click()")
    assert page.value("[byId('find').value, shown.length, events.length]") == ["", 2, 2]


def test_keys(page: Browser) -> None:
    seek(page, 0.0)
    page.key("ArrowRight")
    page.wait("Math.abs(clock.time - 8 / 15) < 0.001 && !video.seeking")
    page.key(".")
    page.wait("Math.abs(clock.time - 9 / 15) < 0.001 && !video.seeking")
    page.key("End")
    page.wait("Math.abs(clock.time - 59 / 15) < 0.001 && !video.seeking")
    page.key(",")
    page.wait("Math.abs(clock.time - 58 / 15) < 0.001 && !video.seeking")
    page.key("ArrowLeft")
    page.wait("Math.abs(clock.time - 56 / 15) < 0.001 && !video.seeking")
    page.key("b")
    assert page.value("[showsBoxes(), pen.getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)]") == [
        False,
        False,
    ]
    page.key("b")
    page.key("?")
    assert page.value("byId('keys').open") is False
    page.key("+")
    assert page.value("view.to - view.from") == pytest.approx(2.0, abs=0.01)


def test_keys_leave_fields_alone(page: Browser) -> None:
    seek(page, 1.0)
    before = page.value("byId('find').focus(), clock.time")
    for key in ("b", " ", "0", "n"):
        page.key(key)
    assert page.value("[byId('find').value, showsBoxes(), video.paused, clock.time]") == ["b 0n", True, True, before]
    page.key("Escape")
    assert page.value("byId('find').value") == ""


def test_a_click_on_the_timeline_goes_there(page: Browser) -> None:
    page.value("scroller.scrollIntoView({ block: 'center' })")
    frame = page.value("scroller.getBoundingClientRect().toJSON()")
    page.click(frame["x"] + page.value("xOf(3)"), frame["y"] + 40)
    page.wait("Math.abs(clock.time - 3) < 0.04")
    page.click(frame["x"] + 40, frame["y"] + 30)
    assert page.value("filter.track") == 1


def test_names_do_nothing(browser: Browser, folder: Path, tmp_path: Path, clip: SyntheticClip) -> None:
    video = tmp_path / "<img src=x onerror=document.title=1>#1?%41 'ü\n\".mp4"
    shutil.copy(folder / "videos" / "clip.mp4", video)
    write_page(tmp_path / "x.html", video, clip, staged.labels(HOSTILE, "{{ 7 * 7 }}", "${alert(1)}"))
    browser.open((tmp_path / "x.html").as_uri())
    browser.wait(READY)
    assert browser.value("document.title") == " ".join(f"{video.name}: people and actions".split())
    assert browser.value("document.querySelectorAll('img, script').length") == 2
    assert browser.value("byId('actions').firstChild.textContent") in (HOSTILE, "{{ 7 * 7 }}")
    assert browser.value("document.querySelector('h1').textContent") == video.name
    assert browser.errors == []


def test_a_lost_video_can_be_chosen(browser: Browser, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "out" / "clip.html", tmp_path)
    browser.open((tmp_path / "clip.html").as_uri())
    browser.wait("!byId('notice').hidden")
    assert browser.value("byId('notice-text').textContent").startswith("clip.mp4 could not be played: moved, or")
    browser.value("seek(1)")
    assert browser.value("[clock.time, shown.length]") == [1, 2], "boxes and timeline work without a picture"
    browser.choose_file("#file", folder / "videos" / "clip.mp4")
    browser.wait(READY)
    assert browser.value("[byId('notice').hidden, video.videoWidth]") == [True, 320]
    browser.wait("Math.abs(clock.time - 1) < 0.04")


def test_what_no_browser_plays_falls_back_to_the_annotated_copy(browser: Browser, tmp_path: Path) -> None:
    square = staged.write_video(tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "square.avi"), "w") as target:
        stream = target.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        with VideoReader(square) as reader:
            for frame in reader.frames():
                target.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "rgb24")))
        target.mux(stream.encode())
    browser.open(square_page(tmp_path, tmp_path / "square.avi", annotated=square).as_uri())
    browser.wait(READY)
    assert browser.value("[source.name, showsBoxes(), byId('show-boxes').checked]") == ["copy.mp4", False, False]
    browser.value("byId('show-boxes').click()")
    assert browser.value("showsBoxes()") is True


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_events_are_those_of_the_events_csv(browser: Browser, tmp_path: Path, exclusive: bool) -> None:
    labels = staged.labels("a", "b", "c", exclusive=exclusive)
    rng = np.random.default_rng(5)
    finder, expected = EventFinder(labels, 0.4), []
    info = VideoInfo(tmp_path / "none.mp4", (100, 200), Fraction(10), 0, 0.0, 0.0)
    times_s = np.cumsum(rng.choice([0.5, 1.0, 1.0, 14.0], 60))
    with ReportSink(tmp_path / "events.html", info, labels, 0.4, TIMING) as sink:
        for time_s in times_s:
            tracks = np.flatnonzero(rng.random(3) < 0.7) + 1
            found: ActionDetections = keyframe(
                float(time_s),
                [[0.1, 0.1, 0.2, 0.2]] * len(tracks),
                tracks.tolist(),
                rng.uniform(0.1, 0.7, (len(tracks), 3)).round(4),
            )
            sink.keyframe(found)
            sink.persons(look(float(time_s), found.boxes_norm, tracks.tolist()))
            expected += finder.add(found)
        for index, frame_s in enumerate((times_s[-1] + 0.1, times_s[-1] + 0.3)):
            sink.frame(Frame(np.zeros((2, 2, 3), np.uint8), float(frame_s), index))
    expected += finder.finish(float(times_s[-1]) + 0.5)
    browser.open((tmp_path / "events.html").as_uri())
    got = browser.value("events.map((e) => [e.track, e.action, e.start, e.end, e.sum / e.count, e.peak, e.peakTime])")
    wanted = [[e.track_id, e.class_index, e.start_s, e.end_s, e.mean_score, e.peak_score, e.peak_s] for e in expected]
    assert len(wanted) > 10
    np.testing.assert_allclose(sorted(got), sorted(wanted), atol=2e-4)


def test_boxes_between_detections_are_those_of_the_annotated_video(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    info = VideoInfo(tmp_path / "none.mp4", (100, 200), Fraction(10), 0, 0.0, 0.0)
    trail, times_s = BoxTrail(TIMING.hold_box_s), 0.3 + np.cumsum(rng.choice([0.2, 0.4, 3.0], 40))
    with ReportSink(tmp_path / "boxes.html", info, LABELS, 0.4, TIMING) as sink:
        for index, time_s in enumerate(times_s.tolist()):
            if index in (12, 30):
                gap = Gap(times_s[index - 1] + 0.1, time_s - 0.05)
                sink.gap(gap)
                trail.gap(gap)
            tracks = [1 + track for track in range(3) if rng.random() < 0.7] + [-1] * int(rng.integers(0, 2))
            corners = rng.uniform(0, 0.4, (len(tracks), 4)) + np.array([0, 0, 0.5, 0.5])
            sink.persons(look(time_s, corners, tracks))
            trail.add(look(time_s, corners, tracks))
    browser.open((tmp_path / "boxes.html").as_uri())
    for time_s in rng.uniform(0, times_s[-1] + 2, 150).tolist():
        if browser.value(f"gapAt({time_s}) !== null"):
            continue  # no frame is drawn there
        drawn = trail.at(time_s)
        wanted = sorted(zip(drawn.track_ids.tolist(), (drawn.boxes_px / [200, 100, 200, 100]).tolist()))
        got = sorted((one["track"], one["box"]) for one in browser.value(f"boxesAt({time_s})"))
        assert [track for track, _ in got] == [track for track, _ in wanted], time_s
        np.testing.assert_allclose([box for _, box in got], [box for _, box in wanted], atol=2e-3)


def test_a_phone_scrolls_in_one_direction_only(browser: Browser, folder: Path) -> None:
    browser.resize(390, 844, mobile=True)
    try:
        browser.open((folder / "out" / "clip.html").as_uri())
        browser.wait(READY)
        assert browser.value("document.documentElement.scrollWidth") <= 390
    finally:
        browser.resize(1280, 800)


def test_it_plays_from_the_server(browser: Browser, folder: Path) -> None:
    with make_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with contextlib.ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            browser.open(f"http://localhost:{server.server_port}/")
            browser.value("document.querySelector('a').click()")
            browser.wait("typeof source !== 'undefined' && source.ready")
            seek(browser, 3.0)
            assert browser.value("source.name") == "clip.mp4"


@pytest.mark.slow
def test_an_hour_of_six_people_stays_quick(browser: Browser, tmp_path: Path) -> None:
    # Idle, it opens in 0.5 s and draws in 5 ms; the bounds leave room for a busy machine, not for quadratic time.
    labels = staged.labels(*(f"action {index}" for index in range(80)))
    info = VideoInfo(tmp_path / "none.mp4", (100, 200), Fraction(30), 108_000, 0.0, 3600.0)
    rng = np.random.default_rng(0)
    boxes_norm = np.float32([[0.1 * person, 0.2, 0.1 * person + 0.1, 0.9] for person in range(6)])
    with ReportSink(tmp_path / "hour.html", info, labels, 0.3, TIMING) as sink:
        for second in range(3600):
            tracks = [1 + (second + 17 * person) // 60 * 6 + person for person in range(6)]
            for part in range(5):
                sink.persons(look(second + part / 5, boxes_norm, tracks))
            sink.keyframe(keyframe(second, boxes_norm, tracks, rng.beta(0.12, 3, (6, 80))))
            sink.frame(Frame(np.zeros((2, 2, 3), np.uint8), second + 1.0, second))
    assert (tmp_path / "hour.html").stat().st_size < 6e6
    browser.open((tmp_path / "hour.html").as_uri())
    took_ms = "(() => { const begun = performance.now(); %s; return performance.now() - begun; })()"
    assert browser.value("performance.getEntriesByType('navigation')[0].domComplete") < 30_000
    assert browser.value(took_ms % "show(1800.3)") < 500
    assert browser.value(took_ms % "drawChart()") < 1000
    assert browser.value(took_ms % "filter.min = 0.2; apply()") < 15_000
    assert browser.value("tracks.size") > 300


def motion_page(folder: Path, gap_s: float) -> Path:
    """Two seconds, a gap and two more; person 1 acts before the gap and person 1 again after it, seen every half."""
    times_s = [*(np.arange(20) / 10), *(np.arange(20) / 10 + 1.9 + gap_s)]
    video, page = folder / "motion.mp4", folder / "motion.html"
    with VideoWriter(video, (100, 200), 10) as writer:
        for index, time_s in enumerate(times_s):
            writer.write(np.full((100, 200, 3), 5 * index, np.uint8), time_s)
    box = [[0.1, 0.1, 0.4, 0.9]]
    with VideoReader(video) as reader, ReportSink(page, reader.info, LABELS, 0.3, TIMING) as sink:
        for index, time_s in enumerate(times_s):
            if index == 20:
                sink.gap(Gap(2.0, time_s))
            sink.frame(Frame(np.zeros((2, 2, 3), np.uint8), time_s, index, index == 20))
            if index % 5 == 0:
                sink.persons(look(time_s, box, [1]))
                sink.keyframe(keyframe(time_s, box, [1], [[0.9, 0.1, 0.1]]))
    return page


@pytest.mark.parametrize("gap_s", [600.0, 26.5 * 3600])
def test_a_gap_takes_no_room_and_nobody_acts_through_it(browser: Browser, tmp_path: Path, gap_s: float) -> None:
    browser.open(motion_page(tmp_path, gap_s).as_uri())
    browser.wait(READY)
    again_s = 1.9 + gap_s
    assert browser.value("boxesAt(1.95).length") == 1 and browser.value(f"boxesAt({again_s}).length") == 1
    assert [browser.value(f"boxesAt({time_s}).length") for time_s in (2.1, 300.0, again_s - 0.1)] == [0, 0, 0]
    spans = [[event["start"], event["end"]] for event in browser.value("events")]
    np.testing.assert_allclose(spans, [[0.0, 2.0], [again_s, again_s + 2.0]], atol=1e-3)
    assert browser.value("END") < 4.5  # of the timeline: four seconds of pictures and a sliver
    middle_s = 2.0 + (gap_s - 0.1) / 2
    assert browser.value(f"stretched(squeezed({middle_s}))") == pytest.approx(middle_s)
    for place in np.linspace(0.0, 3.9, 40).tolist():
        assert browser.value(f"squeezed(stretched({place}))") == pytest.approx(place, abs=1e-6)
    browser.value("seek(1.5)")
    browser.wait("!video.seeking && Math.abs(clock.time - 1.5) < 0.06")
    browser.key(" ", "Space")
    browser.wait(f"clock.time > {again_s + 0.2}")  # within seconds, not ten minutes
    browser.key(" ", "Space")
    browser.value("seek(1.9)")
    browser.wait("!video.seeking && Math.abs(clock.time - 1.9) < 0.06")
    browser.value("stepFrame(1)")
    browser.wait(f"!video.seeking && Math.abs(clock.time - {again_s}) < 0.06")
    assert browser.errors == []
