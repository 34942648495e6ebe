"""People from NanoDet-style ONNX files (RangiLyu, github.com/RangiLyu/nanodet), run by onnxruntime.

What such a file takes: float32 (1, 3, H, W), BGR, normalised with ImageNet's mean and deviation; the picture is
stretched to the input without keeping its shape (`keep_ratio: False` of the published configs), linearly and without
smoothing, pixel corners on pixel corners, as cv2.warpPerspective does there.

What it gives: one row a grid cell with the class probabilities (the export applies the sigmoid) and four
distributions over `bins` whole strides, whose means are the distances from the cell's point to the four sides of the
box (Li et al., "Generalized Focal Loss", 2020, section 3.2). Rows come joined, (1, N, classes + 4 bins), or as a pair
of outputs cls_pred_stride_S and dis_pred_stride_S for every stride (the first releases). NanoDet-Plus has strides
8, 16, 32, 64 and takes the top left corner of a cell as its point; the older heads have strides 8, 16, 32 and take
its middle.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from avadet.persons.onnx_graph import OnnxGraph, grid, mostly_probabilities
from avadet.persons.postprocess import postprocess, suppress
from avadet.types import Float32Array, PersonBoxes, UInt8Array

MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)
STD_BGR = np.array([57.375, 57.12, 58.395], np.float32)
POINT_OF_STRIDES = {(8, 16, 32): 0.5, (8, 16, 32, 64): 0.0}
BINS = (8, 11)
"""`reg_max` + 1 of the published configs: 7 for NanoDet-m and -Plus, 10 for NanoDet-g."""
CANDIDATES = 1000


class OnnxNanodet:
    """A NanoDet-style ONNX file as a `PersonDetector`. Runs on the CPU.

    Attributes:
        size_hw: (height, width) px of the network's input.
        threshold: lowest person score that is returned, 0-1.
        bins: numbers a distribution.
    """

    def __init__(
        self,
        path: str | Path | OnnxGraph,
        threshold: float | None = None,
        nms_iou: float = 0.6,
        threads: int | None = None,
        person_class: int = 0,
    ) -> None:
        """Open the file and try it on a grey picture.

        Args:
            path: the .onnx file, or the graph that it was opened as.
            threshold: lowest person score, 0-1; None = 0.35, as in NanoDet's demo.
            nms_iou: of two boxes that overlap more than this, the better stays.
            threads: of onnxruntime within one operator; None = as many as torch uses.
            person_class: 0-based column of "person" among the classes; 0 in COCO's order.

        Raises:
            AvadetError: if onnxruntime is absent, or the file is missing, broken or of another shape.
        """
        self.threshold = 0.35 if threshold is None else threshold
        self._graph = path if isinstance(path, OnnxGraph) else OnnxGraph.open(path, threads)
        self._nms_iou, self._person_column = nms_iou, person_class
        if len(self._graph.inputs) != 1:
            raise self._graph.refusal("NanoDet")
        self._input_name, self.size_hw = self._graph.picture("NanoDet")
        answer = self._graph.run({self._input_name: np.zeros((1, 3, *self.size_hw), np.float32)})
        bins = bins_of(self._graph, answer)
        if bins is None:
            raise self._graph.refusal("NanoDet")
        self.bins = bins
        self._points_px, self._strides = self._read_grid(len(joined(self._graph, answer)))

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        picture, scale_xy = _warp(frame, self.size_hw)
        rows = joined(self._graph, self._graph.run({self._input_name: picture}))
        scores = rows[:, self._person_column]
        kept = np.flatnonzero(scores >= self.threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")[:CANDIDATES]]
        corners = np.divide(self._corners(rows, kept), np.tile(scale_xy, 2), dtype=np.float32)
        people = postprocess(corners, scores[kept], frame.shape[:2], self.threshold)
        return suppress(people, self._nms_iou)

    def _read_grid(self, count: int) -> tuple[Float32Array, Float32Array]:
        """Points (N, 2) px from which distances count, and strides (N, 1) px, of the cells that `count` rows mean."""
        for strides, point in POINT_OF_STRIDES.items():
            cells, sizes = grid(self.size_hw, strides, round_up=True)
            if len(cells) == count:
                return cells + np.float32(point) * sizes, sizes
        raise self._graph.refusal("NanoDet", f"its answer has {count} rows for an input of {self.size_hw}")

    def _corners(self, rows: Float32Array, kept: np.ndarray) -> Float32Array:
        """Boxes of the rows `kept`, float32 (len(kept), 4) xyxy, pixels of the network's input."""
        logits = rows[kept, -4 * self.bins :].reshape(-1, 4, self.bins)
        with np.errstate(invalid="ignore"):
            weights = np.exp(logits - logits.max(axis=2, keepdims=True))
            means = weights @ np.arange(self.bins, dtype=np.float32) / weights.sum(axis=2)
        distances = means * self._strides[kept]
        points = self._points_px[kept]
        return np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1, dtype=np.float32)


def bins_of(graph: OnnxGraph, answer: list[np.ndarray]) -> int | None:
    """How many numbers a distribution has, by the graph's answer to any picture; None = not NanoDet's answer.

    Rows that come joined do not say where the classes end: what lies before the distributions must be probabilities.
    """
    pairs = _pairs(graph)
    if pairs:
        width = answer[pairs[0][1]].shape[-1]
        return width // 4 if width % 4 == 0 else None
    if len(answer) != 1 or answer[0].ndim != 3 or answer[0].shape[0] != 1:
        return None
    rows = answer[0][0]
    fits = [bins for bins in BINS if rows.shape[1] > 4 * bins and mostly_probabilities(rows[:, : -4 * bins])]
    return fits[0] if fits else None


def joined(graph: OnnxGraph, answer: list[np.ndarray]) -> Float32Array:
    """The rows of all strides: float32 (N, classes + 4 bins)."""
    pairs = _pairs(graph)
    if not pairs:
        return np.asarray(answer[0][0], np.float32)
    levels = [np.concatenate((answer[scores][0], answer[distances][0]), axis=1) for scores, distances in pairs]
    return np.concatenate(levels).astype(np.float32)


def _pairs(graph: OnnxGraph) -> list[tuple[int, int]]:
    """Positions of the outputs (cls_pred_stride_S, dis_pred_stride_S), by rising stride; [] without such outputs."""
    places: dict[tuple[str, int], int] = {}
    for place, port in enumerate(graph.outputs):
        match = re.fullmatch(r"(cls|dis)_pred_stride_(\d+)", port.name)
        if match is None:
            return []
        places[match[1], int(match[2])] = place
    strides = sorted({stride for _, stride in places})
    if len(places) != 2 * len(strides):
        return []
    return [(places["cls", stride], places["dis", stride]) for stride in strides]


def _warp(frame: UInt8Array, size_hw: tuple[int, int]) -> tuple[Float32Array, Float32Array]:
    """Stretch and normalise a picture.

    Returns:
        float32 (1, 3, *size_hw) BGR, and how much x and y were scaled, float32 (2,).
    """
    import cv2

    height, width = frame.shape[:2]
    scale_x, scale_y = size_hw[1] / width, size_hw[0] / height
    warped = cv2.warpPerspective(frame, np.diag([scale_x, scale_y, 1.0]), size_hw[::-1])
    normal = (warped[:, :, ::-1].astype(np.float32) - MEAN_BGR) / STD_BGR
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None]), np.array([scale_x, scale_y], np.float32)
