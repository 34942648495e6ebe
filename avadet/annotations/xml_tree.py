"""XML of unknown origin as a tree whose elements know their lines; nothing in it is expanded or fetched."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from avadet.errors import AvadetError

LINE = "@line"
"""Key in an element's attributes of its line in the file; no attribute of a file can be called that."""


class _NotAllowed(ValueError):
    """Something that annotations never need and attacks do."""


def read_xml(path: Path) -> Element:
    """Parse an XML file, plain or gzipped.

    A document type is refused: with it, a short file can name entities that grow without bound, or other files.

    Raises:
        AvadetError: if it cannot be read, is no XML, or has a document type (file and line).
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = lambda tag, attributes: builder.start(
        tag, {**attributes, LINE: str(parser.CurrentLineNumber)}
    )
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        data = path.read_bytes()
        parser.Parse(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data, True)
        return builder.close()
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise AvadetError(f"{path}:{error.lineno}: not XML at column {error.offset + 1}: {reason}") from error
    except _NotAllowed as error:
        line = parser.CurrentLineNumber
        raise AvadetError(
            f"{path}:{line}: has a document type or entities; take them out, annotations need none"
        ) from error
    except (OSError, EOFError, zlib.error, ParseError, LookupError, ValueError) as error:  # LookupError: an encoding
        reason = getattr(error, "strerror", None) or str(error)
        raise AvadetError(f"cannot read {path}: {reason}; expected an XML file, plain or gzipped") from error


def _refuse(*_: Any) -> None:
    raise _NotAllowed
