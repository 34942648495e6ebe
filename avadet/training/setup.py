"""From a config to the parts of a run: device, label map, videos, samples, model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from avadet.annotations.box_files import read_boxes
from avadet.annotations.jhmdb import JhmdbVideo, read_jhmdb21
from avadet.annotations.rules.learning import refuse_loss
from avadet.config import ClipConfig, Config, DataConfig, LossConfig, ModelConfig
from avadet.data.dataset import KeyframeDataset, SceneSource, hold_out, readable_rows
from avadet.data.frame_store import FrameStore
from avadet.data.transforms import Augmentation
from avadet.errors import AvadetError, unknown_name
from avadet.labels import evaluated_part, read_label_map
from avadet.models import zoo
from avadet.models.backbones.tiny_actions import ShiftedShuffleNet
from avadet.models.build import build
from avadet.models.cards import ScoreRule, labels_of, read_card, scores_of
from avadet.models.checkpoints.formats.acar import ACAR, AVA_EVALUATED
from avadet.models.checkpoints.formats.avadet import AVADET
from avadet.models.checkpoints.formats.format import IMAGES
from avadet.models.checkpoints.image_start import start_from_images
from avadet.models.checkpoints.weights import Checkpoint, LoadReport, load_tensors, read_checkpoint, remap_classifier
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.predict import SCORE_NAMES
from avadet.models.scores import pose_classes
from avadet.models.sizes import SIZES
from avadet.models.zoo.label_sources import read_labels
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training.banks import BankMaker
from avadet.training.clip_data import ClipData, read_clip_data
from avadet.training.distributed import Processes
from avadet.training.evaluate import ClipScorer, name_in_boxes
from avadet.training.exchange import with_exchange
from avadet.training.feed import Feed, SampleFeed, Share
from avadet.training.losses import ActionLoss, balanced_weights
from avadet.training.norms import freeze_norms, join_norms
from avadet.training.optim import WeightAverage, build_optimizer, param_groups, scaled_lr
from avadet.training.recompute import recompute_blocks
from avadet.training.scoring import JhmdbScore, Score
from avadet.training.sharding import divide_like
from avadet.training.trainer import AUTOCAST, Trainer
from avadet.types import ClipSpec, IntArray, LabelMap

_SPLIT_SEED = 7  # which videos are held out must not change with the run's seed


@dataclass(frozen=True)
class Data:
    """What a run learns from and is scored on.

    Attributes:
        labels: the classes.
        train: videos to learn from.
        scored: videos to score on.
        store: their frames.
        title: what the data is, for the model's card.
        scored_on: likewise, which part is scored on.
    """

    labels: LabelMap
    train: list[JhmdbVideo]
    scored: list[JhmdbVideo]
    store: FrameStore
    title: str = ""
    scored_on: str = "test"

    def describe(self) -> list[str]:
        """What a reader should know before hours of training; raises AvadetError if it makes no sense."""
        return describe_data(self)

    def class_counts(self) -> list[int]:
        """Training samples of each class."""
        counts = Counter(video.class_index for video in self.train)
        return [counts[index] for index in range(len(self.labels))]

    def names(self, indices: IntArray) -> list[str]:
        """What training samples are called."""
        return [self.train[index % len(self.train)].video_id for index in indices.tolist()]

    def scored_how(self, config: Config) -> dict[str, Any]:
        """What scores were measured with, for the model's card."""
        return {"frame_step": config.evaluate.frame_step, "score": SCORE_NAMES[True]}

    def feed(self, config: Config, share: Share, pin: bool) -> tuple[Feed, int]:
        """Training batches, and how many steps an epoch has."""
        dataset = build_dataset(config, self)
        feed = SampleFeed(dataset, share.plan(len(dataset), config.seed), config.data.workers, pin)
        return feed, len(dataset) // share.batch_size

    def score(self, config: Config, scorer: ClipScorer, processes: Processes) -> Score:
        """How a model is scored on it; raises AvadetError if the people to score are not there."""
        people, step = read_people(config.evaluate.boxes, self.scored), config.evaluate.frame_step
        return JhmdbScore(scorer, self.scored, self.store, self.labels, people, step, processes)


class RunData(Protocol):
    """What a run asks of its data, whatever it is; `Data` has the words."""

    @property
    def labels(self) -> LabelMap: ...  # noqa: D102

    @property
    def title(self) -> str: ...  # noqa: D102

    @property
    def scored_on(self) -> str: ...  # noqa: D102

    def describe(self) -> list[str]: ...  # noqa: D102

    def class_counts(self) -> list[int]: ...  # noqa: D102

    def names(self, indices: IntArray) -> list[str]: ...  # noqa: D102

    def scored_how(self, config: Config) -> dict[str, Any]: ...  # noqa: D102

    def feed(self, config: Config, share: Share, pin: bool) -> tuple[Feed, int]: ...  # noqa: D102

    def score(self, config: Config, scorer: ClipScorer, processes: Processes) -> Score: ...  # noqa: D102


def clip_spec(clip: ClipConfig) -> ClipSpec:
    """The clips that a config asks for."""
    return ClipSpec(**clip.model_dump())


def augmentation(config: Config) -> Augmentation:
    """The augmentation that a config asks for."""
    return Augmentation(**config.augment.model_dump())


def read_data(data: DataConfig) -> Data:
    """Read annotations, split off what is scored, make sure that every frame is there.

    Raises:
        AvadetError: if annotations or videos are missing or unreadable, or nothing is held out to score on.
    """
    assert data.root is not None
    split = read_jhmdb21(data.root, data.split)
    train, held = hold_out(split.train, data.validation, _SPLIT_SEED) if data.validation else (list(split.train), [])
    scored = held if data.split_eval == "validation" else list(split.test)
    if not train or not scored:
        raise AvadetError(f"{data.root}: {len(train)} videos to train and {len(scored)} to score on; need some of each")
    store = FrameStore(data.cache, data.cache_short_side)
    store.fill([(video.video_id, video.path) for video in [*train, *scored]], threads=max(1, data.workers))
    return Data(read_label_map(data.name), train, scored, store, f"{data.name} split {data.split}", data.split_eval)


def read_run_data(config: Config) -> RunData:
    """What a run learns from and is scored on, whatever it is.

    Raises:
        AvadetError: if annotations or videos are missing or unreadable.
    """
    if config.data.spec is None:
        return read_data(config.data)
    data = read_clip_data(config.data, config.evaluate.person_score, config.evaluate.keep_best_person)
    refuse_loss(config.loss.kind, data.train.labels)
    return data


def bank_maker(config: Config, device: torch.device) -> BankMaker | None:
    """What makes the feature banks of a run; None if its model reads none.

    Raises:
        AvadetError: if the bank's model is missing, cannot make banks, or makes others than the run's model reads.
    """
    if config.bank is None:
        return None
    loaded = zoo.load(str(config.bank.model))
    maker = BankMaker(loaded, config.bank.folder, device, config.evaluate.batch_size, config.data.workers)
    _check_bank(config, maker)  # now: making the banks may take hours
    return maker


def add_banks(config: Config, data: RunData, maker: BankMaker | None, processes: Processes, progress: bool) -> RunData:
    """The same data with its feature banks, if the model reads any; made first where they are not there yet."""
    if maker is None or config.bank is None:
        return data
    assert isinstance(data, ClipData)  # the config's check
    return data.with_banks(maker, config.bank.window_s, processes, progress)


def _check_bank(config: Config, maker: BankMaker) -> None:
    """Raise AvadetError unless the model of a run, whose weights do not matter here, reads what the maker makes."""
    arguments = model_arguments(config.model, config.clip)
    with torch.device("meta"):
        model = build(config.model.family, 1, pixels=clip_spec(config.clip).pixels, **arguments)
    reader = model.head.bank if isinstance(model, ActionDetector) else None
    if reader is not None and reader.bank_features != maker.features:
        raise AvadetError(
            f"the head reads feature banks of {reader.bank_features} features a person, but those of "
            f"{maker.model.name} have {maker.features}; set model.arguments.head.bank.bank_features={maker.features}"
        )


def read_people(path: Path | None, videos: Sequence[JhmdbVideo]) -> PrecomputedBoxes | None:
    """The people to be scored, from an AVA-style file of boxes; None for no file: the annotated people.

    Raises:
        AvadetError: if the file is unreadable or lacks one of the videos.
    """
    if path is None:
        return None
    people = PrecomputedBoxes(read_boxes(path))
    for video in videos:
        try:
            name_in_boxes(people, video)
        except AvadetError as error:
            raise AvadetError(f"{path}: {error}") from error
    return people


def build_dataset(config: Config, data: Data) -> KeyframeDataset:
    """The training samples."""
    return KeyframeDataset(
        data.train,
        data.store,
        clip_spec(config.clip),
        data.labels,
        augmentation(config),
        seed=config.seed,
        samples_per_video=config.data.samples_per_video,
        figures=config.data.figures,
        scenes=_scene_source(data.labels, config.data.figure_actions) if config.data.figures else None,
    )


def _scene_source(labels: LabelMap, actions: Sequence[str]) -> SceneSource:
    from avadet.data.scenes import SceneClips

    return SceneClips(labels, actions)


def model_arguments(model: ModelConfig, clip: ClipConfig) -> dict[str, Any]:
    """What `build` takes for `model.family` besides the number of classes and pixels.

    Raises:
        AvadetError: for an unknown family, or a key that has no effect on it.
    """
    if model.family not in SIZES:
        raise unknown_name("model.family", model.family, SIZES)
    head: dict[str, Any] = {"resolution": model.resolution, "pool": model.pool, "dropout": model.dropout}
    if model.family not in ("tiny_actions", "tiny_two_views"):
        for name in ("stages", "frozen", "context", "crop_hw", "margin"):
            if getattr(model, name) != type(model).model_fields[name].default:
                raise AvadetError(f"model.{name} has no effect on {model.family}; see model.arguments")
        more = dict(model.arguments)
        return {**more, "head": {**head, **more.pop("head", {})}}
    if model.arguments:
        raise AvadetError(f"model.arguments has no effect on {model.family}; use the keys beside it")
    if model.family == "tiny_actions":
        head["context"] = model.context
        return {"num_frames": clip.num_frames, "stages": list(model.stages), "head": head}
    shape = {"num_frames": clip.num_frames, "crop_hw": list(model.crop_hw), "margin": model.margin}
    return {**shape, "dropout": model.dropout}


def build_model(model: ModelConfig, clip: ClipConfig, labels: LabelMap) -> tuple[ActionModel, str]:
    """Build a model, fill it from `model.init`, freeze what is to stay.

    Returns:
        the model, and a line that says where its weights come from.

    Raises:
        AvadetError: if the initial weights are missing or of another model, or parts are frozen at random weights.
    """
    net = build(model.family, len(labels), pixels=clip_spec(clip).pixels, **model_arguments(model, clip))
    if model.frozen and model.init is None:
        raise AvadetError("model.frozen is for the tiny families with model.init; set model.frozen=0")
    origin = _initialise(net, model, labels)
    for part in net.modules():
        if isinstance(part, ShiftedShuffleNet):
            part.freeze(model.frozen)
    return net, origin


def _initialise(net: ActionModel, model: ModelConfig, labels: LabelMap) -> str:
    """Fill the model in place; of its classifier what the file has of these classes, the rest stays random."""
    if model.init is None:
        return "initial weights: random"
    init = zoo.fetched(model.init)
    checkpoint = read_checkpoint(init)
    if checkpoint.format.classifies == IMAGES:
        report = start_from_images(net, checkpoint.tensors, checkpoint.format, checkpoint.source)
        return f"initial weights: {report}"
    tensors, carried = checkpoint.tensors, ""
    names = _classes_of(model, checkpoint)
    if names is not None and tuple(names) != labels.names:
        tensors, count = remap_classifier(net, tensors, names, labels.names)
        carried = f"; classifier: {count} of {len(labels)} classes carried over by name, the others random"
    report = load_tensors(net, tensors, str(init), allow_partial=True, notes=checkpoint.notes)
    if not report.loaded:
        raise AvadetError(f"no tensor fits family {model.family}: {report}")
    return f"initial weights: {report}{carried}"


def _classes_of(model: ModelConfig, checkpoint: Checkpoint) -> tuple[str, ...] | None:
    """The classes of a checkpoint's classifier, None = not known.

    They are what the config says, or the checkpoint's card; 80 classes of another project's checkpoint are AVA's, and
    60 of ACAR-Net's those of them that are evaluated.
    """
    path = Path(checkpoint.source)
    if model.init_labels is not None:
        return read_labels(model.init_labels).names
    if checkpoint.format == AVADET:
        try:
            return labels_of(checkpoint.card or read_card(path.with_suffix(".json"))).names
        except AvadetError:
            return None  # weights may lie without their card
    count = len(checkpoint.tensors.get("head.proj.weight", ()))
    if checkpoint.format == ACAR and count == AVA_EVALUATED:
        return evaluated_part(read_label_map("ava_v2.2")).names
    return read_label_map("ava_v2.2").names if count == zoo.AVA_CLASSES else None


def build_trainer(config: Config, data: RunData, device: torch.device, processes: Processes) -> tuple[Trainer, str]:
    """The trainer, and a line that says where its weights come from.

    Raises:
        AvadetError: for anything in the config that cannot be had with this data, model or device.
    """
    cfg = config.train
    share = Share(config.data.batch_size, cfg.accumulate, processes.rank, processes.count)
    feed, steps = data.feed(config, share, device.type == "cuda")
    model, origin = build_model(config.model, config.clip, data.labels)
    if cfg.batch_norm == "frozen":
        freeze_norms(model)
    divided = cfg.shard and processes.count > 1
    if not divided:
        model.to(device)
    if cfg.batch_norm == "sync":
        model = cast(ActionModel, join_norms(model, device))
    average = WeightAverage(model, cfg.ema_decay)
    if cfg.recompute:
        recompute_blocks(model)
    views = with_exchange(model, processes, device, divided, AUTOCAST[cfg.precision])
    if divided:
        divide_like(average.model, model, device)
    trainer = Trainer(
        config,
        processes,
        device,
        model,
        views,
        average,
        build_optimizer_of(config, model),
        torch.amp.GradScaler(device.type, enabled=cfg.precision == "fp16"),
        build_loss(config.loss, data, device),
        feed,
        share,
        steps,
        data.names,
    )
    return trainer, origin


def build_optimizer_of(config: Config, model: ActionModel) -> torch.optim.Optimizer:
    """The optimizer that a config asks for."""
    cfg = config.optim
    lr = scaled_lr(cfg.lr, config.data.batch_size, cfg.base_batch)
    groups = param_groups(model, lr, cfg.backbone_lr_factor, cfg.weight_decay, cfg.layer_decay)
    return build_optimizer(cfg.name, groups, cfg.momentum, cfg.nesterov, cfg.betas)


def build_loss(cfg: LossConfig, data: RunData, device: torch.device) -> ActionLoss:
    """The loss that a config asks for.

    Raises:
        AvadetError: if the label map has no poses for "pose_softmax".
    """
    balance = cfg.class_balance
    return ActionLoss(
        kind=cfg.kind,
        class_mean=cfg.class_mean,
        weight=cfg.weight,
        gamma=cfg.focal_gamma,
        alpha=cfg.focal_alpha,
        gamma_positive=cfg.gamma_positive,
        gamma_negative=cfg.gamma_negative,
        margin=cfg.margin,
        label_smoothing=cfg.label_smoothing,
        class_weights=balanced_weights(data.class_counts(), balance).to(device) if balance else None,
        poses=pose_classes(data.labels).to(device) if cfg.kind == "pose_softmax" else None,
    )


def score_rule(loss: LossConfig, labels: LabelMap) -> ScoreRule:
    """How logits of a model that is trained with a loss become scores; its card says so, too."""
    if loss.kind == "cross_entropy":
        return "softmax"
    return "pose_softmax" if loss.kind == "pose_softmax" else scores_of({}, labels)


def build_score(config: Config, data: RunData, processes: Processes) -> Score:
    """How the models of a run are scored."""
    cfg = config.evaluate
    card = {"name": config.run_dir.name, "scores": score_rule(config.loss, data.labels)}
    unread = LoadReport(card["name"], 0, (), (), ())
    any_model = zoo.LoadedModel(ActionModel(), clip_spec(config.clip), data.labels, card["name"], card, unread)
    scorer = ClipScorer(any_model, cfg.batch_size, cfg.flip, AUTOCAST[config.train.precision], cfg.short_sides)
    return data.score(config, scorer, processes)


def describe_data(data: Data) -> list[str]:
    """What a reader should know before hours of training; checks that classes and boxes make sense.

    Raises:
        AvadetError: if a class is not in the label map, a box leaves the frame, or a video has no frame to train on.
    """
    _check_videos([*data.train, *data.scored], data)
    counts = Counter(video.class_index for video in data.train)
    absent = [name for index, name in enumerate(data.labels.names) if not counts[index]]
    frames = sum(len(video.times_s) for video in data.train)
    lines = [
        f"training on {len(data.train)} videos with {frames} boxes, scoring on {len(data.scored)} videos",
        f"{len(data.labels)} classes, {min(counts.values())} to {max(counts.values())} videos each",
    ]
    return lines + ([f"no training video of: {', '.join(absent)}"] if absent else [])


def _check_videos(videos: Sequence[JhmdbVideo], data: Data) -> None:
    for video in videos:
        if not 0 <= video.class_index < len(data.labels):
            raise AvadetError(f"{video.video_id}: class {video.class_index} is not in [0, {len(data.labels)})")
        lowest, highest = video.boxes_norm.min(), video.boxes_norm.max()
        if not (lowest >= 0 and highest <= 1):
            raise AvadetError(f"{video.video_id}: boxes must lie in [0, 1], got {lowest} to {highest}")
        if not len(readable_rows(video, data.store.open(video.video_id, video.path))):
            raise AvadetError(f"{video.path}: no annotated frame can be read")
