"""Which of the tensors in a file are the model's: found by what they are, not by where a trainer puts them.

Any dictionary of names and tensors, anywhere in the file, may be a state dict; that of a model is one that some format
recognises once its wrappers are off (`wrappers`). Where there are several - the weights and their running average, a
teacher and a student - the ones that the project that wrote the file evaluates are taken, by `_rank`; others can be
asked for by name.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from avadet.errors import AvadetError, first_names, unknown_name
from avadet.models.checkpoints.inert import InertObject
from avadet.models.checkpoints.stored_tensors import StoredTensor, is_unread_tensor
from avadet.models.checkpoints.wrappers import Model, stripped, unwrap

MAX_NODES = 1_000_000
"""Containers that are looked into; checkpoints of large models with their optimizers have a tenth of that."""

MAX_PATH = 300

AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow|target)([._]|$)|ema$", re.IGNORECASE)
OPTIMIZER = re.compile(r"(^|[._])(optim\w*|exp_avg\w*|momentum_buffer|grads?|scaler|lr_scheduler\w*)([._]|$)")
EVALUATED_AVERAGE = re.compile(r"^average\.model$|(^|\.)target_encoder(\.|$)")
"""Averages that are what is evaluated: avadet's own, and V-JEPA's."""

Weights = Mapping[str, object]
"""Name in the file -> `StoredTensor`, array or tensor."""


@dataclass(frozen=True)
class Candidate:
    """The weights of one model in a file.

    Attributes:
        label: where they are: keys and wrappers, joined by dots; "" = the file is nothing else.
        tensors: by name without wrappers.
        left_out: names in the same dictionary that belong to no model.
        unread: names of tensors that are of no kind that is read.
    """

    label: str
    tensors: Weights
    left_out: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def choose_weights(root: object, source: str, wanted: str | None = None) -> tuple[Candidate, tuple[str, ...]]:
    """Find the weights of a model in what a file holds.

    Args:
        root: as `torch_file.open_file` gives it.
        source: the file, for messages.
        wanted: which ones, a label or a part of it, such as "model_ema"; None = those that `_rank` puts first.

    Returns:
        the weights, and what the user should know of the choice, a line each.

    Raises:
        AvadetError: if there are none, or none of that name, or they have tensors that cannot be read.
    """
    found = list(_dictionaries(root))
    candidates = _different(list(_candidates(found)))
    if not candidates:
        return _unrecognised(root, found, source), ()
    most = max(len(one.tensors) for one in candidates)
    whole = [one for one in candidates if 2 * len(one.tensors) >= most]
    ordered = sorted(whole, key=lambda one: (_rank(one, whole), -len(one.tensors)))
    taken = ordered[0] if wanted is None else _named(candidates, wanted, source)
    if taken.unread:
        raise AvadetError(
            f"{source}: {len(taken.unread)} of its tensors are quantised, sparse or without values "
            f"({taken.unread[0]}); save the model's state_dict() as plain tensors"
        )
    return taken, tuple(_notes(taken, candidates))


def _rank(one: Candidate, all_of_them: list[Candidate]) -> int:
    """Lower is better.

    0: averages that their project evaluates (`EVALUATED_AVERAGE`), and a teacher that is its student's running average,
    of the same tensors. 1: weights as they were trained: PySlowFast's, VideoMAE's, Hiera's, timm's and torchvision's
    are evaluated so, and mmengine swaps before it saves, so that its `state_dict` is the average and its
    `ema_state_dict` is not. 2: running averages. 3: a teacher of another size.
    """
    words = one.label.split(".")
    if EVALUATED_AVERAGE.search(one.label):
        return 0
    if any(word.startswith("teacher") for word in words):
        students = [other for other in all_of_them if "student" in other.label]
        return 0 if not students or any(_shapes(other) == _shapes(one) for other in students) else 3
    return 2 if AVERAGE.search(one.label) else 1


def _shapes(one: Candidate) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in one.tensors.items()}


def _named(candidates: list[Candidate], wanted: str, source: str) -> Candidate:
    """The candidate that was asked for."""
    exact = [one for one in candidates if one.label.rstrip(".") == wanted]
    like = exact or [one for one in candidates if wanted in one.label.split(".")]
    if not like:
        raise AvadetError(f"{source}: {unknown_name('weights', wanted, [_name(one) for one in candidates])}")
    return max(like, key=lambda one: len(one.tensors))


def _name(one: Candidate) -> str:
    """What to call weights."""
    return one.label.rstrip(".") or "the file itself"


def _notes(taken: Candidate, candidates: list[Candidate]) -> Iterator[str]:
    """What to say of the choice."""
    others = [one for one in candidates if one is not taken]
    if others:
        names = first_names([_name(one) for one in others])
        yield f"took {_name(taken)}, the file also holds {names} (avadet convert --weights NAME takes others)"
    if taken.left_out:
        yield f"{len(taken.left_out)} of other parts than the model left out ({first_names(taken.left_out)})"


def _dictionaries(root: object) -> Iterator[tuple[str, Weights]]:
    """Every dictionary of names with a tensor in it: where it is, and its tensors."""
    waiting: deque[tuple[str, object]] = deque([("", root)])
    seen: set[int] = set()
    while waiting and len(seen) < MAX_NODES:
        path, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            tensors = {key: one for key, one in value.items() if isinstance(key, str) and _is_tensor(one)}
            if tensors and not OPTIMIZER.search(path):
                yield path, tensors
            waiting += [(_joined(path, key), one) for key, one in value.items() if _is_container(one)]
        elif isinstance(value, InertObject):
            waiting += [(path, one) for one in value.parts()]
        elif isinstance(value, list | tuple):
            waiting += [(path, one) for one in value if _is_container(one)]


def _joined(path: str, key: object) -> str:
    """A path with another key; only short words are worth showing, and no endless path."""
    if len(path) > MAX_PATH:
        return path
    word = str(key)[:60] if isinstance(key, str | int) else "?"
    return f"{path}.{word}" if path else word


def _is_container(value: object) -> bool:
    return isinstance(value, Mapping | InertObject | list | tuple)


def _is_tensor(value: object) -> bool:
    """Whether something is a tensor, or would be."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf"
    return isinstance(value, StoredTensor | Tensor) or is_unread_tensor(value)


def _candidates(found: list[tuple[str, Weights]]) -> Iterator[Candidate]:
    """The models that a format recognises in dictionaries of tensors."""
    known: dict[tuple[str, ...], list[Model]] = {}  # an optimizer has thousands of dictionaries with the same names
    for path, tensors in found:
        names = tuple(tensors)
        if names not in known:
            known[names] = unwrap(names)
        taken = {full for _, inside in known[names] for full in inside.values()}
        left_out = tuple(name for name in names if name not in taken)
        for prefix, inside in known[names]:
            own = {name: tensors[full] for name, full in inside.items()}
            unread = tuple(name for name, value in own.items() if is_unread_tensor(value))
            read = {name: value for name, value in own.items() if not is_unread_tensor(value)}
            yield Candidate(".".join(part for part in (path, prefix) if part), read, left_out, unread)


def _different(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates without those that have the very tensors of one before."""
    kept: list[Candidate] = []
    for one in candidates:
        if not any(_is_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _is_same(one: Candidate, other: Candidate) -> bool:
    """Whether two have the same names, and tensors that lie in the same places."""
    return one.tensors.keys() == other.tensors.keys() and all(
        value is other.tensors[name] or (isinstance(value, StoredTensor) and value == other.tensors[name])
        for name, value in one.tensors.items()
    )


def _unrecognised(root: object, found: list[tuple[str, Weights]], source: str) -> Candidate:
    """The largest dictionary of tensors, for a message about its names.

    Raises:
        AvadetError: if there is none, saying what there is instead.
    """
    module = _whole_module(root)
    if module is not None:
        raise AvadetError(
            f"{source}: holds a whole module, pickled ({module[:80]}), and avadet runs no class from a file; load it "
            "where that class is and torch.save its state_dict()"
        )
    if not isinstance(root, Mapping | InertObject):
        kind = "a single tensor" if _is_tensor(root) else type(root).__name__
        raise AvadetError(f"{source}: a checkpoint must be a dictionary, got {kind}")
    if not found:
        keys = ", ".join(str(key)[:40] for key in list(root)[:5]) if isinstance(root, Mapping) else root.kind[:80]
        raise AvadetError(f"{source}: holds no tensors by name (it has: {keys or 'nothing'})")
    path, tensors = max(found, key=lambda one: len(one[1]))
    return Candidate(path, dict(zip(stripped(tensors), tensors.values())))


def _whole_module(root: object) -> str | None:
    """The class of a pickled module in a file, at the top or one key below."""
    objects = [root, *(root.values() if isinstance(root, Mapping) else ())]
    for one in objects:
        if isinstance(one, InertObject) and "_modules" in one.attributes:
            return one.kind
    return None
