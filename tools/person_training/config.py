"""The config of `python tools/train_persons.py`: a typed schema for configs/persons/*.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from avadet.config import NonNegative, PositiveFloat, PositiveInt, Range, Share
from avadet.schema import Section

NonNegativeInt = Annotated[int, Field(ge=0)]
SizeHw = tuple[PositiveInt, PositiveInt]


class TeacherConfig(Section):
    """Who labels the people that nobody annotated.

    Attributes:
        path: a YOLOX-style .onnx file.
        person_score: from here on a box is a person.
        maybe_score: from here on it is perhaps one, and left out of the cost.
        views: of each frame that are fused: as it is, mirrored, both with a border.
    """

    path: Path
    person_score: Share = 0.4
    maybe_score: Share = 0.12
    views: Literal[1, 2, 4] = 4


class PictureSet(Section):
    """A set of pictures, labelled by people or by the teacher.

    Attributes:
        name: of its pack.
        folders: with the pictures, relative to `data.root`, searched with subfolders; of files of one name the first
            counts.
        labels: `yolo` = a txt in the folder `labels` beside the pictures' own; `phrases` = the file `phrases`; pictures
            without either are the teacher's, as are all with `teacher`.
        phrases: .json.gz of boxes of persons named in captions.
        person_classes: classes of the txt files that are persons; empty = all.
        source: pattern whose first group, searched in a file's name, is its source; empty = each is its own.
        per_source: pictures of each source, at most; 0 = all.
        every: only every n-th picture.
        leave_out: sources never learnt from.
        short_side: px at most.
        complete: whether everybody is drawn in, so that the teacher need not look.
        person_score: of the teacher, from which on somebody not drawn in is a person.
        share: how often a sample begins with one of its frames, against the other packs.
        aside: whether a part of its sources (`data.validation`) is kept aside.
        research: whether its pictures are for research only, or of unknown licence; see `data.research`.
    """

    name: str
    folders: tuple[Path, ...]
    labels: Literal["yolo", "phrases", "teacher"] = "yolo"
    phrases: Path | None = None
    person_classes: tuple[int, ...] = ()
    source: str = ""
    per_source: NonNegativeInt = 0
    every: PositiveInt = 1
    leave_out: tuple[str, ...] = ()
    short_side: PositiveInt = 416
    complete: bool = False
    person_score: Share = 0.5
    share: NonNegative = 0.0
    aside: bool = False
    research: bool = True


class VideoSet(Section):
    """A folder of videos of which the teacher labels some frames.

    Attributes:
        name: of its pack.
        folder: relative to `data.root`.
        frames: of each video, at most.
        share: as in `PictureSet`.
        research: as in `PictureSet`.
    """

    name: str
    folder: Path
    frames: PositiveInt = 4
    share: NonNegative = 0.0
    research: bool = True


class PersonDataConfig(Section):
    """What the detector learns from.

    Attributes:
        root: folder that `tools/gather_person_pictures.py` filled.
        pictures: sets of pictures.
        videos: sets of videos.
        research: whether to learn from pictures that are for research only.
        jhmdb: folder of JHMDB-21.
        split: its official split; only training videos are learnt from.
        validation: share of sources (pictures) and of source videos (JHMDB) that is kept aside, to choose by.
        frames_per_video: of each JHMDB video.
        ucf24: folder with `videos/` and `ucf24_demo_boxes.csv`, or null.
        clips: folder of plain videos, or null.
        every: every n-th frame of UCF24 and plain videos.
        held_out: file names without suffix that are never learnt from, only scored.
        figures: number of rendered scenes.
        frames_per_scene: frames taken from each.
        cache: folder where `--prepare` puts the labelled frames.
        shares: how often a sample begins with a frame of JHMDB, of the clips, of the figures, against the other packs.
    """

    root: Path
    pictures: tuple[PictureSet, ...] = ()
    videos: tuple[VideoSet, ...] = ()
    research: bool = True
    jhmdb: Path
    split: Literal[1, 2, 3] = 1
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    frames_per_video: PositiveInt = 8
    ucf24: Path | None = None
    clips: Path | None = None
    every: PositiveInt = 3
    held_out: tuple[str, ...] = ()
    figures: Annotated[int, Field(ge=0)] = 300
    frames_per_scene: PositiveInt = 3
    cache: Path = Path("runs/persons_cache")
    shares: tuple[NonNegative, NonNegative, NonNegative] = (0.1, 0.06, 0.03)


class PersonAugmentConfig(Section):
    """How training pictures are made; the fields of `person_training.samples.Recipe`, which explains them."""

    sizes_hw: tuple[SizeHw, ...] = ((256, 320), (320, 416), (256, 320), (256, 416), (320, 320), (352, 256))
    zoom: Range = (0.7, 2.2)
    aspect: Annotated[float, Field(ge=1)] = 1.3
    mosaic: Share = 0.3
    side_by_side: Share = 0.15
    close_up: Share = 0.12
    empty: Share = 0.05
    paste: Share = 0.3
    settle: Share = 0.15


class PersonTrainConfig(Section):
    """How the weights move.

    Attributes:
        steps: batches.
        batch_size: pictures in each.
        lr: peak learning rate of neck and heads; AdamW, cosine.
        backbone_lr_factor: the trunk's learning rate, as a multiple of `lr`.
        frozen_stages: so many stages of the trunk, and its stem, stay as they begin, which saves most of their time;
            0 = all is learnt.
        weight_decay: for kernels; norms and biases have none.
        warmup_steps: of linear rise.
        final_factor: where the cosine ends.
        ema_decay: of the running average, which is what is scored and exported.
        grad_clip: largest gradient norm.
        workers: processes that make pictures; 0 = the main process.
        threads: of torch on the CPU; 0 = torch's own choice.
        save_every: steps between two checkpoints.
    """

    steps: PositiveInt = 3000
    batch_size: PositiveInt = 16
    lr: PositiveFloat = 2e-3
    backbone_lr_factor: NonNegative = 0.5
    frozen_stages: Annotated[int, Field(ge=0, le=6)] = 0
    weight_decay: NonNegative = 0.05
    warmup_steps: NonNegative = 100
    final_factor: Share = 0.02
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    grad_clip: PositiveFloat = 10.0
    workers: Annotated[int, Field(ge=0)] = 1
    threads: Annotated[int, Field(ge=0)] = 0
    save_every: PositiveInt = 500


class PersonsConfig(Section):
    """One training run of the person detector.

    Attributes:
        seed: of the initial weights and every picture.
        device: `auto` = CUDA where there is one.
        run_dir: folder that the run writes to.
        init: ImageNet weights of EfficientNet-Lite0 (.pth), or the .safetensors of an earlier run; null = random.
        init_head: .safetensors of a run with whatever trunk: neck and heads begin with its tensors of equal shape;
            null = as `init` says.
        width: channels of neck and heads.
        long_side: px, longer side of the picture at inference.
        mirror: whether inference looks at the picture's mirror image as well, which takes twice the time.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    run_dir: Path = Path("runs/persons")
    init: Path | None = None
    init_head: Path | None = None
    width: PositiveInt = 96
    long_side: PositiveInt = 416
    mirror: bool = False
    teacher: TeacherConfig
    data: PersonDataConfig
    augment: PersonAugmentConfig = PersonAugmentConfig()
    train: PersonTrainConfig = PersonTrainConfig()
