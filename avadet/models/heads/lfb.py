"""Attention to a feature bank: what boxes of the same video, before and after, add to the features of a box.

Wu et al., "Long-Term Feature Banks for Detailed Video Understanding", CVPR 2019; `data.feature_banks` has the banks.
The weights of a model without a bank fit into one with a bank (`load_tensors` with `allow_partial`), whose answers are
at first the same. They are the same, whatever is learnt, where a window is empty or, in inference, absent: so a live
source, which cannot be read twice, is scored as without a bank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError


class BankWindow(NamedTuple):
    """What the clips of a batch may look up.

    Attributes:
        batch_index: int64 (M,), the clip of each row, in any order.
        features: float (M, F).
    """

    batch_index: Tensor
    features: Tensor

    def to(self, device: torch.device) -> BankWindow:
        """The same window on `device`; does not wait if it lies in pinned memory."""
        return BankWindow(*(part.to(device, non_blocking=True) for part in self))

    def by_frame(self, length: int) -> BankWindow:
        """The window of clips of so many frames for `frame_by_frame`: each frame sees what its clip sees."""
        frames = torch.arange(length, device=self.batch_index.device)
        batch_index = (self.batch_index[:, None] * length + frames).flatten()
        return BankWindow(batch_index, self.features.repeat_interleave(length, dim=0))


@dataclass(frozen=True)
class BankOptions:
    """Options of `BankReader`.

    Attributes:
        bank_features: F of the bank's rows; None = that of the boxes that read it.
        width: D, channels inside.
        depth: `BankAttention`s upon each other.
        dropout: share dropped in training of queries and rows at the entrance, and of what each step adds.
    """

    bank_features: int | None = None
    width: int = 512
    depth: int = 2
    dropout: float = 0.2


class BankAttention(nn.Module):
    """Attention over the window, layer norm, ReLU, a linear layer, added to the query.

    It is the paper's non-local block for banks. Keys have no bias, which a softmax over them would not feel.
    """

    def __init__(self, width: int, dropout: float) -> None:
        """Build it for queries and rows of `width` channels; `dropout` is the share dropped of what is added."""
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, boxes: Tensor, rows: Tensor, visible: Tensor) -> Tensor:
        """Boxes (R, D) -> the same shape; the others as `attention`."""
        attended = self.attention(boxes, rows, visible) @ self.value(rows)
        added: Tensor = self.dropout(self.out(torch.relu(self.norm(attended))))
        return boxes + added

    def attention(self, boxes: Tensor, rows: Tensor, visible: Tensor) -> Tensor:
        """How much each box attends to each row of the window.

        Args:
            boxes: (R, D).
            rows: (M, D).
            visible: bool (R, M), whether the row is of the box's clip.

        Returns:
            (R, M), 0-1; the sum of a line is 1, or 0 where nothing is visible.
        """
        products = self.query(boxes) @ self.key(rows).T * boxes.shape[1] ** -0.5
        weights: Tensor = products.masked_fill(~visible, torch.finfo(products.dtype).min).softmax(dim=1)
        return weights * visible  # of a line without anything visible the softmax makes equal parts


class BankReader(nn.Module):
    """What a bank adds to the features of boxes; at the start nothing, for its last layer is zero.

    Deviation from the paper: its answer is added to the features instead of standing beside them before the
    classifier, which can express the same (a matrix applied to a sum of both) and lets a classifier that was learnt
    without a bank stay.
    """

    def __init__(self, features: int, options: BankOptions | None = None) -> None:
        """Build it.

        Args:
            features: F of a box.
            options: see there; None = the defaults.
        """
        super().__init__()
        options = options or BankOptions()
        width = options.width
        self.bank_features = options.bank_features or features
        self.people = nn.Linear(features, width)  # of the boxes; its name is that of stored files
        self.rows = nn.Linear(self.bank_features, width)
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(BankAttention(width, options.dropout) for _ in range(options.depth))
        self.out = nn.Linear(width, features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, batch_index: Tensor, window: BankWindow) -> Tensor:
        """Read the window.

        Args:
            features: float (R, F), of boxes.
            batch_index: int64 (R,), the clip of each box.
            window: what there is to read.

        Returns:
            (R, F) to add to the features; zeros for boxes whose clip has no row in the window.

        Raises:
            AvadetError: if the window's features are not as wide as those that the reader was made for.
        """
        if window.features.ndim != 2 or window.features.shape[1] != self.bank_features:
            raise AvadetError(
                f"this model reads feature banks of {self.bank_features} features a person, got a window of shape "
                f"{tuple(window.features.shape)}; make the bank with the model it was trained with"
            )
        visible = batch_index[:, None] == window.batch_index[None]
        boxes = self.dropout(self.people(features))
        rows = self.dropout(self.rows(window.features.to(features.dtype)))
        for layer in self.layers:
            boxes = layer(boxes, rows, visible)
        added: Tensor = self.out(boxes) * visible.any(dim=1, keepdim=True)
        return added
