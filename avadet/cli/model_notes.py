"""What the commands say of a model before they run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avadet.models.loaded import LoadedModel


def known_actions(model: LoadedModel) -> str:
    """What a calibrated model can name, for it keeps silent about the rest; "" of other models."""
    from avadet.models.cards import calibration_of

    calibration = calibration_of(model.card, model.labels)
    if calibration is None:
        return ""
    shown = [name for name, least in zip(model.labels.names, calibration.threshold) if least < 1]
    words = ", ".join(name.partition(" (")[0].partition("/")[0] for name in shown)
    return f"{model.name} names these actions where it is sure enough, and no others: {words}"


def bank_words(model: LoadedModel, is_live: bool) -> str:
    """What the line that names a model says of its feature bank; nothing if it reads none."""
    if model.bank is None:
        return ""
    if is_live:
        return f", without its feature bank of {model.bank_window_s:g} s, which takes a second pass over the video"
    return f", feature bank of {model.bank_window_s:g} s from a first pass"
