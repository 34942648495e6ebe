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


Model = tuple[str, dict[str, str]]
"""One model among the tensors of a state dict: the words before its names, name without wrappers -> in the file."""


def unwrap(names: Iterable[str]) -> list[Model]:
    """The models that some format recognises among the names of a state dict, the least wrapped ones.

    Returns:
        usually one; several where the file holds copies side by side (a teacher and a student); none where no format
        knows any part of the names.
    """
    listed = list(names)
    found, without = (
        _search({name: _without_marks(name, without_module) for name in listed}) for without_module in (False, True)
    )
    # Parts that were wrapped by themselves have the word in the middle; ACAR-Net's names need it there.
    return max(without, found, key=lambda models: sum(len(inside) for _, inside in models))


def stripped(names: Iterable[str]) -> list[str]:
    """Names without known wrappers, for messages about what no format recognises."""
    bare = {name: _without_marks(name, without_module=False) for name in names}
    inside, _ = _common(bare, "")
    return list(inside.values())


def _without_marks(name: str, without_module: bool) -> str:
    """A name without what may stand anywhere in it."""
    bare = MARKS.sub("", name).removeprefix(".")
    return re.sub(r"(^|\.)module(?=\.)", "", bare).removeprefix(".") if without_module else bare


def _search(bare: Mapping[str, str]) -> list[Model]:
    """As `unwrap`; `bare` has the name in the file -> the name without marks."""
    level = [_common(bare, "")]
    for _ in range(MAX_DEPTH):
        found = [(prefix, weights) for inside, prefix in level if _is_model(weights := _weights(inside))]
        if found:
            return found
        level = [part for inside, prefix in level for part in _parts(inside, prefix, len(bare))]
    return []


def _weights(inside: Mapping[str, str]) -> dict[str, str]:
    """Name -> name in the file, of what belongs to a module; of names that are the same without marks the first."""
    names: dict[str, str] = {}
    for full, name in inside.items():
        if not NO_WEIGHT.search(name):
            names.setdefault(name, full)
    return names


def _is_model(names: Mapping[str, str]) -> bool:
    """Whether a format recognises names, and they do not all begin with the words of copies."""
    first = {name.partition(".")[0] for name in names}
    return not first <= WRAPPERS and is_known(names)


def _common(inside: Mapping[str, str], prefix: str) -> tuple[dict[str, str], str]:
    """Take off words of `WRAPPERS` as long as all names begin with the same, but for those that are no weights."""
    kept = dict(inside)
    while True:
        words = {name.partition(".")[0] for name in kept.values() if not NO_WEIGHT.search(name)}
        word = next(iter(words), "")
        if len(words) != 1 or word not in WRAPPERS:
            return kept, prefix
        kept, prefix = _within(kept, word), f"{prefix}{word}."


def _parts(inside: Mapping[str, str], prefix: str, total: int) -> list[tuple[dict[str, str], str]]:
    """The modules that names begin with, each by itself, those first that trainers call a model."""
    counts = Counter(name.partition(".")[0] for name in inside.values() if "." in name)
    words = [word for word, count in counts.most_common() if count >= MIN_PART * total]
    words.sort(key=lambda word: word not in WRAPPERS)
    return [_common(_within(inside, word), f"{prefix}{word}.") for word in words]


def _within(inside: Mapping[str, str], word: str) -> dict[str, str]:
    """The names that begin with a word, without it."""
    return {full: name.removeprefix(f"{word}.") for full, name in inside.items() if name.startswith(f"{word}.")}
