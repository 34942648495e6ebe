"""The tracks of CVAT for video: whose boxes are where at which frame.

A track gives boxes at some frames. Between two of them the corners move in a straight line and attributes stay as they
were at the earlier one; from a box that is marked as outside to the next one nobody is there; the last box holds until
the end of the video.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element

from avadet.annotations.footage import Misfit, video_name
from avadet.annotations.foreign import finite_number
from avadet.files import VIDEO_SUFFIXES

MOST_FRAMES = 5_000_000
"""No video has more: 46 hours at 30 frames per second."""

_MOST_DIGITS = 9
_CORNERS = ("xtl", "ytl", "xbr", "ybr")


class Task(NamedTuple):
    """A video and its tracks.

    Attributes:
        element: the description in the file's `meta`, or the outermost element.
        video_id: its name without suffix, "" if the file does not tell.
        is_video: whether its source is a video, so that its pictures are frames.
        size_hw: (height, width) px, None if the file does not tell.
        start: number of the first frame.
        stop: of the last, None if the file does not tell.
        step: every so many frames were shown to those who annotated.
        tracks: the elements.
        counts_shown: whether boxes have numbers of the frames that were shown, instead of the video's.
    """

    element: Element
    video_id: str
    is_video: bool
    size_hw: tuple[int, int] | None
    start: int
    stop: int | None
    step: int
    tracks: list[Element]
    counts_shown: bool = False


class KeyframeBox(NamedTuple):
    """A box that a track gives: at which frame, xyxy px, whether nobody is there from here on, its attributes."""

    frame: int
    corners: tuple[float, ...]
    is_outside: bool
    attributes: dict[str, str]


def tasks_of(root: Element) -> list[Task]:
    """The videos of a file, each with its tracks.

    Raises:
        Misfit: if numbers of a description are none, or tracks belong to none of several.
    """
    tracks = list(root.iter("track"))
    described = [*root.iterfind("meta/task"), *root.iterfind("meta/job"), *root.iterfind("meta/project/tasks/task")]
    meta = root.find("meta")
    if len(described) < 2:
        return [_task(described[0] if described else root, tracks, root if meta is None else meta)]
    own = [(one, [track for track in tracks if track.get("task_id") == one.findtext("id")]) for one in described]
    if sum(len(some) for _, some in own) < len(tracks):
        raise Misfit(f"the file has {len(described)} tasks; expected each track's task_id to be the id of one of them")
    return [_task(one, some, one) for one, some in own]


def _task(element: Element, tracks: list[Element], meta: Element) -> Task:
    """A task by its description; exports of 2019 to 2022 have the source in `meta`, those of jobs the size."""
    source = (element.findtext("source") or meta.findtext("source") or "").strip()
    is_video = PurePosixPath(source).suffix.lower() in VIDEO_SUFFIXES
    name = video_name(source.replace("\\", "/").rpartition("/")[2]) if source else _named(element)
    described = element if element.find("original_size") is not None else meta
    size = [_count(described.findtext(f"original_size/{side}"), side) for side in ("height", "width")]
    size_hw = None if size[0] is None or size[1] is None else (size[0], size[1])
    kept = (element.findtext("frame_filter") or "").replace(" ", "")
    step = _count(kept.removeprefix("step="), "frame_filter") or 1 if kept.startswith("step=") else 1
    first, last = (_count(element.findtext(name), name) for name in ("start_frame", "stop_frame"))
    start, count = first or 0, _count(element.findtext("size"), "size")
    if element.tag == "job" and last is not None and last - start + 1 == count:  # jobs count what was shown
        start, last = start * step, last * step
    stop = start + (count - 1) * step if last is None and count else last
    task = Task(element, name, is_video, size_hw, start, stop, step, tracks)
    numbers = [int(text) for track in tracks for box in track if (text := box.get("frame", "")).isdecimal()]
    shown = bool(count and numbers) and max(numbers) < (count or 0)
    aligned = all(number >= start and (number - start) % step == 0 for number in numbers)
    return task._replace(counts_shown=shown and not aligned)


def _named(element: Element) -> str:
    """The video by the task's own name, which only tells it with the suffix of a video, or as one word."""
    name = (element.findtext("name") or "").strip()
    is_file = PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
    return video_name(name) if is_file or (name and not any(letter.isspace() for letter in name)) else ""


def _count(text: str | None, name: str) -> int | None:
    """A whole number of the description, None if it is not there."""
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal() or len(text.strip()) > _MOST_DIGITS:
        raise Misfit(f"{name} is '{text}', expected a whole number")
    return int(text)


def attributes_of(element: Element) -> dict[str, str]:
    """The attributes of a box, track or tag by name; of two with one name the later."""
    return {str(one.get("name")): one.text or "" for one in element.findall("attribute")}


def corners_of(box: Element) -> tuple[float, ...]:
    """The corners of a box, xyxy px.

    Raises:
        Misfit: if they are no numbers, or the box is turned.
    """
    if finite_number(box.get("rotation", "0"), "rotation") != 0:
        raise Misfit("the box is turned; expected upright boxes (rotation 0)")
    return tuple(finite_number(box.get(name), name) for name in _CORNERS)


def keyframe_box_of(box: Element) -> KeyframeBox:
    """A box of a track.

    Raises:
        Misfit: if its numbers are none.
    """
    frame = box.get("frame", "")
    if not frame.isdecimal() or len(frame) > _MOST_DIGITS:
        raise Misfit(f"frame is '{frame}', expected a whole number")
    return KeyframeBox(int(frame), corners_of(box), box.get("outside", "0") in ("1", "true"), attributes_of(box))


def visible(boxes: list[KeyframeBox], task: Task, wanted: set[int] | None) -> Iterator[KeyframeBox]:
    """Where a track is at every frame that is wanted and at which somebody is there.

    Args:
        boxes: the boxes that the track gives.
        task: its video.
        wanted: the frames; None = every one that was shown to those who annotated.

    Raises:
        Misfit: if a frame is given twice.
    """
    if task.counts_shown:
        boxes = [one._replace(frame=task.start + one.frame * task.step) for one in boxes]
    given = sorted(boxes, key=lambda one: one.frame)
    frames = [one.frame for one in given]
    twice = next((a for a, b in pairwise(frames) if a == b), None)
    if twice is not None:
        raise Misfit(f"two boxes at frame {twice}, expected one")
    if not given:
        return
    last = max(task.stop or 0, frames[-1])
    if last - frames[0] > MOST_FRAMES:
        raise Misfit(f"the track lasts from frame {frames[0]} to {last}; expected at most {MOST_FRAMES} frames")
    shown = wanted if wanted is not None else {*_aligned(task, frames[0], last), *frames}
    for frame in sorted(shown):
        if not frames[0] <= frame <= last:
            continue
        index = bisect_right(frames, frame) - 1
        before = given[index]
        if not before.is_outside:
            after = given[min(index + 1, len(given) - 1)]
            yield before._replace(frame=frame, corners=_between(before, after, frame))


def _aligned(task: Task, first: int, last: int) -> range:
    """The frames that were shown to those who annotated, from `first` to `last`."""
    return range(first + (task.start - first) % task.step, last + 1, task.step)


def _between(before: KeyframeBox, after: KeyframeBox, frame: int) -> tuple[float, ...]:
    """Corners at a frame, on the straight line from one box to the next."""
    if frame == before.frame or after.frame == before.frame:
        return before.corners
    share = (frame - before.frame) / (after.frame - before.frame)
    return tuple(a + share * (b - a) for a, b in zip(before.corners, after.corners))
