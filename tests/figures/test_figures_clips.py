"""Figures as files: videos that can be read back, AVA rows that say what is in them, the demo, the command."""

import argparse

import numpy as np
import pytest

from avadet.cli import render as render_command
from avadet.errors import AvadetError
from avadet.figures.clips import keyframes, truth_rows, write_dataset
from avadet.figures.demo import demo_clip, render_demo
from avadet.figures.scene import FigureClip
from avadet.labels import read_label_map
from avadet.video.read import VideoReader


def frames_of(path):
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def tiny_clip():
    boxes = np.tile(np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1]], np.float32), (21, 1, 1))
    visible = np.ones((21, 2), bool)
    visible[10, 1] = False
    return FigureClip(np.zeros((21, 8, 8, 3), np.uint8), boxes, visible, ("wave", "walk"), 10.0)


def test_truth_rows_by_hand():
    rows = truth_rows("clip", tiny_clip(), read_label_map("jhmdb21"))
    assert rows == [
        "clip,0,0.100000,0.200000,0.300000,0.400000,21,1",
        "clip,0,0.500000,0.500000,1.000000,1.000000,20,2",
        "clip,1,0.100000,0.200000,0.300000,0.400000,21,1",
        "clip,2,0.100000,0.200000,0.300000,0.400000,21,1",
        "clip,2,0.500000,0.500000,1.000000,1.000000,20,2",
    ]


def test_keyframes_stay_inside_the_clip():
    assert keyframes(tiny_clip(), 0.75) == [(0.0, 0), (0.75, 8), (1.5, 15)]


def test_dataset_can_be_read_back(tmp_path):
    made = write_dataset(tmp_path / "set", 2, size_hw=(64, 96), num_frames=16, fps=10, every_s=0.5)
    assert [path.name for path in made.videos] == ["figures_000.mp4", "figures_001.mp4"]
    for path in made.videos:
        frames = frames_of(path)
        assert len(frames) == 16 and frames[0].shape == (64, 96, 3)
    labels = read_label_map(made.label_map)
    assert labels.names == ("jump", "walk", "wave")
    rows = [line.split(",") for line in made.ground_truth.read_text().splitlines()]
    assert rows and {row[0] for row in rows} == {"figures_000", "figures_001"}
    assert {float(row[1]) for row in rows} <= {0, 0.5, 1, 1.5}
    assert {int(row[6]) for row in rows} <= set(labels.ids)
    boxes = [line.split(",") for line in made.boxes.read_text().splitlines()]
    assert boxes == [row[:6] for row in rows]


def test_dataset_is_the_same_for_the_same_seed(tmp_path):
    first, again, other = (
        write_dataset(tmp_path / name, 1, seed=seed, size_hw=(48, 64), num_frames=4, every_s=0.1)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.ground_truth.read_text() == again.ground_truth.read_text() != other.ground_truth.read_text()


def test_demo_shows_three_people_apart_and_whole():
    clip = demo_clip(180)
    assert clip.labels == ("walk", "wave", "jump")
    assert clip.frames.shape == (180, 480, 640, 3)
    assert clip.visible.all()
    walker = clip.boxes_norm[:, 0].astype(float)
    assert walker[-1, 0] - walker[0, 2] > 0.7, "the walker crosses the picture"
    boxes = clip.boxes_norm.astype(float)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        low = np.maximum(boxes[:, first, :2], boxes[:, second, :2])
        high = np.minimum(boxes[:, first, 2:], boxes[:, second, 2:])
        assert np.prod(np.clip(high - low, 0, None), axis=1).max() < 0.002


def test_demo_video_is_what_was_rendered(tmp_path):
    truth = render_demo(tmp_path / "demo.mp4")
    frames = frames_of(truth.path)
    assert len(frames) == len(truth.times_s) == len(truth.boxes_norm) == 180
    clip = demo_clip(1)
    assert np.abs(frames[0].astype(int) - clip.frames[0]).mean() < 3
    np.testing.assert_allclose(truth.boxes_norm[:1], clip.boxes_norm)


def run_command(*argv):
    parser = argparse.ArgumentParser()
    render_command.add_arguments(parser)
    return render_command.run(parser.parse_args([str(word) for word in argv]))


def test_command_writes_video_and_truth(tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    assert run_command(out, "--actions", "wave", "--people", 1, "--seconds", 0.5, "--size", "96x64") == 0
    assert "15 frames, 1 people: wave" in capsys.readouterr().out
    assert frames_of(out)[0].shape == (64, 96, 3)
    rows = (tmp_path / "clip.gt.csv").read_text().splitlines()
    assert len(rows) == 1 and rows[0].startswith("clip,0,") and rows[0].endswith(",21,1")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--size", "big"], "--size must be WIDTHxHEIGHT"),
        (["--seconds", "0"], "--seconds must lie between 0 and 60, got 0"),
        (["--people", "-1"], "--people must lie between 0 and 20, got -1"),
        (["--actions", "walk,wvae"], "unknown action 'wvae'; did you mean wave"),
    ],
)
def test_command_refuses_what_it_cannot_do(tmp_path, argv, says):
    with pytest.raises(AvadetError, match=says):
        run_command(tmp_path / "clip.mp4", *argv)
    assert not list(tmp_path.iterdir())
