"""One split of a data set, whatever its form: its videos, and a table of boxes and actions on one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from avadet.annotations.ava import AvaTable, Keyframes, read_excluded
from avadet.annotations.box_files import usable_boxes
from avadet.annotations.frame_lists import ImageFolders
from avadet.annotations.rules.book import NOTHING, UNREADABLE, judge
from avadet.annotations.rules.issues import Ledger, LinedTable, refuse
from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.rules.videos import NO_PICTURE, last_keyframes
from avadet.annotations.specs import DataSet, SplitSpec
from avadet.annotations.split_rows import SplitRows, read_files
from avadet.errors import AvadetError
from avadet.files import VIDEO_SUFFIXES
from avadet.keyframes import same_times
from avadet.types import BoolArray, Float64Array, IntArray
from avadet.video.image_names import ImageSequence, holds_images
from avadet.video.reader import Reader


@dataclass(frozen=True)
class DataVideo:
    """One video of a data set, and how its keyframes' times find their frames.

    Attributes:
        video_id: its name in the annotations.
        path: its file, or its folder of images, None = there is neither.
        starts_at_s: time of the file's first frame on the data set's clock, seconds.
        numbered_fps: where times only name frames: frames that make a second; None = times are times.
        images: how its folder is read as a video; None = it is a file.
    """

    video_id: str
    path: Path | None
    starts_at_s: float = 0.0
    numbered_fps: float | None = None
    images: ImageSequence | None = None

    def open(self, threads: int = 0) -> Reader:
        """Open it for reading; `threads` that decode a file, 0 = as many as the decoder likes.

        Raises:
            AvadetError: if it is missing, or nothing of it can be read.
        """
        from avadet.video.images import ImageReader
        from avadet.video.read import VideoReader

        if self.path is None:
            raise AvadetError(f"video {self.video_id} has no file; check videos.folder of the spec")
        return VideoReader(self.path, threads) if self.images is None else ImageReader(self.images)

    @property
    def source(self) -> Path | ImageSequence | None:
        """What tells it from other videos, of which several may lie in one folder of images; None = it is missing."""
        return self.images or self.path

    def file_times_s(self, times_s: Float64Array) -> Float64Array:
        """Keyframes in seconds after the file's first frame, (n,); only where times are times."""
        if self.numbered_fps is not None:
            raise AvadetError(f"{self.video_id}: its keyframes are frame numbers; use frame_indices")
        return np.asarray(times_s - self.starts_at_s)

    def frame_indices(self, times_s: Float64Array) -> IntArray:
        """0-based numbers of the frames that keyframes name, (n,); only where times name frames."""
        if self.numbered_fps is None:
            raise AvadetError(f"{self.video_id}: its keyframes are times; use file_times_s")
        return frame_numbers(times_s, self.starts_at_s, self.numbered_fps)


def frame_numbers(times_s: Float64Array, starts_at_s: Float64Array | float, fps: Float64Array | float) -> IntArray:
    """0-based numbers of the frames that keyframes, seconds, name where times only name frames; all broadcast."""
    return np.rint((times_s - starts_at_s) * fps).astype(np.int64)


@dataclass(frozen=True)
class DataSplit:
    """One split of a data set, read.

    Attributes:
        name: of the split.
        videos: sorted by name: those listed, or else those annotated.
        table: every row of the annotations, in file order; without rows where they are not public.
        excluded: keyframes that are not to be used.
        proposals: boxes of people with scores, None = there are none.
        lines: int64 (n,), each row's line in the annotations, from 1; 0 = they have no lines (a pickle). None = not
            known.
        notes: what is odd about boxes and times, and what becomes of it, one line each.
    """

    name: str
    videos: tuple[DataVideo, ...]
    table: AvaTable
    excluded: Keyframes
    proposals: AvaTable | None = None
    lines: IntArray | None = None
    notes: tuple[str, ...] = ()


ReadMetadata = Callable[[Sequence[DataVideo], Mapping[str, float]], Mapping[str, VideoMeta]]
"""Reads the metadata of videos, each up to its last keyframe, seconds of the data set's clock (`metadata_of`)."""


def read_split(
    data: DataSet,
    name: str,
    read_metadata: ReadMetadata | None = None,
    *,
    strict: bool = True,
    skip_unreadable: bool = False,
) -> DataSplit:
    """Read one split by the rule book: what it refuses is raised, what it drops for want of a picture is left out.

    Boxes stay as they stand in the file, of no use or repeated, since scores count them; `data.keyframes` clips them
    and leaves them out.

    Args:
        data: the data set.
        name: its split.
        read_metadata: of its videos, with which keyframes are compared, and missing videos are errors; None = videos
            are not opened, and `DataVideo.path` is None where there is none.
        strict: False = only boxes that make no sense are errors: for commands that show what is there, or copy it.
        skip_unreadable: some videos that are missing or cannot be read are no error: their clips are skipped one by
            one, and counted.

    Raises:
        AvadetError: if there is no such split, a file of it is missing or malformed, a rule refuses it, or splits
            cannot be joined.
    """
    split = data.split(name)
    if split.join is not None:
        read = {
            label: read_split(*source, read_metadata, strict=strict, skip_unreadable=skip_unreadable)
            for label, source in zip(split.join, data.sources(name))
        }
        return join_splits(name, read)
    rows = read_files(data, name)
    assert rows is not None  # it is raised
    videos = find_videos(data, rows.video_ids)
    ledger = judge(rows, None if read_metadata is None else read_metadata(videos, last_keyframes(rows)), examples=1)
    heeded = [issue for issue in ledger.issues if strict or issue.check.startswith("boxes-")]
    some = skip_unreadable and any(video.path is not None for video in videos)  # with none, the folder is wrong
    spared = (*(NOTHING if read_metadata is None else ()), *(UNREADABLE if some else ()))
    refuse([issue for issue in heeded if issue.check not in spared])
    keep = ~_without_picture(ledger, rows.annotated)
    proposals = None
    if rows.proposals is not None and rows.proposed is not None:
        kept = ~_without_picture(ledger, rows.proposed)
        proposals = usable_boxes(str(rows.proposals_file), rows.proposals).rows(kept)
    read_now = DataSplit(name, videos, rows.table.rows(keep), rows.excluded, proposals, rows.lines[keep])
    return _on_one_clock(data, split, read_now, (*ledger.notes(), *_column_notes(rows), *_twin_notes(data, videos)))


def split_metadata(rows: SplitRows, read_metadata: ReadMetadata) -> Mapping[str, VideoMeta]:
    """What the videos of a split are like, by name."""
    return read_metadata(find_videos(rows.data, rows.video_ids), last_keyframes(rows))


def _without_picture(ledger: Ledger, rows: LinedTable) -> BoolArray:
    return ledger.chosen(rows, lambda issue: issue.check.partition("-")[2] in NO_PICTURE)


def _column_notes(rows: SplitRows) -> list[str]:
    return [] if rows.proposals is None else [f"{rows.proposals_file}: {note}" for note in rows.proposals.notes]


def _on_one_clock(data: DataSet, spec: SplitSpec, split: DataSplit, notes: Sequence[str]) -> DataSplit:
    """The same split, its exclusions and proposals with the times of the annotations; and notes of what is odd."""
    tables = [(one.video_ids, one.times_s) for one in (split.table, split.excluded, split.proposals) if one is not None]
    (times_s, excluded_s, *found_s), joined = same_times(tables, data.spec.videos.fps)
    odd = [f"{spec.annotations}: {note}" for note in split.table.notes]
    odd += [f"{spec.proposals or spec.excluded}: {note}" for note in joined.notes("the annotations")]
    return replace(
        split,
        table=replace(split.table, times_s=times_s),
        excluded=Keyframes(split.excluded.video_ids, excluded_s),
        proposals=None if split.proposals is None else replace(split.proposals, times_s=found_s[0]),
        notes=(*notes, *odd),
    )


def join_splits(name: str, parts: Mapping[str, DataSplit]) -> DataSplit:
    """One split of several; every video keeps its own clock.

    Args:
        name: of the new split.
        parts: what is joined, by the names that messages call them.

    Raises:
        AvadetError: if two have a video of the same name, or some of them have proposals and others have none.
    """
    owner: dict[str, str] = {}
    for label, split in parts.items():
        for video in split.videos:
            if video.video_id in owner:
                raise AvadetError(
                    f"video '{video.video_id}' is in both {owner[video.video_id]} and {label}, which split {name} "
                    "joins; rows could not be told apart, so give it another name in one of them"
                )
            owner[video.video_id] = label
    without = [label for label, split in parts.items() if split.proposals is None]
    if without and len(without) < len(parts):
        raise AvadetError(
            f"split {name} joins {', '.join(parts)}, of which {', '.join(without)} has no proposals; give all of them "
            "proposals, or none"
        )
    splits = list(parts.values())
    lines = [split.lines for split in splits if split.lines is not None]
    return DataSplit(
        name,
        tuple(sorted((video for split in splits for video in split.videos), key=lambda video: video.video_id)),
        _joined_tables([split.table for split in splits]),
        Keyframes(
            np.concatenate([np.asarray(split.excluded.video_ids, object) for split in splits]),
            np.concatenate([split.excluded.times_s for split in splits]),
        ),
        _joined_tables([split.proposals for split in splits if split.proposals is not None]) if not without else None,
        np.concatenate(lines) if len(lines) == len(splits) else None,
        tuple(dict.fromkeys(note for split in splits for note in split.notes)),
    )


def _joined_tables(tables: Sequence[AvaTable]) -> AvaTable:
    """Rows of several tables; where only some have scores or person ids, the others' are 1 and -1, not known."""
    scores = [np.ones(len(table)) if table.scores is None else table.scores for table in tables]
    persons = [np.full(len(table), -1) if table.person_ids is None else table.person_ids for table in tables]
    return AvaTable(
        np.concatenate([np.asarray(table.video_ids, object) for table in tables]),
        np.concatenate([table.times_s for table in tables]),
        np.concatenate([np.asarray(table.boxes_norm, np.float64) for table in tables]),
        np.concatenate([table.class_ids for table in tables]),
        None if all(table.scores is None for table in tables) else np.concatenate(scores),
        None if all(table.person_ids is None for table in tables) else np.concatenate(persons),
    )


def find_videos(data: DataSet, video_ids: Sequence[str]) -> tuple[DataVideo, ...]:
    """Look for the files of videos, one listing a folder, and where there is none for a folder of images.

    Raises:
        AvadetError: if a name would lead out of the data set's folder, a list of starts or frames cannot be read, or
            there are images without a frame rate (videos.fps).
    """
    spec = data.spec.videos
    folder = data.path(spec.folder)
    found: dict[Path, dict[str, Path]] = {}
    fps = spec.fps if spec.keyframes_name == "number" else None
    starts = {} if spec.starts is None else _read_starts(data.path(spec.starts))
    folders = ImageFolders(data)
    videos = []
    for video_id in video_ids:
        name = PurePosixPath(video_id)
        if name.is_absolute() or ".." in name.parts or not name.name:
            raise AvadetError(f"video '{video_id}' of {data.name}: a video's name must stay inside its folder")
        parent = folder / name.parent
        if parent not in found:
            found[parent] = _videos_in(parent)
        own_names = [video_id, *([str(name.with_suffix(""))] if name.suffix.lower() in VIDEO_SUFFIXES else [])]
        path = None if folders.are_described else found[parent].get(name.name) or found[parent].get(name.stem)
        images = next((one for own in own_names if path is None and (one := folders.find(own)) is not None), None)
        path = path if images is None else images.folder
        videos.append(DataVideo(video_id, path, starts.get(video_id, spec.starts_at_s), fps, images))
    return tuple(videos)


def _twin_notes(data: DataSet, videos: Sequence[DataVideo]) -> list[str]:
    """What is said where a video has a file and a folder of images."""
    folder = data.path(data.spec.videos.folder)
    files = [one for one in videos if one.path is not None and one.images is None]
    twins = [one.video_id for one in files if holds_images(folder / one.video_id)]
    if not twins:
        return []
    shown = ", ".join(twins[:3]) + (", ..." if len(twins) > 3 else "")
    return [
        f"{len(twins)} videos have a file and a folder of images ({shown}); the files are read: say "
        "videos.frames.pattern='{video}/*' for the images"
    ]


def _read_starts(path: Path) -> dict[str, float]:
    """Seconds of the data set's clock at which files start, by video."""
    rows = read_excluded(path)  # the same form: video_id,seconds
    return dict(zip((str(name) for name in rows.video_ids), rows.times_s.tolist()))


def _videos_in(folder: Path) -> dict[str, Path]:
    """Files of a folder that look like videos, by stem."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES}
