"""Numbers and words that several subcommands take as arguments."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence

DETECTOR_HELP = (
    "tiny, a detector of torchvision by name, a YOLOX, NanoDet or RT-DETR .onnx file, detectron2:NAME, "
    "detectron2:CONFIG[,WEIGHTS] or transformers:NAME|FOLDER"
)

_OVERRIDE = re.compile(r"[A-Za-z_][\w.-]*=")
_OPTIONAL_VALUES = {"--resume": ("latest", "auto")}
"""Options that work without a value: what that stands for, and what else they may have."""

LABELS_HELP = (
    "a name (ava_v2.1, ava_v2.2, jhmdb21, ucf24, multisports, a data set, a model), a .pbtxt, .csv or .yaml file, the "
    "spec of a data set, the .json or .safetensors of a model, or the folder of a training run or of results"
)

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("fp32", "bf16", "auto")


def add_overrides(parser: argparse.ArgumentParser, help: str) -> None:
    """Declare `key=value` arguments, which may stand anywhere on the line (see `main.parse_arguments`)."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=help)


def split_overrides(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `key=value` out of a command line, wherever it stands, unless it is the value of an option.

    argparse itself takes positional arguments only up to the first option behind them.

    Args:
        parser: of the whole program; its commands tell which options they have and whether they take overrides.
        words: the command line.

    Returns:
        the other words, and the overrides.
    """
    leaf = parser
    for word in words:
        commands = next((one for one in leaf._actions if isinstance(one, argparse._SubParsersAction)), None)
        leaf = commands.choices.get(word, leaf) if commands is not None else leaf
    if all(action.dest != "overrides" for action in leaf._actions):
        return list(words), []
    options = leaf._option_string_actions
    rest: list[str] = []
    overrides: list[str] = []
    for word in words:
        before = rest[-1] if rest and rest[-1].startswith("-") else ""
        named = {options[name].dest: options[name] for name in options if before and name.startswith(before)}
        action = options.get(before) or (next(iter(named.values())) if len(named) == 1 else None)
        has_value = action is not None and action.nargs not in (0, "?")
        (overrides if _OVERRIDE.match(word) and not has_value else rest).append(word)
    return rest, overrides


def join_optional_values(words: Sequence[str]) -> list[str]:
    """Write `--resume auto` as `--resume=auto`, so that what else follows the option is not taken for its value."""
    joined: list[str] = []
    for number, word in enumerate(words):
        option = words[number - 1] if number else ""
        if word in _OPTIONAL_VALUES.get(option, ()):
            joined[-1] = f"{option}={word}"
        else:
            joined.append(f"{word}={_OPTIONAL_VALUES[word][0]}" if word in _OPTIONAL_VALUES else word)
    return joined


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


def add_fps(parser: argparse.ArgumentParser) -> None:
    """Declare --fps of folders of images."""
    parser.add_argument(
        "--fps",
        type=positive,
        metavar="RATE",
        help="frames per second of folders of images, such as 30 or 30000/1001; video files have their own",
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
