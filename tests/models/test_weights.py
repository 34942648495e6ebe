"""Reading files that may be hostile, damaged or foreign; loading with a report; saving."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from each_case import each_case
from pytorchvideo.models.resnet import create_resnet_with_roi_head
from pytorchvideo.models.slowfast import create_slowfast_with_roi_head
from safetensors.torch import load_file
from torch import nn

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.checkpoints.formats import recipe_of
from avadet.models.checkpoints.weights import load_tensors, read_checkpoint, save_model

SMALL = {"width": 4, "depths": (1, 1, 1, 1)}


class Runs:
    """Pickles to a command that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@each_case("name", ["evil.pyth", "evil.pth", "evil.pt", "evil.pkl"])
@each_case("deep", [False, True])
@each_case("writer", ["zip", "zip of old", "pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, writer: str, deep: bool, name: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    weights = OrderedDict({"head.proj.weight": torch.zeros(2)})
    evil = {"model_state": weights, "meta": {"hooks": [(1, {"run": Runs(trace)})]} if deep else Runs(trace)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"blobs": {"lr": evil["meta"]}}, protocol=2))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=writer == "zip")
    assert zipfile.is_zipfile(path) == (writer == "zip")
    with pytest.raises(AvadetError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert "refused, it asks to run posix.system when read" in message
    assert not trace.exists()


def test_the_same_file_runs_in_the_reader_that_is_not_used(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pyth"
    torch.save({"cfg": Runs(trace)}, path)
    torch.load(path, weights_only=False)
    assert trace.exists()


@each_case("content", [b"", b"garbage" * 100, b"PK\x03\x04 cut off", pickle.dumps([1.0, 2.0])])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pyth"
    path.write_bytes(content)
    with pytest.raises(AvadetError, match=r"x\.pyth: (damaged|a checkpoint must be a dictionary)"):
        read_checkpoint(path)
    with pytest.raises(AvadetError, match=r"x\.safetensors: not a readable safetensors file"):
        read_checkpoint(path.rename(tmp_path / "x.safetensors"))


@each_case("name", ["none.pyth", "none.safetensors"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(AvadetError, match=f"{name}: no such file"):
        read_checkpoint(tmp_path / name)


def test_wrappers_and_prefixes_are_seen_through(tmp_path: Path) -> None:
    state = {"s1.pathway0_stem.conv.weight": torch.zeros(2, 3, 1, 7, 7).half(), "head.projection.bias": torch.ones(2)}
    parallel = {f"module.{name}": value for name, value in state.items()}
    for content in (state, {"model_state": state}, {"state_dict": parallel, "epoch": 3}, {"model": state}):
        torch.save(content, tmp_path / "x.pyth")
        checkpoint = read_checkpoint(tmp_path / "x.pyth")
        assert list(checkpoint.tensors) == ["backbone.stem.conv.weight", "head.proj.bias"]
        assert checkpoint.tensors["backbone.stem.conv.weight"].dtype == torch.float32
        assert checkpoint.settings == {}


def test_settings_come_along_and_run_nothing(tmp_path: Path) -> None:
    state = {"s1.pathway0_stem.conv.weight": torch.zeros(1)}
    torch.save({"model_state": state, "cfg": "DATA:\n  NUM_FRAMES: 16\n"}, tmp_path / "x.pyth")
    assert read_checkpoint(tmp_path / "x.pyth").settings == {"DATA": {"NUM_FRAMES": 16}}
    torch.save({"model_state": state, "cfg": "!!python/object/apply:os.system ['true']"}, tmp_path / "x.pyth")
    with pytest.raises(AvadetError, match="stored under 'cfg' is no plain YAML"):
        read_checkpoint(tmp_path / "x.pyth")


def test_report_counts_every_kind_of_misfit() -> None:
    model = build("slow_r50", 3, **SMALL)
    tensors = {name: torch.full_like(value, 2) for name, value in model.state_dict().items()}
    total = len(tensors)
    tensors["head.proj.weight"] = torch.zeros(400, 128)
    del tensors["backbone.stem.conv.weight"], tensors["backbone.stem.norm.num_batches_tracked"]
    tensors["backbone.res2.7.extra"] = torch.zeros(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(AvadetError) as caught:
        load_tensors(model, tensors, "k400.pyth")
    assert str(caught.value) == (
        f"k400.pyth: {total - 3} tensors loaded; 1 missing (backbone.stem.conv.weight); 1 unexpected "
        "(backbone.res2.7.extra); 1 reshaped (head.proj.weight 400x128 for 3x128); "
        "`avadet convert --partial` keeps what fits"
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = load_tensors(model, tensors, "k400.pyth", allow_partial=True)
    assert (report.loaded, report.is_whole) == (total - 3, False)
    assert model.head.proj.bias.tolist() == [2, 2, 2]
    assert torch.equal(model.head.proj.weight, before["head.proj.weight"])


def test_long_lists_are_cut() -> None:
    model = build("slow_r50", 3, **SMALL)
    with pytest.raises(
        AvadetError, match=r"\d+ missing \(backbone\.stem\.conv\.weight, [^,]+, [^,]+, \.\.\.\); 0 unex"
    ):
        load_tensors(model, {}, "empty.pyth")


def caffe2_of(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Weights of a small Slow, as caffe2 pickles them, with what its solver leaves behind."""
    endings = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    blobs: dict[str, Any] = {"lr": np.float32(0.1), "model_iter": np.int64(9), "conv1_w_momentum": np.zeros(3, "f4")}
    for name, tensor in state.items():
        if name.endswith("tracked"):
            continue
        found = re.fullmatch(
            r"backbone\.(stem|res\d)\.(?:(\d)\.)?(?:(branch1)_|branch2\.)?(conv|norm)_?(\w*)\.(\w+)", name
        )
        if found is None:
            blobs[f"pred_{name[len('head.proj.')]}"] = tensor.numpy()
            continue
        stage, block, branch1, kind, letter, ending = found.groups()
        place = "conv1" if stage == "stem" else f"{stage}_{block}_{branch1 or 'branch2' + letter}"
        place = f"res_{place}" if place == "conv1" and kind == "norm" else place
        blobs[f"{place}_w" if kind == "conv" else f"{place}_bn_{endings[ending]}"] = tensor.numpy()
    return {"blobs": blobs}


def test_weights_of_caffe2_are_read_and_counted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = shaken(build("slow_r50", 3, **SMALL)), tmp_path / "C2D_8x8_R50.pkl"
    content = caffe2_of(model.state_dict())
    content["blobs"]["pred_w"] = content["blobs"]["pred_w"][:, :, None, None, None]  # a convolution of one cell
    content["blobs"]["conv1_w"] = content["blobs"]["conv1_w"].astype(">f4")
    path.write_bytes(pickle.dumps(content, protocol=2))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.format.name, checkpoint.settings) == ("pyslowfast caffe2", {})
    recipe = recipe_of(checkpoint.tensors, checkpoint.format, {}, str(path))
    # The name says 8x8; the published file of this name is a Slow of 4 frames every 16.
    assert (recipe.clip.num_frames, recipe.clip.stride, recipe.arguments["temporal_pool"]) == (4, 16, 1)
    other = build(recipe.architecture, 3, pixels=recipe.clip.pixels, **recipe.arguments)
    report = load_tensors(other, checkpoint.tensors, "c2.pkl")
    weights = {name: value for name, value in model.state_dict().items() if not name.endswith("tracked")}
    assert (report.loaded, report.refolded, report.is_whole) == (len(weights), ("head.proj.weight",), True)
    assert f"{len(weights)} tensors loaded (1 refolded: head.proj.weight); 0 missing" in str(report)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in weights.items())


def test_a_shape_that_differs_otherwise_is_no_refolding() -> None:
    model = build("slow_r50", 3, **SMALL)
    tensors = dict(model.state_dict())
    name = "backbone.res4.0.branch2.conv_a.weight"
    tensors[name] = tensors[name].transpose(2, 4)  # 1x1x3 for 3x1x1: as many values, another meaning
    report = load_tensors(model, tensors, "x", allow_partial=True)
    assert [line.split()[0] for line in report.reshaped] == [name]
    assert report.refolded == ()


def test_other_files_called_pkl(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(AvadetError, match=r"x\.pkl: a checkpoint must be a dictionary, got list"):
        read_checkpoint(path)
    torch.save({"model_state": {"s1.pathway0_stem.conv.weight": torch.zeros(1)}}, path)
    assert read_checkpoint(path).format.name == "pyslowfast"
    with pytest.raises(AvadetError, match=r"none\.pkl: no such file"):
        read_checkpoint(tmp_path / "none.pkl")


def test_the_configuration_of_mmaction2_comes_along(tmp_path: Path) -> None:
    state = {"backbone.conv1.conv.weight": torch.zeros(1), "roi_head.bbox_head.fc_cls.bias": torch.arange(3.0)}
    for key in ("cfg", "config"):
        meta = {key: "train = [dict(type='SampleAVAFrames', clip_len=8, frame_interval=8)]", "epoch": 3}
        torch.save({"meta": meta, "state_dict": state}, tmp_path / "x.pth")
        checkpoint = read_checkpoint(tmp_path / "x.pth")
        assert checkpoint.settings["DATA"] == {"NUM_FRAMES": 8, "SAMPLING_RATE": 8}
        assert checkpoint.tensors["head.proj.bias"].tolist() == [1, 2]


def test_missing_step_counters_are_fine() -> None:
    model = build("slow_r50", 3, **SMALL)
    tensors = {name: value for name, value in model.state_dict().items() if not name.endswith("tracked")}
    assert load_tensors(model, tensors, "caffe2").is_whole


@each_case("half", [False, True])
def test_saved_is_read_back(tmp_path: Path, half: bool) -> None:
    model = build("slow_r50", 3, **SMALL)
    path = tmp_path / "new" / "x.safetensors"
    save_model(path, model, {"name": "x"}, half=half)
    assert sorted(p.name for p in path.parent.iterdir()) == ["x.json", "x.safetensors"]
    assert json.loads(path.with_suffix(".json").read_text()) == {"name": "x"}
    stored = load_file(path)["backbone.res2.0.branch2.conv_a.weight"].dtype
    assert stored == (torch.float16 if half else torch.float32)
    tensors = read_checkpoint(path).tensors
    for name, value in model.state_dict().items():
        assert tensors[name].dtype == value.dtype
        rounded = value.half().float() if half and value.ndim > 1 else value
        assert torch.equal(tensors[name], rounded), name


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"saved as \.safetensors, got suffix '\.pth'"):
        save_model(tmp_path / "x.pth", build("slow_r50", 3, **SMALL), {})
    assert list(tmp_path.iterdir()) == []


def shaken(model: nn.Module) -> nn.Module:
    """The model in eval mode, with no norm at its neutral start."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.running_mean = torch.randn(module.num_features) / 5
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


@each_case("pathways", [1, 2])
def test_pytorchvideo_nets_give_their_own_scores_here(tmp_path: Path, pathways: int) -> None:
    torch.manual_seed(0)
    clip = torch.rand(2, 3, 8, 64, 64)
    rois = torch.tensor([[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62]])
    normal = (clip - 0.45) / 0.225
    if pathways == 1:
        net = shaken(create_resnet_with_roi_head(stem_dim_out=8, model_num_class=6, head_pool_kernel_size=(8, 1, 1)))
        seen: Any = normal
    else:
        sizes = {"stem_dim_outs": (16, 2), "head_pool_kernel_sizes": ((2, 1, 1), (8, 1, 1))}
        net = shaken(create_slowfast_with_roi_head(model_num_class=6, **sizes))
        seen = [normal[:, :, [0, 7]], normal]
    torch.save({"model_state": net.state_dict()}, tmp_path / "hub.pyth")
    checkpoint = read_checkpoint(tmp_path / "hub.pyth")
    recipe = recipe_of(checkpoint.tensors, checkpoint.format, {}, "hub.pyth")
    model = build(recipe.architecture, recipe.num_classes, pixels=recipe.clip.pixels, **recipe.arguments).eval()
    assert load_tensors(model, checkpoint.tensors, "hub.pyth").loaded == len(net.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(clip, rois).sigmoid(), net(seen, rois), atol=1e-5, rtol=0)
