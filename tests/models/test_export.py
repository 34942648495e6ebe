"""Models as ONNX files: the same answers as torch, for any number of boxes, from a file that needs no other."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from each_case import each_case
from small_heads import roi_head
from small_models import CLASSES, SPEC, small_model
from test_laws import architectures
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.cards import clip_of, labels_of
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.engines.export import export
from avadet.models.engines.graphs import GraphModel, open_graph, read_graph
from avadet.models.engines.probe import default_size_hw, sample_inputs, says_one_size
from avadet.models.zoo import LoadedModel

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

QUICK = ("slow_r50", "slowfast", "person_crops", "tiny_two_views", "mvitv2_s_16x4")
"""One of each sort by default, `slowfast` with relations of actors; the others with --slow."""

TORCH_ONLY = ("two_streams_r50",)
"""Those that compute optical flow, which no graph does."""

RUNTIMES = ("onnx", "openvino") if find_spec("openvino") else ("onnx",)


@pytest.fixture(scope="module", params=architectures(QUICK, TORCH_ONLY))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, GraphModel]:
    """A small model of each architecture, and its file opened again."""
    loaded = small_model(request.param)
    path = tmp_path_factory.mktemp("graphs") / "model.onnx"
    export(loaded, path)
    return loaded, open_graph(path)


@each_case("runtime", RUNTIMES)
@each_case(("clips", "boxes"), [(1, 0), (2, 0), (1, 1), (3, 2), (1, 7), (2, 40)])
def test_graph_answers_as_torch_does(
    pair: tuple[LoadedModel, GraphModel], runtime: str, clips: int, boxes: int
) -> None:
    loaded, graph = pair
    if runtime != "onnx":
        graph = open_graph(graph.path, runtime)
    if graph.input.shape[0] == 1 and boxes == 0:
        clips = 1
    pictures, rois = sample_inputs(SPEC.num_frames, default_size_hw(loaded), clips, boxes, seed=5)
    rois = rois.flip(0)  # clips in no order
    with torch.inference_mode():
        expected = loaded.model(pictures, rois)
    # The file itself must know what to say of no boxes: others may run it.
    got = graph(pictures, rois) if boxes else graph.run_all(pictures.numpy(), rois.numpy())
    assert got.shape == (boxes, CLASSES)
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(got.sigmoid(), expected.sigmoid(), atol=1e-4, rtol=0)


def test_openvino_is_among_what_runs_them() -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    assert "openvino" in RUNTIMES


def test_boxes_beyond_the_picture_and_of_no_size(pair: tuple[LoadedModel, GraphModel]) -> None:
    loaded, graph = pair
    pictures, _ = sample_inputs(SPEC.num_frames, default_size_hw(loaded), 1, 0)
    rois = torch.tensor([[0.0, -20, -30, 200, 300], [0, 10, 10, 10, 10], [0, 90, 60, 96, 64], [0, 30, 31, 33, 33.5]])
    with torch.inference_mode():
        torch.testing.assert_close(graph(pictures, rois), loaded.model(pictures, rois), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", TORCH_ONLY)
def test_optical_flow_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="optical flow is computed by OpenCV and has no place in a graph"):
        export(small_model(name), tmp_path / "never.onnx")
    assert list(tmp_path.iterdir()) == []


def test_any_picture_size_where_the_family_allows(pair: tuple[LoadedModel, GraphModel]) -> None:
    loaded, graph = pair
    pictures, rois = sample_inputs(SPEC.num_frames, (75, 101), 1, 3)
    if not says_one_size(loaded.model):
        with torch.inference_mode():
            torch.testing.assert_close(graph(pictures, rois), loaded.model(pictures, rois), atol=1e-3, rtol=1e-3)
    else:
        with pytest.raises(AvadetError, match=r"takes clips uint8 \(any, 3, 8, 64, 96\), got uint8 \(1, 3, 8, 75, 10"):
            graph(pictures, rois)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Path]:
    loaded = small_model("slow_r50")
    path = tmp_path_factory.mktemp("slow") / "slow.onnx"
    assert export(loaded, path).score_difference <= 1e-4
    return loaded, path


def test_file_needs_no_other(slow: tuple[LoadedModel, Path]) -> None:
    loaded, path = slow
    card, taken, _ = read_graph(path)
    assert (clip_of(card), labels_of(card)) == (SPEC, loaded.labels)
    assert (taken.dtype, taken.shape) == (torch.zeros(0, dtype=torch.uint8).numpy().dtype, (None, 3, 8, None, None))
    again = zoo.load(path)
    assert (again.name, again.labels, again.spec, again.running) == ("slow_r50", loaded.labels, SPEC, "onnx in fp32")
    assert again.report.is_whole


def test_clips_as_fractions(tmp_path: Path) -> None:
    loaded = small_model("slow_r50")
    export(loaded, tmp_path / "float.onnx", as_float=True)
    pictures, rois = sample_inputs(SPEC.num_frames, (64, 64), 2, 3, as_float=True)
    graph = open_graph(tmp_path / "float.onnx")
    with torch.inference_mode():
        torch.testing.assert_close(graph(pictures, rois), loaded.model(pictures, rois), atol=1e-3, rtol=1e-3)
    with pytest.raises(AvadetError, match=r"takes clips float32 .*, got uint8"):
        graph((pictures * 255).to(torch.uint8), rois)


def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    loaded = small_model("tiny_actions")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    text = str(loaded.model)
    export(loaded, tmp_path / "model.onnx")
    assert str(loaded.model) == text
    assert all(torch.equal(before[name], value) for name, value in loaded.model.state_dict().items())


class Stubborn(ActionModel):
    """A model that ONNX has no words for."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = CLASSES
        self.weight = nn.Parameter(torch.ones(CLASSES))

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        sizes = torch.linalg.eigvals(rois[:, 1:].T @ rois[:, 1:]).real.sum()
        answer: Tensor = sizes * self.weight.expand(len(rois), -1)
        return answer


def test_models_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    loaded = small_model("slow_r50", model=Stubborn())
    with pytest.raises(AvadetError, match=r"models of architecture slow_r50 cannot be written as ONNX: .*eigvals"):
        export(loaded, tmp_path / "never.onnx")
    assert list(tmp_path.iterdir()) == []


class Fickle(ActionModel):
    """A model whose answer hangs on what tracing turns into a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = CLASSES
        self.weight = nn.Parameter(torch.ones(CLASSES))

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        return rois[:, 1:2] * 0 + self.weight * int(clips[0].long().sum()) / 1e6 + clips.float().mean() / 1e6


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    loaded = small_model("slow_r50", model=Fickle())
    with pytest.raises(AvadetError, match=r"gives scores up to .* away from torch's, expected at most 0\.0001"):
        export(loaded, tmp_path / "never.onnx")
    assert list(tmp_path.iterdir()) == []


class Bound(Backbone):
    """A backbone that does not say so, but has a number for each place of the pictures it was written for."""

    out_channels = (4,)
    strides = (Stride(8, 14, 14),)

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv3d(3, 4, (8, 14, 14), (8, 14, 14))

    def forward(self, clip: Tensor) -> list[Tensor]:
        cells = self.patch_embed(clip)
        rows, columns = int(cells.shape[3]), int(cells.shape[4])
        return [cells + torch.linspace(0, 1, rows * columns).view(rows, columns)]


def bound_model() -> LoadedModel:
    torch.manual_seed(0)
    net = Bound()
    return small_model("slow_r50", model=ActionDetector(net, roi_head(net.out_channels, CLASSES, aligned=True)))


def test_a_net_that_says_nothing_is_written_for_one_size_if_need_be(tmp_path: Path) -> None:
    loaded = bound_model()
    written = export(loaded, tmp_path / "bound.onnx", (66, 90))
    assert (written.is_open, written.score_difference < 1e-4) == (False, True)
    graph = open_graph(written.path)
    assert graph.input.shape == (1, 3, 8, 66, 90)
    pictures, rois = sample_inputs(SPEC.num_frames, (66, 90), 2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(graph(pictures, rois), loaded.model(pictures, rois), atol=1e-4, rtol=1e-4)


def test_what_a_runtime_says_is_one_line_with_a_way_out(tmp_path: Path) -> None:
    graph = open_graph(export(small_model("slow_r50"), tmp_path / "model.onnx").path)
    with pytest.raises(
        AvadetError, match=r"model\.onnx: the graph fails on clips \(1, 3, 9, 0, 0\) with 1 boxes"
    ) as told:
        graph.run_all(torch.zeros(1, 3, 9, 0, 0, dtype=torch.uint8).numpy(), torch.zeros(1, 5).numpy())
    assert str(told.value).endswith("; run the model with --backend torch")
    assert "\n" not in str(told.value)


def test_crowds_come_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = small_model("tiny_two_views")
    graph = open_graph(export(loaded, tmp_path / "two.onnx").path)
    assert graph.boxes_at_once == 16
    asked: list[int] = []
    run = graph._run
    monkeypatch.setattr(graph, "_run", lambda clips, rois: (asked.append(len(rois)), run(clips, rois))[1])
    pictures, rois = sample_inputs(SPEC.num_frames, (64, 64), 2, 37)
    with torch.inference_mode():
        torch.testing.assert_close(graph(pictures, rois), loaded.model(pictures, rois), atol=1e-3, rtol=1e-3)
    assert asked == [16, 16, 5]


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    import onnx

    with pytest.raises(AvadetError, match=r"nowhere\.onnx: no such file"):
        zoo.load(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(AvadetError, match=r"text\.onnx: not a readable ONNX file"):
        zoo.load(tmp_path / "text.onnx")
    port = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [port], [port])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "other.onnx"))
    with pytest.raises(AvadetError, match=r"other\.onnx has no model card in it; .* written by avadet export"):
        zoo.load(tmp_path / "other.onnx")


def test_a_missing_library_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(AvadetError, match=r'onnx is not installed, .*; pip install "avadet\[onnx\]"'):
        export(small_model("slow_r50"), tmp_path / "never.onnx")


def test_batch_indices_are_checked_before_a_library_reads_foreign_memory(slow: tuple[LoadedModel, Path]) -> None:
    graph = open_graph(slow[1])
    pictures, rois = sample_inputs(SPEC.num_frames, (64, 64), 1, 2)
    with pytest.raises(AvadetError, match=r"batch indices of rois must lie in \[0, 1\), got 0 to 1"):
        graph(pictures, rois + torch.tensor([[0.0] * 5, [1, 0, 0, 0, 0]]))
    with pytest.raises(AvadetError, match=r"rois must be \(R, 5\)"):
        graph(pictures, rois[:, :4])


def test_importing_the_command_imports_no_torch() -> None:
    code = "import sys, avadet.cli.export; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
