"""Names of tensors as trainers wrap them, and what is left when the wrappers are off.

torch.compile, DistributedDataParallel, FSDP, averaged models, Lightning and other frames put words before or between
the names that a model gives its tensors. Some stand anywhere (`MARKS`), others only at the beginning: those known by
name come off together (`WRAPPERS`), and where the model then still has a name of its own inside a larger module, the
part of it that some format recognises is looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from avadet.models.checkpoints.formats import is_known

MARKS = re.compile(
    r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_fpw_module)(?=\.)"
)
"""What torch.compile, FSDP, activation checkpointing and Lightning's Fabric put anywhere into a name."""

COPIES = (
    *("teacher", "student", "teacher_model", "student_model", "ema", "ema_model", "model_ema", "ema_net"),
    *("averaged_model", "avg_model", "online_encoder", "target_encoder"),
)
"""Words before a whole model where a file may hold several."""

WRAPPERS = frozenset(("module", "model", "net", "network", "generator", "learner", "detector", *COPIES))
"""Words before the names of a whole model; none of them begins a name of a known format that needs it."""

NO_WEIGHT = re.compile(
    r"^(\w+\.)?(n_averaged|steps?|num_updates|updates|initted|decay)$"
    r"|^(\w*criterion\w*|\w*loss\w*|loss_fn|\w*metrics?|(train|val|valid|validation|test)_\w+|\w*_map|\w*accuracy)(\.|$)",
    re.IGNORECASE,
)
"""Names that belong to no module of a model: counters of averages, losses, metrics."""

MAX_DEPTH = 5
MIN_PART = 0.05
"""Of all tensors, what a model wrapped in a larger module has at least."""


@dataclass(frozen=True)
class Unwrapped:
    """One model among the tensors of a state dict.

    Attributes:
        prefix: the words that stood before its names, "" = none.
        names: name without wrappers -> name in the file.
        left_out: names in the file that belong to no module of the model.
    """

    prefix: str
    names: Mapping[str, str]
    left_out: tuple[str, ...]


def unwrap(names: Iterable[str]) -> list[Unwrapped]:
    """The models that some format recognises among the names of a state dict, the least wrapped ones.

    Args:
        names: as in the file.

    Returns:
        usually one; several where the file holds copies side by side (a teacher and a student); none where no format
        knows any part of the names.
    """
    listed = list(names)
    found, without = (
        _search({name: _without_marks(name, without_module) for name in listed}) for without_module in (False, True)
    )
    # Parts that were wrapped by themselves have the word in the middle; ACAR-Net's names need it there.
    return without if _size(without) >= _size(found) else found


def _size(models: Iterable[Unwrapped]) -> int:
    """Tensors of all models."""
    return sum(len(model.names) for model in models)


def stripped(names: Iterable[str]) -> list[str]:
    """Names without known wrappers, for messages about what no format recognises."""
    bare = {name: _without_marks(name, without_module=False) for name in names}
    inside, _ = _common(bare, "")
    return list(inside.values())


def _without_marks(name: str, without_module: bool) -> str:
    """A name without what may stand anywhere in it."""
    bare = MARKS.sub("", name).removeprefix(".")
    return re.sub(r"(^|\.)module(?=\.)", "", bare).removeprefix(".") if without_module else bare


def _search(bare: Mapping[str, str]) -> list[Unwrapped]:
    """As `unwrap`; `bare` has the name in the file -> the name without marks."""
    level = [_common(bare, "")]
    for _ in range(MAX_DEPTH):
        found = [_as_model(inside, prefix, bare) for inside, prefix in level if _fits(inside.values())]
        if found:
            return found
        level = [part for inside, prefix in level for part in _parts(inside, prefix, len(bare))]
    return []


def _fits(names: Iterable[str]) -> bool:
    """Whether a format recognises names that do not all begin with the words of copies."""
    listed = [name for name in names if not NO_WEIGHT.search(name)]
    first = {name.partition(".")[0] for name in listed}
    return bool(listed) and not first <= WRAPPERS and is_known(listed)


def _common(inside: Mapping[str, str], prefix: str) -> tuple[dict[str, str], str]:
    """Take off words of `WRAPPERS` as long as all names begin with the same, but for those that are no weights."""
    kept = dict(inside)
    while True:
        words = {name.partition(".")[0] for name in kept.values() if not NO_WEIGHT.search(name)}
        word = next(iter(words), "")
        if len(words) != 1 or word not in WRAPPERS:
            return kept, prefix
        kept = {full: name.removeprefix(f"{word}.") for full, name in kept.items() if name.startswith(f"{word}.")}
        prefix = f"{prefix}{word}."


def _parts(inside: Mapping[str, str], prefix: str, total: int) -> list[tuple[dict[str, str], str]]:
    """The modules that names begin with, each by itself, those first that trainers call a model."""
    counts = Counter(name.partition(".")[0] for name in inside.values() if "." in name)
    words = [word for word, count in counts.most_common() if count >= MIN_PART * total]
    parts = []
    for word in sorted(words, key=lambda word: word not in WRAPPERS):
        part = {full: name.removeprefix(f"{word}.") for full, name in inside.items() if name.startswith(f"{word}.")}
        parts.append(_common(part, f"{prefix}{word}."))
    return parts


def _as_model(inside: Mapping[str, str], prefix: str, bare: Mapping[str, str]) -> Unwrapped:
    """One model: of names that are the same without marks the first counts."""
    names: dict[str, str] = {}
    for full, name in inside.items():
        if not NO_WEIGHT.search(name):
            names.setdefault(name, full)
    taken = set(names.values())
    return Unwrapped(prefix, names, tuple(full for full in bare if full not in taken))
