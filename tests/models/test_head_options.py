"""Options of heads: short names, parts, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.heads.acar import AcarOptions
from avadet.models.heads.acrn import AcrnOptions
from avadet.models.heads.build import HEADS, build_head
from avadet.models.heads.consensus import ConsensusOptions
from avadet.models.heads.lfb import BankOptions
from avadet.models.heads.lstm import LstmOptions
from avadet.models.heads.options import FLAT, read_options
from avadet.models.heads.pooling import Context, RoICrop
from avadet.models.heads.roi_head import ClassifierOptions, RelationOptions, RoIOptions

SHORT: dict[str, Any] = {
    **{"resolution": 8, "aligned": True, "sampling_ratio": 2, "stretch": True, "pool": "avg", "time_pool": "max"},
    **{"map_width": 6, "context": True, "context_cells": 2, "norm": True, "hidden": True, "dropout": 0.1},
    **{"bank": {"depth": 1}, "acrn": {"width": 3}, "acar": {"pad": False}, "own_width": 7},
}
"""Every short name that stored cards and configs have."""


def test_short_names_mean_what_they_always_did() -> None:
    assert FLAT.keys() < SHORT.keys()
    assert read_options(RoIOptions, SHORT) == RoIOptions(
        time_pool="max",
        reduce=6,
        crop=RoICrop(resolution=8, aligned=True, sampling_ratio=2, stretch=True, pool="avg"),
        context=Context(cells=2),
        bank=BankOptions(depth=1),
        relation=RelationOptions(acrn=AcrnOptions(3), acar=AcarOptions(pad=False), actor_width=7),
        classifier=ClassifierOptions(norm=True, hidden=True, dropout=0.1),
    )
    absent = {"bank": None, "acrn": None, "acar": None, "map_width": None, "own_width": None, "context": False}
    assert read_options(RoIOptions, {**absent, "context_cells": 3}) == RoIOptions()
    assert read_options(ConsensusOptions, {"consensus": "max"}) == ConsensusOptions(consensus="max")
    lstm = {"units": 4, "layers": 2, "norm_input": True, "aligned": True}
    assert read_options(LstmOptions, lstm) == LstmOptions(
        crop=RoICrop(aligned=True), units=4, layers=2, norm_input=True
    )


def test_parts_count_before_short_names_and_may_stand_beside_them() -> None:
    given = {"aligned": True, "resolution": 5, "crop": {"resolution": 9}, "context": {"cells": 4}, "acar": {}}
    found = read_options(RoIOptions, given)
    assert (found.crop, found.context) == (RoICrop(resolution=9, aligned=True), Context(4))
    assert found.relation == RelationOptions(acar=AcarOptions())


@each_case(
    ("options", "message"),
    [
        ({"kind": "roy"}, "unknown head.kind 'roy'; did you mean roi"),
        ({"resolutoin": 7}, "unknown option of head 'resolutoin'; did you mean resolution"),
        ({"units": 7}, "unknown option of head 'units'"),
        ({"crop": {"units": 7}}, "unknown option of head.crop 'units'; known: aligned, pool, resolution"),
        ({"acrn": {"widht": 7}}, "unknown option of head.relation.acrn 'widht'; did you mean width"),
        ({"acar": True}, "head.relation.acar must be a mapping of its options, got True"),
        ({"crop": None}, "head.crop must be a mapping of its options, got None"),
        ({"crop": 7, "aligned": True}, "head.crop must be a mapping of its options, got 7"),
        ({"pool": "sum"}, "pool of a head must be 'max' or 'avg', got 'sum'"),
        ({"kind": "lstm", "units": "many"}, "head of kind lstm cannot be built with {'units': 'many'}"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        build_head([3], 5, options)


@each_case("kind", HEADS)
def test_every_kind_has_options_of_its_own_and_defaults(kind: str) -> None:
    head = build_head([3], 5, {"kind": kind})
    assert type(head) is HEADS[kind] and type(head.options) is HEADS[kind].Options
