"""The training loop: a step can be read in a minute, an epoch leaves a checkpoint, the end leaves a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader
from tqdm import tqdm

from avadet.config import Config, decisive_values, dump_config, portable_values
from avadet.data.loader import ClipBatch, EpochSampler, train_loader
from avadet.errors import AvadetError
from avadet.models.cards import make_card
from avadet.models.detector import ActionModel
from avadet.models.devices import choose_device
from avadet.models.weights import save_model
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training import setup
from avadet.training.checkpoint import load_checkpoint, save_checkpoint
from avadet.training.evaluate import ClipScorer, score_videos, summarise
from avadet.training.logs import RunFolder, describe_machine
from avadet.training.losses import action_loss, mixup, smooth
from avadet.training.optim import WeightAverage, build_optimizer, lr_factor, param_groups, set_lr

Say = Callable[[str], None]


@dataclass
class Trainer:
    """Everything that changes while training, and what it needs to.

    Attributes:
        config: the run.
        device: where the model is.
        model: the weights being trained.
        average: their running average.
        optimizer: over the model.
        loader: batches of the epoch that `sampler` is set to.
        sampler: the order of samples.
        progress: whether to show a bar on stderr.
    """

    config: Config
    device: torch.device
    model: ActionModel
    average: WeightAverage[ActionModel]
    optimizer: torch.optim.Optimizer
    loader: DataLoader[ClipBatch]
    sampler: EpochSampler
    progress: bool = False

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch, counted from 0; returns the means of loss and gradient norm, and the seconds."""
        self.model.train()
        self.sampler.epoch = epoch
        started = time.perf_counter()
        totals = torch.zeros(2, device=self.device)
        bar = tqdm(self.loader, desc=f"epoch {epoch + 1}", unit="batch", disable=not self.progress, leave=False)
        for index, batch in enumerate(bar):
            rng = np.random.default_rng((self.config.seed, epoch, index))
            totals += self.step(batch.to(self.device), epoch + index / len(self.loader), rng)
        loss, norm = (totals / len(self.loader)).tolist()
        if not np.isfinite(loss):
            raise AvadetError(f"the loss of epoch {epoch + 1} is {loss}; lower optim.lr or set optim.grad_clip")
        return {"loss": round(loss, 5), "grad_norm": round(norm, 4), "seconds": round(time.perf_counter() - started, 1)}

    def step(self, batch: ClipBatch, epoch: float, rng: np.random.Generator) -> torch.Tensor:
        """One batch: forward, backward, update; returns (2,): loss and gradient norm. `epoch` is fractional."""
        config = self.config
        set_lr(self.optimizer, lr_factor(epoch, **config.schedule.model_dump()))
        if config.loss.mixup_alpha and rng.random() < config.loss.mixup_share:
            batch = mixup(batch, rng, config.loss.mixup_alpha)
        targets = smooth(batch.labels, config.loss.label_smoothing, config.loss.kind == "cross_entropy")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.train.precision == "bf16"):
            views = self.model.view_logits(batch.clips, batch.rois)
        loss = torch.stack([action_loss(logits.float(), targets, config.loss.kind) for logits in views]).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = clip_grad_norm_(self.model.parameters(), config.optim.grad_clip or float("inf"))
        self.optimizer.step()
        self.average.update(self.model)
        return torch.stack([loss.detach(), norm])


def train(config: Config, *, resume: bool = False, say: Say = lambda line: None, progress: bool = False) -> RunFolder:
    """Train as the config says, into `config.run_dir`.

    Args:
        config: the run.
        resume: go on from the last whole epoch in `run_dir` instead of starting anew.
        say: takes lines for the user.
        progress: whether to show bars on stderr.

    Returns:
        the run folder; its `model` is the trained model.

    Raises:
        AvadetError: for anything wrong with data, weights or the run folder; before training as far as possible.
    """
    device = _prepare_torch(config)
    folder = RunFolder(config.run_dir)
    _check_folder(folder, resume)
    data = setup.read_data(config.data)
    people = setup.read_people(config.evaluate.boxes, data.scored)
    trainer, origin = _build_trainer(config, data, device, progress)
    for line in [*setup.describe_data(data), origin, f"device: {device}; run folder: {folder.path}"]:
        say(line)
    first, metrics = _begin(trainer, folder, resume)
    for epoch in range(first, config.schedule.epochs):
        metrics = {"epoch": epoch + 1, **trainer.run_epoch(epoch)}
        if (epoch + 1) % config.evaluate.every_epochs == 0 or epoch + 1 == config.schedule.epochs:
            metrics |= _evaluate(trainer, data, people)
        folder.log(metrics)
        say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
        save_checkpoint(
            folder.checkpoint, trainer.model, trainer.optimizer, trainer.average, epoch + 1, decisive_values(config)
        )
    export(trainer, data, folder, metrics)
    say(f"model: {folder.model}")
    return folder


def _prepare_torch(config: Config) -> torch.device:
    """Seed torch, set its threads, choose the device."""
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
        cv2.setNumThreads(config.train.threads)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    return choose_device(config.device)


def _check_folder(folder: RunFolder, resume: bool) -> None:
    if not resume and folder.checkpoint.exists():
        raise AvadetError(
            f"{folder.path} holds a run already; add --resume to go on with it, or choose another run_dir"
        )


def _build_trainer(config: Config, data: setup.Data, device: torch.device, progress: bool) -> tuple[Trainer, str]:
    """The trainer, and a line that says where its weights come from."""
    dataset = setup.build_dataset(config, data)
    if len(dataset) < config.data.batch_size:
        raise AvadetError(f"an epoch has {len(dataset)} samples, fewer than data.batch_size {config.data.batch_size}")
    sampler = EpochSampler(len(dataset), config.seed)
    loader = train_loader(dataset, sampler, config.data.batch_size, config.data.workers, device.type == "cuda")
    model, origin = setup.build_model(config.model, config.clip, len(data.labels))
    model.to(device)
    groups = param_groups(model, config.optim.lr, config.optim.backbone_lr_factor, config.optim.weight_decay)
    optimizer = build_optimizer(config.optim.name, groups, config.optim.momentum)
    average = WeightAverage(model, config.train.ema_decay)
    return Trainer(config, device, model, average, optimizer, loader, sampler, progress), origin


def _begin(trainer: Trainer, folder: RunFolder, resume: bool) -> tuple[int, dict[str, float]]:
    """Start or resume the run folder; returns the epoch to begin with and the metrics of the one before."""
    if not resume:
        folder.start(dump_config(trainer.config))
        return 0, {}
    values = decisive_values(trainer.config)
    done = load_checkpoint(folder.checkpoint, trainer.model, trainer.optimizer, trainer.average, values)
    return done, folder.resume(done)


def _evaluate(trainer: Trainer, data: setup.Data, people: PrecomputedBoxes | None) -> dict[str, float]:
    """Score the averaged weights on `people`, or on the annotated boxes."""
    config = trainer.config
    scorer = ClipScorer(
        trainer.average.model,
        setup.clip_spec(config.clip),
        data.labels.exclusive,
        trainer.device,
        config.evaluate.batch_size,
        config.evaluate.flip,
        config.train.precision == "bf16",
    )
    frame_step = config.evaluate.frame_step
    scored = score_videos(
        scorer, data.scored, data.store, frame_step=frame_step, persons=people, progress=trainer.progress
    )
    return summarise(scored, data.labels)


def export(trainer: Trainer, data: setup.Data, folder: RunFolder, metrics: dict[str, float]) -> None:
    """Write the averaged weights and their card in avadet's own format."""
    config = trainer.config
    card = make_card(
        folder.path.name,
        config.model.family,
        setup.model_arguments(config.model, config.clip),
        setup.clip_spec(config.clip),
        data.labels,
        data=f"{config.data.name} split {config.data.split}",
        numbers={"scored_on": config.data.split_eval, "frame_step": config.evaluate.frame_step, **metrics},
        training={"config": portable_values(config), **describe_machine()},
    )
    save_model(folder.model, trainer.average.model, card)
