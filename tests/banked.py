"""A tiny model that reads feature banks, and beside it the tiny model of other clips and features that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.types import ClipSpec

READER_SPEC = ClipSpec(num_frames=4, stride=2, fps=10.0, short_side=48, mean=(0.45,) * 3, std=(0.225,) * 3)
MAKER_SPEC = ClipSpec(num_frames=2, stride=1, fps=10.0, short_side=32, mean=(0.4,) * 3, std=(0.25,) * 3)
SLOW: dict[str, Any] = {"depths": [1, 1, 1, 1]}
MAKER: dict[str, Any] = {**SLOW, "width": 2}
MAKER_FEATURES = 64
READER: dict[str, Any] = {**SLOW, "width": 4, "head": {"bank": {"bank_features": MAKER_FEATURES, "width": 8}}}
LABELS = zoo.numbered_labels(3)
WINDOW_S = 1.2
BANK = {"weights": "bank.safetensors", "window_s": WINDOW_S}


def write_maker(path: Path, arguments: dict[str, Any] = MAKER, architecture: str = "slow_r50", **facts: Any) -> Path:
    """A file of the model that makes banks, random weights, and its card."""
    torch.manual_seed(1)
    maker = build(architecture, len(LABELS), pixels=MAKER_SPEC.pixels, **arguments)
    save_model(path, maker, make_card("maker", architecture, arguments, MAKER_SPEC, LABELS, **facts))
    return path


def write_reader(path: Path, arguments: dict[str, Any] = READER, architecture: str = "slow_r50", **facts: Any) -> Path:
    """A file of the model that reads banks, random weights on which a bank has a say, and its card."""
    torch.manual_seed(2)
    reader = build(architecture, len(LABELS), pixels=READER_SPEC.pixels, **arguments)
    for name, parameter in reader.named_parameters():
        if name.endswith(("head.proj.weight", "head.bank.out.weight")):
            torch.nn.init.normal_(parameter, std=0.3)
    save_model(path, reader, make_card("reader", architecture, arguments, READER_SPEC, LABELS, **facts))
    return path


def write_both(folder: Path) -> Path:
    """The two models as a training run leaves them; returns the path of the one that reads banks."""
    write_maker(folder / "bank.safetensors")
    return write_reader(folder / "model.safetensors", bank=BANK)
