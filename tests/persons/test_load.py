"""Detectors by name."""

import subprocess
import sys

import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.persons import detectron2_zoo, onnx_styles, transformers_detr
from avadet.persons.load import FAST_ONNX_BYTES, TORCHVISION_NAMES, default_interval_s, detector_names, load_detector
from avadet.persons.torchvision_detectors import ENTRIES


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(AvadetError, match="did you mean fasterrcnn_resnet50_fpn_v2"):
        load_detector("fasterrcnn_resnet50")
    with pytest.raises(AvadetError, match=r"known: .*tiny"):
        default_interval_s("yolo")


@each_case("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_1_is_refused(threshold):
    with pytest.raises(AvadetError, match=r"threshold must lie in \[0, 1\]"):
        load_detector("tiny", threshold=threshold)


def test_fast_detectors_run_between_keyframes_and_heavy_ones_do_not(tmp_path):
    assert default_interval_s("tiny") == pytest.approx(0.2)
    assert default_interval_s("my/yolox.ONNX") == pytest.approx(0.2)
    fast = {name: default_interval_s(name) for name in TORCHVISION_NAMES if default_interval_s(name) is not None}
    assert fast == {"ssdlite320_mobilenet_v3_large": 0.2}
    assert default_interval_s("detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x") is None
    assert default_interval_s("transformers:PekingU/rtdetr_v2_r50vd") is None
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(FAST_ONNX_BYTES)
        assert default_interval_s(tmp_path / "large.onnx") == pytest.approx(0.2)
        file.truncate(FAST_ONNX_BYTES + 1)
    assert default_interval_s(tmp_path / "large.onnx") is None


def test_names_lead_to_their_kind(monkeypatch):
    def note(*given):
        return given

    monkeypatch.setattr(detectron2_zoo, "Detectron2Detector", note)
    monkeypatch.setattr(transformers_detr, "TransformersDetector", note)
    monkeypatch.setattr(onnx_styles, "load_onnx", note)
    for name, expected in {
        "detectron2:COCO-Keypoints/x": ("COCO-Keypoints/x", "cuda:1", 0.25),
        "detectron2:a/b.yaml,c.onnx": ("a/b.yaml,c.onnx", "cuda:1", 0.25),
        "transformers:a/b": ("a/b", "cuda:1", 0.25),
        "a/b.onnx": ("a/b.onnx", 0.25),
    }.items():
        assert load_detector(name, "cuda:1", 0.25) == expected


def test_names_of_other_projects_are_answered_with_how_to_write_them():
    with pytest.raises(AvadetError, match="did you mean detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x"):
        load_detector("COCO-Detection/faster_rcnn_R_50_FPN_1x")
    with pytest.raises(AvadetError, match=r"known: .*transformers:NAME_OR_FOLDER"):
        load_detector("PekingU/rtdetr_v2_r50vd")


def test_names_and_entries_agree():
    assert set(TORCHVISION_NAMES) == set(ENTRIES)
    assert detector_names() == ("tiny", *TORCHVISION_NAMES)


def test_knowing_the_names_costs_no_heavy_import():
    code = "import sys, avadet.persons.load; print([m for m in ('torch', 'cv2', 'trackers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_onnx_file_is_one_line(tmp_path):
    with pytest.raises(AvadetError, match="no such file") as caught:
        load_detector(tmp_path / "absent.onnx")
    assert "\n" not in str(caught.value)
