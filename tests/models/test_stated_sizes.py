"""What docstrings of published sizes say of parameters and multiply-adds is what `avadet models --family` counts."""

from __future__ import annotations

import importlib
import re

import pytest

from avadet.models.engines.summary import summary
from avadet.models.families import FAMILIES, Size
from avadet.models.zoo import BUILDERS

PARAMETERS = re.compile(r"([\d.]+) M parameters with 80 classes")
GFLOPS = re.compile(r"([\d.]+) GFLOPs")
CLIP = re.compile(r"(\d+) frames(?: every (\d+))? at (\d+) px")
SIZES = {
    name: (importlib.import_module(f"avadet.models.{module}").__dict__[name].__doc__, size)
    for module, sizes in FAMILIES.items()
    for name, size in sizes.items()
    if size is not None
}


def numbers_of(text: str) -> list[str]:
    """Every number with a unit of size in a docstring."""
    return re.findall(r"[\d.]+ ?(?:M|GFLOPs|million)\b", text)


@pytest.mark.parametrize("name", [name for name, (text, _) in SIZES.items() if numbers_of(text)])
def test_stated_numbers_are_counted_ones(name: str) -> None:
    text, size = SIZES[name]
    stated, gflops, clip = PARAMETERS.findall(text), GFLOPS.findall(text), CLIP.search(text)
    assert len(stated) == 1, "one model has one number of parameters: that of the model that is built, with 80 classes"
    assert len(numbers_of(text)) == 1 + len(gflops)
    if clip is not None:
        frames, stride, side = clip.groups()
        assert Size(int(frames), int(stride or size.stride), int(side)) == size
    found = summary(lambda: BUILDERS[name](80), size.frames, (size.side_px, size.side_px)) if gflops else None
    parameters = found.parameters if found else counted(name)
    assert f"{parameters / 1e6:.{len(stated[0].partition('.')[2])}f}" == stated[0]
    assert len(stated[0].partition(".")[2]) == 3
    for number in gflops:
        assert found is not None
        assert abs(found.gflops - float(number)) <= 0.5


def counted(name: str) -> int:
    """Parameters with 80 classes, on tensors without numbers."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in BUILDERS[name](80).parameters())


def test_most_sizes_state_something() -> None:
    silent = {name for name, (text, _) in SIZES.items() if not numbers_of(text)}
    assert silent <= {
        *("tiny_actions", "tiny_two_views", "two_streams_r50", "conv_pooling_r50", "box_lstm_r50", "cell_lstm_r50"),
        *("early_fusion_r50", "late_fusion_r50", "slow_fusion_r50", "person_crops"),
    }
