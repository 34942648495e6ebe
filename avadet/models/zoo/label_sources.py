"""Label maps by every name that users know them by: their own, a data set's, a model's; and from files and folders."""

from __future__ import annotations

from pathlib import Path

from avadet.annotations.specs import data_set_names, read_data_spec
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
