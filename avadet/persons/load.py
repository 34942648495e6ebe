"""Detectors by name or path."""

from __future__ import annotations

from pathlib import Path

from avadet.errors import AvadetError, unknown_name
from avadet.types import PersonDetector

TINY = "tiny"
FAST_TORCHVISION = ("ssdlite320_mobilenet_v3_large",)
TORCHVISION_NAMES = (
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    *FAST_TORCHVISION,
)
DETECTRON2, TRANSFORMERS = "detectron2:", "transformers:"
FORMS = (f"{DETECTRON2}COCO-Detection/faster_rcnn_R_50_FPN_3x", f"{TRANSFORMERS}NAME_OR_FOLDER", "path/to/file.onnx")
"""What else may stand for a detector, by example, for messages."""
FAST_INTERVAL_S = 0.2
FAST_ONNX_BYTES = 64_000_000
"""ONNX files up to this size are taken for fast ones: YOLOX-nano to -s and NanoDet are, RT-DETR is not."""


def detector_names() -> tuple[str, ...]:
    """The names that `load_detector` knows, the bundled one first. It also takes what `FORMS` shows."""
    return (TINY, *TORCHVISION_NAMES)


def load_detector(name_or_path: str | Path, device: str = "cpu", threshold: float | None = None) -> PersonDetector:
    """Make a person detector ready to use.

    Args:
        name_or_path: "tiny" (bundled); a detector of torchvision (`detector_names()`); "detectron2:" and a name of its
            COCO zoo or config.yaml[,weights]; "transformers:" and a name on the Hugging Face hub or a folder; or the
            path of an .onnx file of YOLOX, NanoDet or RT-DETR style. Official weights are downloaded at first use.
        device: where it runs, e.g. "cpu" or "cuda:0"; .onnx files run on the CPU whatever it says.
        threshold: lowest person score, 0-1; None = the detector's own.

    Raises:
        AvadetError: for an unknown name, a threshold outside 0-1, a library that is not installed, or weights that
            cannot be had.
    """
    name = str(name_or_path)
    if threshold is not None and not 0 <= threshold <= 1:
        raise AvadetError(f"the detector's threshold must lie in [0, 1], got {threshold}")
    if name == TINY:
        from avadet.persons.tiny import TinyPersons

        return TinyPersons(device, threshold)
    if name in TORCHVISION_NAMES:
        from avadet.persons.torchvision_detectors import TorchvisionDetector

        return TorchvisionDetector(name, device, threshold)
    if name.startswith(DETECTRON2):
        from avadet.persons.detectron2_zoo import Detectron2Detector

        return Detectron2Detector(name.removeprefix(DETECTRON2), device, threshold)
    if name.startswith(TRANSFORMERS):
        from avadet.persons.transformers_detr import TransformersDetector

        return TransformersDetector(name.removeprefix(TRANSFORMERS), device, threshold)
    if _is_onnx(name):
        from avadet.persons.onnx_styles import load_onnx

        return load_onnx(name, threshold)
    raise _unknown(name)


def default_interval_s(name_or_path: str | Path) -> float | None:
    """How often a detector is worth running between keyframes, so that the tracker sees people move.

    Returns:
        seconds; None = only at keyframes (a large detector costs more than what following people gains).

    Raises:
        AvadetError: for an unknown name.
    """
    name = str(name_or_path)
    if name == TINY or name in FAST_TORCHVISION:
        return FAST_INTERVAL_S
    if name in TORCHVISION_NAMES or name.startswith((DETECTRON2, TRANSFORMERS)):
        return None
    if _is_onnx(name):
        path = Path(name)
        return FAST_INTERVAL_S if not path.is_file() or path.stat().st_size <= FAST_ONNX_BYTES else None
    raise _unknown(name)


def _is_onnx(name: str) -> bool:
    """Whether this is the path of an ONNX file."""
    return name.lower().endswith(".onnx")


def _unknown(name: str) -> AvadetError:
    return unknown_name("detector", name, (*detector_names(), *FORMS))
