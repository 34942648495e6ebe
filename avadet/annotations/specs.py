"""A data set in one YAML: its label map, files, clock, splits, and what is known of it.

The sets of data_specs are described this way, and so is a user's own, in which only `labels` and `splits` are needed.
A set may also join splits of others, each of which keeps its own files, clock and rules. Every setting is explained in
data_specs/README.md. `annotations.splits` reads what a spec describes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from avadet.errors import AvadetError, unknown_name
from avadet.files import resource_folder
from avadet.labels import label_map_names, read_label_map
from avadet.schema import Section, read_schema
from avadet.types import LabelMap

SPEC_FILE = "spec.yaml"

PositiveFloat = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class FramesSpec(Section):
    """How videos are kept that are folders of images; nothing needs to be said of FOLDER/VIDEO/*NUMBER*.jpg.

    Attributes:
        pattern: path of an image in videos.folder, with {video} and {number}, as in "{video}/{video}_{number:06d}.jpg";
            without a slash a name in FOLDER/VIDEO. "{:05}", "%05d" and "*" are understood too. null = every image.
        first_number: of the image at the file's start; null = 0 or 1, as the images have it.
        lists: frame lists of PySlowFast in the data set's folder, which name the images of each video.
    """

    pattern: str | None = None
    first_number: Count | None = None
    lists: tuple[Path, ...] = ()

    @field_validator("lists", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_one_thing_names_them(self) -> FramesSpec:
        if self.lists and (self.pattern is not None or self.first_number is not None):
            raise ValueError("lists name every image and its number, so pattern and first_number must not be given")
        if self.pattern is not None and ".." in PurePosixPath(self.pattern).parts:
            raise ValueError("a pattern must stay inside videos.folder")
        return self


class VideosSpec(Section):
    """Where the videos are, and what their files are like.

    Attributes:
        folder: in the data set's folder; the file of video "a/b" is FOLDER/a/b with any suffix of a video. Where there
            is none, it is the folder FOLDER/a/b of images, one a frame, at `fps` frames per second.
        frames: how such folders of images are laid out.
        keyframes_name: what a keyframe's time means: the `time` of a frame, or, where files' own timestamps are not to
            be trusted, the `number` of a frame: round(seconds * fps), counted from 0.
        starts_at_s: which second of the data set's clock a file's first frame is: 0 for whole films, 900 for AVA's
            films cut by `ffmpeg -ss 900`.
        starts: CSV of video_id,seconds in the data set's folder, for files that start elsewhere, each at its own
            second.
        fps: frames per second of every file, null = any. With `keyframes_name: number` the rate that times are
            counted in, whatever the files say.
        size_hw: [height, width] px of every file, null = any; also the frame that boxes in pixels are counted in.
        shortest_s: seconds that every file must last at least, null = up to its last keyframe.
    """

    folder: Path = Path("videos")
    frames: FramesSpec = FramesSpec()
    keyframes_name: Literal["time", "number"] = "time"
    starts_at_s: float = 0.0
    starts: Path | None = None
    fps: PositiveFloat | None = None
    size_hw: tuple[int, int] | None = None
    shortest_s: PositiveFloat | None = None

    @model_validator(mode="after")
    def _check_numbers_have_a_rate(self) -> VideosSpec:
        if self.keyframes_name == "number" and self.fps is None:
            raise ValueError("keyframes_name is 'number', so fps must say how many frames make a second")
        return self


class KeyframesSpec(Section):
    """Which moments may be annotated.

    Attributes:
        every_s: seconds between two keyframes, null = anywhere.
        first_s: seconds of the data set's clock, null = from the start.
        last_s: likewise, inclusive, null = to the end.
    """

    every_s: PositiveFloat | None = None
    first_s: float | None = None
    last_s: float | None = None


class TubesSpec(Section):
    """What frame numbers, pixel boxes and tubes mean; see `annotations.tubes.TubeSpec`, which has these fields."""

    last_pixel_inside: bool = False
    fills_clip: bool = False
    counts_last_frame: bool = True


class CountsSpec(Section):
    """How many of what a split has when it is complete; null = not known."""

    videos: Count | None = None
    keyframes: Count | None = None
    boxes: Count | None = None
    rows: Count | None = None
    tubes: Count | None = None
    excluded: Count | None = None


class PartSpec(Section):
    """Another data set, whose splits this one may join.

    Attributes:
        spec: a data set of data_specs by name, or a YAML file in this data set's folder.
        folder: the folder that its files lie in, in this data set's folder; null = that of its YAML, or this one's.
        overrides: `section.key=value`, changes to its spec.
    """

    spec: str
    folder: Path | None = None
    overrides: tuple[str, ...] = ()


class SplitSpec(Section):
    """One part of a data set. Paths are relative to the data set's folder.

    Attributes:
        join: splits of other data sets that make up this one, each "PART:SPLIT", with a name of the spec's `parts`; of
            the other settings only `number` and `counts` are for such a split.
        annotations: an AVA ground-truth CSV, or tubes (a CSV with header, or a pickle); null = they are not public.
        part: which list of the tubes' splits, null = every video of the file.
        number: which of several splits of the same videos, from 1.
        excluded: CSV of keyframes that are not to be used.
        videos: a text file of the split's video names, one a line (a suffix is left off); null = those annotated.
        proposals: CSV of person boxes with scores.
        counts: what a complete split has.
    """

    join: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    annotations: Path | None = None
    part: Literal["train", "test"] | None = None
    number: Annotated[int, Field(ge=1)] = 1
    excluded: Path | None = None
    videos: Path | None = None
    proposals: Path | None = None
    counts: CountsSpec = CountsSpec()

    @model_validator(mode="after")
    def _check_something_names_the_videos(self) -> SplitSpec:
        files = ("annotations", "part", "excluded", "videos", "proposals")
        if self.join is not None:
            idle = [name for name in files if getattr(self, name) is not None]
            if idle:
                raise ValueError(f"a split that joins others has no {', '.join(idle)} of its own")
        elif self.annotations is None and self.videos is None:
            raise ValueError("a split needs annotations, or where they are not public a list of its videos")
        return self


class DataSpec(Section):
    """A data set.

    Attributes:
        title: its full name.
        licence: of annotations and videos.
        urls: where to get what, by name.
        labels: a label map by name, a file in the data set's folder, or just the names of the classes, whose ids are
            1, 2, ... then and of which a person may have several at once.
        videos: its videos.
        keyframes: its keyframes.
        tubes: for annotations that count frames and pixels.
        parts: other data sets, by the names that `join` uses.
        splits: its parts by name.
    """

    title: str = ""
    licence: str = ""
    urls: dict[str, str] = {}
    labels: str | Annotated[tuple[str, ...], Field(min_length=1)]
    videos: VideosSpec = VideosSpec()
    keyframes: KeyframesSpec = KeyframesSpec()
    tubes: TubesSpec | None = None
    parts: dict[str, PartSpec] = {}
    splits: Annotated[dict[str, SplitSpec], Field(min_length=1)]


@dataclass(frozen=True)
class DataSet:
    """A data set where it lies.

    Attributes:
        name: of the spec: its folder in data_specs, or the stem of a user's file.
        spec: what it is.
        root: the folder that its paths are relative to.
        labels: its classes.
        parts: the data sets that it joins, by name.
    """

    name: str
    spec: DataSpec
    root: Path
    labels: LabelMap
    parts: Mapping[str, DataSet] = field(default_factory=dict)

    def path(self, relative: Path) -> Path:
        """A file of the data set."""
        return self.root / relative

    def split(self, name: str) -> SplitSpec:
        """A part by name.

        Raises:
            AvadetError: if there is no such part.
        """
        if name not in self.spec.splits:
            raise unknown_name(f"split of {self.name}", name, self.spec.splits)
        return self.spec.splits[name]

    def sources(self, name: str) -> list[tuple[DataSet, str]]:
        """Where a split's files are: this data set and the split's name, or those of every split that it joins.

        Raises:
            AvadetError: if there is no such split, here or among the parts.
        """
        joined = self.split(name).join
        if joined is None:
            return [(self, name)]
        pairs = [one.partition(":")[::2] for one in joined]
        for part, split in pairs:
            if part not in self.parts:
                raise unknown_name(f"part that split {name} of {self.name} joins (PART:SPLIT)", part, self.parts)
            self.parts[part].split(split)
        return [(self.parts[part], split) for part, split in pairs]

    def video_folders(self) -> list[Path]:
        """Where its videos lie, those of its parts too."""
        own = [] if all(split.join for split in self.spec.splits.values()) else [self.path(self.spec.videos.folder)]
        return [*own, *(folder for part in self.parts.values() for folder in part.video_folders())]

    def refuse_joined(self, action: str) -> None:
        """Raise AvadetError if splits of others are joined, where an action must have files of its own."""
        joined = [name for name, split in self.spec.splits.items() if split.join is not None]
        if joined:
            raise AvadetError(
                f"{self.name} joins others in its splits {', '.join(joined)}; {action} each of its parts by itself: "
                f"{', '.join(f'{one.name} in {one.root}' for one in self.parts.values())}"
            )


def data_set_names() -> list[str]:
    """Data sets that data_specs describes, sorted."""
    return sorted(path.parent.name for path in resource_folder("data_specs").glob(f"*/{SPEC_FILE}"))


def read_data_spec(name: str) -> DataSpec:
    """The spec of a data set that data_specs describes.

    Raises:
        AvadetError: for another name.
    """
    if name not in data_set_names():
        raise unknown_name("data set", name, data_set_names())
    return read_schema(resource_folder("data_specs") / name / SPEC_FILE, (), DataSpec)


def open_data_set(name_or_path: str | Path, root: str | Path | None = None, overrides: Sequence[str] = ()) -> DataSet:
    """Read a spec; nothing else of the data set is touched yet.

    Args:
        name_or_path: a name of `data_set_names()`, or a user's YAML file.
        root: the data set's folder; None = the folder of the user's YAML.
        overrides: `section.key=value`, e.g. "videos.starts_at_s=900".

    Raises:
        AvadetError: for an unknown name, a spec that is not right (every problem, with its key), labels that cannot
            be read, or a shipped spec without `root`.
    """
    text = str(name_or_path)
    shipped = text in data_set_names()
    file = resource_folder("data_specs") / text / SPEC_FILE if shipped else Path(name_or_path)
    if not shipped and not file.is_file():
        if file.suffix in (".yaml", ".yml"):
            raise AvadetError(f"no such file: {file}; check the path")
        raise unknown_name("data set (a name or a YAML file)", text, data_set_names())
    if shipped and root is None:
        raise AvadetError(f"data set {text}: give the folder that holds its files (--root DIR)")
    spec = read_schema(file, overrides, DataSpec)
    folder = file.parent if root is None else Path(root)
    data = DataSet(text if shipped else file.stem, spec, folder, _labels(spec.labels, folder))
    data = replace(data, parts={name: _opened_part(data, name, part) for name, part in spec.parts.items()})
    for split in spec.splits:
        data.sources(split)
    return data


def _opened_part(whole: DataSet, name: str, part: PartSpec) -> DataSet:
    """A data set that another one joins; it must have the same classes, and join none itself."""
    shipped = part.spec in data_set_names()
    file = resource_folder("data_specs") / part.spec / SPEC_FILE if shipped else whole.path(Path(part.spec))
    if file.is_file() and read_schema(file, part.overrides, DataSpec).parts:
        raise AvadetError(f"part {name} of {whole.name}, {part.spec}, joins others itself; name those in {whole.name}")
    inside = None if part.folder is None else whole.path(part.folder)
    root = whole.root if shipped and inside is None else inside
    data = open_data_set(part.spec if shipped else file, root, part.overrides)
    if (data.labels.names, data.labels.ids) != (whole.labels.names, whole.labels.ids):
        raise AvadetError(
            f"part {name} of {whole.name} has {len(data.labels)} classes, {whole.name} has {len(whole.labels)}, and "
            "they are not the same; joined data sets need one label map"
        )
    return data


def _labels(named: str | tuple[str, ...], folder: Path) -> LabelMap:
    """The label map by name, of a file, or of names."""
    if not isinstance(named, str):
        count = len(named)
        return LabelMap(named, tuple(range(1, count + 1)), ("action",) * count, (True,) * count)
    return read_label_map(named if named in label_map_names() else folder / named)
