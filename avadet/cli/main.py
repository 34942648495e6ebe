"""The command `avadet`: finds the subcommand, runs it, turns what users can act on into one line and an exit code.

Every subcommand is a module of this package with `add_arguments(parser)` and `run(args) -> int`. Only the module of
the subcommand that was asked for is imported, so `avadet --help` answers at once.

Exit codes: 0 done, 1 something the user can act on, 2 wrong arguments, 130 Ctrl-C, 143 terminated.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol, cast

from avadet import __version__
from avadet.errors import AvadetError


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
    Command("infer", "avadet.cli.infer", "find the people in videos and say what each one is doing"),
    Command("detect-persons", "avadet.cli.detect_persons", "write the boxes of the people in videos to a CSV"),
    Command("train", "avadet.cli.train", "train an action model from a config"),
    Command("test", "avadet.cli.test", "run a trained action model over a test split and score it"),
    Command("eval", "avadet.cli.evaluate", "score a file of detections against a file of ground truth"),
    Command("compare", "avadet.cli.compare", "say whether one file of detections is better than another"),
    Command("eval-persons", "avadet.cli.eval_persons", "score how well a file of boxes finds the people"),
    Command("data", "avadet.cli.data", "check, count, show, convert, divide and prepare data sets"),
    Command("models", "avadet.cli.models", "list models and backbones, or show one in full"),
    Command("convert", "avadet.cli.convert", "turn another project's checkpoint into avadet's own form"),
    Command("export", "avadet.cli.export", "write an action model as an ONNX file that loads by itself"),
    Command("report", "avadet.cli.report", "show the pages that infer writes, from another machine too"),
    Command("render", "avadet.cli.render", "render a video of moving figures with known boxes and actions"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None = those of this process.

    Returns:
        the exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _asked_for(arguments)
    parser, subcommand = _build_parser(command)
    args = parser.parse_args(arguments)
    if subcommand is None:
        parser.print_help()
        return 2
    _unwind_when_terminated()
    _print_any_name()
    return _guarded(subcommand, args)


def _asked_for(arguments: list[str]) -> Command | None:
    """Return the subcommand that the arguments name: the first word that is no option."""
    word = next((argument for argument in arguments if not argument.startswith("-")), None)
    return next((command for command in COMMANDS if command.name == word), None)


def _build_parser(chosen: Command | None) -> tuple[argparse.ArgumentParser, Subcommand | None]:
    """Build the parser with every subcommand's help line, but only the chosen one's arguments."""
    parser = argparse.ArgumentParser(prog="avadet", description="Find every person in a video and what each is doing.")
    parser.add_argument("--version", action="version", version=f"avadet {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    subcommand: Subcommand | None = None
    for command in COMMANDS:
        child = subparsers.add_parser(command.name, help=command.help, description=_sentence(command.help))
        if command is chosen:
            subcommand = cast(Subcommand, importlib.import_module(command.module))
            subcommand.add_arguments(child)
            child.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser, subcommand


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _guarded(subcommand: Subcommand, args: argparse.Namespace) -> int:
    """Run the subcommand; report what the user can act on in one line."""
    try:
        code = subcommand.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("avadet: stopped", file=sys.stderr)
        return 130
    except (AvadetError, OSError) as error:
        if args.debug:
            traceback.print_exc()
        print(f"avadet: error: {error}", file=sys.stderr)
        return 1


def _unwind_when_terminated() -> None:
    """Let SIGTERM unwind the stack like Ctrl-C does, so that temporary files are removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _print_any_name() -> None:
    """Escape what the terminal's encoding lacks, such as file names that are no text, instead of failing on it."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _terminate(signum: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signum)
