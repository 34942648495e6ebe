"""`avadet train`, `avadet test`, `avadet eval` from the command line, on a JHMDB-21 folder made for the purpose."""

from __future__ import annotations

import csv
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avadet.cli.main import main
from avadet.labels import read_label_map
from avadet.video.write import VideoWriter

CONFIG = """
device: cpu
model: {family: tiny_two_views, frozen: 0, crop_hw: [32, 32]}
clip: {num_frames: 2, stride: 2, fps: 30.0, short_side: 48}
data: {spec: jhmdb21, train: train1, scored: test1, samples_per_video: 1, batch_size: 3}
augment: {size_hw: [48, 64]}
schedule: {epochs: 2}
train: {threads: 1}
evaluate: {frame_step: 1}
"""
SIZE_HW, LENGTH = (240, 320), 5


def _write_video(path: Path, seed: int) -> list[list[int]]:
    """A video of a bright moving square; returns a box (x1, y1, x2, y2) a frame, last pixels included."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = []
    with VideoWriter(path, SIZE_HW, Fraction(30)) as writer:
        for index in range(LENGTH):
            image = np.full((*SIZE_HW, 3), rng.integers(0, 80), np.uint8)
            x1 = 40 + 10 * index + 20 * (seed % 5)
            image[60:180, x1 : x1 + 80] = 240
            writer.write(image, index / 30)
            boxes.append([x1, 60, x1 + 79, 179])
    return boxes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and three test videos of three of the classes."""
    folder = tmp_path_factory.mktemp("jhmdb21")
    names = read_label_map("jhmdb21").names
    rows, parts = [], {"train_videos": [], "test_videos": []}
    for seed in range(9):
        name = names[seed % 3]
        video_id = f"{name}/clip{seed}_{name}_f_cm_np1_ba_med_0"
        for frame, box in enumerate(_write_video(folder / "videos" / f"{video_id}.mp4", seed), start=1):
            rows.append([video_id, frame, *box, name, seed % 3 + 1])
        parts["train_videos" if seed < 6 else "test_videos"].append(video_id)
    with (folder / "jhmdb21_boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["video", "frame_1based", "x1", "y1", "x2", "y2", "label", "label_id_1based"], *rows]
        )
    splits = {part: [ids] * 3 for part, ids in parts.items()}
    (folder / "jhmdb21_splits.json").write_text(json.dumps({"labels": list(names), **splits}))
    (folder / "train.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def run_dir(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", str(root / "train.yaml"), f"data.root={root}", f"run_dir={folder / 'run'}"]) == 0
    return folder / "run"


def _test(run_dir: Path, root: Path, *more: str) -> int:
    return main(["test", str(run_dir), "jhmdb21", "--root", str(root), "--split", "test1", *more])


def test_a_run_leaves_its_papers(run_dir: Path) -> None:
    papers = {"config.yaml", "run.json", "environment.txt", "metrics.jsonl", "curves.png", "results.txt"}
    weights = {"last.pt", "best.pt", "model.safetensors", "model.json"}
    assert papers | weights == {path.name for path in run_dir.iterdir()}
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and "frame_map" in lines[-1]
    card = json.loads((run_dir / "model.json").read_text())
    assert card["numbers"]["score"] == "action"
    assert card["clip"]["num_frames"] == 2 and card["training"]["config"]["schedule"]["epochs"] == 2


def test_the_number_of_test_is_the_number_of_eval(
    run_dir: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "det.csv"
    assert _test(run_dir, root, "--out", str(out)) == 0
    said = capsys.readouterr().out.splitlines()
    assert "3 videos, 15 keyframes, 15 boxes scored" in said
    for file, line in (("det.csv", "frame-mAP@0.5 (activitynet):"), ("det.tracks.csv", "scores averaged along tracks")):
        command = ["eval", str(tmp_path / file), "--gt", str(tmp_path / "det.gt.csv"), "--labels", "jhmdb21"]
        assert main(command) == 0
        number = next(text for text in said if line in text).partition(": ")[2].split()[0]
        assert re.search(rf"frame-mAP@0.5 +{number}\n", capsys.readouterr().out)
    assert said[-1].endswith("on jhmdb21 test1; boxes: truth; views: 1; score: action")


def test_every_second_frame_and_per_class(run_dir: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--every-frame", "2", "--flip", "--scales", "48,56", "--shifts", "3", "--per-class", "--times-person"]
    assert _test(run_dir, root, *more) == 0
    said = capsys.readouterr().out
    assert "9 boxes scored" in said and "brush_hair" in said and "accuracy of the best class: " in said
    how = "one keyframe of 2; boxes: truth; views: 3 shifts x flip x 2 scales (48, 56); score: action x person\n"
    assert said.endswith(how)


def test_mistakes_are_one_line(run_dir: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _test(run_dir, tmp_path) == 1
    assert "jhmdb21_boxes.csv" in capsys.readouterr().err
    assert _test(run_dir, root, "--split", "1") == 1
    assert "unknown split of jhmdb21 '1'; known: test1, test2" in capsys.readouterr().err
    assert main(["test", "tiny_jhmdb"]) == 1
    assert "tiny_jhmdb does not say what data set it is to be tested on" in capsys.readouterr().err
    assert main(["test", "tiny_jhmdb", "jhmdb21", "--root", str(root)]) == 1
    assert "jhmdb21 has the splits train1, test1, train2, test2, train3, test3; say which" in capsys.readouterr().err
    assert _test(run_dir, root, "--boxes", "yolo") == 1
    assert "unknown detector 'yolo'" in capsys.readouterr().err
    assert main(["train", str(root / "train.yaml"), f"data.root={root}", "optim.lrr=1"]) == 1
    assert "optim.lrr: unknown key; did you mean 'lr'?" in capsys.readouterr().err
    assert main(["train", str(root / "train.yaml"), f"data.root={root}", f"run_dir={run_dir}"]) == 1
    assert "already holds a run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        _test(run_dir, root, "--every-frame", "0")
