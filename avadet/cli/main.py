"""The command `avadet`: finds the subcommand, runs it, turns what users can act on into one line and an exit code.

Every subcommand is a module of this package with `add_arguments(parser)` and `run(args) -> int`. Only the module of
the subcommand that was asked for is imported, so `avadet --help` answers at once.

Exit codes: 0 done, 1 something the user can act on, 2 wrong arguments, 129 hung up, 130 Ctrl-C, 143 terminated.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Protocol, cast

from avadet import __version__
from avadet.cli.arguments import join_optional_values, split_overrides
from avadet.errors import AvadetError
from avadet.failures import WaysOut, explain
from avadet.progress import set_quiet
from avadet.urls import without_secrets


class Subcommand(Protocol):
    """What a module of a subcommand offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommand's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit code."""


class Command(NamedTuple):
    """A subcommand as the top-level help shows it."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("infer", "avadet.cli.infer", "detect the people in videos and recognise their actions"),
    Command(
        "detect-persons", "avadet.cli.detect_persons", "detect the people in videos and write their boxes to a CSV"
    ),
    Command("train", "avadet.cli.train", "train an action model from a config"),
    Command("configs", "avadet.cli.configs", "list the recipes of training, or show one in full"),
    Command("test", "avadet.cli.test", "run a trained action model over a test split and score it"),
    Command("eval", "avadet.cli.evaluate", "score a file of detections against a file of ground truth"),
    Command("fuse", "avadet.cli.fuse", "join detections of several models or seeds into one file"),
    Command("compare", "avadet.cli.compare", "test whether one file of detections is better than another"),
    Command("eval-persons", "avadet.cli.eval_persons", "score a file of person boxes, whatever the people do"),
    Command("data", "avadet.cli.data", "check, summarise, show, convert, split and prepare data sets"),
    Command("models", "avadet.cli.models", "list models and backbones, or show one in full"),
    Command("convert", "avadet.cli.convert", "convert a checkpoint to safetensors with a readable card"),
    Command("export", "avadet.cli.export", "export an action model to a self-contained ONNX file"),
    Command("report", "avadet.cli.report", "show the pages that infer writes, from another machine too"),
    Command("render", "avadet.cli.render", "render videos of drawn persons with known boxes and actions"),
)


_UNWINDING = (signal.SIGTERM, signal.SIGHUP)

WAYS_OUT = {
    "infer": WaysOut("--batch 1, a smaller model (see `avadet models`) or --device cpu need less"),
    "detect-persons": WaysOut("a smaller --detector or --device cpu need less"),
    "test": WaysOut("a smaller --batch-size or --device cpu need less"),
    "data": WaysOut("a smaller --short-side needs less", "--workers"),
}
"""What to do against too little memory, by the subcommand; training has its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None = those of this process.

    Returns:
        the exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, subcommand = _build_parser(_asked_for(arguments))
    args = parse_arguments(parser, arguments)
    if subcommand is None:
        parser.print_help()
        return 2
    set_quiet(args.quiet)
    _unwind_when_terminated()
    _print_any_name()
    return _guarded(subcommand, args)


def parse_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `key=value` may stand anywhere on it where the command takes overrides."""
    words, overrides = split_overrides(parser, join_optional_values(arguments))
    args = parser.parse_args(words)
    if overrides:
        args.overrides = overrides
    return args


def _asked_for(arguments: list[str]) -> Command | None:
    """Return the subcommand that the arguments name: the first word that is no option."""
    word = next((argument for argument in arguments if not argument.startswith("-")), None)
    return next((command for command in COMMANDS if command.name == word), None)


def _build_parser(chosen: Command | None) -> tuple[argparse.ArgumentParser, Subcommand | None]:
    """Build the parser with every subcommand's help line, but only the chosen one's arguments."""
    parser = argparse.ArgumentParser(
        prog="avadet", description="Detect every person in a video and recognise what each is doing."
    )
    parser.add_argument("--version", action="version", version=f"avadet {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    subcommand: Subcommand | None = None
    for command in COMMANDS:
        child = subparsers.add_parser(command.name, help=command.help, description=_sentence(command.help))
        if command is chosen:
            subcommand = cast(Subcommand, importlib.import_module(command.module))
            subcommand.add_arguments(child)
            add_shared_arguments(child)
    return parser, subcommand


def add_shared_arguments(parser: argparse.ArgumentParser, default: Any = False) -> None:
    """Declare what every subcommand takes; `default` is `argparse.SUPPRESS` where a parser above has them as well."""
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=default,
        help="no progress bars and no notes; results, warnings and errors are still shown",
    )
    parser.add_argument("--debug", action="store_true", default=default, help="show the traceback of an error")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _guarded(subcommand: Subcommand, args: argparse.Namespace) -> int:
    """Run the subcommand; report what the user can act on in one line."""
    try:
        code = subcommand.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return 1
    except KeyboardInterrupt:
        print("avadet: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        known = _of_output(error) or explain(error, WAYS_OUT.get(args.command, WaysOut()))
        if known is None and not isinstance(error, (AvadetError, OSError)):
            raise
        if args.debug:
            print(without_secrets(traceback.format_exc()), end="", file=sys.stderr)
        print(f"avadet: error: {without_secrets(str(known or error))}", file=sys.stderr)
        return 1


def _of_output(error: Exception) -> AvadetError | None:
    """What to say if nothing more can be printed; errors of other files say their names."""
    if not isinstance(error, OSError) or error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    _drop_output()
    return AvadetError(f"cannot write what is printed: {error.strerror}; make room or redirect it elsewhere")


def _drop_output() -> None:
    """Let what is still to be written out go nowhere, so that Python does not fail on it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwind_when_terminated() -> None:
    """Let SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that temporary files are removed.

    What the system ignores, as SIGHUP under nohup, stays ignored.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _UNWINDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _terminate)


def _print_any_name() -> None:
    """Escape what the terminal's encoding lacks, such as file names that are no text, instead of failing on it."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _terminate(signum: int, frame: object) -> NoReturn:
    for number in _UNWINDING:  # a second one must not cut the cleaning up short
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + signum)
