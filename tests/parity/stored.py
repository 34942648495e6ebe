"""The files of this folder: what the reference implementations answered, and the layouts of their models."""

from __future__ import annotations

import functools
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


@functools.cache
def answers() -> dict[str, np.ndarray]:
    """Arrays by name: logits and maps of models, frames and boxes as models were shown them."""
    with np.load(FOLDER / "answers.npz") as arrays:
        return dict(arrays)


@functools.cache
def models() -> dict[str, Any]:
    """`tiny` and `full`: settings and the shapes of all tensors, by model; `caffe2`: their other names."""
    loaded: dict[str, Any] = json.loads(lzma.decompress((FOLDER / "models.json.xz").read_bytes()))
    return loaded


@functools.cache
def evaluator() -> dict[str, Any]:
    """`cases`: rows and numbers, by name; `drawn`: numbers of the rows that are drawn by seed."""
    loaded: dict[str, Any] = json.loads((FOLDER / "evaluator.json").read_text())
    return loaded


@functools.cache
def index_tables() -> dict[str, dict[str, list[int]]]:
    """Frames that PySlowFast takes, by its function and what it was asked."""
    loaded: dict[str, dict[str, list[int]]] = json.loads((FOLDER / "index_tables.json").read_text())
    return loaded
