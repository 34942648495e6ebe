"""A model as it is called in training: its gradients are exchanged among the processes on the way back."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from avadet.models.detectors.two_stage import ActionModel
from avadet.models.heads.lfb import BankWindow
from avadet.training.distributed import Processes
from avadet.training.sharding import divide


class Views(nn.Module):
    """An action model as something to call for the logits of its views; what gradients are exchanged around."""

    def __init__(self, model: ActionModel) -> None:
        """Wrap it; its parameters stay its own."""
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor, rois: Tensor, window: BankWindow | None = None) -> list[Tensor]:
        """As `ActionModel.view_logits`; a model that reads a feature bank has one view."""
        return self.model.view_logits(clips, rois) if window is None else [self.model(clips, rois, window)]


def with_exchange(
    model: ActionModel,
    processes: Processes,
    device: torch.device,
    shard: bool = False,
    dtype: torch.dtype | None = None,
) -> Views | DistributedDataParallel:
    """The model's views; with several processes its gradients are averaged over them on the way back.

    Args:
        model: what is trained.
        processes: who takes part.
        device: of this process; where the model is, unless it is divided.
        shard: whether to divide the model among several processes, in place, see `sharding.divide`.
        dtype: in which the forward pass runs; None = float32.

    Raises:
        AvadetError: if the model cannot be divided.
    """
    views = Views(model)
    if processes.count == 1:
        return views
    if shard:
        divide(views, device, processes.count, dtype)
        return views
    warnings.filterwarnings("ignore", "Grad strides do not match")  # channels-last kernels; not the user's concern
    return DistributedDataParallel(views)


def exchange(views: Views | DistributedDataParallel, is_last: bool) -> AbstractContextManager[None]:
    """In which one part goes forward and back: processes exchange gradients once a step, with the last part."""
    if hasattr(views, "set_requires_gradient_sync"):  # a divided model
        cast(Any, views).set_requires_gradient_sync(is_last)
    elif not is_last and isinstance(views, DistributedDataParallel):
        return cast(AbstractContextManager[None], views.no_sync())
    return nullcontext()
