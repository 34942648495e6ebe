"""One line of the zoo: where a model's weights are published, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avadet.models.zoo.cards import make_card
from avadet.models.zoo.download import cache_folder
from avadet.types import ClipSpec


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
        is_page: whether `url` is a page from which a browser gets the file, not the file itself.
    """

    name: str
    file: str
    summary: str
    url: str = ""
    sha256: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    is_page: bool = False

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with the package."""
        return not self.url

    @property
    def is_start(self) -> bool:
        """Whether its weights only start a training: they classify whole clips or pictures, not people in boxes."""
        return self.card.get("use") == "start"

    @property
    def path(self) -> Path:
        """Where its weights lie, or would lie once downloaded."""
        folder = Path(__file__).parents[1] / "bundled" if self.is_bundled else cache_folder()
        return folder / self.file

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.path.is_file()


def scored(frame_map: float, data_set: str) -> dict[str, Any]:
    """A published frame-mAP@0.5, percent, with the data set and the protocol that it holds for."""
    protocol = f"validation videos of {data_set}, whole frames, short side 256, detected people"
    return {"frame_map": frame_map, "data_set": data_set, "protocol": protocol}


def published(
    name: str, url: str, architecture: str, arguments: dict[str, Any], clip: ClipSpec, labels: str, **facts: Any
) -> Entry:
    """A model that some project publishes.

    `facts`: summary, data, project, parameters, gflops, and perhaps frame_map, scored_on (if not the data's own
    validation videos), license (if more is known than that of the project) and sha256.
    """
    license_note = facts.get("license", unstated_license(facts["project"], "Apache-2.0"))
    data_set = facts.get("scored_on", facts["data"].rpartition(", ")[2])
    numbers = scored(facts["frame_map"], data_set) if "frame_map" in facts else {}
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


def unstated_license(project: str, license_name: str) -> str:
    """What can be said of the licence of weights that come without one."""
    return f"not stated with the weights; {project}, which publishes them, is under {license_name}"


def start(
    name: str,
    url: str,
    architecture: str,
    clip: ClipSpec,
    *,
    data: str,
    license_note: str,
    parameters: int,
    summary: str,
    arguments: dict[str, Any] | None = None,
    top1: float | None = None,
    protocol: str = "",
    classifies: str = "whole clips",
    sha256: str = "",
    file: str = "",
) -> Entry:
    """Weights that only start a training: a classifier of whole clips or of pictures, or an encoder without any.

    Args:
        name: what users write after `model.init=`.
        url: where they are published.
        architecture: the row of `models.sizes.SIZES` that they fit.
        clip: what they were trained on.
        data: likewise, in words.
        license_note: of the weights.
        parameters: of the published model, its classifier included; of one without labels the encoder's.
        summary: one line.
        arguments: of `models.build`.
        top1: published accuracy, percent.
        protocol: how that was measured.
        classifies: what the published model classifies; "nothing" for one that was trained without labels.
        sha256: first digits of the file's hash, where the publisher gives them.
        file: what to call the file in the cache, where the publisher's own name is another one's too.
    """
    card = make_card(
        name,
        architecture,
        arguments or {},
        clip,
        f"classes of {data}",
        use="start",
        classifies=classifies,
        data=data,
        license=license_note,
        parameters=parameters,
        numbers={} if top1 is None else {"top1": top1, "protocol": protocol},
    )
    return Entry(name, file or url.rpartition("/")[2], summary, url, sha256, card)
