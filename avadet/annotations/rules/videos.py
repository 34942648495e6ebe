"""What may be wrong with a split's videos: missing, broken, short, cut elsewhere, another rate or size, no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avadet.annotations.ava import format_time
from avadet.annotations.rules.issues import Action, Ledger, LinedTable, number_names
from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.specs import VideosSpec
from avadet.annotations.split_rows import SplitRows
from avadet.files import VIDEO_SUFFIXES
from avadet.types import BoolArray, Float64Array, IntArray
from avadet.video.image_names import holds_images
from avadet.video.timestamps import near_s

AVA_CUT_S = 900.0
"""Where the field cuts AVA's films: from the 15th to the 30th minute."""

NO_PICTURE = ("before-start", "past-end", "in-gap")
"""Rules for keyframes of which their video has no picture, after "keyframes-" or "proposals-"."""

_LATE_S = 60.0  # a file that starts this late and is long enough for the whole clock may well start at 0
_TOO_LATE_S = 600.0  # surely
_MOST = 0.5
_FEW = 0.01  # keyframes without a picture that real data sets have: JHMDB-21 has 14 in 31,852
_FPS_SLACK = 0.005
_SHAPE_SLACK = 0.02


class _Span(NamedTuple):
    """Keyframes of a video on the data set's clock, seconds, and the first row that names it."""

    first_s: float
    last_s: float
    row: int
    whole: bool


def check_videos(ledger: Ledger, rows: SplitRows, known: Mapping[str, VideoMeta]) -> None:
    """Compare a split with its videos.

    Args:
        ledger: takes what is found.
        rows: the split.
        known: what its videos are like, by name.
    """
    spans = _spans(rows)
    shown = _Shown(rows, spans)
    own = [known[name] for name in rows.video_ids if name in known]
    _check_files(ledger, rows, own, shown)
    readable = [one for one in own if one.info is not None]
    _check_form(ledger, rows.data.spec.videos, readable, shown)
    explained = _check_clock(ledger, readable, shown)
    unexplained = {one.video_id: one for one in readable if one.video_id not in explained}
    _check_pictures(ledger, rows.annotated, "keyframes", unexplained)
    if rows.proposed is not None:
        _check_pictures(ledger, rows.proposed, "proposals", unexplained)


class _Shown:
    """Names videos in messages: by the first line that names them."""

    def __init__(self, rows: SplitRows, spans: Mapping[str, _Span]) -> None:
        self.rows, self.spans = rows, spans

    def line(self, one: VideoMeta, text: str) -> str:
        span = self.spans.get(one.video_id)
        where = str(self.rows.list_file or self.rows.file) if span is None else self.rows.where(span.row)
        return f"{where}: {one.path or one.video_id} {text}"


def last_keyframes(rows: SplitRows) -> dict[str, float]:
    """The last keyframe of each video, annotated or proposed, seconds of the data set's clock."""
    last: dict[str, float] = {}
    for table in (rows.table, rows.proposals):
        if table is not None and len(table):
            codes, names = number_names(table.video_ids)
            high = np.full(len(names), -np.inf)
            np.maximum.at(high, codes, table.times_s)
            last |= {name: max(time_s, last.get(name, time_s)) for name, time_s in zip(names, high.tolist())}
    return last


def _spans(rows: SplitRows) -> dict[str, _Span]:
    """First and last keyframe of each video, and whether all are whole numbers."""
    codes, names = number_names(rows.table.video_ids)
    times = rows.table.times_s
    low, high, broken = np.full(len(names), np.inf), np.full(len(names), -np.inf), np.zeros(len(names), np.bool_)
    np.minimum.at(low, codes, times)
    np.maximum.at(high, codes, times)
    np.logical_or.at(broken, codes, times != np.rint(times))
    first = np.unique(codes, return_index=True)[1]
    return {
        name: _Span(float(a), float(b), int(row), not parts)
        for name, a, b, row, parts in zip(names, low, high, first, broken)
    }


def _check_files(ledger: Ledger, rows: SplitRows, own: Sequence[VideoMeta], shown: _Shown) -> None:
    data, needed = rows.data, last_keyframes(rows)
    folder = data.path(data.spec.videos.folder)
    for check, lost in (
        ("videos-missing", [one for one in own if one.path is None]),
        ("videos-unreadable", [one for one in own if one.problem]),
    ):
        if not lost:
            continue
        if check == "videos-missing":
            message = f"have no file in {folder}{_missing_hint(folder, len(lost) == len(own))}"
            lines = [shown.line(one, f"has no file {folder / one.video_id}.mp4 or the like") for one in lost]
        else:
            message = "cannot be read; fetch or copy them again (data.on_error=skip leaves such clips out)"
            lines = [shown.line(one, f"({one.problem})") for one in lost]
        action: Action = "error" if not needed or any(one.video_id in needed for one in lost) else "keep"
        ledger.add(check, action, f"{len(lost)} of {len(own)} videos {message}", lines)
        names = np.array([one.video_id for one in lost], str)
        ledger.rows[rows.file, check] = np.flatnonzero(np.isin(np.asarray(rows.table.video_ids).astype(str), names))


def _missing_hint(folder: Path, everything: bool) -> str:
    if not folder.is_dir():
        return ", which does not exist; say where they are: videos.folder=DIR"
    if not everything:
        return ""
    inside = sorted(folder.iterdir())
    there = next((path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES or holds_images(path)), None)
    found = f"it holds others, such as {there.name}" if there else "it holds no videos and no folders of images"
    return f"; {found}; a file's name without its suffix must be the video's name in the annotations"


def _check_form(ledger: Ledger, spec: VideosSpec, readable: Sequence[VideoMeta], shown: _Shown) -> None:
    """Length, rate and size, as far as the spec says what they should be, and numbers of images."""
    odd = [one for one in readable if one.is_images and one.info and one.info.display_notes]
    if odd:
        lines = [shown.line(one, "; ".join(one.info.display_notes if one.info else ())) for one in odd]
        message = f"{len(odd)} of {len(readable)} videos are folders with images missing or numbered oddly"
        ledger.add("videos-images", "keep", message, lines)
    if spec.shortest_s is not None:
        short = [one for one in readable if one.duration_s < spec.shortest_s - one.slack_s]
        if short:
            message = f"{len(short)} of {len(readable)} videos are shorter than {format_time(spec.shortest_s)} s"
            lines = [shown.line(one, f"lasts {one.duration_s:.2f} s") for one in short]
            ledger.add("videos-short", "keep", f"{message}; fetch them again, or set videos.shortest_s", lines)
    if spec.fps is not None and spec.keyframes_name == "time":
        rates = [(one, float(one.info.fps)) for one in readable if one.info]
        wrong = [(one, fps) for one, fps in rates if abs(fps / spec.fps - 1) > _FPS_SLACK]
        if wrong:
            ledger.add(
                "videos-fps",
                "keep",
                f"{len(wrong)} of {len(readable)} videos do not have {spec.fps:g} frames a second; keyframes are found "
                "by time all the same; set videos.fps=null if any rate will do",
                [shown.line(one, f"has {fps:.2f} frames a second") for one, fps in wrong],
            )
    if spec.size_hw is not None:
        _check_size(ledger, spec.size_hw, readable, shown)


def _check_size(ledger: Ledger, size_hw: tuple[int, int], readable: Sequence[VideoMeta], shown: _Shown) -> None:
    height, width = size_hw
    sizes = [(one, one.info.size_hw) for one in readable if one.info and one.info.size_hw != size_hw]
    if not sizes:
        return
    same_shape = all(abs(w * height / (h * width) - 1) <= _SHAPE_SLACK for _, (h, w) in sizes)
    advice = (
        "they were scaled, and boxes fit all the same"
        if same_shape
        else "the shape is another: boxes will not fit where pictures were cut, padded or turned; if they do, set "
        "videos.size_hw=null"
    )
    ledger.add(
        "videos-size",
        "keep" if same_shape else "error",
        f"{len(sizes)} of {len(readable)} videos are not {width}x{height} px; {advice}",
        [shown.line(one, f"is {w}x{h} px") for one, (h, w) in sizes],
    )


def _check_clock(ledger: Ledger, readable: Sequence[VideoMeta], shown: _Shown) -> set[str]:
    """Find times of another clock: files that start elsewhere, frame numbers; returns the videos that this explains."""
    spans = shown.spans
    timed = [one for one in readable if one.numbered_fps is None and one.video_id in spans]
    beyond, whole, early, numbers = [], [], [], []
    for one in timed:
        span, start_s, end_s = spans[one.video_id], one.starts_at_s, one.duration_s + one.slack_s
        if span.first_s - start_s > end_s:
            beyond.append(one)
        elif span.first_s < start_s:
            early.append(one)
        elif start_s >= _LATE_S and span.last_s <= end_s:
            whole.append(one)
        if _may_be_numbers(one, span):
            numbers.append(one)
    if len(numbers) > _MOST * len(timed):
        return _report_numbers(ledger, numbers, len(timed), shown)
    for found, cure in ((beyond, _cut_at(beyond, spans)), (early, 0.0), (whole, 0.0)):
        if len(found) > _MOST * len(timed):
            unsure = found is whole and min(one.starts_at_s for one in whole) < _TOO_LATE_S
            _report_offset(ledger, found, len(timed), cure, shown, unsure)
            return {one.video_id for one in found}
    return set()


def _may_be_numbers(one: VideoMeta, span: _Span) -> bool:
    """Whether keyframes are too far apart for a video, whatever its clock, but fit it as frame numbers from 0 or 1."""
    if one.info is None or not span.whole or span.first_s < 0:
        return False
    end_s = one.duration_s + one.slack_s
    return span.last_s - span.first_s > end_s and (span.last_s - 1) / float(one.info.fps) <= end_s


def _cut_at(beyond: Sequence[VideoMeta], spans: Mapping[str, _Span]) -> float | None:
    """The one second that all of these files may start at, so that their keyframes lie inside; None = no one second."""
    own = [(spans[one.video_id], one.duration_s + one.slack_s) for one in beyond]
    if not own:
        return None
    least = max(span.last_s - end_s for span, end_s in own)
    most = min(span.first_s for span, _ in own)
    if least > most:
        return None
    return AVA_CUT_S if least <= AVA_CUT_S <= most else float(np.floor(most)) if np.floor(most) >= least else most


def _report_numbers(ledger: Ledger, found: Sequence[VideoMeta], total: int, shown: _Shown) -> set[str]:
    """Frame numbers in place of seconds: `keyframes_name: number` with a rate of 1 takes them as they stand."""
    spans = [shown.spans[one.video_id] for one in found]
    fix = ["videos.keyframes_name=number", "videos.fps=1"]
    fix += ["videos.starts_at_s=1"] if min(span.first_s for span in spans) >= 1 else ["videos.starts_at_s=0"]
    ledger.add(
        "keyframes-numbers",
        "error",
        f"{len(found)} of {total} videos have whole numbers far past their end that fit as numbers of frames: "
        f"try {' '.join(fix)} (0 where the first frame is number 0, 1 where it is 1)",
        [_lasts(one, shown) for one in found],
        fix=fix,
    )
    return {one.video_id for one in found}


def _report_offset(
    ledger: Ledger, found: Sequence[VideoMeta], total: int, cure: float | None, shown: _Shown, unsure: bool
) -> None:
    now = format_time(found[0].starts_at_s)
    fix = [] if cure is None else [f"videos.starts_at_s={format_time(cure)}"]
    way_out = f"try {fix[0]}" if fix else "list where each starts in a CSV video_id,seconds and set videos.starts"
    what = "look like whole films" if cure == 0 else "look cut out of longer ones"
    ledger.add(
        "videos-offset",
        "keep" if unsure else "error",
        f"{len(found)} of {total} videos {what}, but the spec says that files start at second {now}: {way_out}",
        [_lasts(one, shown) for one in found],
        fix=fix,
    )


def _lasts(one: VideoMeta, shown: _Shown) -> str:
    span = shown.spans[one.video_id]
    ends = f"from {format_time(span.first_s)} to {format_time(span.last_s)} s"
    return shown.line(one, f"lasts {one.duration_s:.1f} s and has keyframes {ends}")


def _check_pictures(ledger: Ledger, rows: LinedTable, what: str, known: Mapping[str, VideoMeta]) -> None:
    """Look for keyframes of which their video has no picture: few are dropped, many are an error."""
    table = rows.table
    codes, names = number_names(table.video_ids)
    spans = [known[name].span_s if name in known else (-np.inf, np.inf) for name in names]
    starts, ends = np.array(spans, np.float64).reshape(-1, 2)[codes].T
    times = table.times_s
    found = {
        "before-start": (
            "before its video starts",
            "; is the clock another (videos.starts_at_s)?",
            (times >= 0) & (times < starts - 1e-6),
        ),
        "past-end": ("past the end of its video", "; is the file cut short, or the clock another?", times > ends),
        "in-gap": ("in a gap of its video, of which nothing was recorded", "", _in_gap(times, codes, names, known)),
    }
    for check in NO_PICTURE:
        where, doubt, mask = found[check]
        few = what == "proposals" or mask.sum() <= _FEW * len(table) or not doubt
        message = f"{{rows}} a {what[:-1]} {where}{'; there is no picture' if few else doubt}"
        ledger.add_rows(f"{what}-{check}", "drop" if few else "error", message, mask, rows)


def _in_gap(times_s: Float64Array, codes: IntArray, names: Sequence[str], known: Mapping[str, VideoMeta]) -> BoolArray:
    """Which rows' moments are in a gap of their video, too far from a picture on either side to have it; (n,)."""
    inside = np.zeros(len(times_s), np.bool_)
    for index, name in enumerate(names):
        one = known.get(name)
        if one is None or one.info is None:
            continue
        beside_s = near_s(1 / float(one.info.fps))
        for before_s, after_s in one.gaps_s + one.starts_at_s:
            inside |= (codes == index) & (times_s > before_s + beside_s) & (times_s < after_s - beside_s)
    return inside
