"""Addresses of videos on the network, and how they are shown: never with a password, a token or a signature."""

from __future__ import annotations

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?=[^/\s])[^\s'\"<>]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HOST = re.compile(r"[\w.:\[\]-]*")


def scheme_of(text: str) -> str:
    """The scheme of a URL in lower case; "" if the text is none."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def shown_url(url: str) -> str:
    """A URL as it may be printed and written: only scheme, host and port.

    User, password, path and query may hold secrets, also in places where they do not belong.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    misplaced = "@" in rest[len(authority) :] or not _HOST.fullmatch(host)
    return f"{scheme.lower()}://{'...' if misplaced else host}"


def without_secrets(text: str) -> str:
    """A message in which URLs have lost what may be secret: user, password, query and fragment.

    Also those that have become a path on the way, with one slash.
    """
    return _URL.sub(lambda match: _harmless(match[0]), text)


def _harmless(url: str) -> str:
    scheme, _, rest = url.partition(":")
    slashes, rest = ("//", rest[2:]) if rest.startswith("//") else ("/", rest[1:])
    place, mark, secret = re.match(r"([^?#]*)([?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    place = place.rpartition("@")[2]
    return f"{scheme}:{slashes}{place}{mark}{'...' if secret else ''}"
