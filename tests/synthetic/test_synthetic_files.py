"""Figures as files: videos that can be read back, AVA rows that say what is in them, the demo, the command."""

import argparse

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.specs import open_data_set
from avadet.cli import render as render_command
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.synthetic.dataset import truth_rows, write_data_set, write_video
from avadet.synthetic.demo import demo_clip
from avadet.synthetic.scene import SyntheticClip, random_scene
from avadet.video.read import VideoReader


def frames_of(path):
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def tiny_clip():
    boxes = np.tile(np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1]], np.float32), (21, 1, 1))
    visible = np.ones((21, 2), bool)
    visible[10, 1] = False
    return SyntheticClip(np.zeros((21, 8, 8, 3), np.uint8), boxes, visible, ("wave", "walk"), 10.0)


def test_truth_rows_by_hand():
    rows = truth_rows("clip", tiny_clip(), read_label_map("jhmdb21"), 10)
    assert rows == [
        "clip,0,0.1,0.2,0.3,0.4,21,1",
        "clip,0,0.5,0.5,1,1,20,2",
        "clip,1,0.1,0.2,0.3,0.4,21,1",
        "clip,2,0.1,0.2,0.3,0.4,21,1",
        "clip,2,0.5,0.5,1,1,20,2",
    ]


def a_set(folder, seed=0, count=3, labels="jhmdb21", step=1, fail_at=None):
    def clips():
        for number in range(count):
            if number == fail_at:
                raise KeyboardInterrupt
            yield random_scene(np.random.default_rng([seed, number]), (48, 64), 8, 10.0, (1, 2), ["walk", "jump"])

    return write_data_set(folder, clips(), labels, step)


def test_a_data_set_is_complete_and_passes_the_check(tmp_path, capsys):
    spec = a_set(tmp_path / "set", step=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    assert sorted(path.name for path in spec.parent.iterdir()) == ["spec.yaml", "train.csv", "videos"]
    for number in range(3):
        frames = frames_of(spec.parent / "videos" / f"synthetic_{number:04d}.mp4")
        assert len(frames) == 8 and frames[0].shape == (48, 64, 3)
    rows = [line.split(",") for line in (spec.parent / "train.csv").read_text().splitlines()]
    assert {float(row[1]) for row in rows} == {0, 0.2, 0.4, 0.6} and {int(row[6]) for row in rows} <= {6, 20}
    assert main(["data", "check", str(spec)]) == 0
    assert "train: 3 videos, 12 keyframes" in capsys.readouterr().out


def test_a_data_set_is_the_same_for_the_same_seed(tmp_path):
    first, again, other = (a_set(tmp_path / name, seed, 1) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    rows = [(spec.parent / "train.csv").read_text() for spec in (first, again, other)]
    assert rows[0] == rows[1] != rows[2]
    videos = [frames_of(spec.parent / "videos" / "synthetic_0000.mp4") for spec in (first, again)]
    np.testing.assert_array_equal(*videos)


def test_another_spec_can_join_it(tmp_path):
    a_set(tmp_path / "first")
    a_set(tmp_path / "second", seed=1, count=2, labels="jhmdb21", step=4)
    for number in range(2):  # names of videos must differ within a joined split
        video = tmp_path / "second" / "videos" / f"synthetic_{number:04d}.mp4"
        video.rename(video.with_name(f"other_{number:04d}.mp4"))
    rows = tmp_path / "second" / "train.csv"
    rows.write_text(rows.read_text().replace("synthetic_", "other_"))
    spec = tmp_path / "both.yaml"
    spec.write_text(
        "labels: jhmdb21\nparts: {a: {spec: first/spec.yaml}, b: {spec: second/spec.yaml}}\n"
        "splits: {train: {join: [a:train, b:train]}}\n"
    )
    assert main(["data", "check", str(spec)]) == 0


def test_labels_of_a_file_come_along(tmp_path):
    (tmp_path / "own.csv").write_text("id,name\n4,walk\n7,jump\n")
    spec = a_set(tmp_path / "set", labels=tmp_path / "own.csv")
    assert open_data_set(spec).labels.ids == (4, 7)
    assert {line.split(",")[6] for line in (spec.parent / "train.csv").read_text().splitlines()} <= {"4", "7"}


def test_an_interrupted_data_set_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        a_set(tmp_path / "set", fail_at=2)
    assert not list(tmp_path.iterdir())
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(AvadetError, match="set is there already; remove it"):
        a_set(tmp_path / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "notes.txt"]


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
    clip = demo_clip(10)
    write_video(tmp_path / "demo.mp4", clip)
    frames = frames_of(tmp_path / "demo.mp4")
    assert len(frames) == 10
    assert np.abs(np.array(frames).astype(int) - clip.frames).mean() < 3


def run_command(*argv):
    parser = argparse.ArgumentParser()
    render_command.add_arguments(parser)
    return render_command.run(parser.parse_args([str(word) for word in argv]))


def test_command_writes_video_and_truth(tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    assert run_command(out, "--actions", "wave", "--persons", 1, "--seconds", 0.5, "--size", "96x64") == 0
    assert "15 frames, 1 person: wave" in capsys.readouterr().out
    assert frames_of(out)[0].shape == (64, 96, 3)
    rows = (tmp_path / "clip.gt.csv").read_text().splitlines()
    assert len(rows) == 1 and rows[0].startswith("clip,0,") and rows[0].endswith(",21,1")


@each_case(
    ("argv", "says"),
    [
        (["--size", "big"], "--size must be WIDTHxHEIGHT"),
        (["--seconds", "0"], "--seconds must lie between 0 and 60, got 0"),
        (["--persons", "3-1"], "--persons must be a number or a range, 0 to 20, got 3-1"),
        (["--step", "2"], "--step needs --clips N"),
        (["--actions", "walk,wvae"], "unknown action 'wvae'; did you mean wave"),
    ],
)
def test_command_refuses_what_it_cannot_do(tmp_path, argv, says):
    with pytest.raises(AvadetError, match=says):
        run_command(tmp_path / "clip.mp4", *argv)
    assert not list(tmp_path.iterdir())


def test_command_writes_a_data_set(tmp_path, capsys):
    out = tmp_path / "set"
    argv = ["--clips", 2, "--actions", "walk,clap", "--size", "64x48", "--seconds", 0.3, "--step", 3, "--seed", 3]
    assert run_command("--out", out, *argv) == 0
    assert "2 videos of walk, clap; spec: " in capsys.readouterr().out
    assert open_data_set(out / "spec.yaml").spec.splits["train"].counts.videos == 2
    times = {line.split(",")[1] for line in (out / "train.csv").read_text().splitlines()}
    assert times == {"0", "0.1", "0.2"}


@each_case(
    ("argv", "says"),
    [
        ([], "say what to write: OUT.mp4 for one video, or --clips N --out DIR"),
        (["--clips", "2"], "needs a folder to write to: --out DIR"),
        (["--clips", "0", "--out", "set"], "--clips and --step must be at least 1, got 0 and 1"),
        (["--clips", "2", "--out", "set", "--overwrite"], "--overwrite is for one video"),
        (["--clips", "2", "--out", "set", "--labels", "ucf24"], "label map ucf24 does not have any of clap, jump"),
        (
            ["--clips", "2", "--out", "set", "--labels", "ava_v2.2", "--actions", "clap,walk"],
            "ava_v2.2 does not have clap;",
        ),
    ],
)
def test_command_refuses_a_data_set_that_cannot_be(tmp_path, monkeypatch, argv, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvadetError, match=says):
        run_command(*argv)
    assert not list(tmp_path.iterdir())
