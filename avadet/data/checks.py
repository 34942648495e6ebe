"""What may be wrong with a data set's videos: missing, broken, short, cut elsewhere, of another rate or size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avadet.annotations.ava import format_time
from avadet.annotations.checks.findings import Finding, Reporter, Rowed, SplitRows, number_names
from avadet.annotations.specs import DataSet, VideosSpec
from avadet.annotations.splits import DataVideo, find_videos
from avadet.data.video_facts import VideoFacts
from avadet.files import VIDEO_SUFFIXES
from avadet.types import BoolArray, Float64Array, IntArray
from avadet.video.image_names import holds_images
from avadet.video.timestamps import near_s

AVA_CUT_S = 900.0
"""Where the field cuts AVA's films: from the 15th to the 30th minute."""

_LATE_S = 60.0  # a file that starts this late and is long enough for the whole clock may well start at 0
_TOO_LATE_S = 600.0  # surely
_MOST = 0.5
_FEW = 0.01  # keyframes past the end that real data sets have: JHMDB-21 has 14 in 31,852
_FPS_SLACK = 0.005
_SHAPE_SLACK = 0.02


class _Span(NamedTuple):
    """Keyframes of a video on the data set's clock, seconds, and the first row that names it."""

    first_s: float
    last_s: float
    row: int


def videos_of(splits: Sequence[SplitRows]) -> list[DataVideo]:
    """Every video of some splits, sorted; of two videos of one name the first.

    Raises:
        AvadetError: as `annotations.splits.find_videos`.
    """
    videos: dict[str, DataVideo] = {}
    for rows in splits:
        new = sorted(set(rows.video_ids) - set(videos))
        videos |= {video.video_id: video for video in find_videos(rows.data, new)}
    return [videos[name] for name in sorted(videos)]


def last_keyframes(splits: Iterable[SplitRows]) -> dict[str, float]:
    """The last annotated keyframe of each video, seconds of the data set's clock."""
    last: dict[str, float] = {}
    for rows in splits:
        for name, span in _spans(rows).items():
            last[name] = max(last.get(name, span.last_s), span.last_s)
    return last


def check_videos(rows: SplitRows, facts: Mapping[str, VideoFacts], examples: int) -> tuple[Finding, ...]:
    """Compare a split with its videos.

    Args:
        rows: the split.
        facts: what its videos are like, by name.
        examples: how many of each kind of trouble are shown.
    """
    reporter = Reporter(rows.name, examples)
    spans = _spans(rows)
    shown = _Shown(rows, spans)
    own = [facts[name] for name in rows.video_ids if name in facts]
    _check_files(reporter, rows.data, own, shown)
    readable = [one for one in own if one.info is not None]
    _check_form(reporter, rows.data.spec.videos, readable, shown)
    explained = _check_offset(reporter, readable, spans, shown)
    _check_ends(reporter, rows, {one.video.video_id: one for one in readable if one.video.video_id not in explained})
    return tuple(reporter.findings)


class _Shown:
    """Names videos in messages: by the first line that names them."""

    def __init__(self, rows: SplitRows, spans: Mapping[str, _Span]) -> None:
        self.rows, self.spans = rows, spans

    def line(self, one: VideoFacts | DataVideo, text: str) -> str:
        video = one.video if isinstance(one, VideoFacts) else one
        span = self.spans.get(video.video_id)
        where = str(self.rows.list_file or self.rows.file) if span is None else self.rows.where(span.row)
        return f"{where}: {video.path or video.video_id} {text}"


def _spans(rows: SplitRows) -> dict[str, _Span]:
    """First and last keyframe of each video."""
    codes, names = number_names(rows.table.video_ids)
    times = rows.table.times_s
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(low, codes, times)
    np.maximum.at(high, codes, times)
    first = np.unique(codes, return_index=True)[1]
    return {name: _Span(float(a), float(b), int(row)) for name, a, b, row in zip(names, low, high, first)}


def _check_files(reporter: Reporter, data: DataSet, own: Sequence[VideoFacts], shown: _Shown) -> None:
    missing = [one for one in own if one.video.path is None]
    folder = data.path(data.spec.videos.folder)
    if missing:
        hint = _missing_hint(folder, len(missing) == len(own))
        reporter.add(
            "videos-missing",
            f"{len(missing)} of {len(own)} videos have no file in {folder}{hint}",
            [shown.line(one, f"has no file {folder / one.video.video_id}.mp4 or the like") for one in missing],
        )
    broken = [one for one in own if one.problem]
    if broken:
        message = f"{len(broken)} of {len(own)} videos cannot be read; fetch or copy them again"
        reporter.add("videos-unreadable", message, [shown.line(one, f"({one.problem})") for one in broken])


def _missing_hint(folder: Path, everything: bool) -> str:
    if not folder.is_dir():
        return ", which does not exist; say where they are: videos.folder=DIR"
    if not everything:
        return ""
    inside = sorted(folder.iterdir())
    there = next((path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES or holds_images(path)), None)
    found = f"it holds others, such as {there.name}" if there else "it holds no videos and no folders of images"
    return f"; {found}; a file's name without its suffix must be the video's name in the annotations"


def _check_form(reporter: Reporter, spec: VideosSpec, readable: Sequence[VideoFacts], shown: _Shown) -> None:
    """Length, rate and size, as far as the spec says what they should be, and numbers of images."""
    if spec.shortest_s is not None:
        short = [one for one in readable if one.duration_s < spec.shortest_s - one.slack_s]
        if short:
            message = f"{len(short)} of {len(readable)} videos are shorter than {format_time(spec.shortest_s)} s"
            lines = [shown.line(one, f"lasts {one.duration_s:.2f} s") for one in short]
            reporter.add("videos-short", f"{message}; fetch them again, or set videos.shortest_s", lines)
    odd = [one for one in readable if one.video.images is not None and one.info and one.info.display_notes]
    if odd:
        lines = [shown.line(one, "; ".join(one.info.display_notes if one.info else ())) for one in odd]
        message = f"{len(odd)} of {len(readable)} videos are folders with images missing or numbered oddly"
        reporter.add("videos-images", message, lines, warn=True)
    if spec.fps is not None and spec.keyframes_name == "time":
        rates = [(one, float(one.info.fps)) for one in readable if one.info]
        wrong = [(one, fps) for one, fps in rates if abs(fps / spec.fps - 1) > _FPS_SLACK]
        if wrong:
            reporter.add(
                "videos-fps",
                f"{len(wrong)} of {len(readable)} videos do not have {spec.fps:g} frames a second; keyframes are found "
                "by time all the same; set videos.fps=null if any rate will do",
                [shown.line(one, f"has {fps:.2f} frames a second") for one, fps in wrong],
                warn=True,
            )
    if spec.size_hw is not None:
        _check_size(reporter, spec.size_hw, readable, shown)


def _check_size(reporter: Reporter, size_hw: tuple[int, int], readable: Sequence[VideoFacts], shown: _Shown) -> None:
    height, width = size_hw
    sizes = [(one, one.info.size_hw) for one in readable if one.info and one.info.size_hw != size_hw]
    if not sizes:
        return
    same_shape = [abs(w * height / (h * width) - 1) <= _SHAPE_SLACK for _, (h, w) in sizes]
    advice = (
        "they were scaled, and boxes fit all the same"
        if all(same_shape)
        else "the shape is another: boxes will not fit where pictures were cut, padded or turned"
    )
    reporter.add(
        "videos-size",
        f"{len(sizes)} of {len(readable)} videos are not {width}x{height} px; {advice}",
        [shown.line(one, f"is {w}x{h} px") for one, (h, w) in sizes],
        warn=all(same_shape),
    )


def _check_offset(
    reporter: Reporter, readable: Sequence[VideoFacts], spans: Mapping[str, _Span], shown: _Shown
) -> set[str]:
    """Find files that start at another second than the spec says; returns the videos that this explains."""
    timed = [one for one in readable if one.video.numbered_fps is None and one.video.video_id in spans]
    if not timed:
        return set()
    beyond, whole, early = [], [], []
    for one in timed:
        span, start_s, end_s = spans[one.video.video_id], one.video.starts_at_s, one.duration_s + one.slack_s
        if span.first_s - start_s > end_s:
            beyond.append(one)
        elif span.first_s < start_s:
            early.append(one)
        elif start_s >= _LATE_S and span.last_s <= end_s:
            whole.append(one)
    for found, cure in ((beyond, _cut_at(beyond, spans)), (early, 0.0), (whole, 0.0)):
        if len(found) > _MOST * len(timed):
            unsure = found is whole and min(one.video.starts_at_s for one in whole) < _TOO_LATE_S
            _report_offset(reporter, found, len(timed), cure, spans, shown, unsure)
            return {one.video.video_id for one in found}
    return set()


def _cut_at(beyond: Sequence[VideoFacts], spans: Mapping[str, _Span]) -> float | None:
    """The one second that all of these files may start at, so that their keyframes lie inside; None = no one second."""
    own = [(spans[one.video.video_id], one.duration_s + one.slack_s) for one in beyond]
    if not own:
        return None
    least = max(span.last_s - end_s for span, end_s in own)
    most = min(span.first_s for span, _ in own)
    if least > most:
        return None
    return AVA_CUT_S if least <= AVA_CUT_S <= most else float(np.floor(most))


def _report_offset(
    reporter: Reporter,
    found: Sequence[VideoFacts],
    total: int,
    cure: float | None,
    spans: Mapping[str, _Span],
    shown: _Shown,
    unsure: bool,
) -> None:
    now = format_time(found[0].video.starts_at_s)
    way_out = (
        "list where each starts in a CSV video_id,seconds and set videos.starts"
        if cure is None
        else f"try videos.starts_at_s={format_time(cure)}"
    )
    what = "look like whole films" if cure == 0 else "look cut out of longer ones"
    lines = [
        f"lasts {one.duration_s:.1f} s and has keyframes from {format_time(spans[one.video.video_id].first_s)} to "
        f"{format_time(spans[one.video.video_id].last_s)} s"
        for one in found
    ]
    reporter.add(
        "videos-offset",
        f"{len(found)} of {total} videos {what}, but the spec says that files start at second {now}: {way_out}",
        [shown.line(one, line) for one, line in zip(found, lines)],
        warn=unsure,
    )


def _check_ends(reporter: Reporter, rows: SplitRows, facts: Mapping[str, VideoFacts]) -> None:
    """Look for keyframes before the first and after the last picture of their video."""
    table = rows.table
    codes, names = number_names(table.video_ids)
    known = np.array([name in facts for name in names], np.bool_)[codes] if len(names) else np.zeros(0, np.bool_)
    starts, ends = _bounds(table.times_s, codes, names, facts)
    rowed = Rowed(rows.file, table, rows.lines)
    before = known & (table.times_s >= 0) & (table.times_s < starts - 1e-6)
    reporter.add_rows(
        "keyframes-before-start", "{rows} a keyframe before its video starts; set videos.starts_at_s", before, rowed
    )
    after = known & (table.times_s > ends)
    few = after.sum() <= _FEW * len(table)
    message = "{rows} a keyframe past the end of its video; " + (
        "they have no picture" if few else "is the file cut short, or the clock another?"
    )
    reporter.add_rows("keyframes-past-end", message, after, rowed, warn=bool(few))
    reporter.add_rows(
        "keyframes-in-gap",
        "{rows} a keyframe in a gap of its video, of which nothing was recorded; leave them out",
        known & _in_gap(table.times_s, codes, names, facts),
        rowed,
    )


def _in_gap(times_s: Float64Array, codes: IntArray, names: Sequence[str], facts: Mapping[str, VideoFacts]) -> BoolArray:
    """Which rows' moments are in a gap of their video, too far from a picture on either side to have it; (n,)."""
    inside = np.zeros(len(times_s), np.bool_)
    for index, name in enumerate(names):
        one = facts.get(name)
        if one is None or one.info is None:
            continue
        beside_s = near_s(1 / float(one.info.fps))
        for before_s, after_s in one.gaps_s + one.video.starts_at_s:
            inside |= (codes == index) & (times_s > before_s + beside_s) & (times_s < after_s - beside_s)
    return inside


def _bounds(
    times_s: Float64Array, codes: IntArray, names: Sequence[str], facts: Mapping[str, VideoFacts]
) -> tuple[Float64Array, Float64Array]:
    """First and last moment of each row's video on the data set's clock, seconds; (n,) each."""
    starts, ends = np.zeros(len(names)), np.full(len(names), np.inf)
    for index, name in enumerate(names):
        one = facts.get(name)
        if one is None or one.info is None:
            continue
        starts[index] = one.video.starts_at_s
        if one.video.numbered_fps is not None:
            length_s = (one.num_frames - 0.5) / one.video.numbered_fps
        else:
            length_s = one.last_s + one.slack_s
        ends[index] = one.video.starts_at_s + length_s
    return starts[codes], ends[codes]
