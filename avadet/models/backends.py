"""What runs an action model: torch made fast, onnxruntime or OpenVINO; all are called as the model itself is.

A backend is an `ActionModel` in its own right, `(clips, rois) -> logits`, so that nobody who calls one needs to know
which it is. Graphs for onnxruntime and OpenVINO are written once (see `export`) and kept in the cache folder, under a
name that changes with the weights and with the versions of torch and avadet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import avadet
from avadet.errors import AvadetError, unknown_name
from avadet.models.cards import REQUIRED, clip_of, labels_of
from avadet.models.detector import ActionDetector, ActionModel
from avadet.models.download import cache_folder
from avadet.models.export import CARD_KEY, check_reads_no_bank, default_size_hw, export, sample_inputs, takes_any_size
from avadet.models.fast import PROBE_BOXES, PROBES, device_of, fast_model, has_bf16, score_difference
from avadet.models.lfb import BankWindow

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("auto", "fp32", "bf16")
BF16_WITHIN = 5e-3
"""What --precision auto bears: the largest difference of a score, 0-1, to float32."""

PROBE_SIDE_PX = 128
"""Height of the pictures on which bf16 is compared with float32 when a model is loaded."""

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Clips (B, 3, T, H, W) and rois (R, 5) to logits (R, K), all numpy."""


class Input(NamedTuple):
    """What a graph takes as `clips`: the numpy type, and sizes (B, 3, T, H, W), None where any will do."""

    dtype: np.dtype
    shape: tuple[int | None, ...]


def prepare(loaded: LoadedModel, backend: str = "torch", precision: str = "fp32") -> LoadedModel:
    """A model made ready to run fast, for inference only.

    Args:
        loaded: as `zoo.load` gives it; left as it is.
        backend: "torch", "onnx" (onnxruntime) or "openvino".
        precision: "fp32"; "bf16", halves of float32 with the exponent kept; or "auto", bf16 where the processor
            computes in it and the scores stay within `BF16_WITHIN`.

    Returns:
        the same with another `model` and, if it has one, `bank`; `running` says in words what runs it, and how far
        bf16's scores are from fp32's.

    Raises:
        AvadetError: for an unknown backend or precision, a library that is absent, a processor without bf16, or a
            model that cannot be written as a graph.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if backend == "torch":
        return _with_torch(loaded, precision)
    return _with_graph(loaded, backend, precision)


def load_graph(path: str | Path, backend: str = "onnx", precision: str = "fp32", device: str = "cpu") -> LoadedModel:
    """Load an .onnx file that `export` wrote; arguments and errors as `prepare`, and a file that is not one."""
    from avadet.models.weights import LoadReport
    from avadet.models.zoo import LoadedModel

    if backend not in BACKENDS[1:]:
        raise AvadetError(f"{path} is a graph; run it with --backend onnx or openvino, not {backend}")
    model = open_graph(Path(path), backend, "fp32", device)
    card, report = model.card, LoadReport(str(path), 0, (), (), ())
    loaded = LoadedModel(model, clip_of(card), labels_of(card), card["name"], card, report)

    def made(name: str) -> LoadedModel:
        graph = model if name == "fp32" else open_graph(Path(path), backend, name, device)
        return dataclasses.replace(loaded, model=graph)

    return _in_best_precision(loaded, backend, precision, made)


def _with_torch(loaded: LoadedModel, precision: str) -> LoadedModel:
    """torch, made fast, in the precision that fits."""
    return _in_best_precision(loaded, "torch", precision, lambda name: _fast(loaded, name))


def _fast(loaded: LoadedModel, precision: str) -> LoadedModel:
    """A model, and that of its feature banks, made fast in "fp32" or "bf16"."""
    dtype, device = torch.bfloat16 if precision == "bf16" else torch.float32, device_of(loaded.model)
    probe = sample_inputs(loaded.spec.num_frames, _probe_size_hw(loaded), 1, PROBE_BOXES)
    model, note = fast_model(loaded.model, dtype, *(tensor.to(device) for tensor in probe))
    bank = loaded.bank and _fast(loaded.bank, precision)
    return dataclasses.replace(loaded, model=model, bank=bank, running=note)


def _with_graph(loaded: LoadedModel, backend: str, precision: str) -> LoadedModel:
    """onnxruntime or OpenVINO, on a graph from the cache, one for each picture size where the model needs that."""
    check_reads_no_bank(loaded)
    digest, device = weights_digest(loaded), device_of(loaded.model)

    def made(name: str) -> LoadedModel:
        def graph(size_hw: tuple[int, int]) -> GraphModel:
            return open_graph(_cached(loaded, digest, size_hw), backend, name, str(device))

        if takes_any_size(loaded.model):
            return dataclasses.replace(loaded, model=graph(default_size_hw(loaded)))
        sized = SizedGraphs(graph, loaded.model.num_classes)
        sized.at(default_size_hw(loaded))  # so that what is amiss comes to light now
        return dataclasses.replace(loaded, model=sized)

    return _in_best_precision(loaded, backend, precision, made)


def _in_best_precision(
    loaded: LoadedModel, backend: str, precision: str, made: Callable[[str], LoadedModel]
) -> LoadedModel:
    """Make the model in "fp32" or "bf16"; compare bf16 with the model as it was loaded, and with "auto" decide.

    Raises:
        AvadetError: if bf16 was asked for where there is none.
    """
    device = device_of(loaded.model)
    if precision == "bf16" and backend == "onnx":
        raise AvadetError("onnxruntime computes in fp32; for bf16 use --backend torch or openvino")
    if precision == "bf16" and not has_bf16(device):
        raise AvadetError(f"this processor ({device}) does not compute in bf16; use --precision fp32")
    if precision == "fp32" or backend == "onnx" or not has_bf16(device):
        return _running(made("fp32"), f"{backend} in fp32")
    small = made("bf16")
    as_float = isinstance(loaded.model, GraphModel) and loaded.model.input.dtype == np.float32
    difference = score_difference(_probed(loaded), _probed(small), loaded, _probe_size_hw(loaded), as_float)
    words = f"scores differ from fp32 by at most {difference:.2g} on {PROBES} random clips"
    if precision == "auto" and difference > BF16_WITHIN:
        return _running(made("fp32"), f"{backend} in fp32, because in bf16 {words}")
    return _running(small, f"{backend} in bf16, {words}")


def _running(made: LoadedModel, words: str) -> LoadedModel:
    """The same model; what runs it comes before what there was to note when it was made."""
    return dataclasses.replace(made, running="; ".join(filter(None, (words, made.running))))


def _probed(loaded: LoadedModel) -> ActionModel:
    """The model as precisions are compared; if it reads banks, with one that its bank's model made of a random clip."""
    if loaded.bank is None or not isinstance(loaded.bank.model, ActionDetector):
        return loaded.model
    device, size_hw = device_of(loaded.bank.model), _probe_size_hw(loaded.bank)
    clips, rois = sample_inputs(loaded.bank.spec.num_frames, size_hw, 1, PROBE_BOXES)
    with torch.inference_mode():
        rows = loaded.bank.model.box_features(clips.to(device), rois.to(device))
    return _Windowed(loaded.model, BankWindow(torch.zeros(len(rows), dtype=torch.int64, device=device), rows))


class _Windowed(ActionModel):
    """A model that looks at one and the same window whatever the clip; it takes one clip at a time."""

    def __init__(self, model: ActionModel, window: BankWindow) -> None:
        super().__init__()
        self.model = model
        self.num_classes = model.num_classes
        self._window = window

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        logits: Tensor = self.model(clips, rois, self._window)
        return logits


def _probe_size_hw(loaded: LoadedModel) -> tuple[int, int]:
    """(height, width) px at which precisions are compared: small, unless the model is bound to a size."""
    size_hw = default_size_hw(loaded)
    if isinstance(loaded.model, GraphModel) and loaded.model.input.shape[3] is not None:
        height, width = loaded.model.input.shape[3:]
        return height or size_hw[0], width or size_hw[1]
    scale = min(1.0, PROBE_SIDE_PX / size_hw[0]) if takes_any_size(loaded.model) else 1.0
    return round(size_hw[0] * scale), round(size_hw[1] * scale)


def _cached(loaded: LoadedModel, digest: str, size_hw: tuple[int, int]) -> Path:
    """The graph's file, written if it is not there."""
    size = "" if takes_any_size(loaded.model) else f"-{size_hw[0]}x{size_hw[1]}"
    path = cache_folder() / "graphs" / f"{loaded.name}-{digest}{size}.onnx"
    if not path.is_file():
        export(loaded, path, size_hw)
    return path


def weights_digest(loaded: LoadedModel) -> str:
    """Hex digits that change with the weights, the card, and the versions of avadet and torch."""
    digest = hashlib.blake2b(digest_size=10)
    digest.update(json.dumps([loaded.card, avadet.__version__, torch.__version__], default=str).encode())
    for name, value in loaded.model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class GraphModel(ActionModel):
    """An .onnx file that `export` wrote, run by somebody else's library.

    Attributes:
        card: the model's card.
        input: what it takes as clips.
    """

    def __init__(self, path: Path, run: Run, card: dict[str, Any], taken: Input) -> None:
        """Wrap what runs the file."""
        super().__init__()
        self.path = path
        self.card = card
        self.input = taken
        self.num_classes = len(labels_of(card))
        self._run = run

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Score every box of every clip; arguments, result and errors as `ActionDetector.forward`.

        Raises:
            AvadetError: if the file was written for other clips.
        """
        pictures, boxes = clips.cpu().numpy(), rois.float().cpu().numpy()
        self._check(pictures, boxes)
        if len(boxes) == 0:
            return torch.zeros(0, self.num_classes)
        if self.input.shape[0] == 1 and len(pictures) > 1:
            return torch.from_numpy(self._one_by_one(pictures, boxes))
        return torch.from_numpy(self._run(np.ascontiguousarray(pictures), boxes))

    def _one_by_one(self, pictures: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """For graphs of a single clip."""
        logits = np.zeros((len(boxes), self.num_classes), np.float32)
        for index, picture in enumerate(pictures):
            mine = boxes[:, 0] == index
            if mine.any():
                own = boxes[mine] * np.array([0, 1, 1, 1, 1], np.float32)
                logits[mine] = self._run(np.ascontiguousarray(picture[None]), own)
        return logits

    def _check(self, pictures: np.ndarray, boxes: np.ndarray) -> None:
        wanted = (None, *self.input.shape[1:])
        fits = pictures.ndim == 5 and all(want in (None, got) for want, got in zip(wanted, pictures.shape))
        if not fits or pictures.dtype != self.input.dtype:
            sizes = ", ".join("any" if size is None else str(size) for size in wanted)
            raise AvadetError(
                f"{self.path} takes clips {self.input.dtype} ({sizes}), got {pictures.dtype} {pictures.shape}; "
                "write another with avadet export, --size or --float"
            )
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise AvadetError(f"rois must be (R, 5) = batch index + xyxy px, got {boxes.shape}")
        if len(boxes) and not (boxes[:, 0].min() >= 0 and boxes[:, 0].max() < len(pictures)):
            first, last = int(boxes[:, 0].min()), int(boxes[:, 0].max())
            raise AvadetError(f"batch indices of rois must lie in [0, {len(pictures)}), got {first} to {last}")


class SizedGraphs(ActionModel):
    """A graph for every picture size, made when pictures of that size first come."""

    def __init__(self, make: Callable[[tuple[int, int]], GraphModel], num_classes: int) -> None:
        """Make none yet; `make` takes (height, width) px."""
        super().__init__()
        self.num_classes = num_classes
        self._make = make
        self._graphs: dict[tuple[int, int], GraphModel] = {}

    def at(self, size_hw: tuple[int, int]) -> GraphModel:
        """The graph for pictures of (height, width) px."""
        if size_hw not in self._graphs:
            self._graphs[size_hw] = self._make(size_hw)
        return self._graphs[size_hw]

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Clips and boxes to logits, as `GraphModel.forward`."""
        logits: Tensor = self.at((clips.shape[3], clips.shape[4]))(clips, rois)
        return logits


def open_graph(path: Path, backend: str = "onnx", precision: str = "fp32", device: str = "cpu") -> GraphModel:
    """Have a library run an .onnx file; errors as `read_graph`, `onnx_run` and `openvino_run`."""
    card, taken = read_graph(path)
    run = onnx_run(path, device) if backend == "onnx" else openvino_run(path, precision, device)
    return GraphModel(path, run, card, taken)


def read_graph(path: str | Path) -> tuple[dict[str, Any], Input]:
    """The card in an .onnx file, and what the graph takes as clips.

    Raises:
        AvadetError: if onnx is absent, or the file is missing, broken, or none that `export` wrote.
    """
    if not Path(path).is_file():
        raise AvadetError(f"{path}: no such file")
    try:
        import onnx
    except ImportError as error:
        raise AvadetError(f'{path} needs onnx, which is not installed; pip install "avadet[onnx]"') from error
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own
        raise AvadetError(f"{path}: not a readable ONNX file") from error
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    if CARD_KEY not in facts:
        raise AvadetError(f"{path} has no model card in it; action models as ONNX are written by avadet export")
    card: dict[str, Any] = json.loads(facts[CARD_KEY])
    missing = [key for key in REQUIRED if key not in card]
    if missing:
        raise AvadetError(f"{path}: the model card in it lacks {', '.join(missing)}; write it anew with avadet export")
    inputs = {port.name: port.type.tensor_type for port in proto.graph.input}
    if set(inputs) != {"clips", "rois"}:
        raise AvadetError(f"{path} takes {', '.join(inputs)}, not clips and rois; write it anew with avadet export")
    clips = inputs["clips"]
    shape = tuple(None if size.dim_param else size.dim_value for size in clips.shape.dim)
    return card, Input(onnx.helper.tensor_dtype_to_np_dtype(clips.elem_type), shape)


def onnx_run(path: Path, device: str = "cpu") -> Run:
    """Have onnxruntime run a file, on as many threads as torch uses.

    Raises:
        AvadetError: if onnxruntime is absent, cannot read the file, or cannot use the device.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise AvadetError(f'{path} needs onnxruntime, which is not installed; pip install "avadet[onnx]"') from error
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
        raise AvadetError(f"{path}: onnxruntime cannot open it: {str(error).splitlines()[0]}") from error
    return lambda clips, rois: np.asarray(session.run(None, {"clips": clips, "rois": rois})[0])


def openvino_run(path: Path, precision: str = "fp32", device: str = "cpu") -> Run:
    """Have OpenVINO run a file on the processor, on as many threads as torch uses.

    Raises:
        AvadetError: if OpenVINO is absent or cannot read the file, or another device is asked for.
    """
    if device != "cpu":
        raise AvadetError(f"--backend openvino runs on the processor, got device {device}; use --device cpu")
    try:
        import openvino
    except ImportError as error:
        raise AvadetError('OpenVINO is not installed; pip install "avadet[openvino]"') from error
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise AvadetError(f"{path}: OpenVINO cannot open it: {str(error).splitlines()[0]}") from error
    # A request's outputs live in its own memory and would change with the next call.
    return lambda clips, rois: np.array(compiled([clips, rois])[0])
