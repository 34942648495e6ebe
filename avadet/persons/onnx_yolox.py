"""People from YOLOX-style ONNX files (Ge et al., "YOLOX: Exceeding YOLO Series in 2021"), run by onnxruntime.

What such a file takes: float32 (1, 3, H, W), BGR 0-255 without normalisation, the picture scaled to fit and laid into
the top left corner, the rest filled with 114. What it gives: float32 (1, N, 5 + classes), one row a grid cell of
strides 8, 16, 32 (and 64 for the P6 models): centre and size of the box, objectness, class probabilities. Official
exports leave centre and size relative to the cell; exports with the decoding inside give pixels of the input. Which
of the two a file is, its answer to a grey picture tells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avadet.persons.onnx_graph import GREY, OnnxGraph, grid, mostly_probabilities
from avadet.persons.postprocess import postprocess, suppress
from avadet.types import Float32Array, PersonBoxes, UInt8Array

STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64))
CANDIDATES = 1000


class OnnxYolox:
    """A YOLOX-style ONNX file as a `PersonDetector`. Runs on the CPU.

    Deviation from the official demo: the score is objectness times the person probability whether or not another
    class is likelier, and the overlap allowed between two people is larger, so that people who touch stay two.

    Attributes:
        size_hw: (height, width) px of the network's input.
        threshold: lowest person score that is returned, 0-1.
        decoded: whether the file gives boxes in pixels (True) or relative to grid cells (False).
    """

    def __init__(
        self,
        path: str | Path | OnnxGraph,
        threshold: float | None = None,
        nms_iou: float = 0.55,
        threads: int | None = None,
        person_class: int = 0,
    ) -> None:
        """Open the file and try it on a grey picture.

        Args:
            path: the .onnx file, or the graph that it was opened as.
            threshold: lowest person score, 0-1; None = 0.3.
            nms_iou: of two boxes that overlap more than this, the better stays.
            threads: of onnxruntime within one operator; None = as many as torch uses.
            person_class: 0-based column of "person" among the classes; 0 in COCO's order.

        Raises:
            AvadetError: if onnxruntime is absent, or the file is missing, broken or of another shape.
        """
        self.threshold = 0.3 if threshold is None else threshold
        self._graph = path if isinstance(path, OnnxGraph) else OnnxGraph.open(path, threads)
        self._nms_iou, self._person_column = nms_iou, 5 + person_class
        if len(self._graph.inputs) != 1:
            raise self._graph.refusal("YOLOX")
        self._input_name, self.size_hw = self._graph.picture("YOLOX")
        raw = self._run(np.full((*self.size_hw, 3), GREY, np.uint8))
        self._cells_px, self._strides = self._read_grid(raw)
        self.decoded = _is_decoded(raw, self._cells_px, self._strides)

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        canvas, scale_xy = _letterbox(frame, self.size_hw)
        rows = self._run(canvas)
        scores = rows[:, 4] * rows[:, self._person_column]
        kept = np.flatnonzero(scores >= self.threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")[:CANDIDATES]]
        corners = np.divide(self._corners(rows, kept), np.tile(scale_xy, 2), dtype=np.float32)
        people = postprocess(corners, scores[kept], frame.shape[:2], self.threshold)
        return suppress(people, self._nms_iou)

    def _run(self, canvas: UInt8Array) -> Float32Array:
        """Answer to one letterboxed picture: uint8 (H, W, 3) RGB -> float32 (N, 5 + classes)."""
        bgr = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1), np.float32)[None]
        rows = self._graph.run({self._input_name: bgr})[0]
        if rows.ndim != 3 or rows.shape[0] != 1 or rows.shape[2] <= self._person_column:
            raise self._graph.refusal("YOLOX", f"its answer is {rows.shape}")
        return np.asarray(rows[0], np.float32)

    def _read_grid(self, rows: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Top left corners (N, 2) px and strides (N, 1) px of the cells that the N rows belong to."""
        for strides in STRIDE_SETS:
            cells, sizes = grid(self.size_hw, strides)
            if len(cells) == len(rows):
                return cells, sizes
        found = f"its answer is (1, {len(rows)}, {rows.shape[1]}) for an input of {self.size_hw}"
        raise self._graph.refusal("YOLOX", found)

    def _corners(self, rows: Float32Array, kept: np.ndarray) -> Float32Array:
        """Boxes of the rows `kept`, float32 (len(kept), 4) xyxy, pixels of the network's input."""
        centre, size = rows[kept, :2], rows[kept, 2:4]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not a box is dropped later
            if not self.decoded:
                strides = self._strides[kept]
                centre, size = centre * strides + self._cells_px[kept], np.exp(size) * strides
            return np.concatenate((centre - size / 2, centre + size / 2), axis=1, dtype=np.float32)


def is_yolox(answer: np.ndarray) -> bool:
    """Whether an answer to any picture looks like YOLOX's: (1, N, 5 + classes), all but the box between 0 and 1."""
    if answer.ndim != 3 or answer.shape[0] != 1 or answer.shape[2] < 6:
        return False
    return mostly_probabilities(answer[0, :, 4:])


def _is_decoded(rows: Float32Array, cells_px: Float32Array, strides: Float32Array) -> bool:
    """Whether centres are pixels near their cells (True) or small offsets within them (False)."""
    from_cell = np.median(np.abs(rows[:, :2] - cells_px) / strides)
    return bool(from_cell < np.median(np.abs(rows[:, :2])))


def _letterbox(frame: UInt8Array, size_hw: tuple[int, int]) -> tuple[UInt8Array, Float32Array]:
    """Scale a picture to fit, lay it into the top left corner of a grey one.

    Returns:
        the canvas, uint8 (*size_hw, 3), and how much x and y were really scaled, float32 (2,).
    """
    import cv2

    height, width = frame.shape[:2]
    scale = min(size_hw[0] / height, size_hw[1] / width)
    new_hw = max(1, int(height * scale)), max(1, int(width * scale))
    canvas = np.full((*size_hw, 3), GREY, np.uint8)
    canvas[: new_hw[0], : new_hw[1]] = cv2.resize(frame, new_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return canvas, np.array([new_hw[1] / width, new_hw[0] / height], np.float32)
