"""`avadet test`: run a trained action model over the test videos of a data set and score it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.files import check_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from avadet.annotations.jhmdb import JhmdbVideo
    from avadet.persons.precomputed import PrecomputedBoxes
    from avadet.training.evaluate import ScoredVideo
    from avadet.types import LabelMap, PersonDetector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", help="name of a model, a .safetensors file, or the folder of a training run")
    parser.add_argument("--data", choices=["jhmdb21"], default="jhmdb21", help="data set (default: jhmdb21)")
    parser.add_argument("--root", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--split", type=int, choices=[1, 2, 3], default=1, help="official split (default: 1)")
    parser.add_argument(
        "--boxes",
        default="gt",
        help="gt = annotated boxes (default), the name of a person detector, or a .csv file of boxes as `avadet "
        "detect-persons` writes it",
    )
    parser.add_argument(
        "--every-frame", type=_positive, default=1, metavar="N", help="score every N-th annotated frame"
    )
    parser.add_argument("--flip", action="store_true", help="average with the scores of the mirrored clip")
    parser.add_argument(
        "--times-person",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="multiply the score of an action by that of the person, which is 1 for annotated boxes (default: yes)",
    )
    parser.add_argument("--out", type=Path, metavar="DET.csv", help="write detections there, the truth to DET.gt.csv, "
                        "and detections with scores averaged along tracks to DET.tracks.csv")  # fmt: skip
    parser.add_argument("--per-class", action="store_true", help="print the AP of every class as well")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder of decoded frames")
    parser.add_argument(
        "--cache-short-side", type=_positive, default=240, help="shorter side of those frames, px (default: 240)"
    )
    parser.add_argument("--batch-size", type=_positive, default=32, help="clips per batch (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def _positive(text: str) -> int:
    """A whole number from 1; argparse turns a ValueError into its own message."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def run(args: argparse.Namespace) -> int:
    """Score, print the numbers, write the files."""
    from avadet import progress
    from avadet.annotations.jhmdb import read_jhmdb21
    from avadet.data.frame_store import FrameStore
    from avadet.memory import keep_freed_memory
    from avadet.models import zoo
    from avadet.models.devices import choose_device
    from avadet.models.predict import SCORE_NAMES
    from avadet.training.evaluate import ClipScorer, score_videos

    if args.out is not None:
        check_target(args.out.with_suffix(".tracks.csv"))  # the longest of the names
    keep_freed_memory()
    device = choose_device(args.device)
    loaded = zoo.load(args.model, str(device))
    videos = read_jhmdb21(args.root, args.split).test
    persons = _people(args.boxes, videos, str(device))
    for text in getattr(persons, "notes", ()):
        print(f"avadet: warning: {args.boxes}: {text}", file=sys.stderr)
    scorer = ClipScorer(loaded, args.batch_size, args.flip)
    store = FrameStore(args.cache, args.cache_short_side)
    scored = score_videos(
        scorer, videos, store, frame_step=args.every_frame, persons=persons, progress=progress.is_shown()
    )
    print(
        f"{loaded.name} on {args.data} split {args.split}, boxes: {args.boxes}, every frame: {args.every_frame}, "
        f"score: {SCORE_NAMES[args.times_person]}"
    )
    _report(scored, loaded.labels, args.per_class, args.times_person)
    if args.out is not None:
        _write(scored, loaded.labels, args.out, args.times_person)
    return 0


def _people(boxes: str, videos: Sequence[JhmdbVideo], device: str) -> PersonDetector | PrecomputedBoxes | None:
    """What `--boxes` asks for; None = the annotated boxes."""
    from avadet.persons.load import load_detector
    from avadet.training.setup import read_people

    if boxes == "gt":
        return None
    return read_people(Path(boxes), videos) if Path(boxes).suffix == ".csv" else load_detector(boxes, device)


def _report(scored: Sequence[ScoredVideo], labels: LabelMap, per_class: bool, times_person: bool) -> None:
    """Print frame-mAP frame by frame and along tracks."""
    from avadet.training.evaluate import average_tracks, frame_map, summarise

    if per_class:
        print(frame_map(scored, labels, times_person).table())
        print("with scores averaged along tracks:")
        print(frame_map([average_tracks(one) for one in scored], labels, times_person).table())
    numbers = summarise(scored, labels, times_person)
    people = sum(len(one.people.rows) for one in scored)
    print(f"{len(scored)} videos, {sum(len(one.rows) for one in scored)} frames, {people} boxes scored")
    print(f"frame-mAP@0.5, frame by frame:               {numbers['frame_map']:.2f}")
    print(f"frame-mAP@0.5, scores averaged along tracks: {numbers['track_map']:.2f}")
    if "accuracy" in numbers:
        print(f"accuracy of the best class:                  {numbers['accuracy']:.2f}")


def _write(scored: Sequence[ScoredVideo], labels: LabelMap, out: Path, times_person: bool) -> None:
    """Write what `avadet eval` reads: two files of detections and one of the truth."""
    from avadet.annotations.ava import write_detections
    from avadet.training.evaluate import action_detections, average_tracks, write_truth

    tracks, truth = out.with_suffix(".tracks.csv"), out.with_suffix(".gt.csv")
    for path, videos in ((out, scored), (tracks, [average_tracks(one) for one in scored])):
        write_detections(
            path, (keyframe for one in videos for keyframe in action_detections(one, times_person)), labels
        )
    write_truth(truth, scored, labels)
    print(f"wrote {out}, {tracks}, {truth}")
