"""The templates beside this module, and what makes it safe to put words of strangers into them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

APPLICATION = "avadet report"
"""How a page says in its head that it is one; `avadet report serve` shows no other."""

_FOLDER = Path(__file__).resolve().parent


def script_json(value: object) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def environment() -> Environment:
    """The templates of this folder, everything escaped."""
    loader = FileSystemLoader(_FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def policy_hash(text: str) -> str:
    """How the policy in a page's head names a script or style."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def resource(name: str) -> str:
    """A text file that stands beside this module."""
    return (_FOLDER / name).read_text(encoding="utf-8")
