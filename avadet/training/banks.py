"""The feature banks of a data set (`data.feature_banks`): made once, kept in files, read by the clip."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from tqdm import tqdm

from avadet.data.batching import ClipBatch, ClipLoader, OnError
from avadet.data.clips import ClipDataset
from avadet.data.feature_banks import BankFile, FeatureBank, bank_window
from avadet.data.index import AnnotationIndex
from avadet.errors import AvadetError
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel
from avadet.training.distributed import Processes
from avadet.types import Float32Array, FrameKey, IntArray


@dataclass(frozen=True)
class BankMaker:
    """A trained model that makes banks, and where they are kept.

    Attributes:
        model: whose features of boxes a bank holds.
        folder: a file a video, named after it and all that decides what is in it, so that any change of model, boxes
            or keyframes makes a new one and a run that was cut short goes on with the rest.
        device: where the model runs.
        batch_size: clips at a time.
        workers: processes that make clips.
        on_error: a clip that cannot be read is an error ("stop"), or its persons are in no bank ("skip").
    """

    model: LoadedModel
    folder: Path
    device: torch.device
    batch_size: int = 16
    workers: int = 0
    on_error: OnError = "stop"

    def __post_init__(self) -> None:
        if not isinstance(self.model.model, ActionDetector):
            raise AvadetError(f"{self.model.name} cannot make feature banks: it is no single detector that torch runs")
        if self.model.bank is not None:
            raise AvadetError(
                f"{self.model.name} cannot make feature banks: it reads one itself; take one that does not"
            )

    @property
    def features(self) -> int:
        """F, the width of a bank's rows."""
        assert isinstance(self.model.model, ActionDetector)
        return self.model.model.head.own_features

    def banks(self, index: AnnotationIndex, processes: Processes, progress: bool = False) -> dict[str, BankFile]:
        """The bank of each video: the people of all its keyframes; made now where there is no file of it yet.

        Args:
            index: keyframes, in order of video and time, and their people.
            processes: who takes part; each makes the banks of its share of the videos, and all must ask.
            progress: whether to show a bar on stderr.

        Raises:
            AvadetError: if a video cannot be read.
        """
        model = fingerprint(self.model)
        paths = {row: self._path(index, row, model) for row in np.unique(index.video_rows).tolist()}
        missing = [row for row, path in paths.items() if not path.exists()]
        # Everybody has looked before anybody writes: else the shares would not fit together.
        missing = processes.gather(missing)[0][processes.rank :: processes.count]
        bar = tqdm(missing, desc="feature banks", unit="video", disable=not progress or not missing, leave=False)
        with bar, closing(self._made(index, missing)) as made:
            for row, bank in made:
                bank.save(paths[row])
                bar.update()
        processes.gather(None)
        return {index.videos[row].video_id: BankFile(path) for row, path in paths.items()}

    def _path(self, index: AnnotationIndex, row: int, model: str) -> Path:
        """Where the bank of a video lies."""
        rows = np.flatnonzero(index.video_rows == row)
        one = index.select(rows)
        name = index.videos[row].video_id
        arrays = (one.times_s, np.diff(one.starts), one.boxes_norm)
        key = _digest(model.encode(), name.encode(), *(np.ascontiguousarray(array).tobytes() for array in arrays))
        return self.folder / f"{quote(name, safe='')}.{key}.safetensors"

    def _made(self, index: AnnotationIndex, rows: Sequence[int]) -> Generator[tuple[int, FeatureBank], None, None]:
        """The banks of some videos."""
        peopled = np.flatnonzero(np.isin(index.video_rows, rows) & (np.diff(index.starts) > 0))
        chosen = index.select(peopled)
        spec = self.model.spec
        plan = [part for row in rows for part in _parts(np.flatnonzero(chosen.video_rows == row), self.batch_size)]
        assert isinstance(self.model.model, ActionDetector)
        maker = self.model.model.to(self.device).eval()
        clips = ClipDataset(chosen, spec)
        loader = ClipLoader(clips, lambda epoch: plan, workers=self.workers, on_error=self.on_error)
        with closing(loader):
            batches = (batch for batch in loader.batches() if len(batch.clips))
            filled = groupby(batches, lambda batch: int(chosen.video_rows[batch.keyframes[0]]))
            ready = next(filled, None)
            for row in rows:
                times, features = [np.zeros(0)], [np.zeros((0, self.features), np.float32)]
                if ready is not None and ready[0] == row:
                    for batch in ready[1]:
                        times.append(chosen.times_s[batch.keyframes.numpy()[batch.rois[:, 0].long().numpy()]])
                        features.append(_features(maker, batch, self.device))
                    ready = next(filled, None)
                yield row, FeatureBank(index.videos[row].video_id, np.concatenate(times), np.concatenate(features))
        self.model.model.to("cpu")


def _parts(keyframes: IntArray, size: int) -> list[IntArray]:
    return [keyframes[first : first + size] for first in range(0, len(keyframes), size)]


@torch.inference_mode()
def _features(maker: ActionDetector, batch: ClipBatch, device: torch.device) -> Float32Array:
    """(R, F) of the people of a batch."""
    moved = batch.to(device)
    features: Float32Array = maker.box_features(moved.clips, moved.rois).float().cpu().numpy()
    return features


def fingerprint(loaded: LoadedModel) -> str:
    """A name for what a model computes: its weights, how it was built, and the clips it takes."""
    weights = [(name, value.detach().cpu().contiguous()) for name, value in sorted(loaded.model.state_dict().items())]
    facts = f"{loaded.card['architecture']} {sorted(loaded.card['arguments'].items())} {loaded.spec}"
    return _digest(
        facts.encode(),
        *(name.encode() + value.reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in weights),
    )


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class Banks:
    """The banks of a split, and how much of them a clip sees.

    Attributes:
        by_video: each video's.
        window_s: seconds, half of them before the keyframe.
    """

    by_video: Mapping[str, BankFile]
    window_s: float

    def window(self, keys: Sequence[FrameKey]) -> BankWindow:
        """What clips of these keyframes may look up."""
        return bank_window([(self.by_video[key.video_id], key.time_s) for key in keys], self.window_s)


def with_window(batch: ClipBatch, index: AnnotationIndex, banks: Banks | None) -> ClipBatch:
    """A batch of these keyframes with what its clips may look up, if there are banks."""
    if banks is None:
        return batch
    return replace(batch, window=banks.window([index.key(keyframe) for keyframe in batch.keyframes.tolist()]))
