"""`avadet report`: look at the pages that `avadet infer` wrote, from another machine."""

from __future__ import annotations

import argparse
import getpass
import shlex
import socket
from pathlib import Path

PORT = 8008


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet report serve`."""
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    text = "show the reports of a folder in a browser, also in one on another machine through an SSH tunnel"
    serve = actions.add_parser("serve", help=text, description=f"{text[0].upper()}{text[1:]}.")
    serve.epilog = (
        "Reports open from disk as well; this is for folders on other machines. It answers this machine alone, which "
        "includes everyone who can log in to it. Videos are played if they lie in the folder: the annotated STEM.mp4 "
        "does; for the original, serve a folder that holds both it and the report."
    )
    serve.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: this folder")
    serve.add_argument("--port", type=_port, default=PORT, help="default %(default)s; 0 = any free one")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from avadet.inference.report.server import HOST, find_reports, make_server

    with make_server(args.folder, args.port) as server:
        port = server.server_port
        found = len(find_reports(args.folder.resolve()))
        print(f"{found} report{'' if found == 1 else 's'} in {args.folder.resolve()}: http://{HOST}:{port}/")
        here = shlex.quote(f"{_user()}@{socket.gethostname()}")
        print(f"from another machine: ssh -L {port}:{HOST}:{port} {here}, then http://localhost:{port}/ there")
        print("Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "USER"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"must be a port, 0 to 65535, got '{text}'")
    return int(text)
