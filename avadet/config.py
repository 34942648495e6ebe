"""The training config: a typed schema, read from YAML, changed by `section.key=value` on the command line.

A config is checked whole before anything else happens: every problem is reported at once, each with its path.
Only `training/` and `cli/` know these classes; data sets, models and losses take plain arguments.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from avadet.errors import AvadetError

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Range = tuple[PositiveFloat, PositiveFloat]
Rgb = tuple[float, float, float]


class Section(BaseModel):
    """A part of the config: unknown keys, infinities and later changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


class ModelConfig(Section):
    """What is trained.

    Attributes:
        family: which architecture.
        init: weights to start from: an ImageNet trunk for the tiny families, or a checkpoint; null = random.
        stages: stages of `tiny_actions` whose maps the head sees, 2 to 4.
        frozen: parts of a tiny trunk that keep their initial weights: 0 = none, 1 = the stem, 2 = and stage 2, ...
        resolution: cells of RoIAlign along each side of a box.
        pool: over those cells.
        context: whether the head of `tiny_actions` sees the average of the whole map beside the person's region.
        dropout: before the last layer.
        crop_hw: (height, width) px of each person's cut-out in `tiny_two_views`.
        margin: room around the person in a cut-out of `tiny_two_views`, as a multiple of the person's size.
    """

    family: Literal["tiny_actions", "tiny_two_views", "slow_r50", "slowfast_r50"] = "tiny_actions"
    init: Path | None = None
    stages: tuple[Literal[2, 3, 4], ...] = (3, 4)
    frozen: Annotated[int, Field(ge=0, le=4)] = 0
    resolution: PositiveInt = 7
    pool: Literal["max", "avg"] = "max"
    context: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    crop_hw: tuple[PositiveInt, PositiveInt] = (160, 160)
    margin: Annotated[float, Field(ge=1)] = 1.6


class ClipConfig(Section):
    """Which frames the model sees; the fields of `avadet.types.ClipSpec`."""

    num_frames: PositiveInt = 8
    stride: PositiveInt = 3
    fps: PositiveFloat = 30.0
    short_side: PositiveInt = 112
    long_side: Annotated[int, Field(ge=0)] = 0
    mean: Rgb = (0.0, 0.0, 0.0)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0)


class DataConfig(Section):
    """What it is trained and scored on.

    Attributes:
        name: the data set.
        root: its folder.
        split: which official split.
        cache: folder of decoded frames.
        cache_short_side: px, short side of the decoded frames that are kept.
        validation: share of the training videos held out, source video by source video.
        split_eval: what is scored during training: the held-out part, or the test split.
        figures: share of training samples that are rendered figures.
        figure_actions: what those figures do, by class name; empty = every class.
        samples_per_video: samples drawn from each video in an epoch.
        batch_size: clips in a training batch.
        workers: processes that prepare batches; 0 = the main process.
    """

    name: Literal["jhmdb21"] = "jhmdb21"
    root: Path
    split: Literal[1, 2, 3] = 1
    cache: Path = Path("runs/cache")
    cache_short_side: PositiveInt = 240
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    split_eval: Literal["validation", "test"] = "test"
    figures: Share = 0.0
    figure_actions: tuple[str, ...] = ()
    samples_per_video: PositiveInt = 1
    batch_size: Annotated[int, Field(ge=2)] = 16
    workers: Annotated[int, Field(ge=0)] = 0


class AugmentConfig(Section):
    """How training clips vary; the fields of `avadet.data.transforms.Augmentation`, which explains them."""

    size_hw: tuple[PositiveInt, PositiveInt] = (112, 144)
    zoom: Range = (0.8, 1.4)
    aspect: Annotated[float, Field(ge=1)] = 1.15
    flip: Share = 0.5
    box_jitter: Share = 0.08
    speed: Range = (0.8, 1.25)
    brightness: NonNegative = 0.2
    contrast: Share = 0.3
    saturation: Share = 0.4
    grayscale: Share = 0.1
    cutout: Share = 0.0
    cutout_size: Share = 0.4


class OptimConfig(Section):
    """How weights move.

    Attributes:
        name: the optimizer.
        lr: peak learning rate of the head.
        backbone_lr_factor: the backbone's learning rate, as a multiple of `lr`.
        weight_decay: for weight matrices and kernels; norms and biases have none.
        momentum: of SGD.
        grad_clip: largest gradient norm, 0 = as it comes.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 2e-3
    backbone_lr_factor: NonNegative = 0.5
    weight_decay: NonNegative = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    grad_clip: NonNegative = 5.0


class ScheduleConfig(Section):
    """How the learning rate moves, as a factor of its peak.

    Attributes:
        epochs: passes over the training videos.
        kind: the curve after the warm-up.
        warmup_epochs: epochs of linear rise from 0.
        final_factor: where the cosine ends.
        milestones: epochs at which `step` multiplies the factor by `gamma`.
        gamma: see `milestones`.
    """

    epochs: PositiveInt = 12
    kind: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NonNegative = 0.5
    final_factor: Share = 0.01
    milestones: tuple[NonNegative, ...] = ()
    gamma: PositiveFloat = 0.1


class LossConfig(Section):
    """What is minimised.

    Attributes:
        kind: `cross_entropy` for data sets with one action a person, `bce` for several at once.
        label_smoothing: share of the target spread over all classes.
        mixup_alpha: parameter of the Beta distribution that two clips are blended by; 0 = none.
        mixup_share: share of batches that are blended.
    """

    kind: Literal["cross_entropy", "bce"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup_alpha: NonNegative = 0.3
    mixup_share: Share = 1.0


class TrainConfig(Section):
    """How a step is computed.

    Attributes:
        precision: `bf16` runs the forward pass under autocast.
        ema_decay: of the running average of the weights, which is what is scored and exported; 0 = none.
        threads: of torch on the CPU; 0 = torch's own choice.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    threads: Annotated[int, Field(ge=0)] = 0


class EvaluateConfig(Section):
    """How the model is scored.

    Attributes:
        every_epochs: epochs between two evaluations; the last epoch is always scored.
        frame_step: annotated frames from one scored frame to the next; 1 = every one.
        batch_size: clips at a time.
        flip: average the scores with those of the mirrored clip.
        boxes: an AVA-style file of people to score, as `avadet detect-persons` writes; null = the annotated boxes.
    """

    every_epochs: PositiveInt = 1
    frame_step: PositiveInt = 4
    batch_size: PositiveInt = 32
    flip: bool = False
    boxes: Path | None = None


class Config(Section):
    """One training run.

    Attributes:
        seed: of the initial weights, the order of samples and every augmentation.
        device: `auto` = CUDA where there is one.
        run_dir: folder that the run writes to.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    run_dir: Path = Path("runs/train")
    model: ModelConfig = ModelConfig()
    clip: ClipConfig = ClipConfig()
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _check_parts_agree(self) -> Config:
        if self.data.split_eval == "validation" and self.data.validation == 0:
            raise ValueError("data.split_eval is 'validation' but data.validation is 0; hold out a share, e.g. 0.2")
        for name in ("zoom", "speed"):
            low, high = getattr(self.augment, name)
            if low > high:
                raise ValueError(f"augment.{name} must be [low, high], got [{low}, {high}]")
        return self


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the config of an action model; see `read_schema`."""
    return read_schema(path, overrides, Config)


def read_schema(path: str | Path, overrides: Sequence[str], schema: type[AnySection]) -> AnySection:
    """Read a YAML config, apply overrides, check everything.

    Args:
        path: the YAML file: a mapping of the keys of `schema`.
        overrides: `section.key=value`, the value read as YAML; later ones win.
        schema: what the config must be.

    Raises:
        AvadetError: if the file is missing or not a mapping, or with one line for every problem in it.
    """
    values = _read_mapping(Path(path))
    for override in overrides:
        _apply_override(values, override)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise AvadetError("\n".join(f"{path}: {_describe(problem, schema)}" for problem in error.errors())) from error


def dump_config(config: Section) -> str:
    """The config as YAML, complete, in the order of the schema; `read_schema` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def portable_values(config: Config) -> dict[str, Any]:
    """The config as plain values without what holds on one machine only: folders, device, processes, threads.

    Initial weights and boxes are named by their file's name.
    """
    machine: Any = {"device": True, "run_dir": True, "data": {"root", "cache", "workers"}, "train": {"threads"}}
    values = config.model_dump(mode="json", exclude=machine)
    if config.model.init is not None:
        values["model"]["init"] = config.model.init.name
    if config.evaluate.boxes is not None:
        values["evaluate"]["boxes"] = config.evaluate.boxes.name
    return values


def decisive_values(config: Config) -> str:
    """Every value that decides what weights come out, one `section.key=value` a line.

    A run may be resumed on another machine, and scored otherwise, but with these values only.
    """
    lines = []
    for name, section in portable_values(config).items():
        leaves = section.items() if isinstance(section, dict) else [("", section)]
        lines += [f"{name}.{key}={value}".replace(".=", "=", 1) for key, value in leaves if key != "split_eval"]
    return "\n".join(line for line in lines if not line.startswith("evaluate."))


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AvadetError(f"cannot read config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AvadetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise AvadetError(f"{path} must hold a mapping of sections, got {type(values).__name__}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in place; makes sections that the file leaves out."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise AvadetError(f"an override reads section.key=value, got '{override}'")
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise AvadetError(f"override '{override}': '{section}' is a value, not a section")
    try:
        values[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AvadetError(f"override '{override}': '{text}' is not YAML") from error


def _describe(problem: Any, schema: type[Section]) -> str:
    """One pydantic problem as `optim.lrr: unknown key; did you mean 'lr'?`."""
    location = problem["loc"]
    path = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], schema)
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        return f"{path}: unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{path}: missing; it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    return f"{path}: {message[:1].lower()}{message[1:]}, got {problem['input']!r}"


def _known_keys(location: tuple[int | str, ...], schema: type[Section]) -> list[str]:
    """Keys of the section at `location`; empty if there is none."""
    section: type[BaseModel] = schema
    for name in location:
        field = section.model_fields.get(str(name))
        if field is None:
            return []
        kinds = [field.annotation, *get_args(field.annotation)]
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)
