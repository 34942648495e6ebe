"""Numbers and words that several subcommands take as arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

DETECTOR_HELP = (
    "tiny, a detector of torchvision by name, a YOLOX, NanoDet or RT-DETR .onnx file, detectron2:NAME, "
    "detectron2:CONFIG[,WEIGHTS] or transformers:NAME|FOLDER"
)


LABELS_HELP = (
    "a name (ava_v2.1, ava_v2.2, jhmdb21, ucf24, multisports, a data set, a model), a .pbtxt, .txt, .csv, .yaml or "
    ".json file of classes, the spec of a data set, the .json or .safetensors of a model, or the folder of a training "
    "run or of results"
)

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("fp32", "bf16", "auto")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Declare --backend and --precision of the action model."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="what runs the action model: torch (default), onnx = onnxruntime (default for .onnx files), or openvino",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="of the action model: bf16 is faster where the processor computes in it (AVX512-BF16, AMX), and says how "
        "far its scores are off; auto = bf16 if they are off by 0.005 at most (default %(default)s)",
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Declare --timeout of sources on the network."""
    parser.add_argument(
        "--timeout",
        type=positive,
        metavar="SECONDS",
        help="give up a live source or a file on a web server that sends nothing for this long (default 10)",
    )


def _number(text: str, fits: Callable[[float], bool], expected: str) -> float:
    try:
        over, slash, under = text.partition("/")
        value = float(over) / float(under) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be {expected}, got '{text}'")
    return value


def positive(text: str) -> float:
    """A number above 0, as an argument; a fraction like 1/30 is one."""
    return _number(text, lambda value: value > 0, "a number above 0")


def not_negative(text: str) -> float:
    """A number, 0 or above, as an argument."""
    return _number(text, lambda value: value >= 0, "a number, 0 or above")


def whole_positive(text: str) -> int:
    """A whole number, 1 or above, as an argument."""
    return int(_number(text, lambda value: value >= 1 and value.is_integer(), "a whole number, 1 or above"))


def fraction(text: str) -> float:
    """A number from 0 to 1, as an argument."""
    return _number(text, lambda value: 0 <= value <= 1, "between 0 and 1")
