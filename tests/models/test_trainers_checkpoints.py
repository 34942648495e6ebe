"""The same weights as common trainers store them: each file gives what the plain one gives, and says what it left."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import importlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from each_case import each_case
from pytorchvideo.models.resnet import create_resnet_with_roi_head
from safetensors.torch import save_file
from torch import nn
from yacs.config import CfgNode

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.inert import plain
from avadet.models.checkpoints.torch_file import open_file
from avadet.models.checkpoints.weights import read_checkpoint

State = dict[str, Any]
CONFIG = "DATA:\n  NUM_FRAMES: 16\n  SAMPLING_RATE: 2\n"


@functools.cache
def weights() -> State:
    """A small random Slow of three classes under pytorchvideo's names."""
    torch.manual_seed(0)
    return dict(create_resnet_with_roi_head(stem_dim_out=4, model_num_class=3).state_dict())


def under(prefix: str) -> State:
    return {prefix + name: value for name, value in weights().items()}


def other() -> State:
    """Weights of the same model that are not those to be taken."""
    return {name: value * 0 for name, value in weights().items()}


def deep(mark: str) -> State:
    """A mark in the middle of names, as a part that was compiled or sharded by itself has it."""
    return {name.replace("blocks.2.", f"blocks.2.{mark}."): value for name, value in weights().items()}


def of_type(dtype: torch.dtype) -> State:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights().items()}


STRAY = {"criterion.pos_weight": torch.ones(3), "val_map.total": torch.zeros(1), "loss_fn.weight": torch.ones(3)}

WRAPPED: dict[str, Callable[[], object]] = {
    "bare": lambda: weights(),
    "ordered": lambda: collections.OrderedDict(weights()),
    "torch.compile": lambda: {"model_state": under("_orig_mod.")},
    "ddp": lambda: {"model_state": under("module.")},
    "ddp of compiled": lambda: {"model_state_dict": under("module._orig_mod.")},
    "compiled ddp": lambda: {"state_dict": under("_orig_mod.module.")},
    "ddp of ddp": lambda: under("module.module."),
    "compiled twice": lambda: under("_orig_mod._orig_mod.module."),
    "fsdp": lambda: under("_fsdp_wrapped_module."),
    "fsdp of a part": lambda: {"model": deep("_fsdp_wrapped_module._checkpoint_wrapped_module")},
    "compiled part": lambda: {"model": deep("_orig_mod")},
    "ddp of a part": lambda: {"model": deep("module")},
    "lightning": lambda: {"state_dict": under("model."), "epoch": 3, "hyper_parameters": {"lr": 0.1}},
    "lightning net": lambda: {"state_dict": under("net."), "optimizer_states": [{"state": {0: other()}}]},
    "lightning model.model": lambda: {"state_dict": under("model.model.")},
    "lightning compiled": lambda: {"state_dict": under("model._orig_mod.")},
    "lightning any name": lambda: {"state_dict": under("slow_net.")},
    "lightning criterion": lambda: {"state_dict": {**under("model."), **STRAY}},
    "bare criterion": lambda: {**weights(), **STRAY},
    "ema beside": lambda: {"model_ema": other(), "model_state": weights()},
    "timm": lambda: {"state_dict_ema": other(), "state_dict": weights(), "arch": "slow"},
    "ema only": lambda: {"ema": weights()},
    "ema in a module": lambda: {"ema": {"module": weights(), "updates": 7}, "epoch": 1},
    "state_dict_ema only": lambda: {"state_dict_ema": weights()},
    "averaged model": lambda: {"model_state": {**under("module."), "n_averaged": torch.tensor(5)}},
    "mmengine's EMAHook": lambda: {
        "state_dict": weights(),
        "ema_state_dict": {**{f"module.{name}": value for name, value in other().items()}, "steps": torch.tensor(4)},
    },
    "deepspeed": lambda: {"module": under("module."), "dp_world_size": 8},
    "learner": lambda: {"learner": weights()},
    "net": lambda: {"net": weights(), "opt": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
    "params": lambda: {"params": weights()},
    "generator": lambda: {"generator": weights()},
    "a key nobody knows": lambda: {"of the third stage": {"what is left": weights()}},
    "in a list": lambda: [{"epoch": 1}, weights()],
    "mean teacher": lambda: {"student": other(), "teacher": weights()},
    "mean teacher in one": lambda: {
        **{f"student.{name}": value for name, value in other().items()},
        **under("teacher."),
    },
    "distilled": lambda: {"student": weights(), "teacher": create_resnet_with_roi_head(stem_dim_out=8).state_dict()},
    "target encoder": lambda: {"encoder": other(), "target_encoder": under("module."), "predictor": {}},
    "average of avadet": lambda: {"model": other(), "average": {"model": weights(), "steps": 3}, "optimizer": {}},
    "parameters": lambda: {name: nn.Parameter(v) if v.is_floating_point() else v for name, v in weights().items()},
    "double": lambda: of_type(torch.float64),
    "an optimizer by name": lambda: {"model": weights(), "optimizer": {"exp_avg": other(), "exp_avg_sq": other()}},
    "numpy": lambda: {"model": {name: value.numpy() for name, value in weights().items()}},
    "views of one storage": lambda: _in_one_storage(),
}


def _in_one_storage() -> State:
    flat = torch.cat([value.double().flatten() for value in weights().values()])
    parts = flat.split([value.numel() for value in weights().values()])
    return {name: part.view(value.shape) for (name, value), part in zip(weights().items(), parts)}


@functools.cache
def expected() -> State:
    """The weights under the names they have here."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"model_state": weights()}, Path(folder) / "plain.pyth")
        return read_checkpoint(Path(folder) / "plain.pyth").tensors


def assert_same(path: Path, atol: float = 0.0) -> None:
    found, wanted = read_checkpoint(path).tensors, expected()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=atol, rtol=0, check_dtype=value.is_floating_point())


@each_case("legacy", [False, True], ids=["zip", "before 1.6"])
@each_case("kind", WRAPPED)
def test_wrapped_weights_are_those_of_the_plain_file(tmp_path: Path, kind: str, legacy: bool) -> None:
    torch.save(WRAPPED[kind](), tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert_same(tmp_path / "x.pth")


@each_case(("dtype", "atol"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_half_precision_becomes_float32(tmp_path: Path, dtype: torch.dtype, atol: float) -> None:
    torch.save(of_type(dtype), tmp_path / "x.pth")
    assert_same(tmp_path / "x.pth", atol)
    save_file(of_type(dtype), tmp_path / "x.safetensors")
    assert_same(tmp_path / "x.safetensors", atol)


class Colour(enum.Enum):
    RED = "red"


STRANGE: dict[str, Callable[[], object]] = {
    "namespace": lambda: argparse.Namespace(lr=1, dir=Path("/x"), nested=argparse.Namespace(a=[1])),
    "numpy scalar": lambda: np.float64(0.3),
    "numpy arrays": lambda: [np.arange(3.0), np.array(["a"]), np.array([{}, None], object), np.zeros(2, "i4,f4")],
    "numpy dates": lambda: np.array(["2020-01-01"], "M8[D]"),
    "numpy random": lambda: [np.random.RandomState(0).get_state(), np.random.default_rng(0)],
    "path": lambda: Path("/x/y"),
    "dates": lambda: [datetime.datetime(2020, 1, 1), datetime.timedelta(1), datetime.UTC],
    "enum": lambda: Colour.RED,
    "collections": lambda: [
        collections.Counter("ab"),
        collections.defaultdict(list, a=[1]),
        collections.deque([1], 3),
        collections.OrderedDict(a=1),
    ],
    "partial": lambda: functools.partial(argparse.Namespace, a=1),
    "config": lambda: CfgNode({"A": {"B": [1, 2]}}),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "torch": lambda: [torch.device("cpu"), torch.Size([1, 2]), torch.float16, torch.get_rng_state(), torch.strided],
    "sparse": lambda: torch.eye(2).to_sparse(),
    "scalers": lambda: {"set": {1, 2}, "frozen": frozenset("a"), "complex": 1j, "slice": range(3), "bytes": b"x"},
}


@each_case("legacy", [False, True], ids=["zip", "before 1.6"])
@each_case("kind", STRANGE)
def test_strange_objects_beside_the_weights_are_no_harm(tmp_path: Path, kind: str, legacy: bool) -> None:
    content = {"model_state": under("module."), "meta": {"more": [STRANGE[kind]()]}, "last": STRANGE[kind]()}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert_same(tmp_path / "x.pth")


SOURCE = """
from pathlib import Path
Path(__file__).with_name("trace").touch()
class HistoryBuffer(dict):
    def __init__(self):
        self.values, self["key"] = [1.0], 1
    def __setstate__(self, state):
        Path(__file__).with_name("trace").touch()
"""


def test_classes_of_other_packages_are_neither_imported_nor_filled(tmp_path: Path) -> None:
    """As in mmengine's message hub, whose classes a training with it has and its user need not have."""
    (tmp_path / "their_engine.py").write_text(SOURCE)
    sys.path.insert(0, str(tmp_path))
    try:
        engine = importlib.import_module("their_engine")
        torch.save({"hub": {"loss": engine.HistoryBuffer(), "kind": engine.HistoryBuffer}}, tmp_path / "x")
        del sys.modules["their_engine"]
        (tmp_path / "trace").unlink()
        found: Any = open_file(tmp_path / "x").root["hub"]  # type: ignore[index]
    finally:
        sys.path.remove(str(tmp_path))
    assert (found["loss"].kind, found["kind"].kind) == ("their_engine.HistoryBuffer", "their_engine.HistoryBuffer")
    assert (found["loss"].attributes, found["loss"].items) == ({"values": [1.0]}, {"key": 1})
    assert not (tmp_path / "trace").exists()
    assert "their_engine" not in sys.modules


NODE = CfgNode({"DATA": {"NUM_FRAMES": 16, "SAMPLING_RATE": 2}})

CONFIGS: dict[str, Callable[[], object]] = {
    "text": lambda: {"cfg": CONFIG},
    "dictionary": lambda: {"cfg": {"DATA": {"NUM_FRAMES": 16, "SAMPLING_RATE": 2}}},
    "yacs": lambda: {"cfg": NODE},
    "config": lambda: {"config": {"DATA": {"NUM_FRAMES": np.int64(16), "SAMPLING_RATE": 2}}},
    "hyper-parameters": lambda: {
        "hyper_parameters": {"cfg": CfgNode({"DATA": {"NUM_FRAMES": 16, "SAMPLING_RATE": 2}})}
    },
    "arguments": lambda: {"args": argparse.Namespace(cfg=NODE)},
}


@each_case("kind", CONFIGS)
def test_the_configuration_is_read_whatever_it_is(tmp_path: Path, kind: str) -> None:
    torch.save({"model": weights(), **CONFIGS[kind]()}, tmp_path / "x.pth")  # type: ignore[dict-item]
    card = zoo.card_of_path(tmp_path / "x.pth")[1]
    assert (card["clip"]["num_frames"], card["clip"]["stride"]) == (16, 2)


def test_a_configuration_of_mmaction2_may_be_a_dictionary(tmp_path: Path) -> None:
    state = {"backbone.conv1.conv.weight": torch.zeros(1), "roi_head.bbox_head.fc_cls.bias": torch.arange(3.0)}
    pipeline = [{"type": "SampleAVAFrames", "clip_len": 8, "frame_interval": 4}]
    head = {"type": "AVARoIHead", "bbox_head": {"type": "BBoxHeadAVA", "background_class": False}}
    mean = {"type": "ActionDataPreprocessor", "mean": [127.5, 51.0, 255.0]}
    config = {"model": {"roi_head": head, "data_preprocessor": mean}, "train_pipeline": pipeline}
    torch.save({"meta": {"cfg": config}, "state_dict": state}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.settings["DATA"] == {"NUM_FRAMES": 8, "SAMPLING_RATE": 4, "MEAN": [0.5, 0.2, 1.0]}
    assert checkpoint.tensors["head.proj.bias"].tolist() == [0, 1, 2]  # no row stands for no class


def test_an_omegaconf_is_read_by_what_it_holds() -> None:
    from avadet.models.checkpoints.inert import InertObject

    def node(value: object) -> InertObject:
        return InertObject("omegaconf.nodes.AnyNode", state={"_val": value, "_metadata": InertObject("m")})

    content = {"lr": node(0.1), "list": InertObject("omegaconf.ListConfig", state={"_content": [node(1), node("x")]})}
    assert plain(InertObject("omegaconf.DictConfig", state={"_content": content})) == {"lr": 0.1, "list": [1, "x"]}
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) is not None  # and comes to an end


def test_what_was_taken_and_what_left_out_is_said(tmp_path: Path) -> None:
    content = {"model_state": {**under("module."), **STRAY}, "model_ema": other()}
    torch.save(content, tmp_path / "x.pyth")
    notes = read_checkpoint(tmp_path / "x.pyth").notes
    assert notes == (
        "took model_state, the file also holds model_ema (avadet convert --weights NAME takes others)",
        "3 of other parts than the model left out (criterion.pos_weight, val_map.total, loss_fn.weight)",
    )
    ema = read_checkpoint(tmp_path / "x.pyth", "model_ema").tensors
    assert not ema["head.proj.weight"].any()
    with pytest.raises(AvadetError, match=r"x\.pyth: unknown weights 'emma'; did you mean model_ema\? known:"):
        read_checkpoint(tmp_path / "x.pyth", "emma")


def test_tensors_that_nobody_knows_stay_an_error_that_counts_them(tmp_path: Path) -> None:
    torch.save({**weights(), "blocks.2.extra": torch.zeros(1), "queue": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(AvadetError, match=r"0 missing; 2 unexpected \(backbone\.res3\.extra, queue\)"):
        zoo.load(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_quantised_weights_are_named(tmp_path: Path) -> None:
    name = "model.blocks.0.conv.weight"
    quantised = torch.quantize_per_tensor(weights()[name], 0.1, 0, torch.qint8)
    torch.save({**weights(), name: quantised}, tmp_path / "x.pth")
    with pytest.raises(AvadetError, match=r"x\.pth: 1 of its tensors are quantised.* .*blocks.0.conv.weight"):
        read_checkpoint(tmp_path / "x.pth")


def test_one_class_and_a_card_less_safetensors_load(tmp_path: Path) -> None:
    """Scores equal those of the plain file."""
    one = {name: value[:1] if ".proj." in name else value for name, value in weights().items()}
    torch.save({"model_state": one}, tmp_path / "plain.pyth")
    save_file({f"module.{name}": value for name, value in one.items()}, tmp_path / "bare.safetensors")
    loaded, wanted = zoo.load(tmp_path / "bare.safetensors"), zoo.load(tmp_path / "plain.pyth")
    assert len(loaded.labels) == len(wanted.labels) == 1
    clips, rois = torch.rand(1, 3, 4, 64, 64), torch.tensor([[0.0, 4, 4, 40, 60]])
    with torch.no_grad():
        assert torch.equal(loaded.model(clips, rois), wanted.model(clips, rois))


def test_avadets_own_weights_keep_their_card(tmp_path: Path) -> None:
    """Wrapped ones load; a safetensors file is nothing without its card, which alone knows clip and labels."""
    spec = zoo.clip_of(zoo.card_of(zoo.entry_of("tiny")))
    own = build("slow_r50", 2, pixels=spec.pixels, **{"width": 4, "depths": [1, 1, 1, 1]}).state_dict()
    torch.save({"state_dict": {f"model.{name}": value for name, value in own.items()}}, tmp_path / "x.ckpt")
    found = read_checkpoint(tmp_path / "x.ckpt").tensors
    assert found.keys() == own.keys()
    both = {
        f"{who}.{name}": value * (who == "teacher") for who in ("student", "teacher") for name, value in own.items()
    }
    torch.save(both, tmp_path / "two.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "two.ckpt").tensors["head.proj.weight"], own["head.proj.weight"])
    save_file(own, tmp_path / "x.safetensors")
    with pytest.raises(AvadetError, match=r"x\.json: no such model card; it must lie beside"):
        zoo.load(tmp_path / "x.safetensors")


@pytest.fixture(scope="module")
def written(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference models as common trainers store them."""
    folder = tmp_path_factory.mktemp("trainers")
    script = shared / "data" / "faults" / "make_checkpoints.py"
    subprocess.run([sys.executable, str(script), str(shared / "parity" / "models"), str(folder)], check=True)
    return folder


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")
def test_reference_models_are_the_same_however_they_are_stored(written: Path) -> None:
    plain_files = {"psf": "psf_plain.pyth", "mm": "mm_plain.pth"}
    references = {kind: read_checkpoint(written / name).tensors for kind, name in plain_files.items()}
    references["ptv"] = read_checkpoint(written / "ptv_orig.pyth").tensors
    compared = 0
    for path in sorted(written.iterdir()):
        wanted = references.get(path.name.partition("_")[0])
        if wanted is None:
            continue
        found, compared = read_checkpoint(path).tensors, compared + 1
        assert found.keys() == wanted.keys(), path.name
        share = 0.01 if path.stem in ("psf_half", "psf_bf16") else 0.0
        for name, value in wanted.items():
            part = value[:1] if path.stem == "psf_1class" and name.startswith("head.proj") else value
            torch.testing.assert_close(found[name], part, atol=share / 10, rtol=share, msg=f"{path.name} {name}")
    assert compared == 35
