"""Which style of detector an ONNX file is, by its inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avadet.persons.onnx_graph import GREY, OnnxGraph
from avadet.persons.onnx_nanodet import OnnxNanodet, bins_of
from avadet.persons.onnx_rtdetr import OnnxRtdetr, is_rtdetr
from avadet.persons.onnx_yolox import OnnxYolox, is_yolox
from avadet.types import PersonDetector


def load_onnx(path: str | Path, threshold: float | None = None, threads: int | None = None) -> PersonDetector:
    """Open an ONNX file as the detector that it is.

    RT-DETR is known by the names of its outputs. YOLOX and NanoDet give rows of the same form; what tells them apart is
    which columns of their answer to a grey picture are probabilities: all after the box in YOLOX, all before the
    distributions in NanoDet.

    Args:
        path: the .onnx file.
        threshold: lowest person score, 0-1; None = the style's own.
        threads: of onnxruntime within one operator; None = as many as torch uses.

    Raises:
        AvadetError: if onnxruntime is absent, or the file is missing, broken or of no known style.
    """
    graph = OnnxGraph.open(path, threads)
    if is_rtdetr(graph):
        return OnnxRtdetr(graph, threshold)
    if len(graph.inputs) != 1:
        raise graph.refusal()
    name, size_hw = graph.picture("")
    answer = graph.run({name: np.full((1, 3, *size_hw), GREY, np.float32)})
    if len(answer) == 1 and is_yolox(answer[0]):
        return OnnxYolox(graph, threshold)
    if bins_of(graph, answer) is not None:
        return OnnxNanodet(graph, threshold)
    raise graph.refusal()
