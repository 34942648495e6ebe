"""Label maps by every name that users know them by: their own, a data set's, a model's; and from files and folders."""

from __future__ import annotations

from pathlib import Path

from avadet.annotations.specs import data_set_names, open_data_set, read_data_spec
from avadet.annotations.tubes import TubeSpec, read_tube_spec, tube_spec_names, tube_spec_of
from avadet.errors import AvadetError, unknown_name
from avadet.labels import label_map_names, missing_label_map, read_label_map
from avadet.models.cards import labels_of
from avadet.models.zoo.entries import card_of, models
from avadet.types import LabelMap


def read_labels(name_or_path: str | Path) -> LabelMap:
    """Read a label map.

    Args:
        name_or_path: what `labels.read_label_map` takes, a data set of data_specs, or a model of the zoo by name.

    Raises:
        AvadetError: for an unknown name, or a file or folder without a label map.
    """
    text = str(name_or_path)
    if text in label_map_names() or Path(text).exists():
        return read_label_map(name_or_path)
    if text in data_set_names():
        labels = read_data_spec(text).labels
        if isinstance(labels, str):
            return read_label_map(labels)
    detectors = {entry.name: entry for entry in models() if not entry.is_start}
    if text in detectors:
        return labels_of(card_of(detectors[text]))
    raise missing_label_map(text, {*label_map_names(), *data_set_names(), *detectors})


def read_tube_rules(name_or_path: str | Path) -> TubeSpec:
    """What is meant by frames and tubes: of a data set by name, or of a user's spec.

    Raises:
        AvadetError: for anything else, or a spec that says nothing of tubes.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        data = open_data_set(path)
        return tube_spec_of(data.name, data.spec)
    if str(name_or_path) not in tube_spec_names():
        unknown = unknown_name("data set with tubes", str(name_or_path), tube_spec_names())
        raise AvadetError(f"{unknown}; or give the YAML of a spec that has tubes and videos.fps as --labels")
    return read_tube_spec(str(name_or_path))
