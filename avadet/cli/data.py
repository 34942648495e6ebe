"""`avadet data`: what is done with a data set. Every action is a module of this package, as every subcommand is."""

from __future__ import annotations

import argparse
import importlib
from typing import cast

from avadet.cli.main import Command, Subcommand, add_shared_arguments

ACTIONS = (
    Command("check", "avadet.cli.data_check", "find errors in a data set before training"),
    Command("repair", "avadet.cli.data_repair", "write the data set that the rules allow, and a list of every change"),
    Command("stats", "avadet.cli.data_stats", "summarise a data set: videos, keyframes, boxes, actions, sizes"),
    Command("show", "avadet.cli.data_show", "draw keyframes with their people and actions as PNG"),
    Command("convert", "avadet.cli.data_convert", "turn annotations of COCO, CVAT, VIA or a CSV into AVA's, and back"),
    Command("prepare", "avadet.cli.data_prepare", "re-encode videos once, so that training reads clips fast"),
    Command("split", "avadet.cli.data_split", "split annotated videos into training and validation"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `avadet data` and their arguments."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    for action in ACTIONS:
        text = f"{action.help[0].upper()}{action.help[1:]}."
        module = cast(Subcommand, importlib.import_module(action.module))
        child = actions.add_parser(action.name, help=action.help, description=text)
        module.add_arguments(child)
        add_shared_arguments(child, default=argparse.SUPPRESS)
        child.set_defaults(run_action=module.run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    return int(args.run_action(args))
