"""Weights in and out of files: read without running code, loaded with a report, saved with a card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from avadet.errors import AvadetError, first_names
from avadet.files import whole_file
from avadet.models.checkpoints.formats import recognise, translate
from avadet.models.checkpoints.formats.avadet import AVADET
from avadet.models.checkpoints.formats.format import CheckpointFormat, Tensors
from avadet.models.checkpoints.formats.mmaction2 import has_background
from avadet.models.checkpoints.inert import plain
from avadet.models.checkpoints.state_dicts import choose_weights
from avadet.models.checkpoints.stored_settings import stored_settings
from avadet.models.checkpoints.torch_file import open_file

COUNTER = ".num_batches_tracked"
_CLASSIFIERS = ("head.proj", "of_appearance", "of_motion")
"""Names that the layers of classifiers end in; a model may have several, whose logits are added."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, read.

    Attributes:
        source: the file, for messages.
        format: whose it is.
        tensors: under avadet's names, floating ones as float32, on the CPU.
        settings: the configuration stored with the weights, {} if none.
        card: the model card stored with the weights, as in checkpoints of avadet's own training; None = there is none.
        notes: what was chosen and what left out, a line each.
    """

    source: str
    format: CheckpointFormat
    tensors: Tensors
    settings: dict[str, Any]
    card: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def read_checkpoint(path: str | Path, weights: str | None = None) -> Checkpoint:
    """Read a checkpoint of any known format; nothing in the file is ever executed.

    Args:
        path: a `.safetensors` file, a `.pkl` file of caffe2, or one written by `torch.save`.
        weights: which ones where a file holds several, e.g. "model_ema"; None = those that its project evaluates, see
            `checkpoints.state_dicts`.

    Raises:
        AvadetError: if the file is missing, damaged, asks to run something, or has tensors of no known format.
    """
    content = open_file(Path(path))
    chosen, notes = choose_weights(content.root, str(path), weights)
    form = recognise(chosen.tensors, str(path))
    tensors = content.tensors(chosen.tensors)
    as_float = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    settings = stored_settings(content.root, str(path))
    card = plain(content.root.get("card")) if isinstance(content.root, dict) and form == AVADET else None
    named = translate(as_float, form, has_background(settings, str(path)))
    return Checkpoint(str(path), form, named, settings, card if isinstance(card, dict) else None, notes)


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
        notes: what else there is to say of the file.
    """

    source: str
    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    refolded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every tensor of both sides found its partner."""
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        """One line: the counts, each with its first names."""
        lists = (("missing", self.missing), ("unexpected", self.unexpected), ("reshaped", self.reshaped))
        rest = (f"{len(names)} {kind}{f' ({first_names(names)})' if names else ''}" for kind, names in lists)
        refolded = f" ({len(self.refolded)} refolded: {', '.join(self.refolded[:3])})" if self.refolded else ""
        return "; ".join((f"{self.source}: {self.loaded} tensors loaded{refolded}", *rest, *self.notes))


def load_tensors(
    model: nn.Module, tensors: Tensors, source: str, allow_partial: bool = False, notes: tuple[str, ...] = ()
) -> LoadReport:
    """Copy tensors into a model by name.

    Args:
        model: changed in place.
        tensors: under the model's own names.
        source: where they came from, for the report.
        allow_partial: whether tensors without a partner are fine (they are left out).
        notes: what else the report is to say of them.

    Raises:
        AvadetError: if a tensor of either side has no partner and `allow_partial` is off. The model is then unchanged.
    """
    own = model.state_dict()
    shared = [name for name in own if name in tensors]
    fits = {name for name in shared if _without_trailing_ones(own[name]) == _without_trailing_ones(tensors[name])}
    fitting = {name: tensors[name].reshape(own[name].shape) for name in shared if name in fits}
    report = LoadReport(
        source=source,
        loaded=len(fitting),
        missing=tuple(name for name in own if name not in tensors and not name.endswith(COUNTER)),
        unexpected=tuple(name for name in tensors if name not in own),
        reshaped=tuple(
            f"{name} {_shape(tensors[name])} for {_shape(own[name])}" for name in shared if name not in fits
        ),
        refolded=tuple(name for name in fitting if own[name].shape != tensors[name].shape),
        notes=notes,
    )
    if not (report.is_whole or allow_partial):
        raise AvadetError(f"{report}; `avadet convert --partial` keeps what fits")
    model.load_state_dict(fitting, strict=False)
    return report


def remap_classifier(
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
        equal but for case, underscores and spaces; of several equal ones the first counts. Where none is equal a part
        of one may be ("run" and "run/jog", "eat" and "eat (something)"), if no other class has that part. Where no
        class is shared the classifier is left out.
    """
    places = [_place(name, names) for name in wanted]
    pairs = [(row, place) for row, place in enumerate(places) if place is not None]
    own, changed = model.state_dict(), dict(tensors)
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        if not module.endswith(_CLASSIFIERS) or kind not in ("weight", "bias") or len(value) != len(names):
            continue
        del changed[name]
        weight, new = tensors.get(f"{module}.weight", value), own.get(f"{module}.weight", value)
        if pairs and name in own and weight.shape[1:] == new.shape[1:]:
            changed[name] = own[name].detach().clone()
            changed[name][[row for row, _ in pairs]] = value[[row for _, row in pairs]]
    return changed, len(pairs)


def _place(name: str, names: Sequence[str]) -> int | None:
    """Which of the names a class has, see `remap_classifier`; None = none, or it is not clear which."""
    plain = [_plain_name(one) for one in names]
    if _plain_name(name) in plain:
        return plain.index(_plain_name(name))
    parts = _parts_of_name(name)
    alike = [row for row, one in enumerate(names) if parts & _parts_of_name(one)]
    return alike[0] if len(alike) == 1 else None


def _plain_name(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _parts_of_name(name: str) -> set[str]:
    """A class's name without what is in brackets, and each of its alternatives."""
    bare = re.sub(r"\([^)]*\)", "", _plain_name(name))
    return {part.strip() for part in (bare, *bare.split("/"))} - {""}


def _without_trailing_ones(tensor: Tensor) -> list[int]:
    """A shape without the ones at its end; some projects store a linear layer as a convolution of one cell."""
    sizes = list(tensor.shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return sizes


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
        large = {name for name, value in tensors.items() if value.is_floating_point() and value.ndim > 1}
        tensors |= {name: tensors[name].half() for name in large}
    with whole_file(final) as partial:
        partial.write_bytes(save(tensors))  # save_file would leave a file of its own behind where it is killed
    with whole_file(final.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
