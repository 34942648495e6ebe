"""Numbers and words that several subcommands take as arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

DETECTOR_HELP = (
    "tiny, a detector of torchvision by name, a YOLOX, NanoDet or RT-DETR .onnx file, detectron2:NAME, "
    "detectron2:CONFIG[,WEIGHTS] or transformers:NAME|FOLDER"
)


def _number(text: str, fits: Callable[[float], bool], expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be {expected}, got '{text}'")
    return value


def positive(text: str) -> float:
    """A number above 0, as an argument."""
    return _number(text, lambda value: value > 0, "a number above 0")


def not_negative(text: str) -> float:
    """A number, 0 or above, as an argument."""
    return _number(text, lambda value: value >= 0, "a number, 0 or above")


def fraction(text: str) -> float:
    """A number from 0 to 1, as an argument."""
    return _number(text, lambda value: 0 <= value <= 1, "between 0 and 1")
