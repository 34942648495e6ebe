"""Heads of every kind by their options as configs write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from avadet.models.heads.build import build_head
from avadet.models.heads.roi_head import RoIHead


def roi_head(in_channels: Sequence[int], num_classes: int, **options: Any) -> RoIHead:
    """A head that pools over time and crops."""
    return build_head(in_channels, num_classes, options)


def consensus_head(in_channels: Sequence[int], num_classes: int, **options: Any) -> RoIHead:
    """A head whose logits are those of its frames."""
    return build_head(in_channels, num_classes, {"kind": "consensus", **options})


def lstm_head(in_channels: Sequence[int], num_classes: int, **options: Any) -> RoIHead:
    """A head with an LSTM over frames."""
    return build_head(in_channels, num_classes, {"kind": "lstm", **options})


def crop_otherwise(head: RoIHead, **changes: Any) -> None:
    """Let a head crop boxes in another way from now on."""
    head.options = replace(head.options, crop=replace(head.options.crop, **changes))
