"""The training config: a typed schema (see `avadet.schema`).

Only `training/` and `cli/` know these classes; data sets, models and losses take plain arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from avadet.schema import Section, read_recipe_as

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[PositiveFloat, PositiveFloat]
Rgb = tuple[float, float, float]


class ModelConfig(Section):
    """What is trained.

    Attributes:
        family: which architecture: a row of `avadet.models.sizes.SIZES`.
        arguments: what its builder takes, for families other than the tiny ones, e.g. `{head: {hidden: true}}` for a
            head of two layers, `{drop_path: 0.2}` for a transformer.
        init: weights to start from: an ImageNet trunk for the tiny families, a checkpoint of any known format, or a
            name of `avadet models`; null = random. A classifier is carried over class by class, by name, where the
            file names its classes.
        init_labels: the classes of `init`, in the order of its classifier, where its own file does not say: a label
            map by name, or a file.
        stages: stages of `tiny_actions` whose maps the head sees, 2 to 4.
        frozen: parts of a tiny trunk that keep their initial weights: 0 = none, 1 = the stem, 2 = and stage 2, ...
        resolution: cells of RoIAlign along each side of a box.
        pool: over those cells.
        context: whether the head of `tiny_actions` sees the average of the whole map beside the person's region.
        dropout: before the last layer.
        crop_hw: (height, width) px of each person's cut-out in `tiny_two_views`.
        margin: room around the person in a cut-out of `tiny_two_views`, as a multiple of the person's size.
    """

    family: str = "tiny_actions"
    arguments: dict[str, Any] = {}
    init: Path | None = None
    init_labels: str | None = None
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
    boxes: Literal["exact", "pyslowfast"] = "exact"


class BankConfig(Section):
    """The long-term feature bank of a model whose head has `bank`, see `avadet.data.feature_banks`.

    Attributes:
        model: whose features of people the banks hold: a model trained without a bank, by name or path.
        window_s: seconds of a bank that each clip sees, half of them before its keyframe.
        folder: where the banks are kept, a file a video.
    """

    model: Path
    window_s: PositiveFloat = 60.0
    folder: Path = Path("runs/banks")


class ProposalConfig(Section):
    """Which proposals join the true boxes in training; the fields of `avadet.data.keyframes.ProposalRule`."""

    threshold: Share = 0.8
    matched: Literal["labels", "own", "drop"] = "labels"
    unmatched: Literal["negative", "drop"] = "negative"
    least_iou: Share = 0.9


class DataConfig(Section):
    """What it is trained and scored on.

    Attributes:
        spec: a data set by name or the YAML that describes it, see data_specs/README.md.
        root: its folder; null = that of its YAML.
        overrides: `section.key=value` for the spec, e.g. "videos.starts_at_s=900".
        train: the split to learn from.
        scored: the split to score on during training.
        proposals: which boxes of the training split's proposals join the annotated ones; null = none.
        samples_per_video: keyframes drawn from each video in an epoch; 0 = every keyframe.
        cache: folder of decoded frames, which the processes of a machine fill once and share; null = decode each clip
            from its video.
        cache_short_side: px, short side that larger frames are kept with; null = as they are.
        on_error: what a clip that cannot be read means: `stop` the run, or `skip` it: it is left out of its batch and
            listed in the run folder, and nothing is found on its keyframe in scoring.
        max_skipped: share of a split's keyframes that may be skipped; more stop the run.
        batch_size: clips that make one step of the optimizer, of all processes and accumulated parts together.
        workers: processes that prepare batches; 0 = the main process.
    """

    spec: str
    root: Path | None = None
    overrides: tuple[str, ...] = ()
    train: str = "train"
    scored: str = "val"
    proposals: ProposalConfig | None = None
    samples_per_video: Annotated[int, Field(ge=0)] = 0
    cache: Path | None = None
    cache_short_side: PositiveInt | None = None
    on_error: Literal["stop", "skip"] = "stop"
    max_skipped: Share = 0.05
    batch_size: Annotated[int, Field(ge=2)] = 16
    workers: Annotated[int, Field(ge=0)] = 0

    def problems(self) -> Iterator[str]:
        """Keys that have no effect."""
        if self.cache is None and self.cache_short_side is not None:
            yield "data.cache_short_side has no effect without data.cache; leave it out"


class AugmentConfig(Section):
    """How training clips vary; the fields of `avadet.data.transforms.Augmentation`, which explains them."""

    size_hw: tuple[PositiveInt, PositiveInt] = (112, 144)
    zoom: Range = (0.8, 1.4)
    short_side: Range | None = None
    keep_one: bool = True
    min_visible: Share = 0.3
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

    def problems(self) -> Iterator[str]:
        """Ranges the wrong way round."""
        for name in ("zoom", "speed", "short_side"):
            low, high = getattr(self, name) or (1, 1)
            if low > high:
                yield f"augment.{name} must be [low, high], got [{low}, {high}]"


class OptimConfig(Section):
    """How weights move.

    Attributes:
        name: the optimizer.
        lr: peak learning rate of the head.
        base_batch: number of clips a step that `lr` is meant for; with data.batch_size clips it is scaled in proportion
            (Goyal et al., 2017); 0 = `lr` as it stands.
        backbone_lr_factor: the backbone's learning rate, as a multiple of `lr`.
        layer_decay: of a transformer: each block's learning rate as a multiple of that of the block behind it, the
            head's being 1 (Clark et al., 2020); 1 = all alike.
        weight_decay: for weight matrices and kernels; norms and biases have none.
        momentum: of SGD.
        nesterov: whether SGD's momentum is Nesterov's.
        betas: of AdamW.
        grad_clip: largest gradient norm, 0 = as it comes.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 2e-3
    base_batch: Annotated[int, Field(ge=0)] = 0
    backbone_lr_factor: NonNegative = 0.5
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: NonNegative = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    grad_clip: NonNegative = 5.0


class ScheduleConfig(Section):
    """How the learning rate moves, as a factor of its peak.

    Attributes:
        epochs: passes over the training videos.
        kind: the curve after the warm-up.
        warmup_epochs: epochs of linear rise.
        warmup_factor: where that rise begins.
        final_factor: where the cosine ends.
        milestones: epochs at which `step` multiplies the factor by `gamma`.
        gamma: see `milestones`.
    """

    epochs: PositiveInt = 12
    kind: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NonNegative = 0.5
    warmup_factor: Share = 0.0
    final_factor: Share = 0.01
    milestones: tuple[NonNegative, ...] = ()
    gamma: PositiveFloat = 0.1


class LossConfig(Section):
    """What is minimised; see `avadet.training.losses`.

    Attributes:
        kind: `cross_entropy` for data sets with one action a person; for several at once `bce`, `focal`, `asymmetric`,
            or `pose_softmax`: cross-entropy among the classes of group "pose", binary cross-entropy for the others.
        class_mean: whether the losses of a person's classes are averaged, as most projects do, or summed; for kinds of
            several actions at once.
        weight: the whole loss is multiplied by it.
        focal_gamma: how much `focal` turns away from what is known well.
        focal_alpha: weight of positives in `focal`, of negatives 1 less that; null = both weigh 1.
        gamma_positive: as `focal_gamma`, for the positives of `asymmetric`.
        gamma_negative: as `focal_gamma`, for the negatives of `asymmetric`.
        margin: probability up to which negatives cost nothing in `asymmetric`.
        class_balance: weigh classes by their effective number of samples with this beta; 0 = all alike.
        label_smoothing: share of the target spread over all classes.
        mixup_alpha: parameter of the Beta distribution that two clips are blended by; 0 = none.
        mixup_share: share of batches that are blended.
    """

    kind: Literal["cross_entropy", "bce", "focal", "asymmetric", "pose_softmax"] = "cross_entropy"
    class_mean: bool = False
    weight: PositiveFloat = 1.0
    focal_gamma: NonNegative = 2.0
    focal_alpha: Share | None = None
    gamma_positive: NonNegative = 0.0
    gamma_negative: NonNegative = 4.0
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    class_balance: BelowOne = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup_alpha: NonNegative = 0.3
    mixup_share: Share = 1.0


class TrainConfig(Section):
    """How a step is computed, and what is kept of it.

    Attributes:
        precision: `bf16` and `fp16` run the forward pass under autocast; `fp16` scales the loss and needs CUDA.
        accumulate: parts that each process divides its share of a batch into; their gradients are summed.
        batch_norm: `plain`, each process and part for itself; `frozen`, as the initial weights have it; `sync`, over
            all processes, needs CUDA.
        precise_bn: batches that BatchNorm's statistics are measured on before an evaluation (Wu and Johnson, 2021);
            0 = running averages, as they are.
        recompute: forget activations within the backbone's blocks and compute them again on the way back: less
            memory, a third more time.
        shard: divide weights, gradients and the optimizer's moments among all processes instead of giving each a copy
            (FSDP2), for models too large for one GPU; nothing changes with one process. Checkpoints are whole: a run
            may go on undivided. In bf16 for models without BatchNorm.
        ema_decay: of the running average of the weights, which is what is scored and exported; 0 = none.
        threads: of torch on the CPU; 0 = torch's own choice.
        save_every: steps between two checkpoints; 0 = after each epoch only.
        log_every: steps between two lines of loss, pace and time left; 0 = after each epoch only.
        tensorboard: whether to write TensorBoard's files beside the JSON lines.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: PositiveInt = 1
    batch_norm: Literal["plain", "frozen", "sync"] = "plain"
    precise_bn: Annotated[int, Field(ge=0)] = 0
    recompute: bool = False
    shard: bool = False
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    threads: Annotated[int, Field(ge=0)] = 0
    save_every: Annotated[int, Field(ge=0)] = 0
    log_every: Annotated[int, Field(ge=0)] = 0
    tensorboard: bool = False

    def problems(self) -> Iterator[str]:
        """Options that do not go together."""
        if self.shard and self.precision == "fp16":
            yield "train.shard and train.precision=fp16 do not go together; use bf16 or fp32"
        if self.shard and self.batch_norm == "sync":
            yield "train.shard and train.batch_norm=sync do not go together; use frozen or plain"
        if self.precise_bn and self.batch_norm == "frozen":
            yield "train.precise_bn would replace what train.batch_norm=frozen keeps; set it to 0"


class EvaluateConfig(Section):
    """How the model is scored.

    Attributes:
        every_epochs: epochs between two evaluations; the last epoch is always scored.
        frame_step: annotated frames from one scored frame to the next; 1 = every one.
        batch_size: clips at a time.
        flip: average the scores with those of the mirrored clip.
        short_sides: px, sizes of the clip whose scores are averaged; empty = the one of `clip`.
        keep: which weights become the model: the `last`, or the `best` by frame-mAP of those that were scored.
        person_score: score the split's proposals of this score or more; null = the annotated boxes.
        keep_best_person: with `person_score`, also a keyframe's best proposal if it scores less.
        protocol: whose rules count, see `avadet eval`.
    """

    every_epochs: PositiveInt = 1
    frame_step: PositiveInt = 4
    batch_size: PositiveInt = 32
    flip: bool = False
    short_sides: tuple[PositiveInt, ...] = ()
    keep: Literal["last", "best"] = "last"
    person_score: Share | None = None
    keep_best_person: bool = False
    protocol: Literal["activitynet", "slowfast", "mmaction2"] = "activitynet"

    def problems(self) -> Iterator[str]:
        """Keys that have no effect."""
        if self.keep_best_person and self.person_score is None:
            yield "evaluate.keep_best_person has no effect without evaluate.person_score"


class Config(Section):
    """One training run.

    Attributes:
        seed: of the initial weights, the order of samples and every augmentation.
        device: `auto` = CUDA where there is one.
        run_dir: folder that the run writes to.
        bank: null = the model reads none.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    run_dir: Path = Path("runs/train")
    model: ModelConfig = ModelConfig()
    bank: BankConfig | None = None
    clip: ClipConfig = ClipConfig()
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def problems(self) -> Iterator[str]:
        """What the sections disagree on."""
        side, clip_side = self.data.cache_short_side, self.clip.short_side
        if side is not None and side < clip_side:
            yield f"data.cache_short_side {side} is less than clip.short_side {clip_side}; clips would be blurred"
        head = self.model.arguments.get("head")
        reads = isinstance(head, dict) and head.get("bank") is not None
        if reads and self.bank is None:
            yield "model.arguments.head.bank needs bank.model, whose features it is to read"
        if self.bank is not None and not reads:
            yield "bank has no effect without model.arguments.head.bank, e.g. {width: 512}"


def read_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the config of an action model, a file or a recipe by name; see `avadet.schema.read_recipe_as`."""
    return read_recipe_as(Config, name_or_path, overrides)[0]
