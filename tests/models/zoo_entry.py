"""One more model in the zoo, for a test."""

from __future__ import annotations

import pytest

from avadet.models.zoo import entries
from avadet.models.zoo.entries import Entry


def put_in_zoo(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    """Add an entry, which comes before one of the same name."""
    read = entries.entries_in
    monkeypatch.setattr(
        entries, "entries_in", lambda file: (entry, *read(file)) if file == entries.FILES[0] else read(file)
    )
