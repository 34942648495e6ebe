"""NanoDet and RT-DETR style files: graphs of constants with boxes worked by hand; which style a file is taken for."""

import dataclasses

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.persons.onnx_nanodet import OnnxNanodet
from avadet.persons.onnx_rtdetr import OnnxRtdetr
from avadet.persons.onnx_styles import load_onnx
from avadet.persons.onnx_yolox import OnnxYolox

onnx = pytest.importorskip("onnx", reason='makes the files; pip install "avadet[test]"')
pytest.importorskip("onnxruntime")

SIZE_HW = (64, 128)
CELLS = {8: 8 * 16, 16: 4 * 8, 32: 2 * 4, 64: 1 * 2}
FLOAT, INT64 = 1, 7


def write_net(path, outputs, inputs=(("data", FLOAT, (1, 3, *SIZE_HW)),)):
    """An ONNX file that takes `inputs` (name, type, shape) and answers `outputs` {name: array} whatever it is shown."""
    helper = onnx.helper
    types = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in outputs.items()}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"const_{name}"], [name]) for name in outputs],
        "net",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(name, types[name], array.shape) for name, array in outputs.items()],
        [onnx.numpy_helper.from_array(array, f"const_{name}") for name, array in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def shown_to(detector):
    """A list that gathers what a detector feeds its graph from now on."""
    graph, shown = detector._graph, []

    class Spy:
        def __init__(self, session):
            self.session = session

        def run(self, names, feeds):
            shown.append(feeds)
            return self.session.run(names, feeds)

    detector._graph = dataclasses.replace(graph, session=Spy(graph.session))
    return shown


def nanodet_rows(strides, at, classes=3, bins=8):
    """Silent rows but for `at`: {row: (class probabilities, four distances in strides)}, joined as NanoDet does.

    A distance d puts the logits log(1 - f) and log(f) on the bins around it, f its fraction: the mean is d.
    """
    count = sum(CELLS[stride] for stride in strides)
    rows = np.full((count, classes + 4 * bins), -30.0, np.float32)
    rows[:, :classes] = 0.001
    rows[:, classes::bins] = 0.0  # distance 0
    for row, (probabilities, distances) in at.items():
        rows[row, :classes] = probabilities
        for side, distance in enumerate(distances):
            start, whole = classes + side * bins, int(distance)
            rows[row, start : start + bins] = -30.0
            rows[row, start + whole] = np.log(1 - (distance - whole))
            if distance > whole:
                rows[row, start + whole + 1] = np.log(distance - whole)
    return rows


def test_nanodet_plus_by_hand(tmp_path):
    """Stride 16, column 3, line 2: row 128 + 2 * 8 + 3. Point (48, 32); distances (1, 0.5, 2, 1.5) strides."""
    rows = nanodet_rows((8, 16, 32, 64), {147: ((0.8, 0.1, 0.1), (1, 0.5, 2, 1.5)), 3: ((0.1, 0.9, 0), (1, 1, 1, 1))})
    detector = load_onnx(write_net(tmp_path / "plus.onnx", {"output": rows[None]}))
    assert isinstance(detector, OnnxNanodet) and detector.bins == 8 and detector.size_hw == SIZE_HW
    people = detector(np.zeros((128, 128, 3), np.uint8))  # as wide as the input, twice as high
    np.testing.assert_allclose(people.boxes_px, [[48 - 16, 2 * (32 - 8), 48 + 32, 2 * (32 + 24)]], rtol=1e-5)
    np.testing.assert_allclose(people.scores, [0.8], rtol=1e-6)


def test_older_nanodet_counts_from_the_middle_of_cells_and_gives_pairs(tmp_path):
    """The same cell: middle (56, 40). Its pairs come in any order; the g model has 11 bins."""
    rows = nanodet_rows((8, 16, 32), {147: ((0.8, 0.1, 0.1), (1, 0.5, 2, 9.5))}, bins=11)
    pairs, first = {}, 0
    for stride in (8, 16, 32):
        level = rows[None, first : first + CELLS[stride]]
        pairs[f"cls_pred_stride_{stride}"], pairs[f"dis_pred_stride_{stride}"] = level[..., :3], level[..., 3:]
        first += CELLS[stride]
    backwards = dict(reversed(pairs.items()))
    detector = load_onnx(write_net(tmp_path / "g.onnx", backwards))
    assert isinstance(detector, OnnxNanodet) and detector.bins == 11
    people = detector(np.zeros((*SIZE_HW, 3), np.uint8))
    np.testing.assert_allclose(people.boxes_px, [[56 - 16, 40 - 8, 56 + 32, 64]], rtol=1e-5)  # cut at the bottom


def test_nanodet_sees_bgr_less_the_mean(tmp_path):
    rows = nanodet_rows((8, 16, 32, 64), {0: ((0.5, 0.0, 0.0), (0, 0, 1, 1))})
    detector = OnnxNanodet(write_net(tmp_path / "plus.onnx", {"output": rows[None]}))
    shown = shown_to(detector)
    frame = np.zeros((*SIZE_HW, 3), np.uint8)
    frame[...] = 10, 20, 30  # RGB
    assert len(detector(frame)) == 1
    expected = [(30 - 103.53) / 57.375, (20 - 116.28) / 57.12, (10 - 123.675) / 58.395]
    np.testing.assert_allclose(shown[0]["data"][0, :, 5, 7], expected, rtol=1e-5)


SIZES = ("orig_target_sizes", INT64, (1, 2))
PICTURE = ("images", FLOAT, (1, 3, *SIZE_HW))


def test_rtdetr_that_decodes_itself(tmp_path):
    """Its boxes come in pixels of the frame, whose (width, height) it is told: the graph adds it to its last corner."""
    boxes = np.float32([[[5, 6, -60, -50], [1, 2, -9, -8], [1, 1, -90, -90]]])  # + (100, 80) on x2, y2
    outputs = {
        "labels": np.int64([[0, 0, 7]]),
        "boxes": boxes,
        "scores": np.float32([[0.6, 0.7, 0.9]]),
    }
    path = write_net(tmp_path / "rtdetr.onnx", outputs, (PICTURE, SIZES))
    model = onnx.load(path)
    pad = onnx.numpy_helper.from_array(np.zeros((1, 2), np.float32), "zeros")
    model.graph.initializer.append(pad)
    box_node = next(node for node in model.graph.node if node.output[0] == "boxes")
    model.graph.node.remove(box_node)
    helper = onnx.helper
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["orig_target_sizes"], ["told"], to=FLOAT),
            helper.make_node("Concat", ["zeros", "told"], ["shift"], axis=1),
            helper.make_node("Add", ["const_boxes", "shift"], ["boxes"]),
        ]
    )
    onnx.save(model, path)
    detector = load_onnx(path)
    assert isinstance(detector, OnnxRtdetr) and detector.size_hw == SIZE_HW
    people = detector(np.zeros((80, 100, 3), np.uint8))
    np.testing.assert_allclose(people.boxes_px, [[1, 2, 91, 72], [5, 6, 40, 30]])
    np.testing.assert_allclose(people.scores, [0.7, 0.6])


def raw_detr(classes, at, names):
    """Logits -5 but for `at` {(query, class): logit}; boxes centre (0.5, 0.25), size (0.2, 0.3) and a second one."""
    logits = np.full((1, 2, classes), -5.0, np.float32)
    for (query, column), logit in at.items():
        logits[0, query, column] = logit
    boxes = np.float32([[[0.5, 0.25, 0.2, 0.3], [0.9, 0.9, 0.4, 0.1]]])
    return {names[0]: logits, names[1]: boxes}


@each_case(
    ("classes", "person", "names", "normal"),
    [(80, 0, ("logits", "pred_boxes"), False), (91, 1, ("labels", "dets"), True)],
)
def test_rtdetr_that_leaves_the_decoding_to_others(tmp_path, classes, person, names, normal):
    """sigmoid(0) = 0.5, sigmoid(log 3) = 0.75; the 91 classes of COCO's ids begin with one that is nothing."""
    outputs = raw_detr(classes, {(0, person): 0.0, (1, person): np.log(3), (0, 5): 9.0}, names)
    path = write_net(tmp_path / "raw.onnx", outputs, (("pixel_values", FLOAT, (1, 3, *SIZE_HW)),))
    detector = load_onnx(path)
    assert isinstance(detector, OnnxRtdetr)
    shown = shown_to(detector)
    frame = np.zeros((200, 100, 3), np.uint8)
    frame[...] = 51, 102, 255
    people = detector(frame)
    np.testing.assert_allclose(people.boxes_px, [[70, 170, 100, 190], [40, 20, 60, 80]], rtol=1e-5)  # 110 cut to 100
    np.testing.assert_allclose(people.scores, [0.75, 0.5], rtol=1e-6)
    colour = np.array([0.2, 0.4, 1.0])
    expected = (colour - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225] if normal else colour
    np.testing.assert_allclose(shown[0]["pixel_values"][0, :, 3, 3], expected, rtol=1e-5)


def test_pictures_are_stretched_as_pillow_does():
    from PIL import Image

    from avadet.persons.onnx_graph import stretch

    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    for size_hw in ((64, 128), (32, 32), (120, 100), (180, 320)):
        expected = np.asarray(Image.fromarray(frame).resize(size_hw[::-1], Image.Resampling.BILINEAR), int)
        assert np.abs(stretch(frame, size_hw).astype(int) - expected).max() <= 1


def test_yolox_and_nanodet_are_told_apart_by_their_answers(tmp_path):
    """Both give (1, N, columns): in YOLOX's all but the box are probabilities, in NanoDet's all but the bins."""
    rng = np.random.default_rng(0)
    count = CELLS[8] + CELLS[16] + CELLS[32]
    yolox = np.concatenate((rng.normal(0, 2, (count, 4)), rng.random((count, 33))), axis=1).astype(np.float32)
    nanodet = np.concatenate((rng.random((count, 5)), rng.normal(0, 2, (count, 32))), axis=1).astype(np.float32)
    assert yolox.shape == nanodet.shape
    assert isinstance(load_onnx(write_net(tmp_path / "yolox.onnx", {"output": yolox[None]})), OnnxYolox)
    assert isinstance(load_onnx(write_net(tmp_path / "nanodet.onnx", {"output": nanodet[None]})), OnnxNanodet)


def test_other_graphs_are_refused_with_what_was_found_and_what_is_supported(tmp_path, shared):
    noise = np.random.default_rng(0).normal(0, 3, (1, 168, 37)).astype(np.float32)
    short = nanodet_rows((8, 16, 32), {})[None, :-1]
    detr = raw_detr(92, {}, ("logits", "pred_boxes"))
    cases = {
        write_net(tmp_path / "noise.onnx", {"output": noise}): r"output float \(1, 168, 37\)",
        write_net(tmp_path / "short.onnx", {"output": short}): "its answer has 167 rows",
        write_net(tmp_path / "detr.onnx", detr): r"logits float \(1, 2, 92\)",
        write_net(tmp_path / "two.onnx", {"o": noise}, (PICTURE, SIZES)): "orig_target_sizes int64",
        write_net(tmp_path / "flat.onnx", {"o": noise}, (("x", FLOAT, (1, 9)),)): r"it takes x float \(1, 9\)",
        shared / "data/detectors/FastestDet.onnx": r"758 float \(1, 85, 22, 22\)",
    }
    for path, said in cases.items():
        with pytest.raises(AvadetError, match=said) as caught:
            load_onnx(path)
        message = str(caught.value)
        assert "supported: YOLOX" in message and "NanoDet" in message and "RT-DETR" in message and "\n" not in message


def test_the_classes_of_one_style_refuse_files_of_another(tmp_path):
    rows = nanodet_rows((8, 16, 32, 64), {})
    path = write_net(tmp_path / "plus.onnx", {"output": rows[None]})
    with pytest.raises(AvadetError, match="no RT-DETR-style detector"):
        OnnxRtdetr(path)
    raw = write_net(tmp_path / "raw.onnx", raw_detr(80, {}, ("logits", "pred_boxes")))
    with pytest.raises(AvadetError, match="no NanoDet-style detector"):
        OnnxNanodet(raw)
