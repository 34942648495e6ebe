"""Detectors by name."""

import subprocess
import sys

import pytest

from avadet.errors import AvadetError
from avadet.persons.load import RCNN_NAMES, default_interval_s, detector_names, load_detector
from avadet.persons.torchvision_rcnn import ENTRIES


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(AvadetError, match="did you mean fasterrcnn_resnet50_fpn_v2"):
        load_detector("fasterrcnn_resnet50")
    with pytest.raises(AvadetError, match=r"known: .*tiny"):
        default_interval_s("yolo")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_1_is_refused(threshold):
    with pytest.raises(AvadetError, match=r"threshold must lie in \[0, 1\]"):
        load_detector("tiny", threshold=threshold)


def test_fast_detectors_run_between_keyframes_and_heavy_ones_do_not():
    assert default_interval_s("tiny") == pytest.approx(0.2)
    assert default_interval_s("my/yolox.ONNX") == pytest.approx(0.2)
    assert [default_interval_s(name) for name in RCNN_NAMES] == [None, None]


def test_names_and_entries_agree():
    assert set(RCNN_NAMES) == set(ENTRIES)
    assert detector_names() == ("tiny", *RCNN_NAMES)


def test_knowing_the_names_costs_no_heavy_import():
    code = "import sys, avadet.persons.load; print([m for m in ('torch', 'cv2', 'trackers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_onnx_file_is_one_line(tmp_path):
    with pytest.raises(AvadetError, match="no such file") as caught:
        load_detector(tmp_path / "absent.onnx")
    assert "\n" not in str(caught.value)
