"""A data set encoded again for training: every video of its splits, its files copied, and a spec that describes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from avadet.annotations.ava import csv_line
from avadet.annotations.specs import DataSet, FramesSpec, SplitSpec
from avadet.annotations.splits import DataVideo, read_split
from avadet.data.processes import ProcessDied, outcomes
from avadet.data.reencode import Encoding, Job, Prepared, prepare_video
from avadet.errors import AvadetError
from avadet.failures import WaysOut, explain
from avadet.files import check_target, whole_file
from avadet.labels import label_map_names
from avadet.partials import sweep
from avadet.types import Float64Array

VIDEOS = Path("videos")
STARTS = Path("starts.csv")

_WAYS_OUT = WaysOut("fewer workers or a smaller short side need less")
_CHECKED = 4  # keyframes a video whose pictures are compared

Watch = Callable[[int, int], None]
"""Told how many videos are done, and of how many."""


@dataclass(frozen=True)
class Source:
    """A video of a data set and its keyframes.

    Attributes:
        video: the video.
        times_s: float64 (n,), sorted, seconds of the data set's clock; empty where annotations are not public.
    """

    video: DataVideo
    times_s: Float64Array


@dataclass(frozen=True)
class Report:
    """What came of it.

    Attributes:
        spec: the new data set's YAML.
        prepared: the videos encoded, in the order of their names.
        failed: what is wrong with the others, by name.
    """

    spec: Path
    prepared: tuple[Prepared, ...]
    failed: dict[str, str] = field(default_factory=dict)


def read_sources(data: DataSet, splits: Sequence[str]) -> list[Source]:
    """The videos of some splits, sorted by name, with all their keyframes.

    Raises:
        AvadetError: if a split cannot be read.
    """
    videos: dict[str, DataVideo] = {}
    times: dict[str, list[Float64Array]] = {}
    for name in splits:
        split = read_split(data, name, strict=False)
        videos |= {video.video_id: video for video in split.videos}
        for table in (split.table, split.proposals):
            if table is None or not len(table):
                continue
            ids = np.asarray(table.video_ids, dtype=str)
            order = np.argsort(ids, kind="stable")
            names, first = np.unique(ids[order], return_index=True)
            for video_id, rows in zip(names.tolist(), np.split(order, first[1:])):
                times.setdefault(video_id, []).append(np.unique(table.times_s[rows]))
    none = [np.zeros(0)]
    return [Source(videos[key], np.unique(np.concatenate(times.get(key, none)))) for key in sorted(videos)]


def plan_jobs(
    data: DataSet, sources: Sequence[Source], out: Path, encoding: Encoding, margin_s: float | None, threads: int = 0
) -> list[Job]:
    """What to encode, of the videos that are there.

    Args:
        data: the data set.
        sources: of `read_sources`.
        out: the new data set's folder.
        encoding: how.
        margin_s: keep no more than this before a video's first keyframe and after its last; None = keep all. The
            spec's first_s and last_s stand for the first and the last keyframe where it has them.
        threads: that decode each video, and that encode it.

    Raises:
        AvadetError: if frames are to be cut off although keyframes are numbers of frames, or a video has no keyframe.
    """
    if margin_s is not None and data.spec.videos.keyframes_name == "number":
        raise AvadetError(f"{data.name} names keyframes by numbers of frames; they would change if videos were cut")
    jobs = []
    for source in sources:
        video = source.video
        if video.path is None:
            continue
        file_s = source.times_s - video.starts_at_s if video.numbered_fps is None else source.times_s * 0
        span_s = None if margin_s is None else _span_s(data, source, margin_s)
        checked = np.unique(np.linspace(0, len(file_s) - 1, min(_CHECKED, len(file_s))).astype(int))
        moments = tuple(float(moment) for moment in file_s[checked])
        target = out / VIDEOS / f"{video.video_id}.mp4"
        numbered = video.numbered_fps is not None
        jobs.append(Job(video.video_id, video.path, target, encoding, span_s, moments, threads, video.images, numbered))
    return jobs


def _span_s(data: DataSet, source: Source, margin_s: float) -> tuple[float, float]:
    """First and last second of a file to keep."""
    rule, times_s = data.spec.keyframes, source.times_s
    if (rule.first_s is None or rule.last_s is None) and not len(times_s):
        raise AvadetError(
            f"{source.video.video_id} has no keyframe to cut around; give keyframes.first_s and last_s, or do not cut"
        )
    first_s = times_s[0] if rule.first_s is None else rule.first_s
    last_s = times_s[-1] if rule.last_s is None else rule.last_s
    starts_s = source.video.starts_at_s
    return max(float(first_s) - margin_s - starts_s, 0.0), float(last_s) + margin_s - starts_s


def prepare(
    data: DataSet,
    out: Path,
    splits: Sequence[str],
    encoding: Encoding,
    *,
    margin_s: float | None = None,
    workers: int = 1,
    watch: Watch = lambda done, total: None,
) -> Report:
    """Encode the videos of some splits into a folder, and describe it by a YAML there.

    Videos that are there already, encoded this way from the same file, are left as they are, so a run that was stopped
    goes on. A video that fails does not stop the others.

    Args:
        data: the data set.
        out: the new one's folder; not the old one's.
        splits: names; their annotations, exclusions, lists and proposals are copied.
        encoding: how.
        margin_s: see `plan_jobs`.
        workers: videos at a time, each in a process of its own.
        watch: told of progress.

    Raises:
        AvadetError: for anything wrong with the data set's files, or a folder that cannot be written.
    """
    if out.resolve() == data.root.resolve():
        raise AvadetError(f"{out} is the data set's own folder; choose another for the prepared one")
    sources = read_sources(data, splits)
    jobs = plan_jobs(data, sources, out, encoding, margin_s, threads=0 if workers == 1 else 1)
    missing = {source.video.video_id: "its file is missing" for source in sources if source.video.path is None}
    for job in jobs:
        check_target(job.target)
    prepared, failed = _run(jobs, workers, watch)
    starts = {job.video_id: _start_s(job, prepared, sources) for job in jobs if job.video_id in prepared}
    spec = write_spec(data, out, splits, starts if margin_s is not None else None)
    done = tuple(prepared[job.video_id] for job in jobs if job.video_id in prepared)
    return Report(spec, done, dict(sorted((missing | failed).items())))


def _start_s(job: Job, prepared: dict[str, Prepared], sources: Sequence[Source]) -> float:
    """Second of the data set's clock at which the encoded file starts."""
    video = next(source.video for source in sources if source.video.video_id == job.video_id)
    return video.starts_at_s + prepared[job.video_id].skips_s


def _run(jobs: Sequence[Job], workers: int, watch: Watch) -> tuple[dict[str, Prepared], dict[str, str]]:
    """Encode; returns what was made and what went wrong, by name."""
    prepared: dict[str, Prepared] = {}
    failed: dict[str, str] = {}
    for video_id, outcome in _outcomes(jobs, workers):
        if isinstance(outcome, Prepared):
            prepared[video_id] = outcome
        else:
            failed[video_id] = outcome
        watch(len(prepared) + len(failed), len(jobs))
    return prepared, failed


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[str, Prepared | str]]:
    """What came of each job, as they finish."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job.video_id, _outcome(job)
        return
    with closing(outcomes(_outcome, jobs, workers)) as done:
        for job, outcome in done:
            if isinstance(outcome, ProcessDied):
                sweep(job.target.parent)
                yield job.video_id, f"{job.source}: {outcome}; try again, with fewer workers or a smaller short side"
            else:
                yield job.video_id, outcome


def _outcome(job: Job) -> Prepared | str:
    try:
        return prepare_video(job)
    except AvadetError as error:
        return str(error)
    except Exception as error:  # of one video, which must not end the others
        known = explain(error, _WAYS_OUT)
        return f"{job.source}: {known or f'{type(error).__name__}: {error}'}"


def write_spec(data: DataSet, out: Path, splits: Sequence[str], starts_s: dict[str, float] | None) -> Path:
    """Copy the files of some splits and write the YAML that describes the encoded data set.

    Args:
        data: the old one.
        out: the new one's folder.
        splits: names.
        starts_s: second of the clock at which each file starts, by video, where files were cut.

    Returns:
        OUT/NAME.yaml.

    Raises:
        AvadetError: if a file cannot be copied or written.
    """
    spec = data.spec
    videos = spec.videos.model_copy(update={"folder": VIDEOS, "frames": FramesSpec()})
    if spec.tubes is None:
        videos = videos.model_copy(update={"size_hw": None})  # of tubes it is what boxes in pixels are counted in
    if starts_s is not None:
        videos = videos.model_copy(update={"starts": STARTS, "shortest_s": None})
        with whole_file(out / STARTS) as partial:
            rows = [csv_line([name, f"{start:.6f}"]) for name, start in sorted(starts_s.items())]
            partial.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    elif videos.starts is not None:
        videos = videos.model_copy(update={"starts": _copied(data, videos.starts, out)})
    labels = spec.labels
    if isinstance(labels, str) and labels not in label_map_names():
        labels = str(_copied(data, Path(labels), out))
    parts = {name: _copied_split(data, spec.splits[name], out) for name in splits}
    new = spec.model_copy(update={"videos": videos, "labels": labels, "splits": parts})
    path = out / f"{data.name}.yaml"
    text = yaml.safe_dump(new.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _copied_split(data: DataSet, split: SplitSpec, out: Path) -> SplitSpec:
    names = ("annotations", "excluded", "videos", "proposals")
    files = {name: getattr(split, name) for name in names}
    return split.model_copy(update={name: _copied(data, file, out) for name, file in files.items() if file is not None})


def _copied(data: DataSet, file: Path, out: Path) -> Path:
    """Copy a file of the data set; returns its path in the new one, the same if it lay inside the old one's folder."""
    inside = not file.is_absolute() and ".." not in file.parts
    place = file if inside else Path("annotations") / file.name
    try:
        with whole_file(out / place) as partial:
            shutil.copyfile(data.path(file), partial)
    except OSError as error:
        raise AvadetError(f"cannot copy {data.path(file)} to {out / place}: {error.strerror}") from error
    return place
