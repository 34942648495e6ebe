"""`avadet render`: videos of drawn persons with known boxes and actions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.errors import AvadetError, unknown_name

if TYPE_CHECKING:
    import numpy as np

    from avadet.synthetic.scene import SyntheticClip

MAX_SECONDS = 60.0
MAX_PERSONS = 20
FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet render`."""
    parser.epilog = (
        "Without options, the demo clip is written to OUT.mp4, and its truth to OUT.gt.csv, one keyframe per second. "
        "--clips N writes a data set of N videos instead: videos, annotations and a spec, DIR/spec.yaml, to train on "
        "alone or beside other data sets (`parts` of their spec)."
    )
    parser.add_argument("video", type=Path, nargs="?", metavar="OUT.mp4", help="video to write, OUT.gt.csv beside it")
    parser.add_argument("--clips", type=int, metavar="N", help="write a data set of N videos to --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the data set; must not be there yet")
    parser.add_argument("--labels", help="with --clips: label map, by name or file (default jhmdb21)")
    parser.add_argument("--step", type=int, help="with --clips: frames from one keyframe to the next (default 1)")
    parser.add_argument("--seed", type=int, help="random seed; the same seed gives the same clips (default 0)")
    parser.add_argument("--seconds", type=float, help="length of a clip (default 4; with --clips 1.3)")
    parser.add_argument(
        "--persons", "--people", metavar="N or N-M", help="persons in a clip (default 2; with --clips 1-2)"
    )
    parser.add_argument("--actions", help="actions to choose from, e.g. walk,wave (default: all that can be drawn)")
    parser.add_argument("--size", metavar="WxH", help="width and height, px (default 640x480; with --clips 320x240)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.mp4 and OUT.gt.csv where they are there")


def run(args: argparse.Namespace) -> int:
    """Render, write and say what lies where."""
    if args.clips is None:
        _refuse(args, ("out", "labels", "step"), "needs --clips N")
        if args.video is None:
            raise AvadetError("say what to write: OUT.mp4 for one video, or --clips N --out DIR for a data set")
        return _one_video(args)
    _refuse(args, ("video", "overwrite"), "is for one video, not for --clips")
    if args.out is None:
        raise AvadetError("--clips needs a folder to write to: --out DIR")
    return _data_set(args)


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(args, name) not in (None, False):
            raise AvadetError(f"{'OUT.mp4' if name == 'video' else f'--{name}'} {why}; see avadet render --help")


def _one_video(args: argparse.Namespace) -> int:
    import numpy as np

    from avadet.labels import read_label_map
    from avadet.synthetic.dataset import truth_rows, write_lines, write_video
    from avadet.synthetic.demo import demo_clip

    truth = args.video.with_suffix(".gt.csv")
    there = [str(path) for path in (args.video, truth) if path.exists()]
    if there and not args.overwrite:
        raise AvadetError(f"{', '.join(there)} already there; add --overwrite to replace, or choose another name")
    options = (args.seed, args.seconds, args.persons, args.actions, args.size)
    is_demo = all(option is None for option in options)
    rng = np.random.default_rng(abs(args.seed or 0))
    clip = demo_clip() if is_demo else _scene(args, rng, 4.0, "2", "640x480", _actions(args))
    write_video(args.video, clip)
    write_lines(truth, truth_rows(args.video.stem, clip, read_label_map("jhmdb21"), round(clip.fps)))
    persons = f"{len(clip.labels)} person{'' if len(clip.labels) == 1 else 's'}"
    doing = f": {', '.join(clip.labels)}" if clip.labels else ""
    print(f"{args.video}: {len(clip.frames)} frames, {persons}{doing}; truth in {truth}")
    return 0


def _data_set(args: argparse.Namespace) -> int:
    import numpy as np

    from avadet.labels import read_label_map
    from avadet.progress import progress_bar
    from avadet.synthetic.actions import ACTIONS
    from avadet.synthetic.dataset import write_data_set

    step = 1 if args.step is None else args.step
    if args.clips < 1 or step < 1:
        raise AvadetError(f"--clips and --step must be at least 1, got {args.clips} and {step}")
    labels = args.labels or "jhmdb21"
    names = read_label_map(labels).names
    actions = _actions(args) or [name for name in ACTIONS if name in names]
    missing = [name for name in actions if name not in names]
    if missing or not actions:
        lacks = ", ".join(missing) or f"any of {', '.join(ACTIONS)}"
        raise AvadetError(f"label map {labels} does not have {lacks}; choose other --actions or another --labels")
    seed = abs(args.seed or 0)

    def clips() -> Iterator[SyntheticClip]:
        with progress_bar(desc="rendering", unit="clip", total=args.clips) as bar:
            for number in range(args.clips):
                yield _scene(args, np.random.default_rng([seed, number]), 1.3, "1-2", "320x240", actions)
                bar.update()

    spec = write_data_set(args.out, clips(), labels, step)
    print(f"{args.out}: {args.clips} videos of {', '.join(actions)}; spec: {spec}")
    return 0


def _actions(args: argparse.Namespace) -> list[str] | None:
    """The actions asked for; None = all."""
    from avadet.synthetic.actions import ACTIONS

    actions = [name.strip() for name in args.actions.split(",")] if args.actions else None
    for name in actions or ():
        if name not in ACTIONS:
            raise unknown_name("action", name, ACTIONS)
    return actions


def _scene(
    args: argparse.Namespace,
    rng: np.random.Generator,
    seconds: float,
    persons: str,
    size: str,
    actions: list[str] | None,
) -> SyntheticClip:
    """A random scene by the options, or by these values where options are not given."""
    from avadet.synthetic.scene import random_scene

    length = seconds if args.seconds is None else args.seconds
    if not 0 < length <= MAX_SECONDS:
        raise AvadetError(f"--seconds must lie between 0 and {MAX_SECONDS:g}, got {length:g}")
    frames = max(1, round(length * FPS))
    return random_scene(rng, _size_hw(args.size or size), frames, FPS, _span(args.persons or persons), actions)


def _span(text: str) -> tuple[int, int]:
    """Read '2' as (2, 2) and '1-3' as (1, 3)."""
    low, dash, high = text.partition("-")
    numbers = (low, high if dash else low)
    if not (all(number.isdecimal() for number in numbers) and int(numbers[0]) <= int(numbers[1]) <= MAX_PERSONS):
        raise AvadetError(f"--persons must be a number or a range, 0 to {MAX_PERSONS}, got {text}; e.g. 2 or 1-3")
    return int(numbers[0]), int(numbers[1])


def _size_hw(text: str) -> tuple[int, int]:
    """Read '640x480' as (480, 640)."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 32 <= int(width) <= 4096 and 32 <= int(height) <= 4096):
        raise AvadetError(f"--size must be WIDTHxHEIGHT, 32 to 4096 px each, got '{text}'; e.g. 640x480")
    return int(height), int(width)
