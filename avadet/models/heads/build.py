"""Heads by kind: one table, one constructor for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.heads.consensus import ConsensusHead
from avadet.models.heads.lstm import LstmHead
from avadet.models.heads.options import read_options
from avadet.models.heads.roi_head import RoIHead

HEADS: dict[str, type[RoIHead]] = {"roi": RoIHead, "consensus": ConsensusHead, "lstm": LstmHead}
"""Every kind of head, by the word that configs and cards use for it."""


def build_head(out_channels: Sequence[int], num_classes: int, options: Mapping[str, Any] | None = None) -> RoIHead:
    """Build a head with random weights for the maps of a backbone.

    Args:
        out_channels: channels of each map.
        num_classes: K, logits a box.
        options: `kind` (a key of `HEADS`; "roi" if absent) and those of that kind, see `read_options`.

    Raises:
        AvadetError: for an unknown kind or option, or a value that an option cannot have.
    """
    rest = dict(options or {})
    kind = rest.pop("kind", "roi")
    if kind not in HEADS:
        raise unknown_name("head.kind", str(kind), HEADS)
    try:
        return HEADS[kind](out_channels, num_classes, read_options(HEADS[kind].Options, rest))
    except TypeError as error:
        raise AvadetError(f"head of kind {kind} cannot be built with {rest}: {error}") from error
