"""From a config to the parts of a run: model, loss, optimizer, trainer, score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from avadet.config import ClipConfig, Config, LossConfig, ModelConfig
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
from avadet.models.scores import pose_classes
from avadet.models.sizes import SIZES
from avadet.models.zoo.label_sources import read_labels
from avadet.training.banks import BankMaker
from avadet.training.data import RunData, frame_cache
from avadet.training.distributed import Processes
from avadet.training.exchange import with_exchange
from avadet.training.feed import Share
from avadet.training.losses import ActionLoss, balanced_weights
from avadet.training.norms import freeze_norms, join_norms
from avadet.training.optim import WeightAverage, build_optimizer, param_groups, scaled_lr
from avadet.training.recompute import recompute_blocks
from avadet.training.scored_boxes import scored_keyframes
from avadet.training.scoring import ClipScore, ClipScorer, Score
from avadet.training.sharding import divide_like
from avadet.training.trainer import AUTOCAST, Trainer
from avadet.types import ClipSpec, LabelMap


def clip_spec(clip: ClipConfig) -> ClipSpec:
    """The clips that a config asks for."""
    return ClipSpec(**clip.model_dump())


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


def model_arguments(model: ModelConfig, clip: ClipConfig) -> dict[str, Any]:
    """What `build` takes for `model.family` besides the number of classes and pixels.

    Raises:
        AvadetError: for an unknown family, or a key that has no effect on it.
    """
    if model.family not in SIZES:
        raise unknown_name("model.family", model.family, SIZES)
    head: dict[str, Any] = {"resolution": model.resolution, "pool": model.pool, "dropout": model.dropout}
    if model.family not in ("tiny_actions", "tiny_two_views"):
        of_head = tuple(head) if model.family == "person_crops" else ()
        for name in ("stages", "frozen", "context", "crop_hw", "margin", *of_head):
            if getattr(model, name) != type(model).model_fields[name].default:
                raise AvadetError(f"model.{name} has no effect on {model.family}; see model.arguments")
        more = dict(model.arguments)
        if model.family == "person_crops":  # it has no head
            return {"num_frames": clip.num_frames, **more}
        return {**more, "head": {**head, **more.pop("head", {})}}
    if model.arguments:
        raise AvadetError(f"model.arguments has no effect on {model.family}; use the keys beside it")
    if model.family == "tiny_actions":
        head["context"] = model.context
        return {"num_frames": clip.num_frames, "stages": list(model.stages), "head": head}
    shape = {"num_frames": clip.num_frames, "crop_hw": list(model.crop_hw), "margin": model.margin}
    return {**shape, "dropout": model.dropout}


def build_model(
    model: ModelConfig, clip: ClipConfig, labels: LabelMap, start: Checkpoint | None = None
) -> tuple[ActionModel, str]:
    """Build a model, fill it from `model.init`, freeze what is to stay.

    Args:
        model: what it is.
        clip: what it sees.
        labels: its classes.
        start: what `model.init` names, where it has been read already.

    Returns:
        the model, and a line that says where its weights come from.

    Raises:
        AvadetError: if the initial weights are missing or of another model, or parts are frozen at random weights.
    """
    net = build(model.family, len(labels), pixels=clip_spec(clip).pixels, **model_arguments(model, clip))
    if model.frozen and model.init is None:
        raise AvadetError("model.frozen is for the tiny families with model.init; set model.frozen=0")
    origin = _initialise(net, model, labels, start)
    for part in net.modules():
        if isinstance(part, ShiftedShuffleNet):
            part.freeze(model.frozen)
    return net, origin


def _initialise(net: ActionModel, model: ModelConfig, labels: LabelMap, start: Checkpoint | None) -> str:
    """Fill the model in place; of its classifier what the file has of these classes, the rest stays random."""
    if model.init is None:
        return "initial weights: random"
    checkpoint = start or read_checkpoint(zoo.fetched(model.init))
    if checkpoint.format.classifies == IMAGES:
        report = start_from_images(net, checkpoint.tensors, checkpoint.format, checkpoint.source)
        return f"initial weights: {report}"
    tensors, carried = checkpoint.tensors, ""
    names = _classes_of(model, checkpoint)
    if names is not None and tuple(names) != labels.names:
        tensors, count = remap_classifier(net, tensors, names, labels.names)
        carried = f"; classifier: {count} of {len(labels)} classes carried over by name, the others random"
    report = load_tensors(net, tensors, checkpoint.source, allow_partial=True, notes=checkpoint.notes)
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


def build_trainer(
    config: Config, data: RunData, device: torch.device, processes: Processes, start: Checkpoint | None = None
) -> tuple[Trainer, str]:
    """The trainer, and a line that says where its weights come from.

    Raises:
        AvadetError: for anything in the config that cannot be had with this data, model or device.
    """
    cfg = config.train
    share = Share(config.data.batch_size, cfg.accumulate, processes.rank, processes.count)
    feed, steps = data.feed(config, share, device.type == "cuda")
    model, origin = build_model(config.model, config.clip, data.labels, start)
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
    """How the models of a run are scored: on every `frame_step`-th keyframe."""
    cfg = config.evaluate
    card = {"name": config.run_dir.name, "scores": score_rule(config.loss, data.labels)}
    unread = LoadReport(card["name"], 0, (), (), ())
    any_model = zoo.LoadedModel(ActionModel(), clip_spec(config.clip), data.labels, card["name"], card, unread)
    scorer = ClipScorer(any_model, cfg.batch_size, cfg.flip, AUTOCAST[config.train.precision], cfg.short_sides)
    chosen = scored_keyframes(data.index, data.scored, cfg.protocol, cfg.frame_step)
    return ClipScore(
        scorer,
        data.scored,
        chosen,
        data.labels,
        cfg.protocol,
        processes,
        config.data.workers,
        data.scored_banks,
        on_error=config.data.on_error,
        max_skipped=config.data.max_skipped,
        cache=frame_cache(config),
    )
