"""Folding norms into convolutions, and what the processor can do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import small_model
from torch import nn

from avadet.models import fast
from avadet.models.fast import fast_model, fold_norms, has_bf16, processor_flags, score_difference


def test_a_folded_norm_is_arithmetic() -> None:
    # conv: 2 x + 1; norm: (v - 3) / sqrt(4) * 5 + 7  ->  5 x + 2
    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1, eps=0)).eval()
    with torch.no_grad():
        for tensor, value in (
            (net[0].weight, 2), (net[0].bias, 1), (net[1].running_mean, 3), (net[1].running_var, 4),
            (net[1].weight, 5), (net[1].bias, 7),
        ):  # fmt: skip
            tensor.fill_(value)
    assert fold_norms(net) == 1
    assert isinstance(net[1], nn.Identity)
    assert (net[0].weight.item(), net[0].bias.item()) == pytest.approx((5, 2))
    assert net(torch.tensor([[[10.0]]])).item() == pytest.approx(52)


def test_norms_elsewhere_stay() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Conv1d(2, 4, 1), nn.ReLU(), nn.BatchNorm1d(4)).eval()
    assert fold_norms(net) == 0


def test_every_norm_of_a_slowfast_is_folded() -> None:
    model = small_model("slowfast_r50").model
    norms = sum(isinstance(module, nn.BatchNorm3d) for module in model.modules())
    assert fold_norms(model) == norms > 20


def test_people_are_cut_out_and_scored_in_float32() -> None:
    model = fast_model(small_model("slow_r50").model, torch.bfloat16)
    assert {p.dtype for p in model.head.parameters()} == {torch.float32}
    assert model.mean.dtype == torch.float32
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in model.parameters())


def test_difference_of_scores_is_zero_for_the_same_and_large_for_another() -> None:
    loaded = small_model("slow_r50")
    assert score_difference(loaded.model, loaded.model, loaded, (64, 64)) == 0
    assert score_difference(loaded.model, small_model("slow_r50", seed=1).model, loaded, (64, 64)) > 0.05


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_tile\n\nprocessor: 1\nflags: none\n", True),
        ("flags\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("nothing of the kind\n", False),
    ],
)
def test_processor_flags_are_read_off_the_kernels_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: bool
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    flags = processor_flags(path)
    monkeypatch.setattr(fast, "processor_flags", lambda: flags)
    assert has_bf16(torch.device("cpu")) is expected


def test_systems_without_that_list_have_no_flags(tmp_path: Path) -> None:
    assert processor_flags(tmp_path / "cpuinfo") == set()
