"""What an argument means that is no file: a camera, a stream, or a recording on a web server."""

from __future__ import annotations

import re
from datetime import datetime

from avadet.urls import scheme_of, shown_url

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")
WEB_SCHEMES = ("http", "https")
"""Those by which a whole file may come, and not only what is taken now."""

_CAMERA = re.compile(r"/dev/video[0-9]+|[0-9]{1,3}")


def is_live(text: str) -> bool:
    """Whether an argument names a stream or a camera: SCHEME://..., /dev/videoN, or a camera's bare number.

    A file whose name is a number can be given as ./NAME.
    """
    return scheme_of(text) in SCHEMES or bool(_CAMERA.fullmatch(text))


def is_web(text: str) -> bool:
    """Whether an argument is the address of something on a web server."""
    return scheme_of(text) in WEB_SCHEMES


def shown_name(source: str) -> str:
    """The name of a source as it may be printed and written: of a URL only scheme, host and port."""
    return shown_url(source) if "://" in source else camera_path(source)


def stem_of(source: str, began: datetime) -> str:
    """A name for the results of a live run: the source and when it began; letters, digits and hyphens only."""
    name = shown_name(source).partition("://")[2] or shown_name(source).removeprefix("/dev/")
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "live"
    return f"{words[:80]}-{began:%Y%m%d-%H%M%S}"


def web_stem_of(url: str) -> str:
    """The stem of a file on a web server, from the last part of its path; that of the host where there is none."""
    path = re.split(r"[?#]", url.partition("://")[2], maxsplit=1)[0]
    name = path.rpartition("/")[2] if "/" in path else ""
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", name.rpartition(".")[0] or name).strip("-.")
    return words[:80] or re.sub(r"[^A-Za-z0-9]+", "-", shown_url(url).partition("://")[2]).strip("-") or "web"


def camera_path(camera: str) -> str:
    """/dev/videoN of a camera's number."""
    return f"/dev/video{int(camera)}" if camera.isdecimal() else camera
