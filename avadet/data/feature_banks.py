"""Feature banks: the features of all boxes of a video, which a model reads beside each of its clips.

Wu et al., "Long-Term Feature Banks for Detailed Video Understanding", CVPR 2019: a model without a bank goes over
a video once, and the features of every box on every keyframe are kept (`FeatureBank`;
`inference.feature_bank.bank_of_video` makes one). Then a model whose head has `bank` attends, beside each clip, to the
features of the minute around it (`models.heads.lfb`):

    window = bank_window([(bank_of_its_video, time_s) for each clip])
    logits = model(clips, rois, window)

in training and in inference alike; banks are made beforehand and stay as they are. `avadet train` with `bank.model`
makes them, keeps them in files (`BankFile`) and leaves the bank's model beside the one it trains, so that `avadet
infer` and `avadet test` can go over new videos twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.keyframes import ROUNDING_S
from avadet.models.heads.lfb import BankWindow
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


@contextmanager
def _open_bank(path: str | Path) -> Iterator[Any]:
    """An open file that `FeatureBank.save` wrote; AvadetError if it is missing, damaged, or something else."""
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
        """Read the times.

        Raises:
            AvadetError: if the file is missing, damaged, or something else.
        """
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
