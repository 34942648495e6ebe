"""The page for newcomers does what it says: its code blocks are a head that works on every backbone."""

from __future__ import annotations

import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_heads_on_backbones as trial
import torch
from each_case import each_case
from small_models import CLASSES, SPEC, small_model

from avadet.config import read_config
from avadet.models import zoo
from avadet.models.build import build as build_model_of
from avadet.models.checkpoints.weights import save_model
from avadet.models.engines.export import export, sample_inputs
from avadet.models.heads import build
from avadet.models.predict import predict
from avadet.training.setup import build_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-head.md").read_text(encoding="utf-8")
KIND = "attentive"


def block(kind: str) -> str:
    """The one code block of a kind."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    text: str = found
    return text


@pytest.fixture(scope="module", autouse=True)
def added() -> Iterator[None]:
    """The head, where the page puts it."""
    with pytest.MonkeyPatch.context() as patch:
        module = types.ModuleType(f"avadet.models.heads.{KIND}")
        patch.setitem(sys.modules, module.__name__, module)
        exec(compile(block("python"), "adding-a-head.md", "exec"), module.__dict__)
        row: dict[str, Any] = eval(f"{{{block('python row')}}}", dict(vars(module)))
        assert set(row) == {KIND}
        patch.setitem(build.HEADS, KIND, row[KIND])
        yield


@each_case("backbone", trial.BACKBONES)
def test_it_works_on_every_backbone(backbone: str) -> None:
    trial.test_every_kind_works_on_every_backbone(backbone, KIND)


def test_its_own_test_passes() -> None:
    scope: dict[str, Any] = {}
    exec(compile(block("python test"), "adding-a-head.md", "exec"), scope)
    tests = [value for name, value in scope.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_the_config_builds_it() -> None:
    command, path, *overrides = shlex.split(block("sh"))[1:]
    assert command == "train"
    config = read_config(path, overrides)
    with torch.device("meta"):
        model, _ = build_model(config.model, config.clip, zoo.numbered_labels(21))
    assert isinstance(model.head, build.HEADS[KIND])
    assert model.head.options.temperature == 2.0 and model.head.options.crop.aligned


def test_a_stored_one_is_loaded_and_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    plain = small_model("slow_r50")
    arguments = {**plain.card["arguments"], "head": {"kind": KIND, "aligned": True}}
    model = build_model_of("slow_r50", CLASSES, pixels=SPEC.pixels, **arguments)
    save_model(tmp_path / "model.safetensors", model, {**plain.card, "arguments": arguments})
    loaded = zoo.load(tmp_path / "model.safetensors")
    export(loaded, tmp_path / "model.onnx")
    clips, rois = sample_inputs(SPEC.num_frames, (64, 96), 1, 3)
    graph = zoo.load(tmp_path / "model.onnx")
    torch.testing.assert_close(predict(graph, clips, rois), predict(loaded, clips, rois), atol=1e-4, rtol=0)
