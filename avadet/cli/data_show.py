"""`avadet data show`: keyframes of a data set as pictures, with what its annotations say of them."""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avadet.cli.arguments import whole_positive
from avadet.cli.data_sets import add_data_set, opened
from avadet.cli.videos import note
from avadet.errors import AvadetError, unknown_name

if TYPE_CHECKING:
    from avadet.annotations.ava import AvaTable
    from avadet.annotations.splits import DataSplit, DataVideo
    from avadet.data.clip_reader import OpenVideos
    from avadet.types import Float64Array, IntArray, LabelMap, UInt8Array
    from avadet.video.reader import Picture

_SAME_S = 1e-6
_SHEET = "sheet.png"


class _Key(NamedTuple):
    video_id: str
    time_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data show`."""
    parser.epilog = (
        "Writes one PNG a keyframe and sheet.png with all of them: people with their actions and ids, proposals in "
        "dashes, excluded keyframes under a red title."
    )
    add_data_set(parser)
    parser.add_argument("--split", metavar="NAME", help="which split (default: the first)")
    parser.add_argument("--video", metavar="ID", help="only keyframes of this video")
    parser.add_argument(
        "--time",
        type=float,
        action="append",
        metavar="S",
        help="the keyframe of --video nearest to this second; may be repeated",
    )
    parser.add_argument(
        "--num", type=whole_positive, default=12, metavar="N", help="how many to draw at random (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")


def run(args: argparse.Namespace) -> int:
    """Choose keyframes, draw them, write the pictures, and say where they are."""
    from avadet.annotations.splits import read_split
    from avadet.data.clip_reader import OpenVideos
    from avadet.video.sheet import contact_sheet, write_png

    data = opened(args)
    split = read_split(data, args.split or next(iter(data.spec.splits)), strict=False)
    videos = {video.video_id: video for video in split.videos}
    keys = _chosen(args, split, videos)
    files = OpenVideos()
    pictures = []
    for number, key in enumerate(keys, start=1):
        try:
            picture = _picture(files, videos[key.video_id], key, split, data.labels)
        except AvadetError as error:
            note(f"warning: {error}")
            continue
        name = re.sub(r"[^\w.-]+", "_", f"{number:03d}_{key.video_id}_{key.time_s:.6f}".rstrip("0").rstrip("."))
        write_png(args.out / f"{name}.png", picture)
        pictures.append(picture)
    files.close()
    if not pictures:
        raise AvadetError(f"none of the {len(keys)} keyframes could be shown")
    write_png(args.out / _SHEET, contact_sheet(pictures))
    print(f"{args.out}: {len(pictures)} keyframes of {data.name}, split {split.name}; all on {args.out / _SHEET}")
    return 0 if len(pictures) == len(keys) else 1


def _chosen(args: argparse.Namespace, split: DataSplit, videos: dict[str, DataVideo]) -> list[_Key]:
    """The keyframes to show, in order of video and time.

    Raises:
        AvadetError: if there are none, or none with a video.
    """
    if args.time is not None and args.video is None:
        raise AvadetError("--time needs --video ID: seconds of which video?")
    if args.video is not None and args.video not in videos:
        raise unknown_name(f"video of split {split.name}", args.video, videos)
    tables = [(split.table.video_ids, split.table.times_s), (split.excluded.video_ids, split.excluded.times_s)]
    keys = {_Key(str(name), round(float(t), 6)) for names, times_s in tables for name, t in zip(names, times_s)}
    own = sorted(key for key in keys if args.video in (None, key.video_id) and key.video_id in videos)
    there = [key for key in own if videos[key.video_id].path is not None]
    if not there:
        what = "no keyframes" if not own else f"{len(own)} keyframes, but none of their videos has a file"
        raise AvadetError(f"split {split.name} has {what}; check --root, videos.folder and the split")
    missing = len({key.video_id for key in own}) - len({key.video_id for key in there})
    if missing:
        note(f"warning: {missing} videos of {split.name} have no file; chosen among the others")
    if args.time is not None:
        return [_nearest(there, time_s) for time_s in args.time]
    return sorted(random.Random(args.seed).sample(there, min(args.num, len(there))))


def _nearest(keys: list[_Key], time_s: float) -> _Key:
    from avadet.keyframes import tolerance_s

    key = min(keys, key=lambda one: abs(one.time_s - time_s))
    if abs(key.time_s - time_s) >= tolerance_s(None):
        note(f"{key.video_id} has no keyframe at {time_s:g} s; the nearest is at {key.time_s:g} s")
    return key


def _picture(files: OpenVideos, video: DataVideo, key: _Key, split: DataSplit, labels: LabelMap) -> UInt8Array:
    """A keyframe with everything that the split says of it."""
    import numpy as np

    from avadet.video.draw import draw_people
    from avadet.video.sheet import PLAIN, WARNING, draw_dashed, enlarged, titled

    image = enlarged(_frame(files, video, key))
    size_px = np.array([image.shape[1], image.shape[0]] * 2, np.float64)
    if split.proposals is not None:
        found = split.proposals.boxes_norm[_rows_at(split.proposals, key)]
        image = draw_dashed(image, found[(found[:, 2:] > found[:, :2]).all(axis=1)] * size_px)
    boxes, captions, ids = _people(split.table, _rows_at(split.table, key), labels)
    image = draw_people(image, (boxes * size_px).astype(np.float32), captions, ids)
    excluded = _is_excluded(split, key)
    count = f"{len(boxes)} people" if len(boxes) != 1 else "1 person"
    title = f"{'EXCLUDED  ' if excluded else ''}{key.video_id}  {key.time_s:g} s  {count}"
    return titled(image, title, WARNING if excluded else PLAIN)


def _frame(files: OpenVideos, video: DataVideo, key: _Key) -> UInt8Array:
    """The keyframe's picture: the frame of its number, or the one nearest to its time.

    Raises:
        AvadetError: if the video is broken, or has no such frame.
    """
    import numpy as np

    from avadet.video.sample import SNAP_S, nearest_indices
    from avadet.video.timestamps import near_s

    time_s = files.keyframe_s(video, key.time_s)
    near: list[Picture] = []
    reader = files.reader(video)
    for picture in reader.pictures(max(time_s - SNAP_S, 0.0)):
        near = [*near[-1:], picture]
        if picture.time_s >= time_s:
            break
    times_s = np.array([picture.time_s for picture in near])
    picture = near[int(nearest_indices(times_s, np.array([time_s]))[0])]
    if abs(picture.time_s - time_s) > near_s(1 / float(reader.info.fps)):
        ends = f"the nearest is at {picture.time_s:.3f} s of the file"
        raise AvadetError(f"{video.path} has no frame at {time_s:.3f} s (keyframe {key.time_s:g}); {ends}")
    return picture.image()


def _rows_at(table: AvaTable, key: _Key) -> IntArray:
    """Numbers of a table's rows of one keyframe."""
    import numpy as np

    return np.flatnonzero((np.abs(table.times_s - key.time_s) < _SAME_S) & (table.video_ids == key.video_id))


def _is_excluded(split: DataSplit, key: _Key) -> bool:
    times = zip(split.excluded.video_ids, split.excluded.times_s)
    return any(name == key.video_id and abs(t - key.time_s) < _SAME_S for name, t in times)


def _people(table: AvaTable, rows: IntArray, labels: LabelMap) -> tuple[Float64Array, list[list[str]], IntArray | None]:
    """Boxes (n, 4) 0-1, lines of text each, and ids or None: one of each a person of the rows."""
    import numpy as np

    names = dict(zip(labels.ids, labels.names))
    people: dict[tuple[object, ...], list[str]] = {}
    for row in rows.tolist():
        box = tuple(table.boxes_norm[row].tolist())
        person = None if table.person_ids is None else int(table.person_ids[row])
        action = int(table.class_ids[row])
        if box == (0, 0, 0, 0) and action == 0:
            continue  # names a keyframe only
        lines = people.setdefault((box, person), [] if person is None else [f"#{person}"])
        lines += [names.get(action, f"class {action}?")] if action else []
    boxes = np.array([box for box, _ in people], np.float64).reshape(-1, 4)
    ids = None if table.person_ids is None else np.array([person for _, person in people], np.int64)
    return boxes, list(people.values()), ids
