"""`avadet infer`: videos in; per video STEM.ava.csv, STEM.jsonl, STEM.events.csv and STEM.mp4 out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from avadet.cli import arguments, model_notes, records, video_files, videos
from avadet.errors import AvadetError
from avadet.files import check_target

if TYPE_CHECKING:
    from avadet.inference.pipeline import Event
    from avadet.inference.run import Setup
    from avadet.inference.sinks import Sink
    from avadet.inference.summary import Span, Summary
    from avadet.types import VideoInfo

Item = TypeVar("Item")
THRESHOLD = 0.3
SMOOTH_WINDOW_S = 2.0
CTRL_C = 130
SHOWN_PEOPLE = 10
SHOWN_SPANS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet infer`."""
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, folders of them, or patterns such as 'clips/*.mkv'; each video needs its own stem. A folder "
        "of numbered images without videos (or a pattern of images, 'clip/left_*.jpg') is one video, with --fps. Or "
        "one live source: rtsp://... and other URLs, /dev/video0, or the number of a camera",
    )
    arguments.add_fps(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for STEM.ava.csv, STEM.jsonl, STEM.events.csv and STEM.mp4 of every video",
    )
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        help="action model; without it an official AVA model if its weights are cached, else the bundled one",
    )
    people = parser.add_mutually_exclusive_group()
    people.add_argument(
        "--detector",
        metavar="NAME|PATH",
        help=f"person detector: {arguments.DETECTOR_HELP} (default tiny)",
    )
    people.add_argument(
        "--boxes",
        type=Path,
        metavar="CSV",
        help="person boxes instead of a detector: video stem, seconds from the first frame, x1, y1, x2, y2 in 0-1",
    )
    _add_tuning(parser)


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every",
        type=arguments.positive,
        metavar="SECONDS",
        help="time between keyframes (default 1; with --boxes, every time of the CSV, or the first in each interval)",
    )
    parser.add_argument(
        "--detect-every",
        type=arguments.not_negative,
        metavar="SECONDS",
        help="also detect people this often between keyframes, so that boxes follow them; 0 = on keyframes only "
        "(default: as often as the detector is fast)",
    )
    parser.add_argument(
        "--threshold",
        type=arguments.fraction,
        default=THRESHOLD,
        help="lowest score of an action in STEM.jsonl and STEM.mp4, and to begin an event in STEM.events.csv; "
        "STEM.ava.csv keeps the weak ones for scoring (default %(default)s)",
    )
    parser.add_argument(
        "--person-threshold",
        type=arguments.fraction,
        metavar="SCORE",
        help="lowest score of a person (default: the detector's)",
    )
    _add_smoothing(parser)
    parser.add_argument(
        "--batch",
        type=arguments.whole_positive,
        default=1,
        metavar="N",
        help="keyframes that go through the action model at once; may pay on a GPU (default %(default)s)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, or auto, the default")
    arguments.add_backend(parser)
    parser.add_argument(
        "--seconds", type=arguments.positive, metavar="SECONDS", help="end a live source after this long"
    )
    arguments.add_timeout(parser)
    parser.add_argument("--no-video", action="store_true", help="do not write STEM.mp4")
    parser.add_argument("--no-page", action="store_true", help="do not write STEM.html, the report page")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what is already there; without it, a video whose results are all there is skipped",
    )


def _add_smoothing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--smooth",
        choices=("none", "mean", "ema"),
        default="none",
        help="average the scores of each person over time: mean = over a window centred on the keyframe, "
        "ema = over the past, recent counts more (default %(default)s)",
    )
    parser.add_argument(
        "--smooth-window",
        type=arguments.positive,
        default=SMOOTH_WINDOW_S,
        metavar="SECONDS",
        help="length of that window (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run over every video.

    Returns:
        0 if all went well, 1 if one of several videos failed; the others are done all the same.

    Raises:
        AvadetError: if nothing could be done: wrong arguments, or the only video is bad.
    """
    from avadet.memory import keep_freed_memory

    passed_over: list[str] = []
    lossy: list[Path] = []
    if len(args.videos) > 1 or not is_live(args.videos[0]):
        if args.seconds is not None:
            raise AvadetError("--seconds ends a live source; a video file is always read to its end")
        args.videos = video_files.expand(args.videos, passed_over)
        video_files.check_rate(args.videos, args.fps)
        todo = check_outputs(args)
    elif args.fps is not None:
        raise AvadetError("--fps is the rate of folders of images; a live source has its own")
    keep_freed_memory()
    if isinstance(args.videos[0], str):
        return run_on_stream(args.videos[0], args)
    for video in args.videos:
        if video not in todo:
            print(f"{video.name}: already done, skipped; --overwrite does it again")
    failed: dict[Path, Exception] = {}
    check = partial(videos.check_video, fps=args.fps)
    good = [video for video in todo if videos.try_video(video, check, failed, args.debug)]
    if good:
        with videos.new_folder(args.out):
            stopped = run_on_files(good, args, failed, lossy)
        if stopped:
            return CTRL_C
    if len(args.videos) == 1 and failed and not passed_over:
        raise failed[args.videos[0]]
    return videos.report_failures(failed, len(args.videos), lossy, passed_over)


def is_live(source: str) -> bool:
    """Whether an argument names a camera or stream."""
    from avadet.video import sources

    return sources.is_live(source)


def run_on_stream(source: str, args: argparse.Namespace) -> int:
    """Run over a camera or stream until it ends; return the exit code."""
    from avadet.cli.live import run_live

    with videos.new_folder(args.out):
        return run_live(source, args, load_setup(args))


def run_on_files(
    todo: Sequence[Path], args: argparse.Namespace, failed: dict[Path, Exception], lossy: list[Path]
) -> bool:
    """Run over videos one after the other, and note in `failed` what went wrong, in `lossy` those with losses.

    Returns:
        whether Ctrl-C ended it. The video in hand is dropped then, as it is at SIGTERM, which goes on upwards.
    """
    setup = load_setup(args)
    with videos.held_signals() as check:
        for index, video in enumerate(todo):
            try:
                check()
                videos.try_video(video, lambda video: process(video, setup, args, check, lossy), failed, args.debug)
            except (KeyboardInterrupt, SystemExit) as interrupt:
                done = len([video for video in todo[:index] if video not in failed])
                videos.note(
                    f"interrupted in {video.name}, whose results are discarded; {done} of {len(todo)} videos are done"
                )
                if isinstance(interrupt, KeyboardInterrupt):
                    return True
                raise
    for text in getattr(setup.persons, "notes", ()):
        videos.note(f"warning: {args.boxes}: {text}")
    return False


def output_paths(video: Path, args: argparse.Namespace) -> list[Path]:
    """The files that a video's results go to."""
    from avadet.video.image_names import video_id_of

    stem = video_id_of(video)
    suffixes = [".ava.csv", ".jsonl", ".events.csv"]
    suffixes += [] if args.no_page else [".html"]
    suffixes += [] if args.no_video else [".mp4"]
    return [args.out / f"{stem}{suffix}" for suffix in suffixes]


def check_outputs(args: argparse.Namespace) -> list[Path]:
    """Say which videos are not done yet.

    Raises:
        AvadetError: if two videos would share their results, or these would replace an input, or something else that
            is there already.
    """
    for video, twin, stem in video_files.twins(args.videos):
        raise AvadetError(f"{twin} and {video} would both write {args.out / stem}.*; run them with different --out")
    outputs = {video: output_paths(video, args) for video in args.videos}
    everything = [path for video in args.videos for path in [*outputs[video], records.Record.of(video, args).path]]
    inputs = [path for path in [*args.videos, args.boxes] if path is not None and path.exists()]
    for path in everything:
        check_target(path)
        if path.exists() and any(path.samefile(given) for given in inputs):
            raise AvadetError(f"the results would replace the input {path}; choose another --out")
    return records.left_to_do(args.videos, list(outputs.values()), args)


def load_setup(args: argparse.Namespace) -> Setup:
    """Load the model and the detector or boxes; say which model and why.

    Raises:
        AvadetError: for names, files or boxes that are not right, or a device that is not there.
    """
    from avadet.inference.run import Setup, load_people
    from avadet.inference.smoothing import Smoothing
    from avadet.models import zoo
    from avadet.models.devices import choose_device
    from avadet.persons.load import TINY

    name, reason = (args.model, "") if args.model else zoo.default_model()
    device = str(choose_device(args.device))
    persons, detect_every_s = load_people(args.detector or TINY, args.boxes, device, args.person_threshold)
    if args.detect_every is not None:
        detect_every_s = args.detect_every or None
    model = zoo.load(name, device, backend=args.backend or zoo.default_backend(name), precision=args.precision)
    how = "" if model.running == "torch in fp32" else f", {model.running}"
    how += model_notes.bank_words(model, is_live=isinstance(args.videos[0], str)) + "".join(
        f"; {note}" for note in model.report.notes
    )
    videos.inform(f"model: {name} ({len(model.labels)} actions, {device}{how}){reason and f'; {reason}'}")
    if known := model_notes.known_actions(model):
        videos.inform(known)
    smoothing = None if args.smooth == "none" else Smoothing(args.smooth, args.smooth_window)
    return Setup(model, persons, args.every, detect_every_s, smoothing, args.batch)


def process(video: Path, setup: Setup, args: argparse.Namespace, check: Callable[[], None], lossy: list[Path]) -> None:
    """Run over one video and write its files; after every event, `check` may stop it by an exception.

    A video that was read with losses is added to `lossy`.

    Raises:
        AvadetError: if the video has no picture that decodes, or a file cannot be written.
    """
    from avadet.inference.sinks import feed
    from avadet.inference.summary import Summary
    from avadet.video.read import open_video

    began_s = time.monotonic()
    summary = Summary(setup.model.labels, args.threshold)
    with open_video(video, args.fps) as reader, ExitStack() as stack:
        paths, too_large = fitting(output_paths(video, args), reader.info)
        stack.enter_context(records.Record.of(video, args).kept(paths, setup.model.labels, left_out=too_large))
        bank = setup.first_pass(video, True, lambda events: watched(events, reader.info, check), args.fps)
        sinks = [stack.enter_context(sink) for sink in make_sinks(reader.info, setup, args, paths)]
        events = stack.enter_context(closing(setup.events(reader, bank=bank)))
        for _ in videos.with_progress(feed(events, [summary, *sinks]), reader.info):
            check()
    tell_of_known_boxes(setup, reader.info, summary)
    videos.tell_of_display(reader.info)
    videos.warn_of_time(reader, summary.gaps)
    print(f"{video.name}: {headline(summary, time.monotonic() - began_s)}")
    for line in who_did_what(summary):
        print(f"  {line}")
    print(f"  results: {videos.listed(paths, reader.info.video_id)}")
    for path in too_large:
        videos.note(
            f"warning: {path} is left out: pictures of {video} are {wide_and_high(reader.info)}, too large for H.264"
        )
    if videos.warn_of_damage(reader, summary.end_s) or too_large:
        lossy.append(video)


def tell_of_known_boxes(setup: Setup, info: VideoInfo, summary: Summary) -> None:
    """Say how many moments of `--boxes` are left out because the video shows nothing there."""
    early = setup.early_keyframes(info)
    late = len(setup.known_keyframes_s(info) or []) - summary.num_keyframes
    after = "after its end or in a gap of the recording" if summary.gaps.number else "after its end"
    for left_out, where in ((early, "before its first frame"), (late, after)):
        if left_out > 0:
            videos.note(f"warning: {info.path}: {videos.count(left_out, 'moment')} of --boxes {where} left out")


def watched(events: Iterator[Event], info: VideoInfo, check: Callable[[], None]) -> Iterator[Event]:
    """Show how far the first pass is; after every event, `check` may stop it by an exception."""
    for event in videos.with_progress(events, info, "first pass"):
        check()
        yield event


def fitting(paths: list[Path], info: VideoInfo) -> tuple[list[Path], list[Path]]:
    """The files that can be written of a video, and those that cannot, because its pictures are too large."""
    from avadet.video.write import MAX_SIDE

    too_large = [path for path in paths if path.suffix == ".mp4" and max(info.size_hw) > MAX_SIDE]
    return [path for path in paths if path not in too_large], too_large


def wide_and_high(info: VideoInfo) -> str:
    """The size of a video's pictures, px."""
    return f"{info.size_hw[1]}x{info.size_hw[0]} px"


def make_sinks(info: VideoInfo, setup: Setup, args: argparse.Namespace, paths: Sequence[Path]) -> list[Sink]:
    """One sink per output file; the video last, so that it is finished first and the others stand or fall with it."""
    from avadet.inference.events import EventsSink
    from avadet.inference.overlay import OverlayTiming, VideoSink
    from avadet.inference.report.sink import ReportSink
    from avadet.inference.sinks import AvaCsvSink, JsonlSink

    labels = setup.model.labels
    ava_csv, jsonl, events_csv, *others = paths
    mp4 = [path for path in others if path.suffix == ".mp4"]
    sinks: list[Sink] = [AvaCsvSink(ava_csv, labels), JsonlSink(jsonl, labels, args.threshold)]
    sinks.append(EventsSink(events_csv, labels, args.threshold))
    late_s = (setup.smoothing.delay_s if setup.smoothing else 0.0) + (setup.batch - 1) * (args.every or 1.0)
    timing = OverlayTiming.of(args.every or 1.0, float(setup.model.spec.offsets_s()[-1]) + late_s)
    page = (path for path in others if path.suffix == ".html")
    annotated, known = next(iter(mp4), None), model_notes.known_actions(setup.model)
    sinks += [
        ReportSink(path, info, labels, args.threshold, timing, annotated, setup.model.name, known) for path in page
    ]
    return sinks + [VideoSink(path, info, labels, args.threshold, timing) for path in mp4]


def headline(summary: Summary, took_s: float) -> str:
    """Say in one line how much was seen and how long it took."""
    speed = summary.recorded_s / took_s if took_s > 0 else 0.0
    seen = f"{summary.recorded_s:.1f} s of video, {videos.count(summary.num_keyframes, 'keyframe')}"
    return f"{seen}, {summary.people} ({took_s:.1f} s, {speed:.1f}x real time)"


def who_did_what(summary: Summary) -> list[str]:
    """One line per tracked person, longest seen first: the best action over time."""
    tracks = sorted(summary.spans.items(), key=lambda item: item[1][0].start_s - item[1][-1].end_s)
    lines = [f"person {track}: {_spans_line(spans)}" for track, spans in tracks[:SHOWN_PEOPLE]]
    if len(tracks) > SHOWN_PEOPLE:
        lines.append(f"and {len(tracks) - SHOWN_PEOPLE} more, all in the .jsonl")
    return lines


def _spans_line(spans: Sequence[Span]) -> str:
    named = [span for span in spans if span.action]
    if not named:
        return f"no action above the threshold ({_period(spans[0].start_s, spans[-1].end_s)})"
    texts = [
        f"{span.action} {_period(span.start_s, span.end_s)} ({span.best_score:.2f})" for span in named[:SHOWN_SPANS]
    ]
    return ", ".join(texts) + (", ..." if len(named) > SHOWN_SPANS else "")


def _period(start_s: float, end_s: float) -> str:
    start, end = (f"{round(time_s, 2):.10g}" for time_s in (start_s, end_s))
    return f"at {start} s" if start_s == end_s else f"{start}-{end} s"
