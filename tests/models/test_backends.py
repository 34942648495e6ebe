"""What runs a model: all give the same scores, say what they are, and refuse what they cannot do."""

from __future__ import annotations

import dataclasses
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from each_case import each_case
from small_models import SPEC, small_model
from test_laws import architectures

from avadet.cli import arguments
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.models.engines import backends
from avadet.models.engines.backends import prepare, weights_digest
from avadet.models.engines.export import export
from avadet.models.engines.graphs import SizedGraphs
from avadet.models.engines.probe import default_size_hw, sample_inputs, says_one_size
from avadet.models.zoo import LoadedModel

QUICK = ("slow_r50", "tiny_two_views")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("AVADET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


def scores(loaded: LoadedModel, size_hw: tuple[int, int] | None = None, clips: int = 2, boxes: int = 7) -> torch.Tensor:
    pictures, rois = sample_inputs(SPEC.num_frames, size_hw or default_size_hw(loaded), clips, boxes, seed=3)
    with torch.inference_mode():
        answer: torch.Tensor = loaded.model(pictures, rois).float().sigmoid()
    return answer


WITH_OPENVINO = architectures(QUICK) if find_spec("openvino") else QUICK[:1]
"""One that skips where there is none."""


@pytest.mark.parametrize("architecture", WITH_OPENVINO)
@each_case("boxes", [0, 1, 7])
def test_openvino_answers_as_torch_does(architecture: str, boxes: int) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    loaded = small_model(architecture)
    ready = prepare(loaded, "openvino", "fp32")
    assert ready.running == "openvino in fp32"
    for clips in (1, 2):
        torch.testing.assert_close(
            scores(ready, clips=clips, boxes=boxes), scores(loaded, clips=clips, boxes=boxes), atol=1e-4, rtol=0
        )
    if not says_one_size(loaded.model):
        torch.testing.assert_close(scores(ready, (75, 101)), scores(loaded, (75, 101)), atol=1e-4, rtol=0)


def test_openvino_in_bf16_says_how_far_off_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    loaded = small_model("slow_r50")
    ready = prepare(loaded, "openvino", "bf16")
    assert ready.running.startswith("openvino in bf16, scores differ from fp32 by at most 0.0")
    torch.testing.assert_close(scores(ready), scores(loaded), atol=0.03, rtol=0)


@pytest.mark.parametrize(("architecture", "as_float"), [("slow_r50", True), ("mvitv1_b_16x4", False)])
def test_a_file_in_bf16_is_compared_with_itself_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, as_float: bool
) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    export(small_model(architecture), tmp_path / "model.onnx", (64, 64), as_float)
    ready = zoo.load(tmp_path / "model.onnx", backend="openvino", precision="bf16")
    assert ready.running.startswith("openvino in bf16, scores differ from fp32 by at most 0.0")
    assert zoo.load(tmp_path / "model.onnx", backend="openvino").running == "openvino in fp32"


def test_answers_stay_when_the_next_one_is_asked_for(cache: Path) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    ready = prepare(small_model("slow_r50"), "openvino")
    first = scores(ready)
    before = first.clone()
    scores(ready, (64, 64))
    assert torch.equal(first, before)


@pytest.mark.parametrize("architecture", architectures())
def test_fast_torch_answers_as_torch_does(architecture: str) -> None:
    loaded = small_model(architecture)
    ready = prepare(loaded, "torch", "fp32")
    assert ready.running == "torch in fp32"
    left = [
        name for name, part in ready.model.named_modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert {name.rpartition("head.")[2] for name in left} <= {"norm", "acrn.join_norm"}  # those behind no convolution
    for boxes in (0, 1, 7):
        torch.testing.assert_close(scores(ready, boxes=boxes), scores(loaded, boxes=boxes), atol=1e-4, rtol=0)
    torch.testing.assert_close(scores(ready, (75, 101)), scores(loaded, (75, 101)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", architectures())
def test_fast_torch_in_bf16_is_near(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    loaded = small_model(architecture)
    ready = prepare(loaded, "torch", "bf16")
    assert re.fullmatch("torch in bf16, scores differ from fp32 by at most .* on 2 random clips", ready.running)
    difference = (scores(ready) - scores(loaded)).abs().max().item()
    assert 0 < difference < 0.03
    assert scores(ready, boxes=0).shape == (0, len(loaded.labels))


def test_preparing_leaves_the_loaded_model_as_it_was() -> None:
    loaded = small_model("slow_r50")
    text, before = str(loaded.model), scores(loaded)
    prepare(loaded, "torch", "fp32")
    assert str(loaded.model) == text
    assert torch.equal(scores(loaded), before)


@pytest.mark.parametrize(
    ("has_bf16", "difference", "expected"),
    [
        (False, 0.0, "torch in fp32"),
        (True, 0.004, "torch in bf16, scores differ from fp32 by at most 0.004 on 2 random clips"),
        (True, 0.006, "torch in fp32, because in bf16 scores differ from fp32 by at most 0.006 on 2 random clips"),
    ],
)
def test_auto_takes_bf16_where_it_is_exact_enough(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, difference: float, expected: str
) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: has_bf16)
    monkeypatch.setattr(backends, "score_difference", lambda *_: difference)
    ready = prepare(small_model("slow_r50"), "torch", "auto")
    assert ready.running == expected
    assert {p.dtype for p in ready.model.backbone.parameters()} == {
        torch.bfloat16 if expected.startswith("torch in bf16") else torch.float32
    }


def test_bf16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: False)
    with pytest.raises(AvadetError, match=r"this processor \(cpu\) does not compute in bf16; use --precision fp32"):
        prepare(small_model("slow_r50"), "torch", "bf16")


def test_onnxruntime_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    with pytest.raises(AvadetError, match="onnxruntime computes in fp32; for bf16 use --backend torch or openvino"):
        prepare(small_model("slow_r50"), "onnx", "bf16")


def test_the_command_line_offers_all_there_is() -> None:
    assert arguments.BACKENDS == backends.BACKENDS
    assert set(arguments.PRECISIONS) == set(backends.PRECISIONS)


def test_unknown_words_are_explained() -> None:
    loaded = small_model("slow_r50")
    with pytest.raises(AvadetError, match="unknown backend 'openvin'; did you mean openvino"):
        prepare(loaded, "openvin")
    with pytest.raises(AvadetError, match="unknown precision 'bf8'; did you mean bf16"):
        prepare(loaded, "torch", "bf8")


def test_openvino_absent_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(AvadetError, match=r'openvino is not installed, .*; pip install "avadet\[openvino\]"'):
        prepare(small_model("slow_r50"), "openvino")


def test_a_graph_is_written_once_and_anew_for_other_weights(cache: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    loaded = small_model("slow_r50")
    ready = prepare(loaded, "onnx")
    torch.testing.assert_close(scores(ready), scores(loaded), atol=1e-4, rtol=0)
    (written,) = cache.iterdir()
    stamp = written.stat().st_mtime_ns
    prepare(loaded, "onnx")
    assert [(path, path.stat().st_mtime_ns) for path in cache.iterdir()] == [(written, stamp)]
    other = small_model("slow_r50", seed=1)
    torch.testing.assert_close(scores(prepare(other, "onnx")), scores(other), atol=1e-4, rtol=0)
    assert len(list(cache.iterdir())) == 2


def test_digest_changes_with_weights_card_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = small_model("slow_r50")
    digests = {weights_digest(loaded), weights_digest(small_model("slow_r50", seed=1))}
    assert weights_digest(small_model("slow_r50")) in digests
    card = make_card("slow_r50", "slow_r50", {}, dataclasses.replace(SPEC, stride=4), loaded.labels)
    digests.add(weights_digest(dataclasses.replace(loaded, card=card)))
    monkeypatch.setattr("avadet.__version__", "9.9.9")
    digests.add(weights_digest(loaded))
    assert len(digests) == 4


def test_graphs_of_one_size_are_written_for_each_size(cache: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    loaded = small_model("mvitv1_b_16x4")
    ready = prepare(loaded, "onnx")
    assert isinstance(ready.model, SizedGraphs)
    for size_hw in ((64, 96), (64, 64), (64, 96)):
        torch.testing.assert_close(scores(ready, size_hw), scores(loaded, size_hw), atol=1e-4, rtol=0)
    assert sorted(path.stem.rpartition("-")[2] for path in cache.iterdir()) == ["64x64", "64x96"]


def test_zoo_prepares_what_it_loads(tmp_path: Path) -> None:
    loaded = small_model("slow_r50")
    path = tmp_path / "own.safetensors"
    save_model(path, loaded.model, loaded.card)
    assert zoo.load(path).running == ""
    ready = zoo.load(path, backend="torch")
    assert (ready.running, ready.labels, ready.report.is_whole) == ("torch in fp32", loaded.labels, True)
    torch.testing.assert_close(scores(ready), scores(loaded), atol=1e-4, rtol=0)


def test_an_onnx_file_is_for_graph_backends(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    export(small_model("slow_r50"), tmp_path / "model.onnx")
    with pytest.raises(AvadetError, match="is a graph; run it with --backend onnx or openvino, not torch"):
        zoo.load(tmp_path / "model.onnx", backend="torch")
    assert (zoo.default_backend("a/b.onnx"), zoo.default_backend("tiny")) == ("onnx", "torch")
