"""From packs of labelled frames to training batches: every picture follows from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from avadet.data.workers import BatchLoader
from person_training.compose import mosaic, paste_empty, paste_person, recolour, side_by_side
from person_training.frames import FramePack, LabelledFrame
from person_training.loss import Targets
from person_training.windows import close_window, cut, empty_window, whole_window, zoomed_window

PLAIN_SHARE = 0.25  # of the pictures without a person, these are of one colour
CROWD_WEIGHT = 3.0  # frames with several certain people are drawn this much more often


@dataclass(frozen=True)
class Recipe:
    """How training pictures are made.

    Attributes:
        sizes_hw: sizes (multiples of 32) that batches take in turn.
        zoom: lowest and highest magnification against the whole frame.
        aspect: largest stretch of width or height.
        mosaic: share of pictures made of four frames.
        side_by_side: share made of two or three upright strips.
        close_up: share that shows one person's upper part only.
        empty: share that shows no person.
        paste: share of pictures that get another person, and again that get a person-free patch.
        settle: last part of the training, in which pictures are single frames and nothing is pasted.
    """

    sizes_hw: tuple[tuple[int, int], ...]
    zoom: tuple[float, float]
    aspect: float
    mosaic: float
    side_by_side: float
    close_up: float
    empty: float
    paste: float
    settle: float


class FrameDraw:
    """Draws frames at random: first a pack by its share, then a clip, then a frame of it, crowds preferred."""

    def __init__(self, packs: Sequence[FramePack], shares: Sequence[float]) -> None:
        """Set up; packs without frames get no share."""
        self._packs = packs
        weights = np.array([share * (len(pack) > 0) for pack, share in zip(packs, shares)], np.float64)
        self._ends = np.cumsum(weights / weights.sum())
        self._tables = [_draw_table(pack) if len(pack) else np.zeros(0) for pack in packs]

    def __call__(self, rng: np.random.Generator) -> LabelledFrame:
        """The next frame."""
        which = int(np.searchsorted(self._ends, rng.random(), side="right"))
        pack, table = self._packs[which], self._tables[which]
        return pack[int(np.searchsorted(table, rng.random(), side="right"))]


def _draw_table(pack: FramePack) -> np.ndarray:
    """Cumulative probability of each frame: clips share alike by the root of their length, crowds count more."""
    crowd = np.array([pack.people(i)[1].sum() >= 2 for i in range(len(pack))])
    clip_sizes = np.bincount(pack.clip_of, minlength=len(pack.clip_names))
    weights = np.where(crowd, CROWD_WEIGHT, 1.0) / np.sqrt(clip_sizes[pack.clip_of])
    return np.cumsum(weights / weights.sum())


class PersonSamples(Dataset[LabelledFrame]):
    """Training pictures 0 .. steps * batch_size - 1; all of one batch have one size."""

    def __init__(self, draw: FrameDraw, recipe: Recipe, seed: int, steps: int, batch_size: int) -> None:
        """Hold the parts."""
        self._draw, self._recipe, self._seed = draw, recipe, seed
        self._steps, self._batch_size = steps, batch_size

    def __len__(self) -> int:
        """Pictures in the whole training."""
        return self._steps * self._batch_size

    def __getitem__(self, index: int) -> LabelledFrame:
        """Make picture `index`."""
        rng = np.random.default_rng((self._seed, index))
        sizes = self._recipe.sizes_hw
        size_hw = sizes[(index // self._batch_size) % len(sizes)]
        settled = index >= len(self) * (1 - self._recipe.settle)
        frame = self._compose(rng, size_hw) if not settled else self._single(rng, size_hw)
        return finish(rng, frame)

    def _compose(self, rng: np.random.Generator, size_hw: tuple[int, int]) -> LabelledFrame:
        recipe, draw = self._recipe, partial(self._draw, rng)
        ends = np.cumsum([recipe.mosaic, recipe.side_by_side, recipe.close_up, recipe.empty])
        kind = int(np.searchsorted(ends, rng.random(), side="right"))
        if kind == 0:
            frame = mosaic(rng, draw, size_hw)
        elif kind == 1:
            frame = side_by_side(rng, draw, size_hw)
        else:
            frame = self._single(rng, size_hw, kind)
        if rng.random() < recipe.paste:
            frame = paste_person(rng, frame, draw())
        if rng.random() < recipe.paste:
            frame = paste_empty(rng, frame, draw())
        return frame

    def _single(self, rng: np.random.Generator, size_hw: tuple[int, int], kind: int = 4) -> LabelledFrame:
        """A window of one frame; kind 2 = close up, 3 = person-free (or `plain`), if the frame has such a window."""
        if kind == 3 and rng.random() < PLAIN_SHARE:
            return plain(rng, size_hw)
        frame = self._draw(rng)
        window = None
        if kind == 2:
            window = close_window(rng, frame, size_hw, (0.25, 0.8))
        elif kind == 3:
            window = empty_window(rng, frame, size_hw)
        elif rng.random() < 0.15:
            window = whole_window(frame, size_hw)
        window = window or zoomed_window(rng, frame, size_hw, self._recipe.zoom, self._recipe.aspect)
        return cut(frame, window, size_hw)


def plain(rng: np.random.Generator, size_hw: tuple[int, int]) -> LabelledFrame:
    """A picture of one colour, or of two that run into each other, as films show between scenes; nobody in it."""
    first, second = rng.integers(0, 256, (2, 3)) * rng.choice((0.0, 0.3, 1.0), (2, 1))
    ramp = np.linspace(0, rng.integers(0, 2), size_hw[0 if rng.random() < 0.5 else 1])
    ramp = ramp[:, None, None] if len(ramp) == size_hw[0] else ramp[None, :, None]
    image = np.broadcast_to(first + (second - first) * ramp, (*size_hw, 3)) + rng.normal(
        0, rng.uniform(0, 6), (*size_hw, 1)
    )
    nobody = np.zeros((0, 4), np.float32)
    return LabelledFrame(np.clip(image, 0, 255).astype(np.uint8), nobody, np.zeros(0, np.float32))


def finish(rng: np.random.Generator, frame: LabelledFrame) -> LabelledFrame:
    """Mirror half of the pictures, change the colours of all."""
    image, corners = frame.image, frame.boxes_px
    if rng.random() < 0.5:
        width = image.shape[1]
        image = image[:, ::-1]
        corners = np.stack((width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]), axis=1)
    return LabelledFrame(recolour(rng, np.ascontiguousarray(image)), corners.astype(np.float32), frame.worth)


def collate(frames: Sequence[LabelledFrame]) -> tuple[Tensor, Targets]:
    """Join pictures of one size: uint8 (N, 3, H, W) and their people, padded to the largest count."""
    images = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2)
    most = max(1, *(len(frame.boxes_px) for frame in frames))
    corners = torch.zeros(len(frames), most, 4)
    worth = torch.zeros(len(frames), most)
    doubtful = torch.zeros(len(frames), most, dtype=torch.bool)
    for row, frame in enumerate(frames):
        count = len(frame.boxes_px)
        corners[row, :count] = torch.from_numpy(frame.boxes_px)
        worth[row, :count] = torch.from_numpy(frame.worth)
        doubtful[row, :count] = torch.from_numpy(~frame.certain)
    return images, Targets(corners, worth, doubtful)


def person_loader(samples: PersonSamples, workers: int) -> BatchLoader[tuple[Tensor, Targets]]:
    """What makes batches of samples, by their numbers."""
    return BatchLoader(samples, collate, workers, prefetch=4)
