"""A whole run: epochs, each scored and kept, until the end leaves a model; or a checkpoint to go on from."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import cv2
import torch
from tqdm import tqdm

from avadet.config import Config, read_config
from avadet.data.batching import check_skipped
from avadet.data.clips import BrokenSample
from avadet.errors import AvadetError
from avadet.failures import WaysOut, explained
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.models.devices import choose_device
from avadet.schema import dump_config
from avadet.training import setup
from avadet.training.banks import BankMaker
from avadet.training.checkpoint import read_state, write_state
from avadet.training.curves import write_curves
from avadet.training.data import RunData, read_run_data
from avadet.training.distributed import Processes, joined_processes
from avadet.training.fingerprint import portable_values, resume_fingerprint
from avadet.training.logs import RunFolder, StepLog, describe_machine
from avadet.training.norms import measure_norms
from avadet.training.preflight import check_run
from avadet.training.scoring import Outcome, Score
from avadet.training.sharding import whole_net
from avadet.training.skipped import SkippedList
from avadet.training.stopping import Stopped, StopRequests
from avadet.training.trainer import Position, Trainer

Say = Callable[[str], None]

JUDGED_BY = "frame_map"
"""The number by which an evaluation is better than another."""


WAYS_OUT = WaysOut(
    "a smaller data.batch_size, a larger train.accumulate, train.precision=bf16 or train.recompute=true need less",
    "data.workers",
)


def train(
    config: Config,
    *,
    resume: bool | Literal["auto"] = False,
    say: Say = lambda line: None,
    progress: bool = False,
) -> RunFolder:
    """Train as the config says, into `config.run_dir`; of several processes the first one writes and speaks.

    Args:
        config: the run.
        resume: go on from the latest checkpoint in `run_dir` instead of starting anew; "auto" = go on if there is one,
            start if there is none, and do nothing if the run is finished.
        say: takes lines for the user.
        progress: whether to show bars on stderr.

    Returns:
        the run folder; its `model` is the trained model.

    Raises:
        AvadetError: for anything wrong with data, weights or the run folder, before training as far as possible; for
            a loss that is no number, or a machine that refuses memory, processes or room on the disk. The latest
            checkpoint stays good.
        Stopped: by SIGTERM, SIGHUP or Ctrl-C, after a checkpoint.
    """
    with joined_processes(config.device) as processes, StopRequests() as requests, explained(WAYS_OUT):
        heard = say if processes.is_first else lambda line: None
        folder = RunFolder(config.run_dir)
        if resume == "auto":
            found = _find_run(folder, processes)
            if found.is_finished and _check_finished(folder, config):
                heard(f"finished already: {folder.model}")
                return folder
            resume = found.has_checkpoint
        shown = progress and processes.is_first
        with closing(_set_up(config, processes, requests, resume, heard, shown)) as run:
            metrics = run.begin(resume)
            while run.trainer.position.epoch < config.schedule.epochs:
                run.train_epoch()
                metrics = run.close_epoch()
            run.finish(metrics)
            return run.folder


class _Found(NamedTuple):
    """What a run folder holds."""

    has_checkpoint: bool
    is_finished: bool


def _find_run(folder: RunFolder, processes: Processes) -> _Found:
    """What the first process finds in the run folder; all processes go by it, whatever they see themselves."""
    return processes.gather(_Found(folder.checkpoint.is_file(), folder.model.is_file()))[0]


def _check_finished(folder: RunFolder, config: Config) -> bool:
    """Whether a folder with a model holds the end of this very run.

    Raises:
        AvadetError: if its run had another config, or that is not known.
    """
    if folder.checkpoint.is_file():
        state = read_state(folder.checkpoint, resume_fingerprint(config))
        return int(state["position"]["epoch"]) >= config.schedule.epochs
    written = folder.path / "config.yaml"
    if not written.is_file() or resume_fingerprint(read_config(written)) != resume_fingerprint(config):
        raise AvadetError(f"{folder.model} is the model of a run with another config; use another run_dir")
    return True


def _set_up(
    config: Config, processes: Processes, requests: StopRequests, resume: bool, say: Say, progress: bool
) -> Run:
    """Read and build everything; nothing is written yet but feature banks."""
    folder = RunFolder(config.run_dir)
    start = check_run(config, processes, resume)
    device = _prepare_torch(config, processes)
    maker = setup.bank_maker(config, device)
    data = read_run_data(config)
    described = data.describe()
    if maker is not None and config.bank is not None:
        data = data.with_banks(maker, config.bank.window_s, processes, progress)
    score = setup.build_score(config, data, processes)
    trainer, origin = setup.build_trainer(config, data, device, processes, start)
    torch.empty((), dtype=torch.int64).random_()  # as loaders drew here before they had a generator of their own
    if processes.rank:
        torch.manual_seed(config.seed + processes.rank)
    among = f" and {processes.count - 1} more like it" if processes.count > 1 else ""
    for line in [*described, origin, f"device: {device}{among}; run folder: {folder.path}"]:
        say(line)
    return Run(config, processes, requests, folder, data, score, trainer, say, maker, progress)


def _prepare_torch(config: Config, processes: Processes) -> torch.device:
    """Seed torch, set its threads, choose the device."""
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
        cv2.setNumThreads(config.train.threads)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    return choose_device(processes.device(config.device))


@dataclass
class Run:
    """A run on its way.

    Attributes:
        config: what was asked for.
        processes: who takes part.
        requests: to stop.
        folder: what it writes to.
        data: what it learns from and is scored on.
        score: scores a model.
        trainer: the model and its training.
        say: takes lines for the user.
        maker: of the feature banks that the model reads; None = it reads none.
        progress: whether to show bars on stderr.
    """

    config: Config
    processes: Processes
    requests: StopRequests
    folder: RunFolder
    data: RunData
    score: Score
    trainer: Trainer
    say: Say
    maker: BankMaker | None = None
    progress: bool = False
    log: StepLog = field(init=False)
    skipped: SkippedList = field(init=False)

    def __post_init__(self) -> None:
        self.skipped = SkippedList(self.folder.path / "skipped.csv", self.processes)

    def begin(self, resume: bool) -> dict[str, float]:
        """Start or resume the run folder; returns the metrics of the last epoch that is done."""
        config, trainer, metrics = self.config, self.trainer, {}
        if resume:
            trainer.restore(read_state(self.folder.checkpoint, resume_fingerprint(config)))
            place = trainer.position
            if self.processes.is_first:
                metrics = self.folder.resume(place.epoch, place.epoch * trainer.steps + place.step)
            self.skipped.resume()
            self.say(f"resuming after step {place.step} of {trainer.steps} of epoch {place.epoch + 1}")
        elif self.processes.is_first:
            self.folder.start(dump_config(config))
            self.skipped.start()
        cfg, total, is_first = config.train, config.schedule.epochs * trainer.steps, self.processes.is_first
        every, done = cfg.log_every if is_first else 0, trainer.position.epoch * trainer.steps + trainer.position.step
        self.log = StepLog(self.folder, self.say, every, total, cfg.tensorboard and is_first, done)
        return metrics

    def train_epoch(self) -> None:
        """Train what is left of an epoch, with a checkpoint every so many steps.

        Raises:
            Stopped: if that was asked for; after a checkpoint.
        """
        place, steps = self.trainer.position, self.trainer.steps
        title = f"epoch {place.epoch + 1}"
        seconds = place.seconds, place.data_seconds
        self.requests.patient = True
        with tqdm(
            total=steps, initial=place.step, desc=title, unit="batch", disable=not self.progress, leave=False
        ) as bar:
            for loss, norm in self.trainer.epoch():
                bar.update()
                number = place.epoch * steps + place.step
                rate = self.trainer.optimizer.param_groups[-1]["lr"]
                metrics = {"loss": float(loss), **({"grad_norm": float(norm)} if norm.isfinite() else {}), "lr": rate}
                spent = place.seconds - seconds[0], place.data_seconds - seconds[1]
                seconds = place.seconds, place.data_seconds
                self.log.step(number, number / steps, metrics, *spent)
                stop = bool(self.processes.total(torch.tensor(self.requests.signal, device=self.trainer.device)))
                if stop or (self.config.train.save_every and number % self.config.train.save_every == 0):
                    self.save()
                if stop:
                    raise Stopped(
                        self.requests.signal or signal.SIGTERM,
                        f"stopped after step {place.step} of {steps} of epoch {place.epoch + 1}; "
                        "continue with --resume",
                    )
        self.requests.patient = False

    def close_epoch(self) -> dict[str, float]:
        """Score the epoch if it is its turn, log it, keep it; returns its metrics."""
        config, trainer = self.config, self.trainer
        place = trainer.position
        done = place.epoch + 1
        metrics: dict[str, float] = {"epoch": done, **place.means()}
        is_better = False
        if done % config.evaluate.every_epochs == 0 or done == config.schedule.epochs:
            self.save()  # scoring may take long, and be cut short
            outcome = self._evaluate()
            self._note_skipped(config.data.scored, outcome.skipped, len(self.data.index))
            metrics |= outcome.metrics
            is_better = metrics[JUDGED_BY] > trainer.best.get(JUDGED_BY, -1.0)
            if self.processes.is_first and (is_better or config.evaluate.keep == "last"):
                self.folder.write_results(outcome.table)
        if is_better:
            trainer.best = {"epoch": done, JUDGED_BY: metrics[JUDGED_BY]}
        trainer.position = Position(done)
        if self.processes.is_first:
            self.folder.log(metrics)
            write_curves(self.folder.curves, self.folder.metrics())
        self.log.numbers(done * trainer.steps, {f"epoch/{name}": value for name, value in metrics.items()})
        self.say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
        self.save(is_better)
        return metrics

    def save(self, is_best: bool = False) -> None:
        """Write the latest state, and the best one if this is it; every process must come here."""
        labels = dataclasses.asdict(self.data.labels)
        facts = {"settings": dump_config(self.config), "labels": labels, "card": self._bare_card()}
        state = self.trainer.state(resume_fingerprint(self.config), facts)
        if self.processes.is_first:
            if is_best:
                write_state(self.folder.best, state)
            write_state(self.folder.checkpoint, state)
        self._note_skipped(self.config.data.train, list(self.trainer.feed.skipped.values()), len(self.data.train))

    def _note_skipped(self, split: str, samples: Sequence[BrokenSample], keyframes: int) -> None:
        """List and say how many keyframes are skipped, if they may be; every process must come here.

        Raises:
            AvadetError: if they are too many.
        """
        if self.config.data.on_error == "stop":
            return
        before = len(self.skipped.samples)
        skipped = self.skipped.add(split, samples)
        if len(self.skipped.samples) > before:
            self.say(f"{len(skipped)} of {keyframes} keyframes of {split} are skipped so far, see {self.skipped.path}")
        check_skipped(skipped, keyframes, self.config.data.max_skipped)

    def _evaluate(self) -> Outcome:
        """Score the averaged weights; every process does its share."""
        trainer, cfg = self.trainer, self.config.train
        average = whole_net(trainer.average.model)
        self.processes.copy_from_first(average)
        if cfg.precise_bn:
            parts = trainer.feed.parts(trainer.position.epoch)
            chosen = [next(parts) for _ in range(min(cfg.precise_bn, trainer.steps) * trainer.share.parts)]
            measure_norms(average, chosen, trainer.device, self.processes)
        return self.score(average, self.progress)

    def finish(self, metrics: dict[str, float]) -> None:
        """Write the model and its card."""
        trainer, model = self.trainer, whole_net(self.trainer.average.model)
        if not self.processes.is_first:  # the others may be here before the best state is written
            return
        if self.config.evaluate.keep == "best" and trainer.best:
            state = read_state(self.folder.best, resume_fingerprint(self.config))
            model.load_state_dict(state["average"]["model"])
            metrics = next((one for one in self.folder.metrics() if one["epoch"] == trainer.best["epoch"]), metrics)
        if self.maker is not None:  # whoever has the model can then make banks of new videos
            save_model(self.folder.bank, self.maker.model.model, self.maker.model.card)
        save_model(self.folder.model, model, self.card(metrics))
        self.say(f"model: {self.folder.model}")

    def close(self) -> None:
        """End what works beside the run: processes that make batches, and TensorBoard's thread."""
        self.trainer.feed.close()
        if "log" in vars(self):  # it was begun
            self.log.close()

    def card(self, metrics: dict[str, float]) -> dict[str, Any]:
        """What is to be known of the model."""
        numbers = {**self.data.scored_how(self.config), **metrics}
        training = {"config": portable_values(self.config), "processes": self.processes.count, **describe_machine()}
        return self._bare_card(numbers=numbers, training=training)

    def _bare_card(self, **facts: Any) -> dict[str, Any]:
        """What loading the model takes, as checkpoints have it, and more facts."""
        config = self.config
        return make_card(
            self.folder.path.name,
            config.model.family,
            setup.model_arguments(config.model, config.clip),
            setup.clip_spec(config.clip),
            self.data.labels,
            scores=setup.score_rule(config.loss, self.data.labels),
            data=self.data.title,
            **facts,
            **self._bank_facts(),
        )

    def _bank_facts(self) -> dict[str, Any]:
        """What the card says of the bank that the model reads, see `cards.bank_of`."""
        if self.config.bank is None:
            return {}
        return {"bank": {"weights": self.folder.bank.name, "window_s": self.config.bank.window_s}}
