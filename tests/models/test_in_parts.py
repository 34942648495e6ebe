"""Crowds some at a time: the same scores, and less at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor

from avadet.models.build import build
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.detectors.two_views import TwoViewDetector
from avadet.models.engines.probe import sample_inputs
from avadet.models.heads import acar, acrn, pooling
from avadet.models.heads.in_parts import in_parts

SHALLOW: dict[str, Any] = {"width": 8, "depths": (1, 1, 1, 1)}


def test_rows_go_some_at_a_time_where_nothing_forbids_it() -> None:
    asked: list[int] = []

    def double(rows: Tensor, more: Tensor) -> Tensor:
        asked.append(len(rows))
        return 2 * rows + more

    rows, more = torch.arange(7.0), torch.ones(7)
    for is_training, with_gradients, parts in ((False, False, [3, 3, 1]), (True, False, [7]), (False, True, [7])):
        asked.clear()
        with torch.set_grad_enabled(with_gradients):
            assert in_parts(double, 3, is_training, rows, more).tolist() == [1, 3, 5, 7, 9, 11, 13]
        assert asked == parts
    with torch.no_grad():
        assert in_parts(double, 3, False, rows[:0], more[:0]).shape == (0,)


def models() -> dict[str, ActionModel]:
    """Every kind of model that does something for each person."""
    heads: dict[str, dict[str, Any]] = {"plain": {}, "acar": {"acar": {"width": 6}}, "acrn": {"acrn": {"width": 6}}}
    built: dict[str, ActionModel] = {
        name: build("resnet3d", 5, **SHALLOW, head={"aligned": True, **head}) for name, head in heads.items()
    }
    return {**built, "two views": build("tiny_two_views", 5, num_frames=4, crop_hw=(32, 32))}


@each_case("name", ["plain", "acar", "acrn", "two views"])
def test_a_crowd_scores_as_it_did_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = models()[name].eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    clips, rois = sample_inputs(4, (64, 96), 2, 23)
    with torch.inference_mode():
        at_once = model(clips, rois)
        monkeypatch.setattr(pooling, "BOXES_AT_ONCE", 4)
        monkeypatch.setattr(acar, "ACTORS_AT_ONCE", 4)
        monkeypatch.setattr(acar, "QUERIES_AT_ONCE", 4)
        monkeypatch.setattr(acrn, "ACTORS_AT_ONCE", 4)
        monkeypatch.setattr(TwoViewDetector, "boxes_at_once", 4)
        in_fours = model(clips, rois)
    assert at_once.std(dim=0).min() > 1e-4
    torch.testing.assert_close(in_fours, at_once, atol=1e-6, rtol=1e-5)


class Largest:
    """The most rows that went through a module at once."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.rows = 0
        module.register_forward_pre_hook(self.note)

    def note(self, _: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.rows = max(self.rows, len(inputs[0]))


def test_what_is_held_at_once_does_not_grow_with_the_crowd() -> None:
    built = models()
    held = {
        "acar": (Largest(built["acar"].head.acar.join), 16),
        "acrn": (Largest(built["acrn"].head.acrn.conv), 16),
        "two views": (Largest(built["two views"].actor), 16),
    }
    clips, rois = sample_inputs(4, (64, 64), 1, 50)
    for name, (largest, most) in held.items():
        with torch.inference_mode():
            built[name].eval()(clips, rois)
        assert largest.rows == most, name
