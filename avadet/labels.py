"""Label maps: the names, ids and groups of a data set's classes, by name or from a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avadet.errors import AvadetError, unknown_name
from avadet.files import resource_folder
from avadet.types import LabelMap

DEFAULT_LABEL_MAP = "ava_v2.2"
LABEL_SOURCES = (
    "a .pbtxt, .csv or .yaml file, the spec of a data set, the .json or .safetensors of a model, or the folder of a "
    "training run or of results"
)
"""What label maps are read from, for messages."""

_FILES = (".pbtxt", ".txt", ".csv", ".yaml", ".yml", ".json", ".safetensors")

_GROUP_OF_TYPE = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}
_BLOCK = re.compile(r"\b(?:label|item)\s*\{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"""([a-z_]+)\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\d+|[A-Z_]+)""")
_COLUMNS = {"label_id": "id", "label_name": "name", "label_type": "group"}


def label_map_names() -> list[str]:
    """Names of the label maps that ship with the package, sorted."""
    return sorted(path.parent.name for path in resource_folder("data_specs").glob("*/labels.yaml"))


def read_label_map(name_or_path: str | Path) -> LabelMap:
    """Read a label map that ships with the package, or one from a file or folder.

    Args:
        name_or_path: "ava_v2.1", "ava_v2.2", "jhmdb21", "ucf24", "multisports", or a file: `.csv` (columns id and name,
            perhaps group and evaluated; AVA's label_id, label_name and label_type do as well), `.yaml` (the form of
            data_specs, or the spec of a data set), `.json` or `.safetensors` (a model's card, or the model beside it),
            or anything else as AVA's text protocol buffer, blocks `label { name label_id label_type }` or `item { name
            id }`; or the folder of a training run or of results of `avadet infer`.

    Returns:
        the classes in order of rising id. All classes of a foreign file are evaluated, as the official script does;
        classes without a group take AVA's if id and name are AVA's, else "action".

    Raises:
        AvadetError: for an unknown name, or a file that is no label map.
    """
    if name_or_path in label_map_names():
        return _read_yaml(resource_folder("data_specs") / str(name_or_path) / "labels.yaml")
    path = Path(name_or_path)
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise missing_label_map(str(name_or_path), label_map_names())
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path)
    if path.suffix == ".safetensors":
        return read_label_map(path.with_suffix(".json"))
    if path.suffix == ".json":
        return _read_card(path)
    rows = _csv_rows(path) if path.suffix == ".csv" else _pbtxt_rows(path)
    return _label_map(path, _with_ava_groups(rows))


def missing_label_map(given: str, known: Iterable[str]) -> AvadetError:
    """The error for a label map that is neither a file nor a folder nor a known name."""
    ways = f"give {LABEL_SOURCES}"
    if Path(given).suffix in _FILES or {"/", "\\"} & set(given):
        return AvadetError(f"no such label map: {given}; check the path, or {ways}; names: {', '.join(sorted(known))}")
    return AvadetError(f"{unknown_name('label map', given, known)}; there is no such file or folder either: {ways}")


def labels_of_card(card: Mapping[str, Any], where: str) -> LabelMap:
    """The label map that a model's card names or writes out.

    Args:
        card: its content; `labels`, and perhaps `classes`: "evaluated".
        where: what to call it in messages.

    Raises:
        AvadetError: if the name is unknown or the fields are wrong.
    """
    labels = card.get("labels")
    if isinstance(labels, str):
        whole = read_label_map(labels)
        return evaluated_part(whole) if card.get("classes") == "evaluated" else whole
    try:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(labels or {}).items()}
        return LabelMap(**fields)
    except (TypeError, ValueError) as error:
        raise AvadetError(f"{where}: labels are wrong: {error}") from error


def evaluated_part(labels: LabelMap) -> LabelMap:
    """Only the classes that are evaluated, e.g. the 60 of AVA's 80 that some models know."""
    rows = zip(labels.names, labels.ids, labels.groups, labels.evaluated)
    names, ids, groups, evaluated = zip(*(row for row in rows if row[3]))
    return LabelMap(names, ids, groups, evaluated, labels.exclusive)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AvadetError(f"cannot read label map {path}: {error}; it must be UTF-8 text") from error


def _of_folder(folder: Path) -> LabelMap:
    """The label map of a training run or of results of inference."""
    cards = [path for path in (folder / "model.json", *sorted(folder.glob("*.run.json"))) if path.is_file()]
    maps = {path: _read_card(path) for path in cards}
    first = next(iter(maps), None)
    if first is None:
        raise AvadetError(f"{folder}: no label map in this folder (model.json or *.run.json); give {LABEL_SOURCES}")
    other = next((path for path in cards if maps[path] != maps[first]), None)
    if other is not None:
        raise AvadetError(f"{folder}: {first.name} and {other.name} have different label maps; name one of the files")
    return maps[first]


def _read_card(path: Path) -> LabelMap:
    """The label map of a model's card, or of the record of a run of inference."""
    try:
        card = json.loads(_read_text(path))
    except ValueError as error:
        raise AvadetError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict) or not isinstance(card.get("labels"), (str, dict)):
        raise AvadetError(f"{path}: holds no label map; expected a model's card, with 'labels'")
    return labels_of_card(card, str(path))


def _of_spec(path: Path, labels: Any) -> LabelMap:
    """The label map of a data set's spec: by name, of a file in its folder, or a list of names."""
    if isinstance(labels, str):
        return read_label_map(labels if labels in label_map_names() else path.parent / labels)
    return _label_map(path, [{"id": number, "name": name} for number, name in enumerate(labels, start=1)])


def _read_yaml(path: Path) -> LabelMap:
    import yaml

    try:
        spec = yaml.safe_load(_read_text(path))
        if isinstance(spec, dict) and "labels" in spec and "classes" not in spec:
            return _of_spec(path, spec["labels"])
        return _label_map(path, spec["classes"], exclusive=bool(spec.get("exclusive", False)))
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise AvadetError(f"{path}: not a label map: expected 'classes:', a list of {{id, name}} ({error})") from error


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    reader = csv.DictReader(_read_text(path).splitlines())
    columns = [_COLUMNS.get(column.strip(), column.strip()) for column in reader.fieldnames or ()]
    if not {"id", "name"} <= set(columns):
        raise AvadetError(f"{path}:1: a label map needs the columns id and name, got {', '.join(columns) or 'nothing'}")
    reader.fieldnames = columns
    return [row for row in reader]


def _pbtxt_rows(path: Path) -> list[dict[str, Any]]:
    blocks = [dict(_FIELD.findall(body)) for body in _BLOCK.findall(_read_text(path))]
    if not blocks:
        raise AvadetError(f'{path}: no classes found; expected blocks like label {{ name: "walk" label_id: 14 }}')
    rows = []
    for number, fields in enumerate(blocks, start=1):
        class_id = fields.get("label_id", fields.get("id"))
        if class_id is None or "name" not in fields:
            raise AvadetError(f"{path}: block {number} needs a name and an id, got {', '.join(fields) or 'nothing'}")
        rows.append({"id": class_id, "name": _unquoted(fields["name"]), "group": fields.get("label_type")})
    return rows


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "\"'" else text


def _with_ava_groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows without a group that of AVA's class of the same id and name."""
    ava = read_label_map(DEFAULT_LABEL_MAP)
    known = {(str(i), name): group for i, name, group in zip(ava.ids, ava.names, ava.groups)}
    return [{**row, "group": row.get("group") or known.get((str(row["id"]).strip(), row["name"]))} for row in rows]


def _label_map(path: Path, rows: Iterable[dict[str, Any]], exclusive: bool = False) -> LabelMap:
    classes = sorted((_class(path, row) for row in rows), key=lambda entry: entry[0])
    if not classes:
        raise AvadetError(f"{path}: a label map needs at least one class, got none")
    ids, names, groups, evaluated = zip(*classes)
    try:
        return LabelMap(names, ids, groups, evaluated, exclusive)
    except AvadetError as error:
        raise AvadetError(f"{path}: {error}") from error


def _class(path: Path, row: dict[str, Any]) -> tuple[int, str, str, bool]:
    """(id, name, group, evaluated) of one entry."""
    try:
        class_id = int(row["id"])
    except (TypeError, ValueError) as error:
        raise AvadetError(f"{path}: class '{row['name']}' needs a whole number as id, got '{row['id']}'") from error
    group = str(row.get("group") or "action")
    evaluated = str(row.get("evaluated", True)).strip().lower() not in ("false", "0", "no")
    return class_id, str(row["name"]), _GROUP_OF_TYPE.get(group, group), evaluated
