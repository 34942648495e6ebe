"""The one place that opens containers for reading: what differs between releases of PyAV is known here alone."""

from __future__ import annotations

from typing import Any

import av
import av.logging
from av.container import Container, InputContainer

_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(Container, "metadata_errors") else {}
"""How this PyAV is told to accept metadata that is not UTF-8; from version 19 on it does so unasked."""


def open_input(source: str, **options: Any) -> InputContainer:
    """Open a file, device or URL for reading, whatever the encoding of its metadata.

    Args:
        source: what FFmpeg opens, e.g. "file:party.mp4".
        options: further arguments of `av.open`: format, options, timeout.

    Raises:
        FFmpegError, OSError, ValueError: as `av.open` raises them.
    """
    av.logging.set_level(None)  # PyAV's default, old torchvision changes it: a thread that logs can hang `close`
    container: InputContainer = av.open(source, **_LENIENT, **options)
    return container
