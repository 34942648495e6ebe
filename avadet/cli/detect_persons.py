"""`avadet detect-persons`: videos in; the boxes of their people on every keyframe out, as one AVA-style CSV."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from avadet.cli import arguments, video_files, videos
from avadet.errors import AvadetError
from avadet.files import check_target, whole_file

if TYPE_CHECKING:
    from avadet.inference.pipeline import PeopleAt
    from avadet.inference.schedule import GapCount
    from avadet.types import PersonDetector
    from avadet.video.reader import Reader

EVERY_S = 1.0
SCORE_DECIMALS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet detect-persons`."""
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, folders of them, or patterns such as 'clips/*.mkv'; each video needs its own stem. A folder "
        "of numbered images without videos (or a pattern of images, 'clip/left_*.jpg') is one video, with --fps. Or "
        "one recording on a web server: http(s)://...",
    )
    arguments.add_fps(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="CSV",
        help="file for the boxes of all videos: video stem, seconds from the first frame, x1, y1, x2, y2 in 0-1, no "
        "action, score",
    )
    parser.add_argument(
        "--detector", default="tiny", metavar="NAME|PATH", help=f"{arguments.DETECTOR_HELP} (default %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=arguments.positive,
        default=EVERY_S,
        metavar="SECONDS",
        help="time between keyframes, such as 0.5 or 1/30 (default %(default)g)",
    )
    parser.add_argument(
        "--threshold",
        type=arguments.fraction,
        metavar="SCORE",
        help="lowest score of a person (default: the detector's)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, or auto, the default")
    arguments.add_timeout(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a CSV that is already there")


def run(args: argparse.Namespace) -> int:
    """Run over every video.

    Returns:
        0 if all went well, 1 if one of several videos failed; the rows of the others are written all the same.

    Raises:
        AvadetError: if nothing could be done: wrong arguments, or no video is good.
    """
    from avadet.memory import keep_freed_memory
    from avadet.video.sources import is_live

    if len(args.videos) == 1 and is_live(args.videos[0]):
        return run_on_web(args.videos[0], args)
    passed_over: list[str] = []
    lossy: list[Path] = []
    args.videos = video_files.expand(args.videos, passed_over)
    video_files.check_rate(args.videos, args.fps)
    check_output(args)
    keep_freed_memory()
    failed: dict[Path, Exception] = {}
    check_one = partial(videos.check_video, fps=args.fps)
    good = [video for video in args.videos if videos.try_video(video, check_one, failed, args.debug)]
    _raise_if_all_failed(failed, args.videos)
    with new_csv(args.out) as file:
        detector = load(args)
        with videos.held_signals() as check:

            def work(video: Path) -> None:
                if process(video, detector, args.every, file, check, args.fps):
                    lossy.append(video)

            for video in good:
                check()
                videos.try_video(video, work, failed, args.debug)
        _raise_if_all_failed(failed, args.videos)
    print(f"boxes: {args.out}")
    return videos.report_failures(failed, len(args.videos), lossy, passed_over)


def run_on_web(url: str, args: argparse.Namespace) -> int:
    """Run over a recording on a web server, from its start to its end.

    Returns:
        0 if all of it came; 1 if it broke off: the rows of what came are written all the same.

    Raises:
        AvadetError: if the source is no recording, cannot be read, or the CSV not be written.
    """
    from avadet.memory import keep_freed_memory
    from avadet.video.connection import TIMEOUT_S
    from avadet.video.live import LiveReader
    from avadet.video.sources import is_web, shown_name, web_stem_of

    if not is_web(url):
        raise AvadetError(
            f"{shown_name(url)} is live; detect-persons reads recordings, avadet infer reads live sources"
        )
    if args.fps is not None:
        raise AvadetError("--fps is the rate of folders of images; a recording has its own")
    check_csv(args)
    keep_freed_memory()
    detector = load(args)
    timeout_s = args.timeout or TIMEOUT_S
    with (
        LiveReader(url, web_stem_of(url), tell=videos.note, timeout_s=timeout_s, is_recording=True) as reader,
        new_csv(args.out) as file,
    ):
        write_rows(cast("Reader", reader), shown_name(url), detector, args.every, file)
    print(f"boxes: {args.out}, of {reader.info.path}")
    if reader.damaged:
        videos.note(f"warning: {shown_name(url)}: {videos.count(reader.damaged, 'damaged spot')}")
    if reader.lost:
        videos.note(f"{reader.lost}; the boxes up to then are written")
    return 1 if reader.lost else 0


@contextmanager
def new_csv(path: Path) -> Iterator[TextIO]:
    """The CSV to write, which gets its name when it is whole."""

    with (
        videos.new_folder(path.parent),
        whole_file(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        yield file


def check_output(args: argparse.Namespace) -> None:
    """Raise if two videos share a stem, or the CSV is there already or would replace a video."""
    for video, twin, stem in video_files.twins(args.videos):
        raise AvadetError(f"rows of {twin} and {video} would both begin with {stem}; write two files")
    if args.out.exists() and any(video.exists() and args.out.samefile(video) for video in args.videos):
        raise AvadetError(f"the boxes would replace the input {args.out}; choose another --out")
    check_csv(args)


def check_csv(args: argparse.Namespace) -> None:
    """Raise if the CSV is there already and not to be replaced, or is a folder."""
    if args.out.is_dir():
        raise AvadetError(f"{args.out} is a folder; expected the name of a CSV file, such as {args.out / 'boxes.csv'}")
    check_target(args.out)
    if args.out.exists() and not args.overwrite:
        raise AvadetError(f"{args.out} already there; add --overwrite to replace, or choose another --out")


def load(args: argparse.Namespace) -> PersonDetector:
    """The detector, on the device asked for."""
    from avadet.models.devices import choose_device
    from avadet.persons.load import load_detector

    device = str(choose_device(args.device))
    detector = load_detector(args.detector, device, args.threshold)
    videos.inform(f"detector: {args.detector}, on {device}")
    return detector


def process(
    video: Path,
    detector: PersonDetector,
    every_s: float,
    file: TextIO,
    check: Callable[[], None] = lambda: None,
    fps: float | None = None,
) -> bool:
    """Write the rows of one video: all of them, or none if it fails; `check` may stop it after every event.

    `fps` is that of a folder of images.

    Returns:
        whether the video was read with losses.

    Raises:
        AvadetError: if the video has no picture that decodes, or the detector fails.
    """
    from avadet.video.read import open_video

    with open_video(video, fps) as reader:
        end_s, gaps = write_rows(reader, video.name, detector, every_s, file, check)
    videos.tell_of_display(reader.info)
    videos.warn_of_time(reader, gaps)
    return videos.warn_of_damage(reader, end_s)


def write_rows(
    reader: Reader,
    name: str,
    detector: PersonDetector,
    every_s: float,
    file: TextIO,
    check: Callable[[], None] = lambda: None,
) -> tuple[float, GapCount]:
    """Write the rows of a video or recording and say how many.

    Returns:
        the time of its last picture, seconds, and the gaps in it.
    """
    from avadet.inference.pipeline import PeopleAt, find_people
    from avadet.inference.schedule import Gap, GapCount

    rows: list[str] = []
    num_keyframes, num_boxes, end_s, gaps = 0, 0, 0.0, GapCount()
    with closing(find_people(reader, detector, every_s)) as events:
        for event in videos.with_progress(events, reader.info):
            if isinstance(event, PeopleAt):
                num_keyframes += 1
                num_boxes += len(event.persons)
                rows += rows_of(event)
            elif isinstance(event, Gap):
                gaps.add(event)
            else:
                end_s = event.time_s
            check()
    file.writelines(f"{row}\n" for row in rows)
    seen = videos.count(num_keyframes, "keyframe")
    print(f"{name}: {seen}, {videos.count(num_boxes, 'box', 'boxes') if num_boxes else 'no people found'}")
    return end_s, gaps


def rows_of(people: PeopleAt) -> list[str]:
    """The rows of one keyframe, best person first: video_id,seconds,x1,y1,x2,y2,,score, without line ends.

    A keyframe without people is a row of its video_id and seconds alone, so that readers know it was looked at.
    """
    import numpy as np

    from avadet import boxes
    from avadet.annotations.ava import box_cells, csv_line, format_time

    found = people.persons
    boxes_norm = np.clip(boxes.to_norm(found.boxes_px, found.size_hw), 0, 1)
    start = [people.key.video_id, format_time(people.key.time_s)]
    if not len(found):
        return [csv_line(start)]
    return [
        csv_line([*start, *box_cells(box), "", f"{score:.{SCORE_DECIMALS}f}"])
        for box, score in zip(boxes_norm, found.scores.tolist())
    ]


def _raise_if_all_failed(failed: dict[Path, Exception], given: list[Path]) -> None:
    """Raise what went wrong with every video if none is left."""
    if len(failed) == len(given) == 1:
        raise failed[given[0]]
    if len(failed) == len(given):
        raise AvadetError("\n".join(videos.reason(video, error) for video, error in failed.items()))
