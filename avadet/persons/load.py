"""Detectors by name or path."""

from __future__ import annotations

from pathlib import Path

from avadet.errors import AvadetError, unknown_name
from avadet.types import PersonDetector

TINY = "tiny"
RCNN_NAMES = ("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn")
FAST_INTERVAL_S = 0.2


def detector_names() -> tuple[str, ...]:
    """The names that `load_detector` knows, the bundled one first. It also takes paths of .onnx files."""
    return (TINY, *RCNN_NAMES)


def load_detector(name_or_path: str | Path, device: str = "cpu", threshold: float | None = None) -> PersonDetector:
    """Make a person detector ready to use.

    Args:
        name_or_path: "tiny" (bundled), a Faster R-CNN of torchvision (`detector_names()`; official COCO weights are
            downloaded at first use), or the path of a YOLOX-style .onnx file.
        device: where it runs, e.g. "cpu" or "cuda:0"; .onnx files run on the CPU whatever it says.
        threshold: lowest person score, 0-1; None = the detector's own.

    Raises:
        AvadetError: for an unknown name, a threshold outside 0-1, or weights that cannot be had.
    """
    name = str(name_or_path)
    if threshold is not None and not 0 <= threshold <= 1:
        raise AvadetError(f"the detector's threshold must lie in [0, 1], got {threshold}")
    if _is_onnx(name):
        from avadet.persons.onnx_yolox import OnnxYolox

        return OnnxYolox(name, threshold)
    if name == TINY:
        from avadet.persons.tiny import TinyPersons

        return TinyPersons(device, threshold)
    if name in RCNN_NAMES:
        from avadet.persons.torchvision_rcnn import TorchvisionRcnn

        return TorchvisionRcnn(name, device, threshold)
    raise unknown_name("detector", name, (*detector_names(), "path/to/file.onnx"))


def default_interval_s(name_or_path: str | Path) -> float | None:
    """How often a detector is worth running between keyframes, so that the tracker sees people move.

    Returns:
        seconds; None = only at keyframes (a Faster R-CNN costs more than what following people gains).

    Raises:
        AvadetError: for an unknown name.
    """
    name = str(name_or_path)
    if name == TINY or _is_onnx(name):
        return FAST_INTERVAL_S
    if name in RCNN_NAMES:
        return None
    raise unknown_name("detector", name, (*detector_names(), "path/to/file.onnx"))


def _is_onnx(name: str) -> bool:
    """Whether this is the path of an ONNX file."""
    return name.lower().endswith(".onnx")
