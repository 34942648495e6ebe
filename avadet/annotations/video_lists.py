"""Lists of videos: text files, one name a line."""

from __future__ import annotations

import re
from pathlib import Path

from avadet.errors import AvadetError
from avadet.files import VIDEO_SUFFIXES

_ENDING = re.compile(rf"(.+?)(?:{'|'.join(map(re.escape, VIDEO_SUFFIXES))})(?:\s+\d+)?", re.IGNORECASE)


def read_video_list(path: Path) -> list[str]:
    """Video names of a text file, one a line, sorted; suffixes of videos, and the class after one, are left off.

    Raises:
        AvadetError: if it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AvadetError(f"cannot read the list of videos {path}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return sorted({match[1] if (match := _ENDING.fullmatch(line)) else line for line in lines})
