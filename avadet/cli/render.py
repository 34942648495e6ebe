"""`avadet render`: a video of moving figures with known boxes and actions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.figures.scene import FigureClip

MAX_SECONDS = 60.0
FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet render`."""
    parser.epilog = "Without options it writes the demo clip. OUT.gt.csv gets the truth, one keyframe a second."
    parser.add_argument("out", type=Path, metavar="OUT.mp4", help="video to write; OUT.gt.csv is written beside it")
    parser.add_argument("--seed", type=int, help="random seed; the same seed gives the same clip (default 0)")
    parser.add_argument("--seconds", type=float, help="length (default 4)")
    parser.add_argument("--people", type=int, help="how many people (default 2)")
    parser.add_argument("--actions", help="actions to choose from, e.g. walk,wave (default: any of JHMDB-21)")
    parser.add_argument("--size", metavar="WxH", help="width and height, px (default 640x480)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are already there")


def run(args: argparse.Namespace) -> int:
    """Render, write both files and say where they lie."""
    from avadet.figures.clips import write_truth, write_video
    from avadet.labels import read_label_map

    truth = args.out.with_suffix(".gt.csv")
    there = [str(path) for path in (args.out, truth) if path.exists()]
    if there and not args.overwrite:
        raise AvadetError(f"{', '.join(there)} already there; add --overwrite to replace, or choose another name")
    clip = _clip(args)
    write_video(args.out, clip)
    write_truth(truth, {args.out.stem: clip}, read_label_map("jhmdb21"))
    print(
        f"{args.out}: {len(clip.frames)} frames, {len(clip.labels)} people: {', '.join(clip.labels)}; truth in {truth}"
    )
    return 0


def _clip(args: argparse.Namespace) -> FigureClip:
    """The demo clip, or a random scene where any option asks for one."""
    import numpy as np

    from avadet.figures.demo import demo_clip
    from avadet.figures.scene import random_scene

    options = (args.seed, args.seconds, args.people, args.actions, args.size)
    if all(option is None for option in options):
        return demo_clip()
    seconds = 4.0 if args.seconds is None else args.seconds
    if not 0 < seconds <= MAX_SECONDS:
        raise AvadetError(f"--seconds must lie between 0 and {MAX_SECONDS:g}, got {seconds:g}")
    people = 2 if args.people is None else args.people
    if not 0 <= people <= 20:
        raise AvadetError(f"--people must lie between 0 and 20, got {people}")
    actions = [name.strip() for name in args.actions.split(",")] if args.actions else None
    rng = np.random.default_rng(abs(args.seed or 0))
    frames = max(1, round(seconds * FPS))
    return random_scene(rng, _size_hw(args.size or "640x480"), frames, FPS, people, actions)


def _size_hw(text: str) -> tuple[int, int]:
    """Read '640x480' as (480, 640)."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 32 <= int(width) <= 4096 and 32 <= int(height) <= 4096):
        raise AvadetError(f"--size must be WIDTHxHEIGHT, 32 to 4096 px each, got '{text}'; e.g. 640x480")
    return int(height), int(width)
