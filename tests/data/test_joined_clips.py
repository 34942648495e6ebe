"""Two data sets joined: the loader decodes clips of both, each at its own second, and a run trains on them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.cli.main import main
from avadet.data.batching import ClipLoader, batches_by_size, clip_sizes
from avadet.data.clips import ClipDataset
from avadet.data.keyframes import training_index
from avadet.types import ClipSpec
from avadet.video.write import VideoWriter

FPS, SECONDS = 10, 4
SPEC = ClipSpec(2, 1, FPS, 48, (0.45,) * 3, (0.225,) * 3)
WHOLE = """
labels: [walk, wave]
parts: {films: {spec: films/own.yaml}, clips: {spec: clips/own.yaml}}
splits:
  train: {join: ["films:all", "clips:all"]}
"""
FILMS = (
    "labels: [walk, wave]\nvideos: {starts_at_s: 900}\nkeyframes: {every_s: 1}\nsplits: {all: {annotations: a.csv}}\n"
)
CLIPS = "labels: [walk, wave]\nvideos: {starts: starts.csv}\nsplits: {all: {annotations: a.csv}}\n"


def video(path: Path, red: int) -> None:
    """Every second is brighter by 40 in green."""
    path.parent.mkdir(parents=True)
    with VideoWriter(path, (48, 64), Fraction(FPS)) as writer:
        for index in range(FPS * SECONDS):
            writer.write(np.full((48, 64, 3), (red, 40 + 40 * (index // FPS), 60), np.uint8), index / FPS)


def joined(folder: Path) -> Path:
    video(folder / "films" / "videos" / "long.mp4", 200)
    video(folder / "clips" / "videos" / "short.mp4", 80)
    box = "0.1,0.1,0.9,0.9"
    (folder / "films" / "a.csv").write_text(f"long,901,{box},1,0\nlong,902,{box},1,0\n")
    (folder / "clips" / "a.csv").write_text(f"short,13.5,{box},2\n")
    (folder / "clips" / "starts.csv").write_text("short,10\n")
    for name, text in (("films/own", FILMS), ("clips/own", CLIPS), ("whole", WHOLE)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / "whole.yaml"


def test_clips_of_both_at_their_own_seconds(tmp_path: Path) -> None:
    data = open_data_set(joined(tmp_path))
    targets = training_index(read_split(data, "train"), data.labels)
    loader = ClipLoader(ClipDataset(targets, SPEC), batches_by_size(clip_sizes(targets, SPEC), 3))
    (batch,) = loader.batches()
    order = torch.argsort(batch.rows)
    colours = batch.clips[order].float()[:, :, 1].mean(dim=(2, 3))  # the keyframe of two frames is the second
    expected = torch.tensor(
        [[200.0, 80, 60], [200, 120, 60], [80, 160, 60]]
    )  # seconds 1 and 2 of one, 3.5 of the other
    assert (colours - expected).abs().max() < 8
    assert batch.labels[order].tolist() == [[1, 0], [1, 0], [0, 1]]


def test_check_and_show_see_the_videos_of_both(tmp_path: Path, capsys) -> None:
    whole = str(joined(tmp_path))
    assert main(["data", "check", whole]) == 0
    assert "train: 2 videos, 3 keyframes, 3 boxes, 3 rows" in capsys.readouterr().out
    assert main(["data", "show", whole, "--num", "3", "--out", str(tmp_path / "seen")]) == 0
    names = sorted(path.name for path in (tmp_path / "seen").glob("0*.png"))
    assert [name.split("_")[1] for name in names] == ["long", "long", "short"]
    (tmp_path / "clips" / "videos" / "short.mp4").unlink()
    assert main(["data", "check", whole]) == 1
    said = capsys.readouterr().out
    assert f"1 of 1 videos have no file in {tmp_path / 'clips' / 'videos'}" in said
