"""An ONNX file opened by onnxruntime: what it takes, what it gives, and running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from avadet.errors import AvadetError
from avadet.types import Float32Array, UInt8Array

if TYPE_CHECKING:
    import onnxruntime

GREY = 114
DEFAULT_SIZE_HW = (640, 640)
MOSTLY = 0.9
SUPPORTED = (
    "YOLOX: one picture -> (1, N, 5 + classes), one row a cell of strides 8, 16, 32; "
    "NanoDet: one picture -> (1, N, classes + 4 bins), or cls_pred_* and dis_pred_* a stride; "
    "RT-DETR: images and orig_target_sizes -> labels, boxes, scores, or one picture -> logits and pred_boxes"
)


class Port(NamedTuple):
    """One input or output of a graph: its name, onnxruntime's word for its type, its shape (open sizes are texts)."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.shape)
        return f"{self.name} {self.type.removeprefix('tensor(').removesuffix(')')} ({sizes})"


@dataclass(frozen=True)
class OnnxGraph:
    """An open ONNX file. Runs on the CPU.

    Attributes:
        path: the file.
        inputs: what it takes.
        outputs: what it gives, in the order of `run`.
        session: onnxruntime's handle.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    session: onnxruntime.InferenceSession

    @classmethod
    def open(cls, path: str | Path, threads: int | None = None) -> Self:
        """Open a file, quietly.

        Args:
            path: the .onnx file.
            threads: of onnxruntime within one operator; None = as many as torch uses.

        Raises:
            AvadetError: if onnxruntime is absent, or the file is missing or broken.
        """
        path = Path(path)
        if not path.is_file():
            raise AvadetError(f"{path}: no such file; give the path of a detector's .onnx file")
        try:
            import onnxruntime
        except ImportError as error:
            raise AvadetError(
                f'{path} needs onnxruntime, which is not installed; pip install "avadet[onnx]"'
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = _torch_threads() if threads is None else threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own bare exceptions
            raise AvadetError(f"{path}: not a readable ONNX file: {_first_line(error)}") from error
        return cls(path, _ports(session.get_inputs()), _ports(session.get_outputs()), session)

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs.

        Raises:
            AvadetError: if onnxruntime cannot run the graph.
        """
        try:
            return [np.asarray(output) for output in self.session.run(None, feeds)]
        except Exception as error:  # onnxruntime raises its own bare exceptions
            raise AvadetError(f"{self.path}: onnxruntime cannot run it: {_first_line(error)}") from error

    def picture(self, style: str) -> tuple[str, tuple[int, int]]:
        """Name and (height, width) px of the input that takes one picture; sizes left open become 640.

        Raises:
            AvadetError: if no input is float32 (1, 3, H, W).
        """
        for port in self.inputs:
            if port.type == "tensor(float)" and len(port.shape) == 4 and port.shape[1] == 3:
                height, width = (n if isinstance(n, int) else d for n, d in zip(port.shape[2:], DEFAULT_SIZE_HW))
                return port.name, (height, width)
        raise self.refusal(style)

    def refusal(self, style: str = "", found: str = "") -> AvadetError:
        """The error for a graph that is not of `style` ("" = of none): what was found, what is supported.

        Args:
            style: "YOLOX", "NanoDet", "RT-DETR" or "".
            found: what does not fit, where the graph's inputs and outputs do not tell it.
        """
        takes, gives = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        what = f"{style}-style detector" if style else "detector that avadet knows"
        return AvadetError(
            f"{self.path} is no {what}: it takes {takes} and gives {gives}{'; ' if found else ''}{found}; supported: "
            f"{SUPPORTED}; other detectors: write their boxes to a csv (--boxes)"
        )


def _ports(nodes: list[Any]) -> tuple[Port, ...]:
    return tuple(Port(node.name, node.type, tuple(node.shape)) for node in nodes)


def _torch_threads() -> int:
    """The number of threads that torch would use, so that one setting rules both."""
    import torch

    return torch.get_num_threads()


def _first_line(error: Exception) -> str:
    """What a foreign exception says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def grid(
    size_hw: tuple[int, int], strides: tuple[int, ...], round_up: bool = False
) -> tuple[Float32Array, Float32Array]:
    """Top left corner (N, 2) xy px and stride (N, 1) px of every cell, stride by stride, row by row.

    Args:
        size_hw: (height, width) px of the network's input.
        strides: px a cell, one number a grid.
        round_up: whether a cell that reaches beyond the input counts.
    """
    corners, sizes = [], []
    for stride in strides:
        lines, columns = (-(-side // stride) if round_up else side // stride for side in size_hw)
        y, x = np.mgrid[:lines, :columns]
        corners.append(np.stack((x.ravel(), y.ravel()), axis=1) * stride)
        sizes.append(np.full((x.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def mostly_probabilities(values: np.ndarray) -> bool:
    """Whether nearly all rows hold nothing but numbers from 0 to 1; (N, any number) of them."""
    return values.size > 0 and bool(((values >= 0) & (values <= 1)).all(axis=1).mean() > MOSTLY)


def stretch(frame: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
    """Scale a picture to (height, width) without keeping its shape, as Pillow does: linear, smoothed where smaller.

    Args:
        frame: uint8 (H, W, 3).
        size_hw: (height, width) px.

    Returns:
        uint8 (*size_hw, 3).
    """
    import torch
    from torchvision.transforms.v2.functional import resize

    picture = torch.from_numpy(frame.copy()).permute(2, 0, 1)
    return np.asarray(resize(picture, list(size_hw), antialias=True).permute(1, 2, 0).numpy())
