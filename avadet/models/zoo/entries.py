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
from avadet.models.zoo.cards import ScoreRule, make_card, read_card
from avadet.models.zoo.download import cache_folder
from avadet.types import BoxRule, ClipSpec

_PROJECTS = (
    "bundled",
    "torchvision",
    "pytorchvideo",
    "pyslowfast",
    "mmaction2",
    "acar",
    "hiera",
    "vjepa2",
    "huggingface",
)
FILES = tuple(Path(__file__).with_name("entries") / f"{project}.yaml" for project in _PROJECTS)
"""In the order in which their models are listed."""

NO_HASH = ("none published", "not recorded")
"""What `sha256` says where there is none: the publisher gives none, or gives one that is not known here."""
MUTABLE = " (mutable"
"""What follows the name of a branch in `revision`, before the reason why no commit is named."""
UNSCORED = "none published"


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
        why = f"revision {self.revision}" if self.revision else "no hash published, no version in the address"
        return ", ".join(known) or f"not pinned: {why}"


class _Field(NamedTuple):
    expected: str
    fits: Callable[[Any], bool]
    optional: bool = False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value == value.strip() != "" and "\n" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _one_of(*choices: str, optional: bool = False) -> _Field:
    return _Field(f"one of {', '.join(choices)}", lambda value: value in choices, optional)


_TEXT = _Field("a line of text", _is_text)
_COUNT = _Field("a whole number over 0", lambda value: type(value) is int and value > 0)
_AMOUNT = _Field("a number over 0", lambda value: _is_number(value) and value > 0)
_PERCENT = _Field("a percentage, 0-100", lambda value: _is_number(value) and 0 <= value <= 100)
_COLOR = _Field(
    "three numbers, R, G and B",
    lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_number, value)),
)
_MAPPING = _Field("a mapping", lambda value: isinstance(value, dict))
_CLIP = {
    **dict.fromkeys(("num_frames", "stride", "short_side"), _COUNT),
    "fps": _AMOUNT,
    **dict.fromkeys(("mean", "std"), _COLOR),
    "boxes": _one_of(*get_args(BoxRule), optional=True),
}
_NAMED = {"name": _Field("a word of letters, digits and _", _matches(r"\w+")), "summary": _TEXT}
_PUBLISHED = {
    **_NAMED,
    "url": _Field("an address, https://...", _matches(r"https://\S+")),
    "is_page": _Field("true or false", lambda value: isinstance(value, bool), optional=True),
    "file": _TEXT._replace(optional=True),
    "revision": _Field(
        f'40 hexadecimal digits, or "BRANCH{MUTABLE}; REASON)"',
        _matches(rf"[0-9a-f]{{40}}|\S+{re.escape(MUTABLE)}.+\)"),
        True,
    ),
    "sha256": _Field(
        f"8 to 64 hexadecimal digits in quotes, or {' or '.join(NO_HASH)}",
        _matches("|".join(("[0-9a-f]{8,64}", *NO_HASH))),
    ),
    "architecture": _TEXT,
    "arguments": _MAPPING._replace(optional=True),
    "clip": _MAPPING,
    "data": _TEXT,
    "license": _TEXT,
    "parameters": _COUNT,
    "numbers": _Field(f"a mapping, or {UNSCORED}", lambda value: isinstance(value, dict) or value == UNSCORED),
}
_DETECTOR = {
    "labels": _TEXT,
    "classes": _one_of("evaluated", optional=True),
    "scores": _one_of(*get_args(ScoreRule), optional=True),
    "gflops": _AMOUNT,
}
_START = {"classifies": _one_of("whole clips", "pictures", "nothing")}
_SECTIONS = {
    "bundled": {**_NAMED, "file": _TEXT},
    "detectors": {**_PUBLISHED, **_DETECTOR},
    "starts": {**_PUBLISHED, **_START},
}
_NUMBERS = {
    "detectors": {"frame_map": _PERCENT, "data_set": _TEXT, "protocol": _TEXT},
    "starts": {"top1": _PERCENT, "protocol": _Field("text", lambda value: isinstance(value, str))},
}
_ENTRIES = _Field(
    "a list of mappings", lambda value: isinstance(value, list) and all(isinstance(e, dict) for e in value)
)
_SHARED = _Field("anything", lambda value: True, optional=True)


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
    _check(values, {"shared": _SHARED, **dict.fromkeys(_SECTIONS, _MAPPING._replace(optional=True))}, f"{file}: ")
    entries: list[Entry] = []
    for section, content in values.items():
        if section == "shared":
            continue
        _check(content, {"defaults": _MAPPING._replace(optional=True), "entries": _ENTRIES}, f"{file}: {section}.")
        for number, given in enumerate(content["entries"], start=1):
            where = f"{file}: entry '{given.get('name', f'{section} {number}')}': "
            entries.append(_entry(section, _completed(given, content.get("defaults", {})), where))
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


def _check(values: Mapping[str, Any], fields: Mapping[str, _Field], where: str) -> None:
    """Raise AvadetError unless a mapping has these fields and no others; `where` goes before the field's name."""
    for name in values:
        if name not in fields:
            raise AvadetError(f"{where}{name}: expected one of the fields {', '.join(fields)}, got another")
    for name, one in fields.items():
        if name not in values and not one.optional:
            raise AvadetError(f"{where}{name}: expected {one.expected}, got nothing")
        if name in values and not one.fits(values[name]):
            raise AvadetError(f"{where}{name}: expected {one.expected}, got {values[name]!r}")


def _entry(section: str, values: dict[str, Any], where: str) -> Entry:
    """Check the fields of an entry and put it together."""
    _check(values, _SECTIONS[section], where)
    if section == "bundled":
        return Entry(values["name"], values["file"], values["summary"])
    _check(values["clip"], _CLIP, f"{where}clip.")
    numbers = {} if values["numbers"] == UNSCORED else values["numbers"]
    if numbers:
        _check(numbers, _NUMBERS[section], f"{where}numbers.")
    revision = values.get("revision", "")
    if ("{revision}" in values["url"]) != bool(revision):
        raise AvadetError(f"{where}url: expected {{revision}} in it where there is a revision, got {values['url']}")
    url = values["url"].replace("{revision}", revision.partition(MUTABLE)[0])
    clip = {**values["clip"], "mean": tuple(values["clip"]["mean"]), "std": tuple(values["clip"]["std"])}
    known = ("classes", "scores", "classifies", "data", "license", "parameters", "gflops")
    facts = {"use": "start"} if section == "starts" else {}
    facts |= {key: values[key] for key in known if key in values}
    labels = f"classes of {values['data']}" if section == "starts" else values["labels"]
    arguments = values.get("arguments", {})
    card = make_card(
        values["name"], values["architecture"], arguments, ClipSpec(**clip), labels, **facts, numbers=numbers
    )
    sha256 = "" if values["sha256"] in NO_HASH else values["sha256"]
    file, is_page = values.get("file", url.rpartition("/")[2]), values.get("is_page", False)
    return Entry(values["name"], file, values["summary"], url, sha256, card, is_page, revision)
