"""Step `windows`: half-second windows of tracked persons in videos: crops for appearance, grey crops for motion."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from jhmdb_clips import JhmdbClip, read_clips, source_of

from avadet.boxes import to_px
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.persons.load import load_detector
from avadet.persons.tracking import PersonTracker
from avadet.types import Float64Array, PersonDetector, UInt8Array
from avadet.video.read import VideoReader
from tiny_actions.camera import background_motion, own_motion
from tiny_actions.crops import MARGIN, cut, square_around
from tiny_actions.labels import FOLDER, attach, read_labels
from tiny_actions.persons import Ledger, Person, Report, write_persons
from tiny_actions.pictures import source_folder
from tiny_actions.sources import CLIPS, FIGHTS, HOMES, JHMDB21, UCF24, UT_INTERACTION, Source

NUM_FRAMES = 8
STEP_S = 4 / 30
CROP_PX, CROP_ROOM = 176, 1.1
GREY_PX, GREY_MARGIN, GREY_ROOM = 80, 2.0, 1.25
SHORTER_SIDE_PX = 480
DETECT_EVERY_S = 0.2
TRACK_SCORE = 0.45
JHMDB_MOMENTS = (0.3, 0.5, 0.7)
FEWEST_FRAMES = 20
CLIP_FILES = (
    *("intel_asl_walk.mkv", "mmaction_test.avi", "mmpose_demo.mp4", "nasa_13013.mp4", "carphone.mp4"),
    "decord_flipping_a_pancake.mkv",
)
UT_NAME = re.compile(r"(\d+)_(\d+)_(\d)\.avi")
UT_HUG, UT_MEASURED_SEQUENCE = "1", ("set1", "3")


class Video(NamedTuple):
    """A video to be tracked: what its windows will be called, and how often one is taken."""

    source: Source
    path: Path
    group: str
    label: str
    most_s: float = 10.0
    every_s: float = 0.5


class Sight(NamedTuple):
    """A tracked person at one moment."""

    frame: int
    seconds: float
    box: Float64Array
    score: float


def frame_indices(times_s: Float64Array, middle_s: float) -> list[int]:
    """Indices of the eight frames nearest to moments 4 / 30 s apart around `middle_s`; ends repeat."""
    moments = middle_s + (np.arange(NUM_FRAMES) - (NUM_FRAMES - 1) / 2) * STEP_S
    return [int(np.argmin(np.abs(times_s - moment))) for moment in moments]


def read_video(path: Path, most_s: float) -> tuple[list[UInt8Array], Float64Array]:
    """Frames whose shorter side is at most 480 px, and their times, up to `most_s`; what a damaged file still gives."""
    frames: list[UInt8Array] = []
    times: list[float] = []
    try:
        with VideoReader(path, threads=1) as reader:
            for frame in reader.frames():
                if frame.time_s > most_s:
                    break
                frames.append(_reduced(frame.image))
                times.append(frame.time_s)
    except AvadetError:
        if not frames:
            return [], np.zeros(0)
    return frames, np.array(times)


def _reduced(image: UInt8Array) -> UInt8Array:
    factor = SHORTER_SIDE_PX / min(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


@dataclass
class WindowFiles:
    """The pixels of windows, one after the other, in two files."""

    crops: BinaryIO
    greys: BinaryIO

    def add(self, frames: Sequence[UInt8Array], box: Sequence[float]) -> None:
        """Write the crops of the eight frames of one window around one box, xyxy px."""
        near, wide = square_around(box, MARGIN * CROP_ROOM), square_around(box, GREY_MARGIN * GREY_ROOM)
        for frame in frames:
            self.crops.write(cut(frame, near, CROP_PX).tobytes())
            grey = cv2.cvtColor(cut(frame, wide, GREY_PX, cv2.BORDER_REPLICATE), cv2.COLOR_RGB2GRAY)
            self.greys.write(grey.tobytes())


class Windows:
    """Windows of videos, or of drawn scenes, in the files of the working folder."""

    def __init__(self, work: Path, name: str) -> None:
        """Name the files: `NAME_crops.raw`, `NAME_greys.raw` and `NAME.jsonl`; without them there are no windows."""
        self.crops_path, self.greys_path = work / f"{name}_crops.raw", work / f"{name}_greys.raw"
        self.table_path = work / f"{name}.jsonl"

    @contextmanager
    def write(self) -> Iterator[WindowFiles]:
        """Give the files for the pixels; they are there, whole, when the block ends well. Write the table after it."""
        self.table_path.unlink(missing_ok=True)  # never beside pixels of another run
        with (
            whole_file(self.crops_path) as crops,
            whole_file(self.greys_path) as greys,
            crops.open("wb") as crop_file,
            greys.open("wb") as grey_file,
        ):
            yield WindowFiles(crop_file, grey_file)

    def open(self, count: int) -> tuple[UInt8Array, UInt8Array]:
        """Crops (N, 8, 176, 176, 3) and grey crops (N, 8, 80, 80), mapped from the files."""
        crops = np.memmap(self.crops_path, np.uint8, "r", shape=(count, NUM_FRAMES, CROP_PX, CROP_PX, 3))
        return crops, np.memmap(self.greys_path, np.uint8, "r", shape=(count, NUM_FRAMES, GREY_PX, GREY_PX))


def jhmdb_windows(folder: Path, files: WindowFiles, ledger: Ledger) -> Iterator[Person]:
    """Three windows of each clip of split 1, around the annotated person; those of the test part are marked."""
    both = [(clip, part == "test1") for part in ("train1", "test1") for clip in read_clips(folder, part)]
    for video, tested in sorted(both, key=lambda item: item[0].video_id):
        frames, times = read_video(video.path, 12.0)
        usable = [row for row, index in enumerate(video.frame_indices) if index < len(frames)]
        if len(usable) < NUM_FRAMES:
            ledger.leave_out(JHMDB21.name, "clips of fewer than eight frames")
            continue
        for part in JHMDB_MOMENTS:
            yield _jhmdb_window(video, usable[int(part * (len(usable) - 1))], frames, times, files, tested)
            ledger.take(JHMDB21.name)


def _jhmdb_window(
    video: JhmdbClip, row: int, frames: list[UInt8Array], times: Float64Array, files: WindowFiles, tested: bool
) -> Person:
    size_hw = frames[0].shape[:2]
    seconds = float(times[video.frame_indices[row]])
    box = [float(side) for side in to_px(video.boxes_norm[row : row + 1], size_hw)[0]]
    files.add([frames[index] for index in frame_indices(times, seconds)], box)
    return Person(
        JHMDB21.name,
        video.video_id,
        f"jhmdb/{source_of(video.video_id)}",
        box,
        list(size_hw),
        official_test=tested,
        seconds=seconds,
        label=video.video_id.split("/")[0],
    )


def track(frames: Sequence[UInt8Array], times: Float64Array, detect: PersonDetector) -> list[list[Sight]]:
    """Sights of each person, looked for every 0.2 s, at scores over 0.45."""
    tracker, tracks, due = PersonTracker(), defaultdict(list), 0.0
    for index, (frame, seconds) in enumerate(zip(frames, times.tolist())):
        if seconds + 1e-6 < due:
            continue
        due += DETECT_EVERY_S
        found = tracker.update(detect(frame), seconds)
        numbers = () if found.track_ids is None else found.track_ids
        for box, score, number in zip(found.boxes_px, found.scores, numbers):
            if score > TRACK_SCORE and number >= 0:
                tracks[int(number)].append(Sight(index, seconds, box.astype(np.float64), float(score)))
    return list(tracks.values())


def moments(sights: Sequence[Sight], last_s: float, every_s: float) -> Iterator[tuple[Sight, Sight, Sight]]:
    """Moments of a track at which a window is taken, each with the track's first and last sight around it.

    At least `every_s` apart, 0.45 s from either end of the video, with four sights over half a second around, and a box
    of at least 48 px height.
    """
    if len(sights) < 5:
        return
    taken_s = -9.0
    for sight in sights:
        if sight.seconds - taken_s < every_s or sight.seconds < 0.45 or sight.seconds > last_s - 0.45:
            continue
        near = [other for other in sights if abs(other.seconds - sight.seconds) < 0.55]
        if len(near) < 4 or near[-1].seconds - near[0].seconds < 0.5 or sight.box[3] - sight.box[1] < 48:
            continue
        taken_s = sight.seconds
        yield sight, near[0], near[-1]


def tracked_windows(
    video: Video, root: Path, detect: PersonDetector, files: WindowFiles, ledger: Ledger
) -> Iterator[Person]:
    """Windows of all tracked persons of a video, with how they move against the background."""
    frames, times = read_video(video.path, video.most_s)
    if len(frames) < FEWEST_FRAMES:
        ledger.leave_out(video.source.name, "videos of fewer than 20 readable frames")
        return
    tracks = track(frames, times, detect)
    every_sight = [sight for sights in tracks for sight in sights]
    for sights in tracks:
        for sight, first, last in moments(sights, float(times[-1]), video.every_s):
            ends = (first.seconds, last.seconds)
            others = [one.box.tolist() for one in every_sight if min(abs(one.seconds - end) for end in ends) < 0.25]
            camera = background_motion(frames[first.frame], frames[last.frame], others)
            motion = (
                (None, None)
                if camera is None
                else own_motion(first.box.tolist(), last.box.tolist(), camera, ends[1] - ends[0])
            )
            box = [float(side) for side in sight.box]
            files.add([frames[index] for index in frame_indices(times, sight.seconds)], box)
            ledger.take(video.source.name)
            yield Person(
                video.source.name,
                video.path.relative_to(root).as_posix(),
                video.group,
                box,
                list(frames[0].shape[:2]),
                seconds=sight.seconds,
                label=video.label,
                displacement=motion[0],
                growth=motion[1],
            )


def videos_of(source: Source, folder: Path) -> Iterator[Video]:
    """The videos of a source, those left out that models are measured on."""
    if source == UT_INTERACTION:
        yield from _interactions(folder)
    elif source == FIGHTS:
        for path in sorted(folder.rglob("*.mp4")):
            yield Video(source, path, f"surv/{path.name[2:]}", path.parent.name)
    elif source == HOMES:
        for path in sorted((folder / "videos").glob("*")):
            yield Video(source, path, f"elderly/{path.name}", re.sub(r"\d*\..*", "", path.name))
    elif source == UCF24:
        for path in sorted((folder / "dataset" / "ucf24_demo").glob("*.*")):
            yield Video(source, path, f"ucf/{path.name}", path.name)
    else:
        for name in CLIP_FILES:
            yield Video(source, folder / name, f"clean/{name}", name, most_s=20.0)


def _interactions(folder: Path) -> Iterator[Video]:
    """UT-Interaction's clips are called N_SEQUENCE_CLASS.avi; those of a sequence show the same scene."""
    for path in sorted((folder / "datasets" / "UT_Interaction").glob("*/*/*.avi")):
        name, part = UT_NAME.fullmatch(path.name), "set1" if "set1" in str(path.relative_to(folder)) else "set2"
        if name and (part, name[2]) != UT_MEASURED_SEQUENCE and name[3] != UT_HUG:
            yield Video(UT_INTERACTION, path, f"ut/{part}_{name[2]}", name[3], every_s=0.8)


def all_windows(
    data: Path, permissive_only: bool, detect: PersonDetector, files: WindowFiles, ledger: Ledger
) -> Iterator[Person]:
    """Windows of all video sources under `data`."""
    folder = source_folder(data, JHMDB21, permissive_only, ledger)
    if folder is not None:
        yield from jhmdb_windows(folder, files, ledger)
    for source in (FIGHTS, UT_INTERACTION, HOMES, UCF24, CLIPS):
        folder = source_folder(data, source, permissive_only, ledger)
        for video in videos_of(source, folder) if folder is not None else ():
            inside = video.path.relative_to(data / source.name).as_posix()
            if not source.allows(inside, permissive_only):
                ledger.leave_out(source.name, "videos that may not be used or are measured on")
            elif not video.path.is_file():
                ledger.leave_out(source.name, "videos that are not there")
            else:
                yield from tracked_windows(video, data / source.name, detect, files, ledger)


def run(data: Path, work: Path, detector: Path, permissive_only: bool, report: Report) -> None:
    """Write `videos.jsonl`, `videos_crops.raw` and `videos_greys.raw`; labels by eye are attached."""
    cv2.setNumThreads(1)
    ledger, goal = Ledger(), Windows(work, "videos")
    with goal.write() as files:
        persons = list(all_windows(data, permissive_only, load_detector(detector), files, ledger))
    sources = {person.source for person in persons}
    labels = [label for label in read_labels(FOLDER / "videos.csv") if label.source in sources]
    found = attach(persons, labels, ledger)
    write_persons(goal.table_path, persons)
    for line in [*ledger.lines(), f"{found:,} of {len(labels):,} labels by eye found their person"]:
        report(line)
