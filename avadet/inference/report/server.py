"""`avadet report serve`: a folder's pages and videos over HTTP, for looking at them from another machine.

Only this machine can connect (through an SSH tunnel, whoever may log in), and only requests for `localhost` are
answered, so that no other site that a browser has open can reach in under a name of its own. Served are pages that
ReportSink wrote and videos, if they lie in the folder, wherever symbolic links lead, and under no hidden name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from markupsafe import Markup

from avadet.errors import AvadetError
from avadet.inference.report.page import APPLICATION, environment, policy_hash, resource

HOST = "127.0.0.1"
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".ogv": "video/ogg",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".ts": "video/mp2t",
}
_HTML = "text/html; charset=utf-8"
_OWN_NAME = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
_MARK = f'<meta name="application-name" content="{APPLICATION}">'.encode()
_HEAD_BYTES = 1024
_PIECE_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Listed(NamedTuple):
    """A report in the index: its name from the folder, its address, and when it was written."""

    name: str
    href: str
    written: str


def make_server(folder: str | Path, port: int) -> ThreadingHTTPServer:
    """Open the port; `serve_forever` of what is returned answers until it is interrupted.

    Args:
        folder: whose reports to show.
        port: 0 = any free one; `server_port` of the server says which.

    Raises:
        AvadetError: if there is no such folder, or the port is taken or not allowed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AvadetError(f"no such folder: {root}; give the --out of avadet infer")
    handler = type("_FolderHandler", (_Handler,), {"root": root.resolve()})
    try:
        return _Server((HOST, port), handler)
    except OSError as error:
        raise AvadetError(f"cannot listen on port {port}: {error.strerror}; choose another --port") from error


def find_reports(root: Path) -> list[Path]:
    """Pages of ReportSink in a folder and the folders in it, by name; hidden ones and links to folders left out."""
    found = []
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if not name.startswith(".")]
        found += [path for name in names if (path := Path(folder, name)).suffix == ".html" and _servable(root, path)]
    return sorted(found)


def _servable(root: Path, path: Path) -> bool:
    """Whether a path may be served: a report or a video that lies in the folder, under no hidden name."""
    try:
        real = path.resolve(strict=True)
        if not (real.is_relative_to(root) and real.is_file()):
            return False
        hidden = any(part.startswith(".") for part in (*path.relative_to(root).parts, *real.relative_to(root).parts))
        return not hidden and (path.suffix.lower() in MEDIA_TYPES or (path.suffix == ".html" and _is_report(real)))
    except (OSError, ValueError):
        return False


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK in file.read(_HEAD_BYTES)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for; None = the whole file.

    A header that is not understood, or asks for several ranges, may be ignored (RFC 9110, 14.2), and is.

    Raises:
        ValueError: if no byte of the file is in the range.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[0] == "bytes=-" or len(match[0]) > 60:
        return None
    if not match[1]:
        first, last = max(size - int(match[2]), 0), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first > last:
        raise ValueError("no byte of the file is in the range")
    return first, last


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: browsers break connections off whenever somebody seeks."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "avadet"
    sys_version = ""
    timeout = 60
    root: Path

    def do_GET(self) -> None:
        """Send the index, a page or a video."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send the headers alone."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; only the command line prints."""

    def _answer(self, with_body: bool) -> None:
        if not _OWN_NAME.fullmatch(self.headers.get("Host", "")):
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        way = unquote_to_bytes(self.path.partition("?")[0])
        if way == b"/":
            self._send_page(self._index(), with_body)
            return
        path = self._find(way)
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            with path.open("rb") as file:
                self._send_file(file, MEDIA_TYPES.get(path.suffix.lower(), _HTML), with_body)
        except ConnectionError:
            self.close_connection = True

    def _find(self, way: bytes) -> Path | None:
        """The file that an address names, None where it names none that may be served."""
        parts = os.fsdecode(way).split("/")[1:]
        if b"\0" in way or not way.startswith(b"/") or any(part in ("", ".", "..") for part in parts):
            return None
        path = self.root.joinpath(*parts)
        return path if _servable(self.root, path) else None

    def _send_file(self, file: BinaryIO, kind: str, with_body: bool) -> None:
        stat = os.fstat(file.fileno())
        modified = formatdate(stat.st_mtime, usegmt=True)
        fresh = self.headers.get("If-Range") in (None, modified)
        try:
            wanted = wanted_range(self.headers.get("Range"), stat.st_size) if fresh else None
        except ValueError:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{stat.st_size}"})
            return
        first, last = wanted or (0, stat.st_size - 1)
        headers = {"Last-Modified": modified, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{stat.st_size}"
        status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
        self._begin(status, kind, last - first + 1, headers)
        if with_body:
            for piece in _pieces(file, first, last):
                self.wfile.write(piece)

    def _index(self) -> bytes:
        reports = [_listed(self.root, path) for path in find_reports(self.root)]
        style = resource("index.css")
        html = (
            environment()
            .get_template("index.html")
            .render(
                folder=self.root.name or str(self.root),
                reports=reports,
                style=Markup(style),
                style_hash=policy_hash(style),
            )
        )
        return html.encode(errors="backslashreplace")

    def _send_page(self, body: bytes, with_body: bool) -> None:
        self._begin(HTTPStatus.OK, _HTML, len(body), {})
        if with_body:
            self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        self._begin(status, "text/plain; charset=utf-8", 0, headers or {})

    def _begin(self, status: HTTPStatus, kind: str, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        general = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in (general | headers).items():
            self.send_header(name, value)
        self.end_headers()


def _pieces(file: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    file.seek(first)
    left = last - first + 1
    while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
        left -= len(piece)
        yield piece


def _listed(root: Path, path: Path) -> Listed:
    way = path.relative_to(root)
    written = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    return Listed(str(way.with_suffix("")), quote(os.fsencode(way)), written)
