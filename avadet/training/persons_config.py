"""The config of `avadet train-persons`: a typed schema for configs/persons/*.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from avadet.config import NonNegative, PositiveFloat, PositiveInt, Range, Share
from avadet.schema import Section

SizeHw = tuple[PositiveInt, PositiveInt]


class TeacherConfig(Section):
    """Who labels the people that nobody annotated.

    Attributes:
        path: a YOLOX-style .onnx file.
        person_score: from here on a box is a person.
        maybe_score: from here on it is perhaps one, and left out of the cost.
    """

    path: Path
    person_score: Share = 0.4
    maybe_score: Share = 0.12


class PersonDataConfig(Section):
    """What the detector learns from.

    Attributes:
        jhmdb: folder of JHMDB-21.
        split: its official split; only training videos are learnt from.
        validation: share of those that is held out, source video by source video, to choose the threshold.
        frames_per_video: of each JHMDB video.
        ucf24: folder with `videos/` and `ucf24_demo_boxes.csv`, or null.
        clips: folder of plain videos, or null.
        every: every n-th frame of UCF24 and plain videos.
        extra: folder of further pictures and videos, searched with its subfolders, or null. Frames in which the teacher
            is sure of somebody, and of as many people as it doubts, are learnt from.
        extra_frames: of each of its files, at most.
        held_out: file names without suffix that are never learnt from, only scored.
        figures: number of rendered scenes.
        frames_per_scene: frames taken from each.
        cache: folder where `--prepare` puts the labelled frames.
        shares: how often a sample begins with a frame of JHMDB, of the clips, of the figures, of the extra files.
    """

    jhmdb: Path
    split: Literal[1, 2, 3] = 1
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    frames_per_video: PositiveInt = 8
    ucf24: Path | None = None
    clips: Path | None = None
    every: PositiveInt = 3
    extra: Path | None = None
    extra_frames: PositiveInt = 4
    held_out: tuple[str, ...] = ()
    figures: Annotated[int, Field(ge=0)] = 300
    frames_per_scene: PositiveInt = 3
    cache: Path = Path("runs/persons_cache")
    shares: tuple[Share, Share, Share, Share] = (0.5, 0.2, 0.1, 0.2)


class PersonAugmentConfig(Section):
    """How training pictures are made; the fields of `avadet.data.person_samples.Recipe`, which explains them."""

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
        freeze_stem: whether the trunk's first layers stay as they begin, which saves their share of the backward pass.
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
    freeze_stem: bool = False
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
        init: ImageNet trunk (ShuffleNetV2 0.5x), or the .safetensors of an earlier run; null = random.
        width: channels of neck and heads.
        long_side: px, longer side of the picture at inference.
        mirror: whether inference looks at the picture's mirror image as well, which takes twice the time.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    run_dir: Path = Path("runs/persons")
    init: Path | None = None
    width: PositiveInt = 96
    long_side: PositiveInt = 416
    mirror: bool = False
    teacher: TeacherConfig
    data: PersonDataConfig
    augment: PersonAugmentConfig = PersonAugmentConfig()
    train: PersonTrainConfig = PersonTrainConfig()
