"""What a run does with BatchNorm: keep it frozen, join it over processes, or measure its statistics precisely."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from avadet.data.batching import ClipBatch
from avadet.errors import AvadetError
from avadet.training.distributed import Processes


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm of a model, in order."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def freeze_norms(model: nn.Module) -> None:
    """Keep every BatchNorm as it is: statistics and affine part; call it again after `model.train()`."""
    for norm in batch_norms(model):
        norm.eval().requires_grad_(False)


def join_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with BatchNorms that see the batches of all processes.

    Raises:
        AvadetError: on anything but CUDA; torch has no other implementation.
    """
    if device.type != "cuda":
        raise AvadetError(
            f"train.batch_norm=sync needs CUDA, this run is on {device.type}; use train.batch_norm=frozen or plain"
        )
    joined: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return joined


@torch.no_grad()
def measure_norms(model: nn.Module, batches: Iterable[ClipBatch], device: torch.device, processes: Processes) -> None:
    """Replace BatchNorm's running statistics by their means over some batches, weights being as they are now.

    Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3. Only BatchNorms are in training mode meanwhile,
    so nothing is dropped or drawn at random. The means of several processes are averaged.

    Args:
        model: in eval mode; changed in place.
        batches: what to measure on; each process its own.
        device: where the model is.
        processes: who takes part.
    """
    norms = [norm for norm in batch_norms(model) if norm.track_running_stats and norm.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    for batch in batches:
        moved = batch.to(device)
        if len(moved.rois):
            model(*moved.inputs())
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()
        for statistic in (norm.running_mean, norm.running_var):
            if statistic is not None:
                statistic.copy_(processes.total(statistic) / processes.count)
