"""Weights and cards of earlier versions, whose arguments and tensors had other names, still load."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from each_case import each_case
from safetensors.torch import load_file, save_file
from small_models import SPEC

from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.models.sizes import SIZES

FORMER_TENSORS = (
    (r"\.patch_embed\.", ".patches."),
    (r"\.attn\.rel_pos\.", ".attn.positions."),
    (r"pos_embed\.", "positions."),
    (r"(blocks\.\d+)\.proj\.", r"\1.widen."),
)
FORMER_ARGUMENTS = {"embed_dim": "channels", "width_per_group": "inner", "output_stride": "fine"}


def former(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as cards of earlier versions have them."""
    out: dict[str, Any] = {}
    for name, value in arguments.items():
        rows = [former(row) for row in value] if isinstance(value, list) and isinstance(value[0], dict) else value
        out[FORMER_ARGUMENTS.get(name, name)] = value == 16 if name == "output_stride" else rows
    return out


@each_case(
    ("architecture", "more", "renamed"),
    [
        ("mvitv2_s_16x4", {}, "attn.positions."),
        ("mvitv1_b_16x4", {}, "positions.temporal"),
        ("hiera_b", {}, ".widen."),
        ("vivit_b_16x2_factorised_encoder", {}, "temporal_positions."),
        ("mtv_b", {}, "global_positions."),
        ("tsn_r50", {"output_stride": 32}, None),
    ],
)
def test_former_names_are_read(tmp_path: Path, architecture: str, more: dict[str, Any], renamed: str | None) -> None:
    arguments = json.loads(json.dumps({**SIZES[architecture].small, **more}))
    torch.manual_seed(0)
    model = build(architecture, 21, **arguments).eval()
    path = tmp_path / "small.safetensors"
    save_model(path, model, make_card("small", architecture, arguments, SPEC, "jhmdb21"))
    tensors = load_file(path)
    for pattern, replacement in FORMER_TENSORS:
        tensors = {re.sub(pattern, replacement, name): tensor for name, tensor in tensors.items()}
    assert renamed is None or any(renamed in name for name in tensors)
    save_file(tensors, path)
    card = json.loads(path.with_suffix(".json").read_text())
    card["arguments"] = former(arguments)
    assert not set(card["arguments"]) & set(FORMER_ARGUMENTS)
    path.with_suffix(".json").write_text(json.dumps(card))
    loaded = zoo.load(path)
    assert loaded.report.is_whole
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], tensor, rtol=0, atol=0)
