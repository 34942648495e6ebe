"""Actions before and after: a bank of the features of all boxes of a video, and attention that reads it.

Wu et al., "Long-Term Feature Banks for Detailed Video Understanding", CVPR 2019: a model without a bank goes over
a video once, and the features of every box on every keyframe are kept (`FeatureBank`;
`inference.feature_bank.bank_of_video` makes one). Then a model whose head has `bank` attends, beside each clip, to the
features of the minute around it:

    window = bank_window([(bank_of_its_video, time_s) for each clip])
    logits = model(clips, rois, window)

in training and in inference alike; banks are made beforehand and stay as they are. `avadet train` with `bank.model`
makes them, keeps them in files (`BankFile`) and leaves the bank's model beside the one it trains, so that `avadet
infer` and `avadet test` can go over new videos twice. The weights of a model without a bank fit into one with a bank
(`load_tensors` with `allow_partial`), whose answers are at first the same. They are the same, whatever is learnt, where
a window is empty or, in inference, absent: so a live source, which cannot be read twice, is scored as without a bank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.keyframes import ROUNDING_S
from avadet.types import Float32Array, Float64Array

FORMAT = "avadet feature bank 1"
WINDOW_S = 60.0
"""Length of a bank window, seconds; 60 in the paper's AVA models."""


@dataclass(frozen=True)
class FeatureBank:
    """Features of the boxes of one video.

    Attributes:
        video_id: whose.
        times_s: float64 (N,) seconds, the keyframe of each box, not decreasing.
        features: float32 (N, F), of each box; N may be 0.
    """

    video_id: str
    times_s: Float64Array
    features: Float32Array

    def __post_init__(self) -> None:
        if self.times_s.dtype != np.float64 or self.features.dtype != np.float32:
            raise AvadetError(
                f"a feature bank has times float64 and features float32, got {self.times_s.dtype} and "
                f"{self.features.dtype}"
            )
        if self.times_s.ndim != 1 or self.features.ndim != 2 or len(self.times_s) != len(self.features):
            raise AvadetError(
                f"a feature bank has times (N,) and features (N, F), got {self.times_s.shape} and {self.features.shape}"
            )
        if not (np.isfinite(self.times_s).all() and (np.diff(self.times_s) >= 0).all()):
            raise AvadetError(f"times of the feature bank of '{self.video_id}' must be finite and in order")

    def around(self, time_s: float, window_s: float = WINDOW_S) -> Float32Array:
        """Features (M, F) of the boxes of all keyframes at most half a window, seconds, from a moment."""
        return self.features[_rows_around(self.times_s, time_s, window_s)]

    def save(self, path: str | Path) -> None:
        """Write it as a .safetensors file."""
        arrays: dict[str, np.ndarray] = {"times_s": self.times_s, "features": self.features}
        with whole_file(path) as partial:
            partial.write_bytes(safetensors.numpy.save(arrays, {"format": FORMAT, "video_id": self.video_id}))


def read_bank(path: str | Path) -> FeatureBank:
    """Read what `FeatureBank.save` wrote.

    Raises:
        AvadetError: if the file is missing, damaged, or something else.
    """
    with _open_bank(path) as file:
        return FeatureBank(file.metadata()["video_id"], file.get_tensor("times_s"), file.get_tensor("features"))


@contextmanager
def _open_bank(path: str | Path) -> Iterator[Any]:
    """An open file that `FeatureBank.save` wrote; errors as `read_bank`."""
    try:
        with safetensors.safe_open(str(path), "numpy") as file:
            metadata, names = file.metadata() or {}, set(file.keys())
            if metadata.get("format") != FORMAT or names != {"times_s", "features"} or "video_id" not in metadata:
                found = metadata.get("format", "some other tensors")
                raise AvadetError(f"{path}: not a feature bank of avadet, but {found}")
            yield file
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such feature bank; check the path") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise AvadetError(f"{path}: not a readable feature bank: {error}") from error


class BankFile:
    """A bank that stays on disk; each window is read when it is asked for, so that a data set's banks need no memory.

    Attributes:
        path: what `FeatureBank.save` wrote.
        times_s: as in `FeatureBank`.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the times; errors as `read_bank`."""
        self.path = Path(path)
        with _open_bank(path) as file:
            self.times_s: Float64Array = file.get_tensor("times_s")

    def around(self, time_s: float, window_s: float = WINDOW_S) -> Float32Array:
        """As `FeatureBank.around`."""
        rows = _rows_around(self.times_s, time_s, window_s)
        with _open_bank(self.path) as file:
            stored = file.get_slice("features")
            if rows.start == rows.stop:  # safetensors takes no empty slice at the end
                return np.zeros((0, stored.get_shape()[1]), np.float32)
            features: Float32Array = stored[rows]
        return features


def _rows_around(times_s: Float64Array, time_s: float, window_s: float) -> slice:
    """Rows at most half a window from a moment, whatever their last digits; all in seconds."""
    half_s = window_s / 2 + ROUNDING_S
    first = int(np.searchsorted(times_s, time_s - half_s, side="left"))
    end = int(np.searchsorted(times_s, time_s + half_s, side="right"))
    return slice(first, end)


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


def bank_window(
    moments: Sequence[tuple[FeatureBank | BankFile, float]],
    window_s: float = WINDOW_S,
    device: torch.device | str = "cpu",
) -> BankWindow:
    """The window of a batch.

    Args:
        moments: for each clip of the batch the bank of its video, and its keyframe's time, seconds.
        window_s: seconds of a bank around each clip's keyframe, half of them before it.
        device: where the model runs.
    """
    rows = [bank.around(time_s, window_s) for bank, time_s in moments]
    batch_index = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    return BankWindow(torch.from_numpy(batch_index).to(device), torch.from_numpy(np.concatenate(rows)).to(device))


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
