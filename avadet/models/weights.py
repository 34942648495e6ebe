"""Weights in and out of files: read without running code, loaded with a report, saved with a card."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.models.layouts import Layout, Tensors, has_background, mmaction_settings, recognise, translate
from avadet.plain_pickle import read_plain_pickle

COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, read.

    Attributes:
        source: the file, for messages.
        layout: whose it is.
        tensors: under avadet's names, floating ones as float32, on the CPU.
        settings: the configuration stored with the weights, {} if none.
    """

    source: str
    layout: Layout
    tensors: Tensors
    settings: dict[str, Any]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of any known layout; nothing in the file is ever executed.

    Args:
        path: a `.safetensors` file, a `.pkl` file of caffe2, or one written by `torch.save`.

    Raises:
        AvadetError: if the file is missing, damaged, holds more than tensors and plain values, or has tensors of no
            known layout.
    """
    content = _content(Path(path))
    tensors = {
        name.removeprefix("module."): value for name, value in _state_dict(content).items() if isinstance(value, Tensor)
    }
    layout = recognise(tensors, str(path))
    as_float = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    settings = _settings(content, str(path))
    named = translate(as_float, layout, has_background(settings, str(path)))
    return Checkpoint(str(path), layout, named, settings)


def _content(path: Path) -> dict[str, Any]:
    """What a file holds, arrays as tensors."""
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path))
    if path.suffix == ".pkl" and not _is_zip(path):
        return _read_caffe2(path)
    return _read_pickled(path)


def _is_zip(path: Path) -> bool:
    """Whether a file is one of `torch.save` of today, whatever it is called."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _read_caffe2(path: Path) -> dict[str, Any]:
    """The arrays that caffe2 pickled under "blobs", as tensors; the rest (step sizes, counters) is left."""
    content = read_plain_pickle(path)
    blobs = content.get("blobs", content) if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise AvadetError(f"{path}: weights of caffe2 must be a dictionary, got {type(content).__name__}")
    arrays = {
        name: value for name, value in blobs.items() if isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    }
    return {str(name): torch.from_numpy(value.astype(value.dtype.newbyteorder("="))) for name, value in arrays.items()}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating ones as float32 whatever they are stored as.

    Raises:
        AvadetError: if the file is missing or damaged.
    """
    try:
        return {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such file") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise AvadetError(f"{path}: not a readable safetensors file: {error}") from error


def _read_pickled(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, as long as that is tensors and plain values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        culprit = re.search(r"unsupported global:?\s+(?:GLOBAL\s+)?(\S+)", str(error), re.IGNORECASE)
        if culprit:
            message = f"refused, it asks to run {culprit[1]} when read; a checkpoint must hold tensors and plain values"
            raise AvadetError(f"{path}: {message}") from error
        raise AvadetError(f"{path}: damaged, or no file of torch.save or safetensors") from error
    except (EOFError, RuntimeError, OSError) as error:
        raise AvadetError(f"{path}: damaged, or no file of torch.save or safetensors") from error
    if not isinstance(content, dict):
        raise AvadetError(f"{path}: a checkpoint must be a dictionary, got {type(content).__name__}")
    return content


def _state_dict(content: dict[str, Any]) -> dict[str, Any]:
    """The dictionary of tensors, wherever the project puts it."""
    for key in ("model_state", "state_dict", "model", "module", "target_encoder"):
        if isinstance(content.get(key), dict):
            inner: dict[str, Any] = content[key]
            return inner
    return content


def _settings(content: dict[str, Any], source: str) -> dict[str, Any]:
    """The configuration stored with the weights, in PySlowFast's words.

    PySlowFast stores YAML text under `cfg`; mmaction2 Python source under `meta`, as `cfg` (1.x) or `config` (0.x).
    """
    meta = content.get("meta")
    source_text = (meta.get("cfg") or meta.get("config")) if isinstance(meta, dict) else None
    if isinstance(source_text, str):
        return mmaction_settings(source_text)
    text = content.get("cfg")
    if not isinstance(text, str):
        return {}
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AvadetError(f"{source}: the configuration stored under 'cfg' is no plain YAML") from error
    return settings if isinstance(settings, dict) else {}


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor when weights were put into a model.

    Attributes:
        source: where the weights came from.
        loaded: how many tensors were copied.
        missing: names the model has and the file lacks (BatchNorm's step counters are not counted).
        unexpected: names the file has and the model lacks.
        reshaped: names both have, in different shapes; not copied.
        refolded: names copied although the shapes differ, by dimensions of one at the end only; counted in `loaded`.
    """

    source: str
    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    refolded: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every tensor of both sides found its partner."""
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        """One line: the counts, each with its first names."""
        lists = (("missing", self.missing), ("unexpected", self.unexpected), ("reshaped", self.reshaped))
        rest = "; ".join(f"{len(names)} {kind}{_first_names(names)}" for kind, names in lists)
        refolded = f" ({len(self.refolded)} refolded: {', '.join(self.refolded[:3])})" if self.refolded else ""
        return f"{self.source}: {self.loaded} tensors loaded{refolded}; {rest}"


def _first_names(names: tuple[str, ...]) -> str:
    """The first three names in brackets, nothing if there is none."""
    if not names:
        return ""
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def load_tensors(model: nn.Module, tensors: Tensors, source: str, allow_partial: bool = False) -> LoadReport:
    """Copy tensors into a model by name.

    Args:
        model: changed in place.
        tensors: under the model's own names.
        source: where they came from, for the report.
        allow_partial: whether tensors without a partner are fine (they are left out).

    Raises:
        AvadetError: if a tensor of either side has no partner and `allow_partial` is off. The model is then unchanged.
    """
    own = model.state_dict()
    shared = [name for name in own if name in tensors]
    reshaped = [name for name in shared if _without_trailing_ones(own[name]) != _without_trailing_ones(tensors[name])]
    fitting = {name: tensors[name].reshape(own[name].shape) for name in shared if name not in set(reshaped)}
    report = LoadReport(
        source=source,
        loaded=len(fitting),
        missing=tuple(name for name in own if name not in tensors and not name.endswith(COUNTER)),
        unexpected=tuple(name for name in tensors if name not in own),
        reshaped=tuple(f"{name} {_shape(tensors[name])} for {_shape(own[name])}" for name in reshaped),
        refolded=tuple(name for name in fitting if own[name].shape != tensors[name].shape),
    )
    if not (report.is_whole or allow_partial):
        raise AvadetError(f"{report}; `avadet convert --partial` keeps what fits")
    model.load_state_dict(fitting, strict=False)
    return report


def carry_classes(
    model: nn.Module, tensors: Tensors, names: Sequence[str], wanted: Sequence[str]
) -> tuple[Tensors, int]:
    """Sort the rows of a classifier by another list of classes.

    Args:
        model: whose present rows stand for classes that the tensors lack; unchanged.
        tensors: under the model's own names.
        names: the classes of the tensors' classifier, in order.
        wanted: the classes of the model, in order.

    Returns:
        the tensors with classifiers in the model's order, and how many classes they had of those wanted. Names are
        equal but for case, underscores and spaces; of several equal ones the first counts. Where no class is shared
        the classifier is left out.
    """
    place = {_plain(name): row for row, name in reversed(list(enumerate(names)))}
    pairs = [(row, place[_plain(name)]) for row, name in enumerate(wanted) if _plain(name) in place]
    own, changed = model.state_dict(), dict(tensors)
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        if not module.endswith("head.proj") or kind not in ("weight", "bias") or len(value) != len(names):
            continue
        del changed[name]
        weight, new = tensors.get(f"{module}.weight", value), own.get(f"{module}.weight", value)
        if pairs and name in own and weight.shape[1:] == new.shape[1:]:
            changed[name] = own[name].detach().clone()
            changed[name][[row for row, _ in pairs]] = value[[row for _, row in pairs]]
    return changed, len(pairs)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _without_trailing_ones(tensor: Tensor) -> tuple[int, ...]:
    """A shape without the ones at its end; some projects store a linear layer as a convolution of one cell."""
    sizes = list(tensor.shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _shape(tensor: Tensor) -> str:
    """A shape as 80x2304."""
    return "x".join(str(size) for size in tensor.shape) or "scalar"


def save_model(path: str | Path, model: nn.Module, card: dict[str, Any], half: bool = False) -> None:
    """Write `X.safetensors` and, beside it, the card `X.json`.

    Args:
        path: X.safetensors.
        model: what to save.
        card: see `cards.make_card`.
        half: store kernels and matrices as float16, half the size; vectors (norms, biases) stay float32, whose range
            running variances need. Reading gives float32 again.

    Raises:
        AvadetError: if `path` has another suffix or cannot be written.
    """
    final = Path(path)
    if final.suffix != ".safetensors":
        raise AvadetError(f"{path}: weights are saved as .safetensors, got suffix '{final.suffix}'")
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        tensors = {
            name: value.half() if value.is_floating_point() and value.ndim > 1 else value
            for name, value in tensors.items()
        }
    with whole_file(final) as partial:
        save_file(tensors, partial)
    with whole_file(final.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
