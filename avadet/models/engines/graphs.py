"""ONNX files that `export` wrote, run by onnxruntime or OpenVINO, and called as the model itself is."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.cards import REQUIRED, labels_of
from avadet.models.detectors.two_stage import ActionModel, check_input

CARD_KEY = "avadet_card"
VERSION_KEY = "avadet_version"
AT_ONCE_KEY = "avadet_boxes_at_once"

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Clips (B, 3, T, H, W) and rois (R, 5) to logits (R, K), all numpy."""


class Input(NamedTuple):
    """What a graph takes as `clips`: the numpy type, and sizes (B, 3, T, H, W), None where any will do."""

    dtype: np.dtype
    shape: tuple[int | None, ...]


class Metadata(NamedTuple):
    """What a graph's file says of itself: the model's card, its input, and of how many boxes at once; None = any."""

    card: dict[str, Any]
    input: Input
    boxes_at_once: int | None


class GraphModel(ActionModel):
    """An .onnx file that `export` wrote, run by another library.

    Attributes:
        path: the file.
        card: the model's card.
        input: what it takes as clips.
    """

    def __init__(self, path: Path, run: Run, metadata: Metadata) -> None:
        """Wrap what runs the file."""
        super().__init__()
        self.path = path
        self.card, self.input, self.boxes_at_once = metadata
        self.num_classes = len(labels_of(self.card))
        self._run = run

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Score every box of every clip; arguments, result and errors as `ActionDetector.forward`.

        Raises:
            AvadetError: if the file was written for other clips.
        """
        check_input(clips, rois)
        images, boxes = clips.cpu().numpy(), rois.float().cpu().numpy()
        self._check(images)
        if self.input.shape[0] != 1 and len(boxes) > 0:
            return self.run_all(images, boxes)
        logits = torch.zeros(len(boxes), self.num_classes)
        for index in np.unique(boxes[:, 0]).astype(int):
            mine = boxes[:, 0] == index
            one_clip = boxes[mine] * np.array([0, 1, 1, 1, 1], np.float32)
            logits[torch.from_numpy(mine)] = self.run_all(images[index : index + 1], one_clip)
        return logits

    def run_all(self, images: np.ndarray, boxes: np.ndarray) -> Tensor:
        """What the graph itself gives, without boxes too; boxes go in some at a time where it wants that.

        Raises:
            AvadetError: if the library that runs it fails.
        """
        most = self.boxes_at_once or max(1, len(boxes))
        parts = [boxes[first : first + most] for first in range(0, max(1, len(boxes)), most)]
        contiguous = np.ascontiguousarray(images)
        try:
            logits = [self._run(contiguous, np.ascontiguousarray(part)) for part in parts]
        except Exception as error:  # onnxruntime and OpenVINO raise their own bare exceptions
            raise AvadetError(
                f"{self.path}: the graph fails on clips {images.shape} with {len(boxes)} boxes: {first_line(error)}; "
                "run the model with --backend torch"
            ) from error
        return torch.from_numpy(np.concatenate(logits))

    def _check(self, images: np.ndarray) -> None:
        expected = (None, *self.input.shape[1:])
        fits = all(size in (None, got) for size, got in zip(expected, images.shape))
        if not fits or images.dtype != self.input.dtype:
            sizes = ", ".join("any" if size is None else str(size) for size in expected)
            raise AvadetError(
                f"{self.path} takes clips {self.input.dtype} ({sizes}), got {images.dtype} {images.shape}; "
                "write another with avadet export, --size or --float"
            )


class SizedGraphs(ActionModel):
    """A graph for every image size, made when clips of that size first come."""

    def __init__(self, graph_of: Callable[[tuple[int, int]], GraphModel], num_classes: int) -> None:
        """Make none yet; `graph_of` takes (height, width) px and keeps what it made."""
        super().__init__()
        self.num_classes = num_classes
        self._graph_of = graph_of

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Clips and boxes to logits, as `GraphModel.forward`."""
        logits: Tensor = self._graph_of((clips.shape[3], clips.shape[4]))(clips, rois)
        return logits


def open_graph(path: Path, backend: str = "onnx", precision: str = "fp32", device: str = "cpu") -> GraphModel:
    """Have a library run an .onnx file; errors as `read_graph`, `onnx_run` and `openvino_run`."""
    metadata = read_graph(path)
    run = onnx_run(path, device) if backend == "onnx" else openvino_run(path, precision, device)
    return GraphModel(path, run, metadata)


def read_graph(path: str | Path) -> Metadata:
    """What an .onnx file says of itself.

    Raises:
        AvadetError: if onnx is absent, or the file is missing, broken, or none that `export` wrote.
    """
    if not Path(path).is_file():
        raise AvadetError(f"{path}: no such file")
    onnx = library("onnx", "onnx", str(path))
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own
        raise AvadetError(f"{path}: not a readable ONNX file") from error
    stored = {entry.key: entry.value for entry in proto.metadata_props}
    if CARD_KEY not in stored:
        raise AvadetError(f"{path} has no model card in it; action models as ONNX are written by avadet export")
    card: dict[str, Any] = json.loads(stored[CARD_KEY])
    missing = [key for key in REQUIRED if key not in card]
    if missing:
        raise AvadetError(f"{path}: the model card in it lacks {', '.join(missing)}; write it anew with avadet export")
    inputs = {port.name: port.type.tensor_type for port in proto.graph.input}
    if set(inputs) != {"clips", "rois"}:
        raise AvadetError(f"{path} takes {', '.join(inputs)}, not clips and rois; write it anew with avadet export")
    clips = inputs["clips"]
    shape = tuple(None if size.dim_param else size.dim_value for size in clips.shape.dim)
    taken = Input(onnx.helper.tensor_dtype_to_np_dtype(clips.elem_type), shape)
    return Metadata(card, taken, int(stored[AT_ONCE_KEY]) if AT_ONCE_KEY in stored else None)


def library(name: str, extra: str, needed_by: str) -> Any:
    """An optional dependency; raises AvadetError that names the extra which installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AvadetError(
            f'{name} is not installed, and {needed_by} needs it; pip install "avadet[{extra}]"'
        ) from error


def first_line(error: Exception) -> str:
    """The first line of what a library says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def onnx_run(path: Path, device: str = "cpu") -> Run:
    """Have onnxruntime run a file, on as many threads as torch uses.

    Raises:
        AvadetError: if onnxruntime is absent, cannot read the file, or cannot use the device.
    """
    onnxruntime = library("onnxruntime", "onnx", str(path))
    wants_cuda = device.startswith("cuda")
    if wants_cuda and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise AvadetError("this onnxruntime has no CUDA; pip install onnxruntime-gpu, or use --device cpu")
    index = int(device.partition(":")[2] or 0)
    cuda: list[Any] = [("CUDAExecutionProvider", {"device_id": index})] if wants_cuda else []
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[*cuda, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own bare exceptions
        raise AvadetError(f"{path}: onnxruntime cannot open it: {first_line(error)}") from error
    return lambda clips, rois: np.asarray(session.run(None, {"clips": clips, "rois": rois})[0])


def openvino_run(path: Path, precision: str = "fp32", device: str = "cpu") -> Run:
    """Have OpenVINO run a file on the processor, on as many threads as torch uses.

    Raises:
        AvadetError: if OpenVINO is absent or cannot read the file, or another device is asked for.
    """
    if device != "cpu":
        raise AvadetError(f"--backend openvino runs on the processor, got device {device}; use --device cpu")
    openvino = library("openvino", "openvino", str(path))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except Exception as error:  # OpenVINO raises its own
        raise AvadetError(f"{path}: OpenVINO cannot open it: {first_line(error)}") from error
    # A request's outputs live in its own memory and would change with the next call.
    return lambda clips, rois: np.array(compiled([clips, rois])[0])
