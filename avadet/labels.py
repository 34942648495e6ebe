"""Label maps: the names, ids and groups of a data set's classes, by name or from a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avadet.errors import AvadetError, unknown_name
from avadet.files import resource_folder
from avadet.types import LabelMap

DEFAULT_LABEL_MAP = "ava_v2.2"
LABEL_SOURCES = (
    "a .pbtxt, .txt, .csv, .yaml or .json file, the spec of a data set, the .json or .safetensors of a model, or the "
    "folder of a training run or of results"
)
"""What label maps are read from, for messages."""

_FILES = (".pbtxt", ".txt", ".csv", ".tsv", ".yaml", ".yml", ".json", ".safetensors")

_GROUP_OF_TYPE = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}
_BLOCK = re.compile(r"\b(?:label|item)\s*\{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"""([a-z_]+)\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\d+|[A-Z_]+)""")
_COLUMNS = {
    **dict.fromkeys(("label_id", "class_id", "action_id", "category_id"), "id"),
    **dict.fromkeys(("label_name", "class_name", "action_name", "action", "label", "class", "category"), "name"),
    **dict.fromkeys(("label_type", "type"), "group"),
}
_NUMBERED_LINE = re.compile(r"(\d+)\s*[:;,\t ]\s*(\S.*)")
_LONGEST_NAME = 200
_QUOTES = "\"'"


def label_map_names() -> list[str]:
    """Names of the label maps that ship with the package, sorted."""
    return sorted(path.parent.name for path in resource_folder("data_specs").glob("*/labels.yaml"))


def read_label_map(name_or_path: str | Path) -> LabelMap:
    """Read a label map that ships with the package, or one from a file or folder.

    Args:
        name_or_path: "ava_v2.1", "ava_v2.2", "jhmdb21", "ucf24", "multisports", or a file: `.csv` (columns id and name,
            perhaps group and evaluated; AVA's label_id, label_name and label_type do as well), `.yaml` (the form of
            data_specs, the spec of a data set, a list of names, or `names:`), `.json` (a model's card, a list of names,
            a dict of names and ids, or COCO's categories) or `.safetensors` (the model beside its card), or any text:
            AVA's protocol buffer, blocks `label { name label_id label_type }` or `item { name id }`; lines `ID: NAME`;
            or a name a line, whose ids are 1, 2, ... then; or the folder of a training run or of results of `avadet
            infer`.

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
        return _of_json(path)
    text = _read_text(path)
    is_table = path.suffix in (".csv", ".tsv") and _has_columns(text)
    rows = _csv_rows(path, text) if is_table else _pbtxt_rows(path, text) if _BLOCK.search(text) else _lines(path, text)
    return _label_map(path, _with_ava_groups(rows))


def named_classes(names: Sequence[str], where: str = "labels") -> LabelMap:
    """Classes of which only the names are known: ids are 1, 2, ..., and a person may have several of them at once.

    Raises:
        AvadetError: if a name is there twice, or none at all.
    """
    return _label_map(Path(where), [{"id": number, "name": name} for number, name in enumerate(names, start=1)])


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


def _of_json(path: Path) -> LabelMap:
    """The label map of a JSON file."""
    content = _parsed_json(path)
    listed = content.get("categories") if isinstance(content, dict) else content
    is_card = not content or (isinstance(content, dict) and {"labels", "classes"} & content.keys())
    if isinstance(listed, list) or (isinstance(content, dict) and not is_card):
        return _label_map(path, _with_ava_groups(_plain_rows(path, content if listed is None else listed)))
    return _read_card(path, content)


def _plain_rows(path: Path, content: Any) -> list[dict[str, Any]]:
    """Classes of parsed JSON or YAML: a list of names; a dict of ids and names, either way round; or entries."""
    if isinstance(content, dict):
        pairs = list(content.items())
        if all(isinstance(name, str) and not str(key).isdecimal() for key, name in pairs) and pairs:
            pairs = []  # two texts each
        by_name = all(not isinstance(value, str) for _, value in pairs)
        return [{"id": value, "name": key} if by_name else {"id": key, "name": value} for key, value in pairs]
    listed = content if isinstance(content, list) else []
    if listed and all(isinstance(one, dict) and {"id", "name"} <= one.keys() for one in listed):
        return [{key: one[key] for key in ("id", "name", "group", "evaluated") if key in one} for one in listed]
    if not listed or not all(isinstance(one, str) for one in listed):
        raise AvadetError(f"{path}: not a label map: expected a list of names, or names and ids")
    return [{"id": number, "name": name} for number, name in enumerate(listed, start=1)]


def _parsed_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise AvadetError(f"{path}: not JSON: {error}") from error


def _read_card(path: Path, content: Any = None) -> LabelMap:
    """The label map of a model's card, or of the record of a run of inference."""
    card = _parsed_json(path) if content is None else content
    if not isinstance(card, dict) or not isinstance(card.get("labels"), (str, dict)):
        raise AvadetError(f"{path}: holds no label map; expected a model's card, with 'labels'")
    return labels_of_card(card, str(path))


def _of_spec(path: Path, labels: Any) -> LabelMap:
    """The label map of a data set's spec: by name, of a file in its folder, or a list of names."""
    if isinstance(labels, str):
        return read_label_map(labels if labels in label_map_names() else path.parent / labels)
    return named_classes(labels, str(path))


def _read_yaml(path: Path) -> LabelMap:
    import yaml

    try:
        spec = yaml.safe_load(_read_text(path))
        if isinstance(spec, dict) and "labels" in spec and "classes" not in spec:
            return _of_spec(path, spec["labels"])
        names = spec.get("names") if isinstance(spec, dict) else spec
        if isinstance(names, list | dict) and not (isinstance(spec, dict) and "classes" in spec):
            return _label_map(path, _with_ava_groups(_plain_rows(path, names)))
        return _label_map(path, spec["classes"], exclusive=bool(spec.get("exclusive", False)))
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise AvadetError(f"{path}: not a label map: expected 'classes:', a list of {{id, name}} ({error})") from error


def _has_columns(text: str) -> bool:
    """Whether the first line of a table is a header."""
    first = re.split(r"[,;\t]", text.lstrip().partition("\n")[0].strip())
    return len(first) > 1 and not any(cell.strip().isdecimal() for cell in first)


def _csv_rows(path: Path, text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.splitlines() if line.strip()]
    reader = csv.DictReader(lines, delimiter=max(",;\t", key=lines[0].count))
    columns = [_COLUMNS.get(column.strip().lower(), column.strip().lower()) for column in reader.fieldnames or ()]
    if not {"id", "name"} <= set(columns):
        raise AvadetError(f"{path}:1: a label map needs the columns id and name, got {', '.join(columns) or 'nothing'}")
    reader.fieldnames = columns
    return [row for row in reader]


def _lines(path: Path, text: str) -> list[dict[str, Any]]:
    """Classes of lines ID: NAME (also with a comma or a space between), or NAME where not all lines have an id."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    numbered = [_NUMBERED_LINE.fullmatch(line) for line in lines]
    if (
        path.suffix == ".pbtxt"
        or any("\0" in line or len(line) > _LONGEST_NAME for line in lines)
        or re.search(r"[{}<>]", text)
    ):
        raise AvadetError(
            f'{path}: no classes found; expected blocks like label {{ name: "walk" label_id: 14 }}, lines ID: NAME, or '
            "a name a line"
        )
    found = [match for match in numbered if match is not None]
    if len(found) == len(lines):
        return [{"id": match[1], "name": match[2].strip(_QUOTES)} for match in found]
    return [{"id": number, "name": line.strip(_QUOTES)} for number, line in enumerate(lines, start=1)]


def _pbtxt_rows(path: Path, text: str) -> list[dict[str, Any]]:
    blocks = [dict(_FIELD.findall(body)) for body in _BLOCK.findall(text)]
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
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AvadetError(f"{path}: class '{twice}' is there twice, expected every name once")
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
