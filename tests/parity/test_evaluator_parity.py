"""The numbers of the reference evaluators, with their sorts made stable, to 1e-12."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from drawn_rows import drawn_rows
from stored import evaluator

from avadet.annotations.ava import read_detections, read_ground_truth
from avadet.cli.evaluate import match_files
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map, result_of
from avadet.evaluation.result import FrameMapResult
from avadet.labels import read_label_map

REFERENCE = {"activitynet": "activitynet_stable_sort", "slowfast": "pyslowfast_stable_sort"}
NOT_FOLLOWED = {
    # mmaction2 counts boxes without an area or with a nan as false positives; here every protocol drops them.
    "zero_area_det": 1.0,
    "nan_box": 0.25,
}
CASES = [
    (name, protocol)
    for name, case in evaluator()["cases"].items()
    for protocol in case["expected"]
    if not (protocol == "mmaction2" and name in NOT_FOLLOWED)
]


def result_of_files(*files: Path | str | None) -> FrameMapResult:
    return result_of(match_files(*files))


def score(folder: Path, rows: tuple[str, str, str], protocol: str) -> FrameMapResult:
    """The result of the rows of a ground truth, detections and excluded keyframes.

    ActivityNet's script takes no excluded keyframes, and mmaction2's, which counts their true boxes on, got none.
    """
    files = [folder / name for name in ("gt.csv", "det.csv", "excl.csv")]
    for file, text in zip(files, rows):
        file.write_text(text)
    return result_of_files(files[1], files[0], "ava_v2.1", protocol, files[2] if protocol == "slowfast" else None)


def assert_equal(result: FrameMapResult, expected: dict[str, Any]) -> None:
    report: dict[str, Any] = result.json()
    assert report["mAP"] == pytest.approx(expected["mAP"], abs=1e-12)
    for name in ("ap", "ap_tie_lo", "ap_tie_hi", "num_gt", "num_det", "num_tp"):
        stored = expected.get(name, expected.get(f"{name}_by_id"))
        if stored is not None:
            nothing = None if name.startswith("ap") else 0
            wanted = {class_id: stored.get(class_id, nothing) for class_id in report[name]}
            if report["protocol"] == "mmaction2":  # it leaves classes without detections out; here they are 0
                wanted = {
                    key: 0.0 if value is None and report[name][key] == 0 else value for key, value in wanted.items()
                }
            assert report[name] == pytest.approx(wanted, abs=1e-12), name
            assert {class_id for class_id, value in stored.items() if value} <= set(report[name])


TOLERATED = ("bad_header", "bad_blank")
"""Cases that the references refuse: files with a header or blank lines, which are read here as if they had none."""


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_cases(name: str, protocol: str, tmp_path: Path) -> None:
    case = evaluator()["cases"][name]
    rows, expected = (case["gt"], case["det"], case["excl"]), case["expected"][protocol]
    if name in TOLERATED:
        kept = ["\n".join(line for line in text.splitlines() if re.match(r"[^,]+,\d", line)) + "\n" for text in rows]
        assert list(rows) != kept and score(tmp_path, rows, protocol).json() == score(tmp_path, kept, protocol).json()
    elif "error" in expected:
        with pytest.raises(AvadetError, match=r"\.csv:\d+: "):
            score(tmp_path, rows, protocol)
    else:
        assert_equal(score(tmp_path, rows, protocol), expected)


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_where_mmaction2_is_not_followed(name: str, tmp_path: Path) -> None:
    case = evaluator()["cases"][name]
    result = score(tmp_path, (case["gt"], case["det"], case["excl"]), "mmaction2")
    assert result.mAP == pytest.approx(NOT_FOLLOWED[name], abs=1e-12) != case["expected"]["mmaction2"]["mAP"]


@pytest.mark.parametrize("protocol", ["activitynet", "slowfast", "mmaction2"])
def test_drawn_rows(protocol: str, tmp_path: Path) -> None:
    assert_equal(score(tmp_path, drawn_rows(), protocol), evaluator()["drawn"][protocol])


def test_the_drawn_rows_tell_the_protocols_apart(tmp_path: Path) -> None:
    true, found, _ = drawn_rows()
    scores = [float(line.rpartition(",")[2]) for line in found.splitlines()]
    assert len(set(scores)) == len(scores) > 3000  # no score twice: nothing hangs on how ties are sorted
    assert len(true.splitlines()) > 200
    first, second, third = sorted(evaluator()["drawn"][name]["mAP"] for name in evaluator()["drawn"])
    assert second - first > 0.01 and third - second > 0.01


@pytest.mark.shared
@pytest.mark.parametrize("protocol", REFERENCE)
@pytest.mark.parametrize("case", ["cases/small_synth", "small"])
def test_larger_cases(shared: Path, case: str, protocol: str) -> None:
    folder = shared / "parity/eval" / case
    expected = json.loads((folder / "expected.json").read_text())[REFERENCE[protocol]]
    exclude = folder / "excl.csv" if protocol == "slowfast" else None
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
