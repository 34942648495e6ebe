"""People from RT-DETR-style ONNX files (Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", 2023).

Two kinds of file, told apart by the names of what they give:

- `labels`, `boxes`, `scores`, as the exporters of RT-DETR, RT-DETRv2 and D-FINE write them. They take the picture,
  RGB 0-1, and `orig_target_sizes`, (width, height) of the frame, in whose pixels the boxes come out. Labels count
  COCO's 80 classes from 0.
- `logits` and `pred_boxes` (exports of Hugging Face models), or `labels` and `dets` (RF-DETR's own exporter): a logit a
  query and class, and boxes as centre and size, 0-1 of the picture. With 80 classes (RT-DETR, D-FINE) person is class 0
  and the picture is RGB 0-1; with 91, COCO's ids as RF-DETR keeps them, person is class 1 and ImageNet's mean and
  deviation are taken off.

All stretch the picture to the input without keeping its shape (torchvision's Resize of a Pillow image), and need no
suppression of duplicates.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from avadet.persons.onnx_graph import OnnxGraph, stretch
from avadet.persons.postprocess import postprocess
from avadet.types import Float32Array, PersonBoxes, UInt8Array

STYLE = "RT-DETR"
FINISHED = ("labels", "boxes", "scores")
RAW = (("logits", "pred_boxes"), ("labels", "dets"))
PERSON_OF_CLASSES = {80: 0, 91: 1}
IMAGENET_CLASSES = 91
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


class _Found(NamedTuple):
    """Boxes float (N, 4) xyxy, pixels of the frame, and their scores (N,)."""

    boxes_px: np.ndarray
    scores: np.ndarray


class OnnxRtdetr:
    """An RT-DETR-style ONNX file as a `PersonDetector`. Runs on the CPU.

    Attributes:
        size_hw: (height, width) px of the network's input.
        threshold: lowest person score that is returned, 0-1.
    """

    def __init__(
        self, path: str | Path | OnnxGraph, threshold: float | None = None, threads: int | None = None
    ) -> None:
        """Open the file.

        Args:
            path: the .onnx file, or the graph that it was opened as.
            threshold: lowest person score, 0-1; None = 0.5.
            threads: of onnxruntime within one operator; None = as many as torch uses.

        Raises:
            AvadetError: if onnxruntime is absent, or the file is missing, broken or of another shape.
        """
        self.threshold = 0.5 if threshold is None else threshold
        self._graph = path if isinstance(path, OnnxGraph) else OnnxGraph.open(path, threads)
        if not is_rtdetr(self._graph):
            raise self._graph.refusal(STYLE)
        self._input_name, self.size_hw = self._graph.picture(STYLE)
        self._names = [port.name for port in self._graph.outputs]
        self._sizes = next((port for port in self._graph.inputs if port.name != self._input_name), None)
        self._normalise = self._sizes is None and self._count_classes() == IMAGENET_CLASSES

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        picture = np.divide(stretch(frame, self.size_hw), 255, dtype=np.float32)
        found = self._finished(picture, frame) if self._sizes is not None else self._raw(picture, frame)
        return postprocess(found.boxes_px, found.scores, frame.shape[:2], self.threshold)

    def _finished(self, picture: Float32Array, frame: UInt8Array) -> _Found:
        """People of a graph that gives labels, boxes in pixels of the frame, and scores."""
        assert self._sizes is not None
        kind = np.float32 if self._sizes.type == "tensor(float)" else np.int64
        width_height = np.array([[frame.shape[1], frame.shape[0]]], kind)
        answer = self._run({self._input_name: _channels_first(picture), self._sizes.name: width_height})
        labels, boxes_px, scores = (answer[name] for name in FINISHED)
        if boxes_px.shape != (*labels.shape, 4) or scores.shape != labels.shape:
            raise self._graph.refusal(STYLE, f"labels {labels.shape}, boxes {boxes_px.shape}, scores {scores.shape}")
        people = labels[0] == PERSON_OF_CLASSES[80]
        return _Found(boxes_px[0][people], scores[0][people])

    def _raw(self, picture: Float32Array, frame: UInt8Array) -> _Found:
        """People of a graph that gives logits and boxes in parts of the picture."""
        logits_name, boxes_name = self._raw_names()
        if self._normalise:
            picture = (picture - MEAN) / STD
        answer = self._run({self._input_name: _channels_first(picture)})
        logits, boxes_norm = answer[logits_name], answer[boxes_name]
        person = PERSON_OF_CLASSES.get(logits.shape[-1])
        if person is None or boxes_norm.shape != (*logits.shape[:-1], 4):
            raise self._graph.refusal(STYLE, f"{logits_name} {logits.shape}, {boxes_name} {boxes_norm.shape}")
        centre, size = boxes_norm[0, :, :2], boxes_norm[0, :, 2:]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not a box is dropped later
            corners = np.concatenate((centre - size / 2, centre + size / 2), axis=1)
            scores = 1 / (1 + np.exp(-logits[0, :, person]))
            return _Found(corners * np.array(frame.shape[1::-1] * 2), scores)

    def _raw_names(self) -> tuple[str, str]:
        """Names of the logits and of the boxes."""
        return next(names for names in RAW if set(names) <= set(self._names))

    def _count_classes(self) -> int:
        """Classes of a graph that gives logits; where it leaves their number open, an answer has it."""
        logits_name = self._raw_names()[0]
        stated = self._graph.outputs[self._names.index(logits_name)].shape[-1]
        if isinstance(stated, int):
            return stated
        answer = self._run({self._input_name: np.zeros((1, 3, *self.size_hw), np.float32)})
        return int(answer[logits_name].shape[-1])

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._names, self._graph.run(feeds)))


def is_rtdetr(graph: OnnxGraph) -> bool:
    """Whether a graph has the inputs and outputs of one of the two kinds; see above."""
    outputs = {port.name: port.shape for port in graph.outputs}
    sizes = [port for port in graph.inputs if len(port.shape) == 2]
    if len(graph.inputs) == 2 and len(sizes) == 1:
        return set(FINISHED) <= outputs.keys()
    logits = next((outputs[names[0]] for names in RAW if set(names) <= outputs.keys()), None)
    if len(graph.inputs) != 1 or logits is None or len(logits) != 3:
        return False
    return not isinstance(logits[2], int) or logits[2] in PERSON_OF_CLASSES


def _channels_first(picture: Float32Array) -> Float32Array:
    """(H, W, 3) -> (1, 3, H, W)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
