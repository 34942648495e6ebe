"""The models avadet knows by name, as data: the YAML files of `entries/`, one a publishing project.

A file has sections, `detectors`, `starts` (weights that only start a training) or `bundled`; each has `entries` and
perhaps `defaults`, the fields that they have unless they say otherwise; of `clip` and `numbers` an entry may give a
part. `shared` holds what anchors refer to. Each file is read when a name is first looked for in it, and checked whole.
No torch here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from avadet.errors import AvadetError, unknown_name
from avadet.models.cards import ScoreRule, make_card, read_card
from avadet.models.download import cache_folder
from avadet.types import BoxRule, ClipSpec

_PROJECTS = (
    *("bundled", "torchvision", "pytorchvideo", "pyslowfast", "mmaction2"),
    *("acar", "hiera", "vjepa2", "huggingface"),
)
FILES = tuple(Path(__file__).with_name("entries") / f"{project}.yaml" for project in _PROJECTS)
"""In the order in which their models are listed."""

NO_HASH = ("none published", "not recorded")
"""What `sha256` says where there is none: the publisher gives none, or gives one that is not known here."""
MUTABLE = " (mutable"
"""What follows the name of a branch in `revision`, before the reason why no commit is named."""
UNSCORED = "none published"
"""What `numbers` says where there are none."""
_SECTIONS = ("bundled", "detectors", "starts")


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: what users write.
        file: name of its file of weights.
        summary: one line: what it is, and trained on what.
        url: where the file is published; "" for a model inside the package.
        sha256: the hash of the file, or the first digits of it; "" = not known.
        card: its card; {} for a model inside the package, whose card lies beside its weights.
        is_page: whether `url` is a page from which a browser gets the file, not the file itself.
        revision: commit of the repository that `url` names, or its branch; "" where addresses have no versions.
    """

    name: str
    file: str
    summary: str
    url: str = ""
    sha256: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    is_page: bool = False
    revision: str = ""

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with the package."""
        return not self.url

    @property
    def is_start(self) -> bool:
        """Whether its weights only start a training: they classify whole clips or images, not persons in boxes."""
        return self.card.get("use") == "start"

    @property
    def path(self) -> Path:
        """Where its weights lie, or would lie once downloaded."""
        folder = Path(__file__).parents[1] / "bundled" if self.is_bundled else cache_folder()
        return folder / self.file

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.path.is_file()

    @property
    def pin(self) -> str:
        """What fixes the content of the file at `url`, in words."""
        if self.is_bundled:
            return "in the package"
        digits = self.sha256 if len(self.sha256) == 64 else f"begins with {self.sha256}"
        known = [f"revision {self.revision}"] if self.revision and MUTABLE not in self.revision else []
        known += [f"SHA-256 {digits}"] if self.sha256 else []
        why = f"revision {self.revision}" if self.revision else "no hash known, no version in the address"
        return ", ".join(known) or f"not pinned: {why}"


class _Kind(NamedTuple):
    """What a field may hold: in words, and as a check."""

    expected: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(expected: str, pattern: str) -> _Kind:
    return _Kind(expected, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def _one_of(*choices: str) -> _Kind:
    return _Kind(f"one of {', '.join(choices)}", lambda value: value in choices)


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


_LINE = _text("a line of text", r"\S(.*\S)?")
_COUNT = _Kind("a whole number over 0", lambda value: type(value) is int and value > 0)
_AMOUNT = _Kind("a number over 0", lambda value: _is_number(value) and value > 0)
_PERCENT = _Kind("a percentage, 0-100", lambda value: _is_number(value) and 0 <= value <= 100)
_COLOR = _Kind("three numbers, R, G and B", lambda value: _is_list(value, _is_number) and len(value) == 3)
_MAPPING = _Kind("a mapping", lambda value: isinstance(value, dict))
_KINDS = {
    **dict.fromkeys(("summary", "file", "architecture", "labels", "data", "license", "data_set"), _LINE),
    **dict.fromkeys(("parameters", "num_frames", "stride", "short_side"), _COUNT),
    **dict.fromkeys(("gflops", "fps"), _AMOUNT),
    **dict.fromkeys(("frame_map", "top1"), _PERCENT),
    **dict.fromkeys(("mean", "std"), _COLOR),
    **dict.fromkeys(("arguments", "clip", "defaults", "bundled", "detectors", "starts"), _MAPPING),
    "name": _text("a word of letters, digits and _", r"\w+"),
    "url": _text("an address, https://...", r"https://\S+"),
    "revision": _text(
        f'40 hexadecimal digits, or "BRANCH{MUTABLE}; REASON)"', rf"[0-9a-f]{{40}}|\S+{re.escape(MUTABLE)}.+\)"
    ),
    "sha256": _text(
        f"8 to 64 hexadecimal digits in quotes, or {' or '.join(NO_HASH)}", "|".join(("[0-9a-f]{8,64}", *NO_HASH))
    ),
    "is_page": _Kind("true or false", lambda value: isinstance(value, bool)),
    "boxes": _one_of(*get_args(BoxRule)),
    "classes": _one_of("evaluated"),
    "scores": _one_of(*get_args(ScoreRule)),
    "classifies": _one_of("whole clips", "pictures", "nothing"),
    "numbers": _Kind(f"a mapping, or {UNSCORED}", lambda value: isinstance(value, dict) or value == UNSCORED),
    "protocol": _Kind("text", lambda value: isinstance(value, str)),
    "entries": _Kind("a list of mappings", lambda value: _is_list(value, _MAPPING.fits)),
    "shared": _Kind("anything", lambda value: True),
}
_PUBLISHED = (
    *("name", "summary", "url", "is_page", "file", "revision", "sha256", "architecture", "arguments", "clip"),
    *("data", "license", "parameters", "numbers"),
)
_FIELDS = {
    "bundled": ("name", "summary", "file"),
    "detectors": (*_PUBLISHED, "labels", "classes", "scores", "gflops"),
    "starts": (*_PUBLISHED, "classifies"),
    "clip": ("num_frames", "stride", "fps", "short_side", "mean", "std", "boxes"),
    "numbers of detectors": ("frame_map", "data_set", "protocol"),
    "numbers of starts": ("top1", "protocol"),
    "section": ("defaults", "entries"),
    "file": ("shared", *_SECTIONS),
}
_OPTIONAL = {"is_page", "file", "revision", "arguments", "classes", "scores", "boxes", "defaults", "shared", *_SECTIONS}


def models() -> list[Entry]:
    """Every model of the zoo: the bundled ones first, those that only start a training last."""
    return sorted((entry for file in FILES for entry in entries_in(file)), key=lambda entry: entry.is_start)


def find(name: str) -> Entry | None:
    """The entry of this name, None if there is none."""
    if Path(name).name != name or Path(name).suffix:  # a path: no file need be read
        return None
    return next((entry for file in FILES for entry in entries_in(file) if entry.name == name), None)


def entry_of(name: str) -> Entry:
    """The entry of this name.

    Raises:
        AvadetError: for an unknown name; says which are close.
    """
    entry = find(name)
    if entry is None:
        raise unknown_name("model", name, (known.name for known in models()))
    return entry


def card_of(entry: Entry) -> dict[str, Any]:
    """The card of a model, without loading its weights."""
    return read_card(entry.path.with_suffix(".json")) if entry.is_bundled else dict(entry.card)


@cache
def entries_in(file: Path) -> tuple[Entry, ...]:
    """Read and check a file of entries.

    Raises:
        AvadetError: if it cannot be read or is no such file, with the entry, its field, what was expected and got.
    """
    import yaml

    try:
        values = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise AvadetError(f"{file}: not a readable file of models: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise AvadetError(f"{file}: expected the sections {', '.join(_SECTIONS)}, got {values!r}")
    _check(values, "file", f"{file}: ")
    entries: list[Entry] = []
    for section in [name for name in _SECTIONS if name in values]:
        _check(values[section], "section", f"{file}: {section}.")
        for number, given in enumerate(values[section]["entries"], start=1):
            where = f"{file}: entry '{given.get('name', f'{section} {number}')}': "
            entries.append(_entry(section, _completed(given, values[section].get("defaults", {})), where))
    names = [entry.name for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise AvadetError(f"{file}: entry '{twice[0]}': name: expected one that no other has, got it twice")
    return tuple(entries)


def _completed(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """An entry's fields with those that it leaves to the defaults; a `clip` and `numbers` may be given in part."""
    parts = {
        key: {**defaults[key], **given[key]}
        for key in ("clip", "numbers")
        if isinstance(defaults.get(key), dict) and isinstance(given.get(key), dict)
    }
    return {**defaults, **given, **parts}


def _check(values: Mapping[str, Any], form: str, where: str) -> None:
    """Raise AvadetError unless a mapping has the fields of its form; `where` goes before the field's name."""
    fields = _FIELDS[form]
    for name in (*values, *fields):
        if name not in fields:
            raise AvadetError(f"{where}{name}: expected one of the fields {', '.join(fields)}, got another")
        if name not in values and name not in _OPTIONAL:
            raise AvadetError(f"{where}{name}: expected {_KINDS[name].expected}, got nothing")
        if name in values and not _KINDS[name].fits(values[name]):
            raise AvadetError(f"{where}{name}: expected {_KINDS[name].expected}, got {values[name]!r}")


def _entry(section: str, values: dict[str, Any], where: str) -> Entry:
    """Check the fields of an entry and put it together."""
    _check(values, section, where)
    if section == "bundled":
        return Entry(values["name"], values.get("file", f"{values['name']}.safetensors"), values["summary"])
    _check(values["clip"], "clip", f"{where}clip.")
    numbers = {} if values["numbers"] == UNSCORED else values["numbers"]
    if numbers:
        _check(numbers, f"numbers of {section}", f"{where}numbers.")
    revision = values.get("revision", "")
    if ("{revision}" in values["url"]) != bool(revision):
        raise AvadetError(f"{where}url: expected {{revision}} in it where there is a revision, got {values['url']}")
    url = values["url"].replace("{revision}", revision.partition(MUTABLE)[0])
    clip = {**values["clip"], "mean": tuple(values["clip"]["mean"]), "std": tuple(values["clip"]["std"])}
    is_start = section == "starts"
    known = ("classes", "scores", "classifies", "data", "license", "parameters", "gflops")
    card = make_card(
        values["name"],
        values["architecture"],
        values.get("arguments", {}),
        ClipSpec(**clip),
        f"classes of {values['data']}" if is_start else values["labels"],
        **({"use": "start"} if is_start else {}),
        **{key: values[key] for key in known if key in values},
        numbers=numbers,
    )
    sha256 = "" if values["sha256"] in NO_HASH else values["sha256"]
    file, is_page = values.get("file", url.rpartition("/")[2]), values.get("is_page", False)
    return Entry(values["name"], file, values["summary"], url, sha256, card, is_page, revision)
