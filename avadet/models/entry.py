"""One line of the zoo: where a model's weights are published, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avadet.models.cards import make_card
from avadet.models.download import cache_folder
from avadet.types import ClipSpec

_WHOLE_FRAME = "whole frames, short side 256, found people"


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: what users write.
        file: name of its file of weights.
        summary: one line: what it is, and trained on what.
        url: where the file is published; "" for a model inside the package.
        sha256: first digits of the file's hash, where the publisher gives them.
        card: its card; {} for a model inside the package, whose card lies beside its weights.
    """

    name: str
    file: str
    summary: str
    url: str = ""
    sha256: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with the package."""
        return not self.url

    @property
    def path(self) -> Path:
        """Where its weights lie, or would lie once downloaded."""
        folder = Path(__file__).parent / "bundled" if self.is_bundled else cache_folder()
        return folder / self.file

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.path.is_file()


def published(
    name: str, url: str, architecture: str, arguments: dict[str, Any], clip: ClipSpec, labels: str, **facts: Any
) -> Entry:
    """A model that some project publishes.

    `facts`: summary, data, project, parameters, gflops, and perhaps frame_map, scored_on (if not the data's own
    validation videos) and sha256.
    """
    license_note = f"not stated with the weights; {facts['project']}, which publishes them, is under Apache-2.0"
    protocol = f"{facts['scored_on']}, {_WHOLE_FRAME}" if "scored_on" in facts else _WHOLE_FRAME
    numbers = {"frame_map": facts["frame_map"], "protocol": protocol} if "frame_map" in facts else {}
    card = make_card(
        name,
        architecture,
        arguments,
        clip,
        labels,
        data=facts["data"],
        license=license_note,
        parameters=facts["parameters"],
        gflops=facts["gflops"],
        numbers=numbers,
    )
    return Entry(name, url.rpartition("/")[2], facts["summary"], url, facts.get("sha256", ""), card)
