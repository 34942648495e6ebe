"""YOLOX-style files: boxes by hand on a net of constants, a real network on real frames, files of another kind."""

import sys

import av
import numpy as np
import pytest
from each_case import each_case

from avadet import boxes
from avadet.errors import AvadetError
from avadet.persons.onnx_yolox import OnnxYolox

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE_HW, CLASSES = (32, 64), 3
CELLS = 4 * 8 + 2 * 4 + 1 * 2
QUIET = (0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def write_net(path, rows, input_shape=(1, 3, *SIZE_HW)):
    """An ONNX file that looks at its input, adds nothing of it, and always answers `rows` (1, N, 5 + classes)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    constants = [
        onnx.numpy_helper.from_array(np.asarray(rows, np.float32), "rows"),
        onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", kind, input_shape)],
        [helper.make_tensor_value_info("output", kind, np.shape(rows))],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def raw_rows(at):
    """Answer of an undecoded net that is silent but for `at`: {row: (dx, dy, log w, log h, obj, classes...)}."""
    rows = np.tile(np.float32(QUIET), (1, CELLS, 1))
    for row, values in at.items():
        rows[0, row] = values
    return rows


def test_an_undecoded_box_by_hand(tmp_path):
    """Stride 8, column 3, row 1 = row 11: centre (3.5 * 8, 1.25 * 8) = (28, 10), size (16, 8)."""
    rows = raw_rows({11: (0.5, 0.25, np.log(2), 0.0, 0.8, 0.9, 0.0, 1.0)})
    detector = OnnxYolox(write_net(tmp_path / "raw.onnx", rows), threads=1)
    assert not detector.decoded and detector.size_hw == SIZE_HW
    people = detector(np.zeros((64, 128, 3), np.uint8))  # twice the input: boxes double
    np.testing.assert_allclose(people.boxes_px, [[40, 12, 72, 28]], rtol=1e-5)
    np.testing.assert_allclose(people.scores, [0.72], rtol=1e-5)  # 0.8 * 0.9, though class 2 is likelier


def test_a_decoded_file_means_the_same(tmp_path):
    columns = [(np.arange(n) % w + 0.5) * s for s, w, n in ((8, 8, 32), (16, 4, 8), (32, 2, 2))]
    lines = [(np.arange(n) // w + 0.5) * s for s, w, n in ((8, 8, 32), (16, 4, 8), (32, 2, 2))]
    rows = raw_rows({})
    rows[0, :, :2] = np.stack((np.concatenate(columns), np.concatenate(lines)), axis=1)
    rows[0, 11] = 28, 10, 16, 8, 0.8, 0.9, 0.0, 0.0
    detector = OnnxYolox(write_net(tmp_path / "decoded.onnx", rows), threads=1)
    assert detector.decoded
    np.testing.assert_allclose(detector(np.zeros((32, 64, 3), np.uint8)).boxes_px, [[20, 6, 36, 14]], rtol=1e-5)


def test_a_tall_frame_is_scaled_by_its_height(tmp_path):
    """64x64 into 32x64: scale 0.5, so a box at x 20-36 of the input lies at 40-72 of which 64 are in the frame."""
    rows = raw_rows({11: (0.5, 0.25, np.log(2), 0.0, 0.8, 0.9, 0.0, 0.0)})
    detector = OnnxYolox(write_net(tmp_path / "raw.onnx", rows), threads=1)
    np.testing.assert_allclose(detector(np.zeros((64, 64, 3), np.uint8)).boxes_px, [[40, 12, 64, 28]], rtol=1e-5)


def test_duplicates_go_neighbours_and_other_classes_stay_apart(tmp_path):
    person = (0.5, 0.5, np.log(2), np.log(2), 0.9, 0.9, 0.0, 0.0)
    duplicate = (0.45, 0.5, np.log(2), np.log(2), 0.9, 0.8, 0.0, 0.0)
    neighbour = (0.5, 0.5, np.log(2), np.log(2), 0.9, 0.7, 0.0, 0.0)  # a cell on: IoU 1 / 3
    dog = (0.5, 0.5, np.log(2), np.log(2), 0.9, 0.0, 0.9, 0.0)
    rows = raw_rows({10: person, 11: neighbour, 15: dog})
    twice = np.concatenate((rows[:, :11], raw_rows({10: duplicate})[:, 10:11], rows[:, 11:]), axis=1)
    assert twice.shape[1] == CELLS + 1  # a row too many: not this family
    with pytest.raises(AvadetError, match="is no YOLOX-style detector"):
        OnnxYolox(write_net(tmp_path / "long.onnx", twice), threads=1)
    rows[0, 9] = (1.45, 0.5, *duplicate[2:])  # the cell before, reaching over: the same box
    people = OnnxYolox(write_net(tmp_path / "raw.onnx", rows), threads=1)(np.zeros((32, 64, 3), np.uint8))
    np.testing.assert_allclose(people.scores, [0.81, 0.63], rtol=1e-5)


def test_nan_and_exploding_answers_are_dropped(tmp_path):
    bad = {3: (np.nan, 0, 0, 0, 1, 1, 0, 0), 4: (0, 0, 1e4, 0, 1, 1, 0, 0), 5: (0, 0, 0, 0, np.nan, 1, 0, 0)}
    detector = OnnxYolox(write_net(tmp_path / "bad.onnx", raw_rows(bad)), threads=1)
    assert len(detector(np.zeros((32, 64, 3), np.uint8))) == 0


def test_garbage_other_networks_and_missing_files(tmp_path, shared):
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(np.random.default_rng(0).bytes(4096))
    cases = {
        garbage: "not a readable ONNX file",
        tmp_path / "absent.onnx": "no such file",
        shared / "data/detectors/FastestDet.onnx": r"is no YOLOX-style detector.*758 float \(1, 85, 22, 22\)",
        write_net(
            tmp_path / "mono.onnx", raw_rows({}), (1, 1, *SIZE_HW)
        ): r"is no YOLOX-style detector.*images float \(1, 1, 32, 64\)",
    }
    for path, said in cases.items():
        with pytest.raises(AvadetError, match=said) as caught:
            OnnxYolox(path)
        assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_without_onnxruntime_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = write_net(tmp_path / "net.onnx", raw_rows({}))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AvadetError, match=r'pip install "avadet\[onnx\]"'):
        OnnxYolox(path)


@pytest.fixture(scope="module")
def nano(shared):
    return OnnxYolox(shared / "data/detectors/yolox_nano_416.onnx", threads=1)


def frame_at(path, time_s):
    """The first frame at or after a time, RGB."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time >= time_s - 1e-6:
                return frame.to_ndarray(format="rgb24")
    raise AssertionError(f"{path} ends before {time_s} s")


@pytest.mark.shared
@each_case(
    ("name", "time_s", "expected"),
    [  # boxes read off the pictures by eye, pixels
        ("intel_one-by-one-person-detection.mp4", 27.0, [[382, 8, 542, 376]]),
        ("sam2_bedroom.mp4", 4.0, [[2, 155, 145, 440], [100, 112, 345, 525]]),
        ("mmaction_demo_armwrestling.mp4", 5.0, [[0, 0, 190, 256], [197, 0, 340, 220]]),
    ],
)
def test_real_people_are_found(nano, shared, name, time_s, expected):
    people = nano(frame_at(shared / "data/videos/clean" / name, time_s))
    overlap = boxes.iou(np.array(expected, np.float64), people.boxes_px)
    assert (overlap.max(axis=1) > 0.55).all(), (overlap.max(axis=1), people)


@pytest.mark.shared
def test_a_street_has_many_people_and_an_empty_room_none(nano, shared):
    street = nano(frame_at(shared / "data/videos/clean/mmpose_demo.mp4", 0.0))
    assert 8 <= len(street) <= 16 and (np.diff(street.scores) <= 0).all()
    assert len(nano(frame_at(shared / "data/videos/clean/intel_one-by-one-person-detection.mp4", 0.0))) == 0
