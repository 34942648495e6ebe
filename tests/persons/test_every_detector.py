"""A law for all detectors: whatever a network says, the people are finite, ordered, inside the frame, best first.

Every detector gets a network that claims the boxes of `CLAIMED` in its own language, and one that speaks nonsense.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from each_case import each_case

from avadet.persons.detectron2_zoo import Detectron2Detector
from avadet.persons.onnx_graph import OnnxGraph, Port
from avadet.persons.onnx_nanodet import OnnxNanodet
from avadet.persons.onnx_rtdetr import OnnxRtdetr
from avadet.persons.onnx_yolox import OnnxYolox
from avadet.persons.person_net import PersonNet
from avadet.persons.tiny import TinyPersons
from avadet.persons.torchvision_detectors import ENTRIES, TorchvisionDetector
from avadet.persons.transformers_detr import TransformersDetector

SIZE_HW = (64, 64)
CLAIMED = np.array(
    [
        [8, 16, 24, 48],  # good
        [40, 40, 90, 64],  # reaches out of the frame: cut
        [np.nan, 0, 20, 20],
        [0, 0, np.inf, 20],
        [30, 50, 20, 20],  # inverted both ways
        [50, 20, 40, 60],  # inverted in x
        [70, 10, 90, 30],  # right of the frame
        [-40, -40, -10, -10],  # left of it and above
        [10, 10, 10.4, 30],  # thinner than a pixel
        [16, 8, 32, 32],  # fine, but its score is not
    ],
    np.float32,
)
SCORES = np.array([0.9, 0.8, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.93, np.nan], np.float32)
EXPECTED = np.array([[8, 16, 24, 48], [40, 40, 64, 64]], np.float32)


class FakeSession:
    """Gives what it is told, as onnxruntime would."""

    def __init__(self, answers):
        self.answers = answers

    def run(self, names, feeds):
        return self.answers


PICTURE = Port("images", "tensor(float)", (1, 3, *SIZE_HW))


def graph(answers, names, inputs=(PICTURE,)):
    """A graph that gives `answers`."""
    outputs = tuple(Port(name, "tensor(float)", answer.shape) for name, answer in zip(names, answers))
    return OnnxGraph(Path("fake.onnx"), tuple(inputs), outputs, FakeSession(answers))


def torchvision(name):
    def make(boxes, scores):
        detector = TorchvisionDetector.__new__(TorchvisionDetector)
        detector.name, detector.threshold, detector._device = name, 0.0, torch.device("cpu")
        labels = torch.ones(len(boxes), dtype=torch.int64)
        answer = {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": labels}
        detector.model = lambda images: [answer]
        return detector

    return make


def detectron2(boxes, scores):
    detector = Detectron2Detector.__new__(Detectron2Detector)
    detector.name, detector.threshold, detector._is_rgb, detector.person_class = "fake", 0.0, False, 0
    as_it_is = SimpleNamespace(apply_image=lambda image: image)
    detector._resize = SimpleNamespace(get_transform=lambda image: as_it_is)
    classes = torch.zeros(len(boxes), dtype=torch.int64)
    found = SimpleNamespace(pred_boxes=SimpleNamespace(tensor=torch.tensor(boxes)), scores=torch.tensor(scores))
    found.pred_classes = classes
    detector.model = lambda batch: [{"instances": found}]
    return detector


class FakeProcessor:
    def __init__(self, found):
        self.found = found

    def __call__(self, **_):
        return SimpleNamespace(to=lambda device: {})

    def post_process_object_detection(self, outputs, threshold, target_sizes):
        return [self.found]


def transformers(boxes, scores):
    detector = TransformersDetector.__new__(TransformersDetector)
    detector.name, detector.threshold, detector._device, detector.person_class = "fake", 0.0, torch.device("cpu"), 1
    labels = torch.ones(len(boxes), dtype=torch.int64)
    found = {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": labels}
    detector._processor = FakeProcessor(found)
    detector.model = dict
    return detector


def tiny(boxes, scores):
    torch.manual_seed(0)
    detector = TinyPersons.from_net(PersonNet(), long_side=64, threshold=0.0)
    logits = torch.logit(torch.tensor(scores))[None]
    detector._net = lambda image: SimpleNamespace(boxes_px=torch.tensor(boxes)[None], logits=logits)
    return detector


def yolox(boxes, scores):
    """Rows of an undecoded file: centre less the cell in strides, logarithm of the size in strides, 8 px each."""
    lines, columns = np.mgrid[:8, :8]
    corners = np.stack((columns.ravel(), lines.ravel()), axis=1)[: len(boxes)] * 8
    rows = np.zeros((84, 6), np.float32)
    with np.errstate(invalid="ignore"):
        rows[: len(boxes), :2] = ((boxes[:, :2] + boxes[:, 2:]) / 2 - corners) / 8
        rows[: len(boxes), 2:4] = np.log((boxes[:, 2:] - boxes[:, :2]) / 8)
    rows[: len(boxes), 4], rows[: len(boxes), 5] = scores, 1.0
    fake = graph([np.zeros((1, 84, 6), np.float32)], ["output"])  # tried at first; the boxes come afterwards
    detector = OnnxYolox(fake)
    detector.threshold = 0.05
    fake.session.answers = [rows[None]]
    return detector


def nanodet(boxes, scores):
    """Distances are means of distributions, so only what a mean can be is claimed: the others become NaN."""
    rows = np.full((85, 33), -60.0, np.float32)
    rows[:, 0] = 0.0
    for place, (box, score) in enumerate(zip(boxes, scores)):
        column, line = place % 8, place // 8
        with np.errstate(invalid="ignore"):
            distances = np.array([column * 8 - box[0], line * 8 - box[1], box[2] - column * 8, box[3] - line * 8]) / 8
        rows[place, 0] = score
        for side, distance in enumerate(distances):
            start = 1 + side * 8
            fits = np.isfinite(distance) and 0 <= distance <= 7
            rows[place, start + (int(distance) if fits else 0)] = 0.0 if fits else np.nan
    fake = graph([np.zeros((1, 85, 33), np.float32)], ["output"])
    detector = OnnxNanodet(fake)
    detector.threshold = 0.05
    fake.session.answers = [rows[None]]
    return detector


def rtdetr(boxes, scores):
    sizes = Port("orig_target_sizes", "tensor(int64)", (1, 2))
    answers = [np.zeros((1, len(boxes)), np.int64), boxes[None], scores[None]]
    return OnnxRtdetr(graph(answers, ["labels", "boxes", "scores"], (PICTURE, sizes)), threshold=0.0)


def raw_rtdetr(boxes, scores):
    logits = np.full((1, len(boxes), 80), -9.0, np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        logits[0, :, 0] = np.log(scores) - np.log1p(-scores)
        norm = np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1) / 64
    return OnnxRtdetr(graph([logits, norm[None].astype(np.float32)], ["logits", "pred_boxes"]), threshold=0.0)


MAKERS = {
    "tiny": tiny,
    **{name: torchvision(name) for name in ENTRIES},
    "detectron2": detectron2,
    "transformers": transformers,
    "yolox": yolox,
    "rtdetr": rtdetr,
    "raw_rtdetr": raw_rtdetr,
}
FRAME = np.zeros((*SIZE_HW, 3), np.uint8)


@each_case("maker", MAKERS.values(), ids=MAKERS)
def test_claimed_boxes_are_checked_against_the_frame(maker):
    people = maker(CLAIMED, SCORES)(FRAME)
    np.testing.assert_allclose(people.boxes_px, EXPECTED, atol=1e-3)
    np.testing.assert_allclose(people.scores, [0.9, 0.8], atol=1e-5)
    assert people.size_hw == SIZE_HW


def test_nanodets_boxes_too():
    """Its points lie on the corners of cells; the first two boxes are claimed from cells that they hold."""
    boxes, scores = np.tile(CLAIMED[2], (64, 1)), np.zeros(64, np.float32)
    boxes[18], scores[18] = CLAIMED[0], 0.9  # column 2, line 2: (16, 16)
    boxes[53], scores[53] = CLAIMED[1] + [0, 0, -2, 0], 0.8  # column 5, line 6: (40, 48); 6 strides to 88
    scores[:10], scores[20] = 0.95, np.nan
    people = nanodet(boxes, scores)(FRAME)
    np.testing.assert_allclose(people.boxes_px, EXPECTED, atol=1e-3)
    np.testing.assert_allclose(people.scores, [0.9, 0.8], atol=1e-5)


@each_case("maker", [*MAKERS.values(), nanodet], ids=[*MAKERS, "nanodet"])
@each_case("seed", range(3))
def test_nonsense_breaks_nothing(maker, seed):
    rng = np.random.default_rng(seed)
    boxes = rng.normal(32, 60, (40, 4)).astype(np.float32)
    scores = rng.normal(0.5, 0.4, 40).astype(np.float32)
    for array in (boxes, scores):
        spoilt = rng.random(array.shape) < 0.1
        array[spoilt] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -3e38], spoilt.sum())
    with np.errstate(all="ignore"):
        people = maker(boxes, scores)(FRAME)
    assert np.isfinite(people.boxes_px).all() and np.isfinite(people.scores).all()
    assert (people.boxes_px[:, :2] < people.boxes_px[:, 2:]).all()
    assert (people.boxes_px >= 0).all() and (people.boxes_px <= 64).all()
    assert (np.diff(people.scores) <= 0).all() and ((people.scores >= 0) & (people.scores <= 1)).all()


@each_case("maker", MAKERS.values(), ids=MAKERS)
def test_an_empty_answer_is_nobody(maker):
    people = maker(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))(FRAME)
    assert len(people) == 0 and people.size_hw == SIZE_HW
