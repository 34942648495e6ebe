"""What can be found wrong with a run before its data is read: all of it at once, not one mistake an hour."""

from __future__ import annotations

from collections.abc import Callable

import torch

from avadet.config import Config, ModelConfig
from avadet.errors import AvadetError
from avadet.files import check_target
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.weights import Checkpoint, read_checkpoint
from avadet.models.devices import choose_device
from avadet.models.zoo.label_sources import read_labels
from avadet.training import setup
from avadet.training.distributed import Processes
from avadet.training.feed import Share
from avadet.training.logs import RunFolder, tensorboard_writer

_CLASSES = 2


def check_run(config: Config, processes: Processes, resume: bool) -> Checkpoint | None:
    """Check what does not depend on the data: device, run folder, model and optimizer, and the weights to start from.

    Args:
        config: the run.
        processes: who takes part.
        resume: whether it goes on from its checkpoint.

    Returns:
        the weights to start from, `model.init`; None = random ones, or those of the run's checkpoint are all it takes.

    Raises:
        AvadetError: with a line for every mistake.
    """
    problems: list[str] = []
    starts: list[Checkpoint] = []
    checks: list[Callable[[], object]] = [
        lambda: _check_device(config, processes),
        lambda: _check_folder(RunFolder(config.run_dir), resume),
        lambda: Share(config.data.batch_size, config.train.accumulate, processes.rank, processes.count),
        lambda: _check_model(config),
        lambda: starts.extend(read_start(config.model)),
        lambda: zoo.fetched(config.bank.model) if config.bank is not None else None,
        lambda: tensorboard_writer() if config.train.tensorboard else None,
    ]
    for check in checks:
        try:
            check()
        except AvadetError as error:
            problems.append(str(error))
    if problems:
        raise AvadetError("\n".join(dict.fromkeys(problems)))
    return starts[0] if starts else None


def read_start(model: ModelConfig) -> list[Checkpoint]:
    """The weights that `model.init` names, downloaded if need be; [] = there are none.

    Raises:
        AvadetError: if they, or the labels that go with them, cannot be read.
    """
    if model.init_labels is not None:
        read_labels(model.init_labels)
    return [] if model.init is None else [read_checkpoint(zoo.fetched(model.init))]


def _check_device(config: Config, processes: Processes) -> None:
    device = choose_device(processes.device(config.device))
    if config.train.precision == "fp16" and device.type != "cuda":
        raise AvadetError(f"train.precision=fp16 needs CUDA, this run is on {device.type}; use bf16 or fp32")


def _check_folder(folder: RunFolder, resume: bool) -> None:
    check_target(folder.checkpoint)
    if resume and not folder.checkpoint.is_file():
        raise AvadetError(f"nothing to resume: {folder.checkpoint} is missing; start without --resume")
    if not resume and folder.checkpoint.exists():
        raise AvadetError(f"{folder.path} already holds a run; add --resume to continue it, or choose another run_dir")


def _check_model(config: Config) -> None:
    """Build the model without memory for its weights, and its optimizer; random numbers are drawn as if it were not."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        arguments = setup.model_arguments(config.model, config.clip)
        model = build(config.model.family, _CLASSES, pixels=setup.clip_spec(config.clip).pixels, **arguments)
        setup.build_optimizer_of(config, model)
    if config.model.frozen and config.model.init is None:
        raise AvadetError("model.frozen is for the tiny families with model.init; set model.frozen=0")
