"""`avadet data convert`: annotations from one tool's format to another's."""

from __future__ import annotations

import argparse
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.arguments import LABELS_HELP, positive
from avadet.cli.videos import note
from avadet.errors import AvadetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from avadet.annotations.action_names import ActionNames
    from avadet.annotations.ava_rows import AvaRows
    from avadet.annotations.conversion import Reading
    from avadet.annotations.foreign import Footage
    from avadet.types import LabelMap, VideoInfo

_FORMATS = ("ava", "coco", "cvat", "via", "csv")
_READS_WITH = {
    "last": ("ava",),
    "images": ("coco",),
    "columns": ("csv",),
    "units": ("csv",),
    "every": ("cvat",),
    "attribute": ("cvat", "via"),
    "video": ("cvat", "via", "csv"),
    "fps": ("cvat", "via", "csv"),
    "new_labels": ("cvat", "via", "csv"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data convert`."""
    parser.epilog = (
        "Formats: ava = AVA's CSV without header; coco = COCO JSON; cvat = CVAT 1.1 XML (read: for images and for "
        "videos; written: for images); via = VGG Image Annotator (read: 3 and 2; written: 3); csv = any CSV with a "
        "header. What a format cannot hold goes along as a note, so that the way back gives the same file; what was "
        "edited on the way counts."
    )
    parser.add_argument("source", type=Path, metavar="IN", help="the file to read, plain or gzipped (.gz)")
    parser.add_argument("target", type=Path, metavar="OUT", help="the file to write: .csv (AVA), .json (COCO) or .xml")
    parser.add_argument("--from", dest="source_format", choices=_FORMATS, help="format of IN (default: by its content)")
    parser.add_argument("--to", dest="target_format", choices=_FORMATS, help="format of OUT (default: by its suffix)")
    names = parser.add_argument_group("actions")
    names.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help=f"label map, which turns names into ids and back: {LABELS_HELP}",
    )
    names.add_argument(
        "--new-labels",
        type=Path,
        metavar="OUT",
        help="without --labels: number the names of IN 1, 2, ... and write this label map (.csv)",
    )
    names.add_argument(
        "--attribute",
        action="append",
        metavar="NAME",
        help="CVAT, VIA: the attribute that says actions, whatever its name; may be repeated",
    )
    _add_footage(parser)
    table = parser.add_argument_group("tables")
    table.add_argument(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="csv: which column is what, where names do not tell; roles: video time frame x1 y1 x2 y2 x y cx cy w h "
        "action action_id person_id score",
    )
    table.add_argument("--units", choices=("px", "norm"), help="csv: boxes are pixels, or 0-1 of the frame")
    table.add_argument("--last", choices=("score", "person_id"), help="ava: what column 8 is (default: whole = ids)")
    table.add_argument(
        "--images", type=Path, metavar="FILE", help="coco: the file with the images of a list of detections"
    )


def _add_footage(parser: argparse.ArgumentParser) -> None:
    """Declare what files leave unsaid of videos."""
    footage = parser.add_argument_group("videos")
    footage.add_argument("--videos", type=Path, metavar="DIR", help="look up frame sizes and rates in these files")
    footage.add_argument(
        "--size", type=_size_hw, metavar="WxH", help="size of frames, px (default for writing: 640x480)"
    )
    footage.add_argument("--fps", type=positive, metavar="N", help="frames per second, where IN counts frames")
    footage.add_argument(
        "--first-frame", type=int, default=0, metavar="N", help="number of the first frame (default 0)"
    )
    footage.add_argument(
        "--every", type=positive, metavar="S", help="CVAT tracks: a keyframe every S seconds, not every frame"
    )
    footage.add_argument("--video", metavar="NAME", help="the video, where IN does not name it")


def _size_hw(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,5})[xX*]([1-9]\d{0,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, such as 640x480, got '{text}'")
    return int(match[2]), int(match[1])


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was read, how, and what was written."""
    from avadet.annotations import conversion

    target = args.target_format or conversion.format_of_name(args.target)
    if args.labels is not None and args.new_labels is not None:
        raise AvadetError("--labels and --new-labels: give one of them")
    source = args.source_format or conversion.format_of_content(args.source)
    _refuse(args, source)
    if args.target.exists() and args.target.samefile(args.source):
        raise AvadetError(f"{args.target} is the file to read; write to another")
    infos = _look_up(args.videos, args.fps)
    reading = _reading(args, infos)
    read = conversion.read_annotations(args.source, source, reading)
    labels = reading.labels
    if args.new_labels is not None:
        labels = _write_new_labels(args.new_labels, reading.names)
    names = {row.video_id for row in read.rows.rows}
    sizes_hw = {name: info.size_hw for name in names if args.size is None and (info := infos(name)) is not None}
    size_hw = args.size or (480, 640)
    conversion.write_annotations(args.target, target, read.rows, labels, size_hw, sizes_hw)
    if target in ("coco", "cvat", "via") and args.size is None and names - sizes_hw.keys():
        note(f"warning: boxes are pixels of frames taken to be {size_hw[1]}x{size_hw[0]}; say --size or --videos")
    _say(args, f"{conversion.TITLES[source]}" + (f": {read.understood}" if read.understood else ""), read.rows)
    return 0


def _say(args: argparse.Namespace, understood: str, rows: AvaRows) -> None:
    print(f"{args.source}: {understood}")
    from avadet.annotations.ava_rows import keyframe_numbers

    keyframes = len(set(keyframe_numbers(rows.rows)))
    left_out = f"; left out {rows.num_left_out} annotations that are no people" if rows.num_left_out else ""
    print(f"{args.target}: {len(rows.rows)} rows in {keyframes} keyframes{left_out}")
    for note_line in rows.notes:
        note(f"{args.source}: {note_line}")
    idle = sum(row.box_norm is not None and row.action_id is None for row in rows.rows)
    if idle:
        print(f"{idle} of them are people without an action")


def _refuse(args: argparse.Namespace, source: str) -> None:
    """Raise for options that are for reading other formats."""
    for option, formats in _READS_WITH.items():
        if getattr(args, option) is not None and source not in formats:
            flag = f"--{option.replace('_', '-')}"
            raise AvadetError(f"{flag} is for reading {' or '.join(formats)}, but {args.source} is {source}")


def _reading(args: argparse.Namespace, infos: Callable[[str], VideoInfo | None]) -> Reading:
    from avadet.annotations.action_names import ActionNames
    from avadet.annotations.conversion import Reading
    from avadet.models.zoo.label_sources import read_labels

    labels = None if args.labels is None else read_labels(args.labels)
    names = ActionNames(labels, args.new_labels is not None)
    columns = dict(_pair(part) for part in args.columns.split(",")) if args.columns else {}
    return Reading(names, labels, _footage(args, infos), args.last, args.images, columns, args.units)


def _footage(args: argparse.Namespace, infos: Callable[[str], VideoInfo | None]) -> Footage:
    from avadet.annotations.foreign import Footage

    def size_hw(video_id: str) -> tuple[int, int] | None:
        info = None if args.size else infos(video_id)
        return args.size or (info.size_hw if info else None)

    def fps(video_id: str) -> float | None:
        info = None if args.fps else infos(video_id)
        return args.fps or (float(info.fps) if info else None)

    return Footage(size_hw, fps, args.first_frame, args.every, args.video, tuple(args.attribute or ()))


def _pair(text: str) -> tuple[str, str]:
    role, equals, column = text.partition("=")
    if not equals:
        raise AvadetError(f"--columns: expected ROLE=COLUMN, got '{text}'")
    return role.strip(), column.strip()


def _look_up(folder: Path | None, fps: float | None) -> Callable[[str], VideoInfo | None]:
    """What is known of a video by its name: the file or the folder of images in a folder, opened once."""
    if folder is not None and not folder.is_dir():
        raise AvadetError(f"--videos {folder}: no such folder")

    @cache
    def info(video_id: str) -> VideoInfo | None:
        from avadet.files import VIDEO_SUFFIXES
        from avadet.video.image_names import holds_images
        from avadet.video.read import probe

        if folder is None or Path(video_id).is_absolute() or ".." in Path(video_id).parts:
            return None
        file = next((path for end in VIDEO_SUFFIXES if (path := folder / f"{video_id}{end}").is_file()), None)
        if file is None and holds_images(folder / video_id):
            return probe(folder / video_id, fps)
        return None if file is None else probe(file)

    return info


def _write_new_labels(path: Path, names: ActionNames) -> LabelMap | None:
    """Write the label map that reading has numbered, and give it."""
    from avadet.annotations.ava import csv_line
    from avadet.files import whole_file
    from avadet.types import LabelMap

    options = names.options()
    with whole_file(path) as partial:
        lines = ["id,name", *(csv_line((number, name)) for number, name in options.items())]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{path}: {len(options)} actions")
    count = len(options)
    return LabelMap(tuple(options.values()), tuple(options), ("action",) * count, (True,) * count) if count else None
