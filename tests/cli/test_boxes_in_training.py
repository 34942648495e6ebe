"""The file of `avadet detect-persons` where others read it: training, testing, person AP, inference."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.ava import read_detections, write_table
from avadet.annotations.box_files import read_boxes
from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import DataSplit, read_split
from avadet.cli.main import main
from avadet.labels import read_label_map
from avadet.synthetic.dataset import write_video
from avadet.synthetic.scene import random_scene

CONFIG = """
device: cpu
model: {family: tiny_two_views, frozen: 0, crop_hw: [32, 32]}
clip: {num_frames: 2, stride: 2, fps: 30.0, short_side: 48}
data: {spec: jhmdb21, train: train1, scored: test1, samples_per_video: 1, batch_size: 3}
augment: {size_hw: [48, 64]}
schedule: {epochs: 1}
train: {threads: 1}
evaluate: {frame_step: 1}
"""
SIZE_HW, LENGTH, TRAINING, TESTED = (240, 320), 4, 3, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JHMDB-21 folder of rendered people, one a video."""
    folder = tmp_path_factory.mktemp("figures21")
    names = read_label_map("jhmdb21").names
    rows, ids = [], []
    for seed in range(TRAINING + TESTED):
        name = names[seed % 3]
        clip = random_scene(np.random.default_rng((99, seed)), SIZE_HW, LENGTH, 30.0, num_persons=1)
        ids.append(f"{name}/clip{seed}_{name}_f_cm_np1_ba_med_0")
        path = folder / "videos" / f"{ids[-1]}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, clip)
        corners = (clip.boxes_norm[:, 0] * [320, 240, 320, 240]).round().astype(int) - [0, 0, 1, 1]
        rows += [[ids[-1], frame, *box, name, seed % 3 + 1] for frame, box in enumerate(corners.tolist(), start=1)]
    with (folder / "jhmdb21_boxes.csv").open("w", newline="") as file:
        header = ["video", "frame_1based", "x1", "y1", "x2", "y2", "label", "label_id_1based"]
        csv.writer(file).writerows([header, *rows])
    splits = {"train_videos": [ids[:TRAINING]] * 3, "test_videos": [ids[TRAINING:]] * 3}
    (folder / "jhmdb21_splits.json").write_text(json.dumps({"labels": list(names), **splits}))
    (folder / "train.yaml").write_text(CONFIG)
    return folder


def scored_split(root: Path) -> DataSplit:
    return read_split(open_data_set("jhmdb21", root), "test1")


@pytest.fixture(scope="module")
def boxes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `detect-persons` finds in every frame of the tested videos."""
    out = tmp_path_factory.mktemp("found") / "boxes.csv"
    films = [str(video.path) for video in scored_split(root).videos]
    assert main(["detect-persons", *films, "--every", str(1 / 30), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def run_dir(root: Path, boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was scored on the boxes found."""
    folder = tmp_path_factory.mktemp("trained")
    named = root / "proposals.csv"  # as the annotations name the videos
    lines = [line for line in boxes.read_text().splitlines()]
    ids = {video.path.stem: video.video_id for video in scored_split(root).videos}
    named.write_text("".join(f"{ids[line.split(',')[0]]},{line.partition(',')[2]}\n" for line in lines))
    values = [f"data.root={root}", f"run_dir={folder / 'run'}", "evaluate.person_score=0.0"]
    changes = 'data.overrides=["splits.test1.proposals=proposals.csv"]'
    assert main(["train", str(root / "train.yaml"), *values, changes]) == 0
    return folder / "run"


def number_of(said: str, line: str) -> float:
    found = next(text for text in said.splitlines() if text.startswith(line))
    return float(found.partition(": ")[2].split()[0] if ": " in found else found.rsplit(maxsplit=1)[1])


def test_a_run_scored_on_found_boxes_is_what_test_says_of_them(
    root: Path, boxes: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_boxes(boxes)
    assert set(np.unique(found.video_ids)) == {video.path.stem for video in scored_split(root).videos}
    said = {}
    for name in (str(boxes), "proposals", "tiny"):
        command = ["test", str(run_dir)]
        assert main([*command, "--boxes", name, "--out", str(tmp_path / f"{Path(name).stem}.csv")]) == 0
        said[name] = capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    for name in (str(boxes), "proposals"):
        assert f"frame-mAP@0.5 (activitynet): {metrics['frame_map']:.2f} on jhmdb21 test1; boxes: {name}" in said[name]
    # The detector finds the same again, up to the 6 decimals of the file.
    once, again = (read_detections(tmp_path / f"{name}.csv") for name in ("boxes", "tiny"))
    people = (found.boxes_norm[:, 2] > 0).sum()
    assert len(once) == len(again) == people * 21
    np.testing.assert_allclose(once.boxes_norm, again.boxes_norm, atol=2e-6)
    np.testing.assert_allclose(once.scores, again.scores, atol=1e-4)


def test_the_file_goes_through_person_ap_and_inference_as_it_is(
    root: Path, boxes: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, table, truth = scored_split(root).videos, scored_split(root).table, tmp_path / "gt.csv"
    write_table(truth, replace(table, video_ids=np.array([name.partition("/")[2] for name in table.video_ids], object)))
    assert main(["eval-persons", str(boxes), "--gt", str(truth)]) == 0
    said = capsys.readouterr().out
    assert f"{TESTED * LENGTH} people and" in said
    assert number_of(said, "AP at IoU 0.5 ") >= 50
    for video in videos:
        out = tmp_path / video.path.stem
        assert main(["infer", str(video.path), "--boxes", str(boxes), "--model", str(run_dir / "model.safetensors"),
                     "--out", str(out), "--no-video"]) == 0  # fmt: skip
    csvs = list(tmp_path.rglob("*.csv"))
    assert len(csvs) > len(videos)


def test_boxes_of_too_few_moments_are_refused(
    root: Path, boxes: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sparse = tmp_path / "sparse.csv"
    sparse.write_text("".join(line + "\n" for line in boxes.read_text().splitlines() if line.split(",")[1] == "0"))
    command = ["test", str(run_dir), "jhmdb21", "--root", str(root), "--split", "test1", "--boxes"]
    assert main([*command, str(sparse)]) == 1
    said = capsys.readouterr().err
    assert re.search(r"cover 1 of its 4 scored keyframes \(that at 0\.033333\d* s, for example, they do not\)", said)
    sparse.write_text("elsewhere,0,0.1,0.1,0.2,0.2\n")
    assert main([*command, str(sparse)]) == 1
    assert re.search(r"sparse\.csv: unknown video in the boxes file 'brush_hair/clip3_", capsys.readouterr().err)
