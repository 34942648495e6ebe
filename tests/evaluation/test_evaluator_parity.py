"""The numbers of the reference evaluators, with their sorts made stable, to 1e-12."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avadet.annotations.ava import read_detections, read_ground_truth
from avadet.cli.evaluate import match_files
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map, result_of
from avadet.evaluation.result import FrameMapResult
from avadet.labels import read_label_map

REFERENCE = {"activitynet": "activitynet_stable_sort", "slowfast": "pyslowfast_stable_sort"}
SMALL = [
    "bad_6cols", "bad_9cols", "bad_blank", "bad_empty_score", "bad_header", "bad_number", "bad_timestamp",
    "both_empty", "cap50_per_keyframe", "class_not_evaluated", "class_without_det", "class_without_gt",
    "det_2col", "det_7cols_score1", "det_on_unlisted_keyframe", "duplicate_det", "empty_keyframe_2col",
    "excluded_keyframe", "excluded_unpadded", "gt_person_id_is_col8", "inverted_det", "inverted_gt",
    "iou_exactly_half", "low_score_first_in_file", "nan_box", "nan_score", "no_dets", "no_gt", "out_of_range_box",
    "perfect", "pixel_box", "scores_outside_0_1", "small_synth", "ties_within_image", "timestamp_formats",
    "tricky", "zero_area_det",
]  # fmt: skip


def result_of_files(*files: Path | str | None) -> FrameMapResult:
    return result_of(match_files(*files))


def assert_equal(result: FrameMapResult, expected: dict[str, Any]) -> None:
    report: dict[str, Any] = result.json()
    assert report["mAP"] == pytest.approx(expected["mAP"], abs=1e-12)
    for name in ("ap", "ap_tie_lo", "ap_tie_hi", "num_gt", "num_det", "num_tp"):
        stored = expected.get(name, expected.get(f"{name}_by_id"))
        if stored is not None:
            nothing = None if name.startswith("ap") else 0
            wanted = {class_id: stored.get(class_id, nothing) for class_id in report[name]}
            assert report[name] == pytest.approx(wanted, abs=1e-12), name
            assert {class_id for class_id, value in stored.items() if value} <= set(report[name])


@pytest.mark.shared
@pytest.mark.parametrize("protocol", REFERENCE)
@pytest.mark.parametrize("case", [*(f"cases/{name}" for name in SMALL), "small"])
def test_cases(shared: Path, case: str, protocol: str) -> None:
    folder = shared / "parity/eval" / case
    expected = json.loads((folder / "expected.json").read_text())[REFERENCE[protocol]]
    # ActivityNet's script takes no exclusions: its stored numbers are without
    exclude = folder / "excl.csv" if protocol == "slowfast" else None
    if "error" in expected:
        with pytest.raises(AvadetError, match=r"\.csv:\d+: "):
            result_of_files(folder / "det.csv", folder / "gt.csv", "ava_v2.1", protocol, exclude)
        return
    assert_equal(result_of_files(folder / "det.csv", folder / "gt.csv", "ava_v2.1", protocol, exclude), expected)


@pytest.mark.shared
def test_mid(shared: Path) -> None:
    folder = shared / "parity/eval/mid"
    true, found = read_ground_truth(folder / "gt.csv.gz"), read_detections(folder / "det.csv.gz")
    labels = read_label_map("ava_v2.2")
    expected = json.loads((folder / "expected_activitynet_stable_sort.json").read_text())
    assert_equal(evaluate_frame_map(true, found, labels), expected)
    # stored with the unstable sort only; equal scores move it in the seventh decimal
    unstable = json.loads((folder / "expected_pyslowfast.json").read_text())
    assert evaluate_frame_map(true, found, labels, "slowfast").mAP == pytest.approx(unstable["mAP"], abs=1e-5)


@pytest.mark.shared
def test_mmaction2_on_its_own_example(shared: Path) -> None:
    folder = shared / "data/ava/mmaction2_tests/eval_detection"
    labels = str(folder / "action_list.txt")
    result = result_of_files(folder / "pred.csv", folder / "gt.csv", labels, "mmaction2")
    # the number that mmaction2's own test (tests of ava_eval, `overall`) expects of these files
    assert result.mAP == pytest.approx(0.09385522, abs=5e-9)
