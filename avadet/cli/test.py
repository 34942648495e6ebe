"""`avadet test`: run an action model over a split of a data set and score it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avadet.cli import arguments
from avadet.cli.evaluate import DEFAULT_PROTOCOL, PROTOCOLS, count
from avadet.errors import AvadetError, first_names
from avadet.files import check_target

if TYPE_CHECKING:
    from avadet.annotations.specs import DataSet
    from avadet.annotations.splits import DataSplit
    from avadet.data.clips import BrokenSample
    from avadet.data.frame_cache import FrameCache
    from avadet.data.index import AnnotationIndex
    from avadet.training.scoring import Outcome

BOX_FILES = (".csv", ".gz", ".pkl", ".pickle")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    add = parser.add_argument
    add("model", help="name of a model, a file of weights, or the folder of a training run")
    add("spec", nargs="?", metavar="SPEC", help="data set: a name (jhmdb21, ava_v2.2, ...) or a YAML file; may be left "
        "out for a training run, whose data set it then is")  # fmt: skip
    add("overrides", nargs="*", metavar="key=value", help="right after SPEC: change it, e.g. videos.starts_at_s=900")
    add("--root", type=Path, metavar="DIR", help="the folder of its files (default: that of the YAML file)")
    add("--split", metavar="NAME", help="default: val, else test, else the only one; of a training run: that it was "
        "scored on")  # fmt: skip
    add("--boxes", default="truth", metavar="WHOSE", help="truth = annotated boxes (default); proposals = those of the "
        "split; a .csv or .pkl file of boxes, as `avadet detect-persons` writes it; or a person detector: "
        f"{arguments.DETECTOR_HELP}")  # fmt: skip
    add("--person-score", type=arguments.fraction, default=0.0, metavar="S", help="only boxes of a file or of a "
        "detector with this score or more (default: all)")  # fmt: skip
    add("--times-person", action=argparse.BooleanOptionalAction, default=False, help="multiply the score of an action "
        "by that of the box, which is 1 for annotated boxes (default: no)")  # fmt: skip
    add("--flip", action="store_true", help="average with the scores of the mirrored clip")
    add("--scales", type=_sides, default=(), metavar="224,256", help="average over clips of these short sides, px "
        "(default: the model's own)")  # fmt: skip
    add("--shifts", type=arguments.whole_positive, default=1, metavar="N", help="average over N clips that lie evenly "
        "over half of a clip's length around the keyframe (default: 1, the keyframe alone)")  # fmt: skip
    add("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL, help="whose rules (default: %(default)s)")
    add("--keyframe-step", "--every-frame", type=arguments.whole_positive, default=1, metavar="N",
        help="score every N-th keyframe of each video (default: 1)")  # fmt: skip
    add("--on-error", choices=("stop", "skip"), default="stop", help="what a clip that cannot be read is: an error "
        "(default), or counted, with nothing found on its keyframe")  # fmt: skip
    add("--per-class", action="store_true", help="print the AP of every class as well")
    add("--out", type=Path, metavar="DET.csv", help="write detections there, the annotations of the scored keyframes "
        "to DET.gt.csv, and where a person does exactly one thing detections with scores averaged along tracks to "
        "DET.tracks.csv")  # fmt: skip
    add("--cache", type=Path, metavar="DIR", help="keep decoded frames there, for data sets of short videos that are "
        "read often, and feature banks (default: no frames, banks in runs/banks)")  # fmt: skip
    add("--batch-size", type=arguments.whole_positive, default=32, help="clips per batch (default: %(default)s)")
    add("--workers", type=count, default=0, help="processes that decode clips (default: 0, the main process)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _sides(text: str) -> tuple[int, ...]:
    return tuple(arguments.whole_positive(side) for side in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Score, print the numbers, write the files."""
    from avadet.annotations.splits import read_split
    from avadet.data.frame_cache import FrameCache
    from avadet.data.video_facts import metadata_of
    from avadet.memory import keep_freed_memory
    from avadet.models import zoo
    from avadet.models.devices import choose_device
    from avadet.progress import is_shown
    from avadet.training.banks import BankMaker, Banks
    from avadet.training.distributed import Processes
    from avadet.training.scoring import ClipScore, ClipScorer

    if args.out is not None:
        check_target(args.out.with_suffix(".tracks.csv"))  # the longest of the names
    keep_freed_memory()
    data, name = _data_set(args)
    device = choose_device(args.device)
    loaded = zoo.load(args.model, str(device))
    split = read_split(data, name, metadata_of, skip_unreadable=args.on_error == "skip")
    cache = None if args.cache is None else FrameCache(args.cache)
    split, everyone, targets, unseen = _targets(args, data, split, str(device), cache)
    for text in split.notes:
        print(f"avadet: warning: {text}", file=sys.stderr)
    scorer = ClipScorer(loaded, args.batch_size, args.flip, None, args.scales, args.shifts)
    banks = None
    if loaded.bank is not None:
        folder = args.cache or Path("runs/banks")
        maker = BankMaker(loaded.bank, folder, device, args.batch_size, args.workers, args.on_error)
        banks = Banks(maker.banks(everyone, Processes(), is_shown()), loaded.bank_window_s)
    score = ClipScore(scorer, split, targets, data.labels, args.protocol, workers=args.workers, banks=banks,
                      times_person=args.times_person, on_error=args.on_error, cache=cache)  # fmt: skip
    outcome = score(loaded.model, is_shown())
    outcome = replace(outcome, skipped=(*unseen, *outcome.skipped))
    if args.out is not None:
        _write(outcome, args.out)
    _report(args, outcome, targets, f"{data.name} {name}", scorer.views)
    return 0


def _data_set(args: argparse.Namespace) -> tuple[DataSet, str]:
    """The data set and the split that the arguments mean; of a training run's config what they leave out."""
    from avadet.annotations.specs import open_data_set

    spec, overrides, root, name = args.spec, list(args.overrides), args.root, args.split
    if spec is not None and "=" in spec and not Path(spec).exists():
        spec, overrides = None, [spec, *overrides]
    if spec is None:
        trained = _data_of_run(Path(args.model))
        spec, overrides = trained["spec"], [*(trained.get("overrides") or ()), *overrides]
        root, name = root or trained.get("root"), name or trained.get("scored")
    data = open_data_set(spec, root, overrides)
    name = name or _only_split(data)
    if data.split(name).join is None and data.split(name).annotations is None:
        raise AvadetError(f"split {name} of {data.name} has no annotations to score against; give another --split")
    return data, name


def _data_of_run(folder: Path) -> dict[str, Any]:
    """What the config of a training run says of its data."""
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        data: dict[str, Any] = config["data"]
        if isinstance(data["spec"], str):
            return data
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        pass
    raise AvadetError(
        f"{folder} does not say what data set it is to be tested on; give it: `avadet test MODEL jhmdb21 --root DIR`"
    )


def _only_split(data: DataSet) -> str:
    """The split that is meant where none is named."""
    splits = data.spec.splits
    usual = [name for name in ("val", "test") if name in splits and (splits[name].annotations or splits[name].join)]
    if not usual and len(splits) > 1:
        raise AvadetError(f"{data.name} has the splits {', '.join(splits)}; say which: --split NAME")
    return usual[0] if usual else next(iter(splits))


def _targets(
    args: argparse.Namespace, data: DataSet, split: DataSplit, device: str, cache: FrameCache | None
) -> tuple[DataSplit, AnnotationIndex, AnnotationIndex, list[BrokenSample]]:
    """The split with its proposals, the boxes for feature banks, those to score, and frames that no detector saw."""
    from avadet.data.clips import BrokenSample
    from avadet.data.keyframes import scoring_index, training_index
    from avadet.progress import is_shown
    from avadet.training import scored_boxes

    boxes, unseen = Path(args.boxes), list[BrokenSample]()
    if args.boxes in ("truth", "gt"):
        everyone = training_index(split, data.labels)
    elif boxes.suffix in BOX_FILES or args.boxes == "proposals":
        if boxes.suffix in BOX_FILES:
            split = scored_boxes.with_boxes_of(split, boxes, data.spec.videos.fps)
        everyone = scoring_index(split, data.labels, args.person_score, keep_empty=True)
    else:
        everyone = training_index(split, data.labels, keep_empty=True)
    targets = scored_boxes.scored_keyframes(everyone, split, args.protocol, args.keyframe_step)
    _check_videos(args, data, targets)
    if boxes.suffix in BOX_FILES and split.proposals is not None:
        print(scored_boxes.check_coverage(targets, split.proposals, boxes))
    elif args.boxes not in ("truth", "gt", "proposals"):
        from avadet.persons.load import load_detector

        persons = load_detector(args.boxes, device, args.person_score or None)
        how = (args.workers, args.on_error, cache, is_shown())
        targets, unseen = scored_boxes.found_boxes(targets, persons, *how)
        everyone = targets
    return split, everyone, targets, unseen


def _check_videos(args: argparse.Namespace, data: DataSet, targets: AnnotationIndex) -> None:
    """Raise AvadetError if there is nothing to score, or videos are missing and that is an error."""
    used = [targets.videos[row] for row in sorted(set(targets.video_rows.tolist()))]
    missing = [video.video_id for video in used if video.path is None]
    if not used:
        raise AvadetError(f"{data.root}: no keyframe to score; see `avadet data check`")
    if missing and args.on_error == "stop":
        raise AvadetError(
            f"{len(missing)} of {len(used)} videos are missing from {' and '.join(map(str, data.video_folders()))} "
            f"({first_names(missing, 3)}); see `avadet data check`, or take them for videos on which nothing is found: "
            "--on-error skip"
        )


def _write(outcome: Outcome, out: Path) -> None:
    """Write what `avadet eval` reads: detections and the truth."""
    from avadet.annotations.ava import write_table

    files = {out: outcome.found, out.with_suffix(".tracks.csv"): outcome.averaged}
    files[out.with_suffix(".gt.csv")] = outcome.truth
    for path, table in files.items():
        if table is not None:
            write_table(path, table)
    print(f"wrote {', '.join(str(path) for path, table in files.items() if table is not None)}")


def _report(args: argparse.Namespace, outcome: Outcome, targets: AnnotationIndex, what: str, views: str) -> None:
    """Print the numbers, in the last line the one that counts and all that it hangs on."""
    from avadet.data.batching import describe_skipped
    from avadet.models.predict import SCORE_NAMES

    if args.per_class:
        print(outcome.table)
    videos = len(set(targets.video_rows.tolist()))
    print(f"{videos} videos, {len(targets)} keyframes, {len(targets.labels)} boxes scored")
    if outcome.skipped:
        for line in describe_skipped(outcome.skipped):
            print(f"avadet: warning: {line}", file=sys.stderr)
        print(f"{len(outcome.skipped)} clips cannot be read; nothing is found on their keyframes")
    mean = "frame-mAP@0.5"
    for name, title in (
        ("accuracy", "accuracy of the best class"),
        ("track_map", f"{mean} with scores averaged along tracks"),
    ):
        if name in outcome.metrics:
            print(f"{title}: {outcome.metrics[name]:.2f}")
    every = f", one keyframe of {args.keyframe_step}" if args.keyframe_step > 1 else ""
    boxes = "truth" if args.boxes == "gt" else args.boxes
    least = f" of {args.person_score:g} or more" if args.person_score and boxes != "truth" else ""
    print(
        f"{mean} ({args.protocol}): {outcome.metrics['frame_map']:.2f} on {what}{every}; boxes: {boxes}{least}; "
        f"views: {views}; score: {SCORE_NAMES[args.times_person]}"
    )
