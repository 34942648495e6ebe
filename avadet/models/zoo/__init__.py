"""The models avadet knows by name, their cards, and loading them, or any checkpoint, into something ready to run.

`entries` are data, `load` finds them, reads files and puts models together. Importing this
is cheap: torch comes in when a model is loaded, the entries are read when a name is first looked for.
"""

from __future__ import annotations

from avadet.models.cards import clip_of, scores_of
from avadet.models.loaded import LoadedModel
from avadet.models.zoo.entries import Entry, card_of, entry_of, models
from avadet.models.zoo.load import (
    AVA_CLASSES,
    card_of_path,
    default_backend,
    default_model,
    fetched,
    file_of,
    load,
    numbered_labels,
)

__all__ = [
    "AVA_CLASSES",
    "Entry",
    "LoadedModel",
    "card_of",
    "card_of_path",
    "clip_of",
    "default_backend",
    "default_model",
    "entry_of",
    "fetched",
    "file_of",
    "load",
    "models",
    "numbered_labels",
    "scores_of",
]
