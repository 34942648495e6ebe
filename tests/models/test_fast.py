"""Models made fast, and what the processor can do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from each_case import each_case
from small_models import SPEC, small_model

from avadet.models.engines import fast
from avadet.models.engines.fast import fast_model, has_bf16, processor_flags
from avadet.models.engines.probe import sample_inputs, score_difference


def test_people_are_cut_out_and_scored_in_float32() -> None:
    probe = sample_inputs(SPEC.num_frames, (64, 64), 1, 1)
    model, note = fast_model(small_model("slow_r50").model, torch.bfloat16, *probe)
    assert note == ""
    assert {p.dtype for p in model.head.parameters()} == {torch.float32}
    assert model.mean.dtype == torch.float32
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in model.parameters())


def test_difference_of_scores_is_zero_for_the_same_and_large_for_another() -> None:
    loaded = small_model("slow_r50")
    assert score_difference(loaded, loaded, (64, 64)) == 0
    assert score_difference(loaded, small_model("slow_r50", seed=1), (64, 64)) > 0.05


@each_case(
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
