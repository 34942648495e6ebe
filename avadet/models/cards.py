"""Model cards: the readable JSON beside a file of weights that says everything else about a model.

A card is a plain dictionary with the keys `format` (1), `name`, `architecture` and `arguments` (of `build`),
`clip` (the fields of `ClipSpec`), `labels` (the name of a label map, or its fields written out), perhaps `classes`
("evaluated": only those of the label map that count), perhaps `scores` (how logits become scores, see `scores_of`) and
`calibration` (see `calibration_of`), perhaps `bank` (the model that makes its feature banks, see `bank_of`), and
whatever else is worth knowing: `license`, `data`, `numbers`, `training`. No torch here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from avadet.errors import AvadetError, unknown_name
from avadet.types import POSE, ClipSpec, LabelMap

ScoreRule = Literal["softmax", "sigmoid", "pose_softmax", "pose_or_none"]
"""Which classes of a person compete for scores that sum to 1: all; none, each is a question by itself; only those of
group "pose", of which a person has one (as in J. Pan et al., "Actor-Context-Actor Relation Network", CVPR 2021); or
those and one more outcome, whose logit is 0, that the pose cannot be told, so that poses sum to less than 1."""


class Calibration(NamedTuple):
    """How the scores of a model were fitted on its validation data.

    Attributes:
        temperature: (K,) what the logits are divided by.
        threshold: (K,) the probability, 0-1, from which a class was right often enough to be shown; 1 = it never was.
        shown_at: the score that `threshold` becomes for every class, so that one threshold serves them all.
    """

    temperature: tuple[float, ...]
    threshold: tuple[float, ...]
    shown_at: float


FORMAT = 1
REQUIRED = ("format", "name", "architecture", "arguments", "clip", "labels")


def make_card(
    name: str, architecture: str, arguments: dict[str, Any], clip: ClipSpec, labels: str | LabelMap, **facts: Any
) -> dict[str, Any]:
    """Write a card; `facts` is anything else that JSON can hold: scores, license, data, numbers, training, ..."""
    return {
        "format": FORMAT,
        "name": name,
        "architecture": architecture,
        "arguments": arguments,
        "clip": dataclasses.asdict(clip),
        "labels": labels if isinstance(labels, str) else dataclasses.asdict(labels),
        **facts,
    }


def read_card(path: str | Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """Read a card, which must have the keys `required`.

    Raises:
        AvadetError: if the file is missing, no JSON, of another format, or lacks a key.
    """
    try:
        card: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such model card; it must lie beside the .safetensors file") from error
    except (OSError, ValueError) as error:
        raise AvadetError(f"{path}: not a readable model card: {error}") from error
    missing = [key for key in required if not isinstance(card, dict) or key not in card]
    if missing:
        raise AvadetError(f"{path}: its model card needs {', '.join(required)}; missing: {', '.join(missing)}")
    if card["format"] != FORMAT:
        raise AvadetError(f"{path}: model card of format {card['format']}, this avadet reads format {FORMAT}")
    return card


def clip_of(card: dict[str, Any]) -> ClipSpec:
    """The clip spec a card describes.

    Raises:
        AvadetError: if its fields are wrong.
    """
    try:
        fields = dict(card["clip"])
        return ClipSpec(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
    except (TypeError, ValueError, KeyError) as error:
        raise AvadetError(f"model card '{card['name']}': clip is wrong: {error}") from error


def labels_of(card: dict[str, Any]) -> LabelMap:
    """The label map a card names or writes out.

    Raises:
        AvadetError: if the name is unknown or the fields are wrong.
    """
    from avadet.labels import labels_of_card

    return labels_of_card(card, f"model card '{card['name']}'")


def scores_of(card: dict[str, Any], labels: LabelMap) -> ScoreRule:
    """How a model's logits become scores: what its card says, or else the label map.

    Raises:
        AvadetError: if the card says something unknown, or poses where the label map has none.
    """
    rule = card.get("scores", "softmax" if labels.exclusive else "sigmoid")
    if rule not in get_args(ScoreRule):
        raise unknown_name("scores of a model card", str(rule), get_args(ScoreRule))
    if rule in ("pose_softmax", "pose_or_none"):
        check_poses(labels)
    return cast(ScoreRule, rule)


def calibration_of(card: dict[str, Any], labels: LabelMap) -> Calibration | None:
    """The calibration of a model's scores, if its card has one: lists `temperature` and `threshold`, and `shown_at`.

    Raises:
        AvadetError: if a list has not one number for each class, or a number is out of range.
    """
    entry = card.get("calibration")
    if entry is None:
        return None
    where = f"model card '{card['name']}': calibration"
    if not isinstance(entry, dict) or not {"temperature", "threshold", "shown_at"} <= set(entry):
        raise AvadetError(f"{where} needs temperature, threshold and shown_at, got {entry}")
    lists = [entry["temperature"], entry["threshold"], [entry["shown_at"]]]
    if not all(isinstance(one, list) and all(isinstance(x, int | float) for x in one) for one in lists):
        raise AvadetError(f"{where}: temperature and threshold must be lists of numbers, shown_at a number")
    temperature, threshold = (tuple(float(value) for value in one) for one in lists[:2])
    if {len(temperature), len(threshold)} != {len(labels)}:
        raise AvadetError(
            f"{where} needs {len(labels)} temperatures and thresholds, one a class, got {len(temperature)} and "
            f"{len(threshold)}"
        )
    shown_at = float(entry["shown_at"])
    if not (all(0 < value < math.inf for value in temperature) and all(0 < value <= 1 for value in threshold)):
        raise AvadetError(f"{where}: temperatures must be positive and thresholds over 0 and up to 1")
    if not 0 < shown_at < 1:
        raise AvadetError(f"{where}.shown_at must lie between 0 and 1, got {shown_at}")
    return Calibration(temperature, threshold, shown_at)


def bank_of(card: dict[str, Any]) -> tuple[str, float] | None:
    """The model that makes the feature banks a model reads (see `lfb`), if its card has `bank`.

    Returns:
        the name of its `.safetensors`, which lies beside the model's own, and how many seconds of a bank a clip sees;
        None if the card names none.

    Raises:
        AvadetError: if it is anything else than such a name and such a number.
    """
    bank = card.get("bank")
    if bank is None:
        return None
    where = f"model card '{card['name']}': bank"
    if not isinstance(bank, dict) or set(bank) != {"weights", "window_s"}:
        raise AvadetError(f'{where} must be {{"weights": "FILE.safetensors", "window_s": SECONDS}}, got {bank}')
    weights, window_s = bank["weights"], bank["window_s"]
    if not (isinstance(weights, str) and Path(weights).suffix == ".safetensors") or {"/", "\\"} & set(weights):
        raise AvadetError(
            f"{where}.weights must be a .safetensors file beside the model, without a folder, got {weights}"
        )
    if not (isinstance(window_s, int | float) and not isinstance(window_s, bool) and 0 < window_s < math.inf):
        raise AvadetError(f"{where}.window_s must be a positive number of seconds, got {window_s}")
    return weights, float(window_s)


def check_poses(labels: LabelMap) -> None:
    """Raise AvadetError unless a label map has two poses to choose from."""
    count = labels.groups.count(POSE)
    if count < 2:
        raise AvadetError(f"pose_softmax needs a label map with two classes of group '{POSE}' at least, got {count}")
