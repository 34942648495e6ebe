"""Videos encoded again: same pictures at the same times, small, quick to enter; a data set that reads like the old."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import lost_encoders
import numpy as np
import psutil
import pytest
import yaml
from ava_like import figures_set, write_film

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import read_split
from avadet.cli import data as data_command
from avadet.data import prepare as prepare_module
from avadet.data import reencode
from avadet.data.clips import ClipDataset, ClipSample
from avadet.data.keyframes import training_index
from avadet.data.prepare import prepare
from avadet.data.reencode import Encoding, Job, encoded_hw, finished, prepare_video
from avadet.errors import AvadetError
from avadet.types import ClipSpec
from avadet.video.read import VideoReader

SMALL = Encoding(short_side=48, gop=5)
SPEC = ClipSpec(6, 2, 15.0, 48, (0.45,) * 3, (0.225,) * 3)


def _images(count: int, size_hw: tuple[int, int] = (96, 130)) -> list[np.ndarray]:
    """A soft blob that moves; neighbours differ, and twice as far apart they differ more."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    blobs = (250 * np.exp(-((x - 3 * i) ** 2 + (y - 40) ** 2) / 400) for i in range(count))
    return [np.repeat(blob[..., None], 3, axis=2).astype(np.uint8) for blob in blobs]


def _film(folder: Path, start_s: float = 1.4) -> tuple[Path, np.ndarray]:
    times_s = np.cumsum(np.random.default_rng(0).choice([0.02, 1 / 30, 0.1, 0.3], 40)) + start_s
    return write_film(folder / "film.mp4", _images(40), times_s, gop=40), times_s


def _job(folder: Path, **settings: object) -> Job:
    settings = {"encoding": SMALL, "checked_s": (0.0, 0.7, 2.0, 99.0), "threads": 1} | settings
    return Job("film", folder / "film.mp4", folder / "out" / "film.mp4", **settings)  # type: ignore[arg-type]


def _command(*arguments: object) -> int:
    """`avadet data ...`"""
    parser = argparse.ArgumentParser()
    data_command.add_arguments(parser)
    return data_command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_every_frame_keeps_its_time_and_picture(tmp_path: Path) -> None:
    source, _ = _film(tmp_path)
    done = prepare_video(_job(tmp_path))
    with VideoReader(source) as old, VideoReader(tmp_path / "out" / "film.mp4") as new:
        pairs = list(zip(old.frames(), new.frames()))
        assert new.info.size_hw == (48, 64) and new.info.start_s == old.info.start_s > 1
        assert [b.time_s for _, b in pairs] == pytest.approx([a.time_s for a, _ in pairs], abs=1e-9)
        for a, b in pairs:
            assert np.abs(reencode.shrunk(a.image, (48, 64)).astype(int) - b.image).mean() < 3
    assert done.frames == len(pairs) == 40
    assert done.time_error_s < 1e-9 and 0 < done.grey_error < 3 and done.damaged == 0


def test_it_can_be_entered_every_few_frames(tmp_path: Path) -> None:
    _film(tmp_path)
    prepare_video(_job(tmp_path))
    with av.open(str(tmp_path / "out" / "film.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.pts is not None]
    assert np.flatnonzero(keys).tolist() == list(range(0, 40, 5))


def test_sizes_are_even_and_never_grow() -> None:
    assert encoded_hw((720, 1280), 320) == (320, 568)
    assert encoded_hw((1280, 720), 320) == (568, 320)
    assert encoded_hw((240, 427), 320) == (240, 426)
    assert encoded_hw((1, 1), 320) == (2, 2)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    _film(tmp_path)
    job = _job(tmp_path)
    assert finished(job) is None
    first = prepare_video(job)
    stamp = job.target.stat().st_mtime_ns
    again = prepare_video(job)
    assert again.frames == 0 and again.bytes_after == first.bytes_after and job.target.stat().st_mtime_ns == stamp
    assert finished(_job(tmp_path, encoding=Encoding(48, 7))) is None
    assert finished(_job(tmp_path, span_s=(0.0, 1.0))) is None
    write_film(job.source, _images(20), np.arange(20) / 10)  # another source of that name
    assert prepare_video(job).frames == 20


def test_a_file_that_is_not_ours_is_replaced(tmp_path: Path) -> None:
    _film(tmp_path)
    job = _job(tmp_path)
    for data in (b"", b"not a video", job.source.read_bytes()):
        job.target.parent.mkdir(exist_ok=True)
        job.target.write_bytes(data)
        assert finished(job) is None
    assert prepare_video(job).frames == 40


def test_a_cut_keeps_the_frame_on_show_and_says_what_it_left_out(tmp_path: Path) -> None:
    _, times_s = _film(tmp_path)
    times_s = times_s - times_s[0]
    done = prepare_video(_job(tmp_path, span_s=(1.0, 2.0)))
    kept = times_s[(times_s <= 2.0) & (times_s > times_s[times_s <= 1.0][-1] - 1e-9)]
    assert done.skips_s == pytest.approx(kept[0], abs=1e-4) and done.frames == len(kept)
    with VideoReader(tmp_path / "out" / "film.mp4") as new:
        assert new.info.start_s == 0
        np.testing.assert_allclose([p.time_s for p in new.pictures()], kept - kept[0], atol=1e-4)
    assert finished(_job(tmp_path, span_s=(1.0, 2.0))).skips_s == pytest.approx(done.skips_s, abs=1e-9)
    with pytest.raises(AvadetError, match=r"no frame between -5\.000 and -4\.000 s"):
        prepare_video(_job(tmp_path, span_s=(-5.0, -4.0)))


def test_a_video_that_came_out_wrong_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _film(tmp_path)
    job = _job(tmp_path)
    monkeypatch.setattr(reencode, "_encode", _skipping(reencode._encode))
    with pytest.raises(AvadetError, match="differs from it by"):
        prepare_video(job)
    assert list(job.target.parent.iterdir()) == []


def _skipping(encode):  # type: ignore[no-untyped-def]
    """An encoder that shows every picture one frame late."""

    def wrong(reader, path, job):  # type: ignore[no-untyped-def]
        all_of_them = reader.frames
        reader.frames = lambda start_s=0.0: _late(all_of_them(start_s))
        try:
            return encode(reader, path, job)
        finally:
            reader.frames = all_of_them

    return wrong


def _late(frames):  # type: ignore[no-untyped-def]
    """Frames of a film that hangs back: each gets the image of the one eight before."""
    images = []
    for frame in frames:
        images.append(frame.image)
        yield replace(frame, image=images[max(len(images) - 9, 0)])


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return figures_set(tmp_path_factory.mktemp("set"))


def _clips(data: DataSet, part: str = "train") -> list[ClipSample]:
    targets = training_index(read_split(data, part), data.labels)
    dataset = ClipDataset(targets, SPEC)
    samples = [dataset[0, keyframe] for keyframe in range(len(dataset))]
    dataset.close()
    assert all(isinstance(sample, ClipSample) for sample in samples), samples
    return samples  # type: ignore[return-value]


def _assert_alike(old: list[ClipSample], new: list[ClipSample]) -> None:
    assert len(old) == len(new) > 0
    for a, b in zip(old, new):
        height, width = b.frames.shape[1:3]
        assert a.frames.shape[1] == height and abs(a.frames.shape[2] - width) <= 1
        left = min(width, a.frames.shape[2])
        assert np.abs(a.frames[:, :, :left].astype(int) - b.frames[:, :, :left]).mean() < 8
        np.testing.assert_allclose(a.boxes_px, b.boxes_px, atol=1.1)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_the_prepared_set_loads_like_the_old(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", spec, "--out", tmp_path, "--short-side", 48, "--gop", 5]
    assert _command(*command) == 0
    out = capsys.readouterr().out
    assert "3 videos encoded, 0 were there, 0 failed" in out and f"spec: {tmp_path / 'own.yaml'}" in out
    old, new = open_data_set(spec), open_data_set(tmp_path / "own.yaml")
    assert new.labels == old.labels and new.spec.videos.starts_at_s == 900
    for part in ("train", "val"):
        _assert_alike(_clips(old, part), _clips(new, part))
        one, other = read_split(old, part), read_split(new, part)
        assert len(one.proposals) == len(other.proposals) and len(one.excluded.times_s) == len(other.excluded.times_s)
    assert _command(*command) == 0
    assert "0 videos encoded, 3 were there, 0 failed" in capsys.readouterr().out


def test_a_cut_set_has_clocks_of_its_own(spec: Path, tmp_path: Path) -> None:
    old = open_data_set(spec, overrides=["keyframes.first_s=901.5", "keyframes.last_s=902.2"])
    report = prepare(old, tmp_path, ["val"], SMALL, margin_s=0.1)
    assert not report.failed
    new = open_data_set(report.spec)
    (video,) = read_split(new, "val", strict=False).videos
    assert video.starts_at_s == pytest.approx(900 + np.floor(1.4 * 15) / 15, abs=1e-5)
    with VideoReader(video.path) as reader:
        assert len(list(reader.pictures())) == np.floor(2.3 * 15) - np.floor(1.4 * 15) + 1
    dataset = ClipDataset(training_index(read_split(new, "val", strict=False), new.labels), SPEC)
    assert dataset.index.times_s.tolist() == [900, 901, 902, 903]
    inside, outside = dataset[0, 2], dataset[0, 0]
    assert isinstance(inside, ClipSample) and not isinstance(outside, ClipSample)
    whole = ClipDataset(training_index(read_split(old, "val", strict=False), old.labels), SPEC)[0, 2]
    assert isinstance(whole, ClipSample)
    middle = SPEC.num_frames // 2
    assert np.abs(whole.frames[middle, :, :64].astype(int) - inside.frames[middle, :, :64]).mean() < 8


def test_around_the_keyframes_there_are(spec: Path, tmp_path: Path) -> None:
    report = prepare(open_data_set(spec), tmp_path, ["train"], SMALL, margin_s=0.0)
    starts = dict(row.split(",") for row in (tmp_path / "starts.csv").read_text().split())
    assert starts == {"figures_0": "900.000000", "figures_1": "900.000000"} and len(report.prepared) == 2


def test_a_bad_video_does_not_stop_the_others(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "old"
    (root / "videos").mkdir(parents=True)
    for file in spec.parent.iterdir():
        if file.is_file():
            os.link(file, root / file.name)
    os.link(spec.parent / "videos" / "figures_1.mp4", root / "videos" / "figures_1.mp4")
    (root / "videos" / "figures_0.mp4").write_bytes(b"no video")
    out = tmp_path / "new"
    assert _command("prepare", root / "own.yaml", "--out", out, "--short-side", 48) == 1
    printed = capsys.readouterr()
    assert "1 videos encoded, 0 were there, 2 failed" in printed.out
    assert "figures_0: " in printed.err and "is not a video that can be read" in printed.err
    assert "figures_2: its file is missing" in printed.err
    assert sorted(path.name for path in (out / "videos").iterdir()) == ["figures_1.mp4"]


@pytest.mark.slow
def test_several_at_a_time(spec: Path, tmp_path: Path) -> None:
    told = []
    report = prepare(
        open_data_set(spec), tmp_path, ["train", "val"], SMALL, workers=2, watch=lambda *args: told.append(args)
    )
    assert len(report.prepared) == 3 and told == [(1, 3), (2, 3), (3, 3)]


def test_an_encoder_that_is_killed_costs_its_video_and_no_other(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare_module, "_outcome", lost_encoders.kill_first)
    assert _command("prepare", spec, "--out", tmp_path, "--short-side", 48, "--workers", 2) == 1
    printed = capsys.readouterr()
    assert "2 videos encoded, 0 were there, 1 failed" in printed.out
    (line,) = printed.err.splitlines()
    assert "figures_0.mp4: its process was killed (SIGKILL, perhaps because memory ran out); try again" in line
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["figures_1.mp4", "figures_2.mp4"]
    assert not multiprocessing.active_children()
    monkeypatch.undo()
    assert _command("prepare", spec, "--out", tmp_path, "--short-side", 48) == 0
    assert "1 videos encoded, 2 were there, 0 failed" in capsys.readouterr().out


def test_a_bug_with_one_video_does_not_end_the_run(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "prepare_video", lost_encoders.raise_bug)
    report = prepare(open_data_set(spec), tmp_path, ["val"], SMALL)
    assert list(report.failed) and all("ZeroDivisionError: of a bug" in reason for reason in report.failed.values())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)])
def test_encoders_end_with_the_run_and_leave_nothing(number: int, code: int, spec: Path, tmp_path: Path) -> None:
    command = [sys.executable, lost_encoders.__file__, str(spec), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        until_s = time.monotonic() + 120
        while len(list(tmp_path.glob("videos/.*partial*"))) < 2:
            assert run.poll() is None and time.monotonic() < until_s
            time.sleep(0.05)
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(number)
        assert run.wait(30) == code
        assert psutil.wait_procs(children, timeout=20)[1] == []
        assert "Traceback" not in run.stderr.read()
    assert list((tmp_path / "videos").iterdir()) == []


def test_what_cannot_be_prepared(spec: Path, tmp_path: Path) -> None:
    data = open_data_set(spec)
    with pytest.raises(AvadetError, match="own folder"):
        prepare(data, spec.parent, ["val"], SMALL)
    numbered = open_data_set(spec, overrides=["videos.keyframes_name=number", "videos.fps=15"])
    with pytest.raises(AvadetError, match="would change if videos were cut"):
        prepare(numbered, tmp_path, ["val"], SMALL, margin_s=1.0)


@pytest.mark.parametrize(("option", "value"), [("--gop", "0"), ("--crf", "60"), ("--workers", "0")])
def test_numbers_out_of_range(spec: Path, tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(AvadetError, match=f"{option} must lie between"):
        _command("prepare", spec, "--out", tmp_path, option, value)


def test_files_outside_the_folder_are_brought_in(spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    values = yaml.safe_load(spec.read_text())
    values["labels"] = str(spec.parent / "labels.csv")
    values["videos"]["folder"] = str(spec.parent / "videos")
    values["splits"] = {"val": {"annotations": str(spec.parent / "val.csv")}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    report = prepare(open_data_set(folder / "mine.yaml"), tmp_path / "new", ["val"], SMALL)
    assert yaml.safe_load(report.spec.read_text())["splits"]["val"]["annotations"] == "annotations/val.csv"
    _assert_alike(_clips(open_data_set(spec), "val"), _clips(open_data_set(report.spec), "val"))


@pytest.mark.parametrize("jump_s", [600.0, 10 * 3600.0, 26.5 * 3600])
def test_a_pause_keeps_its_length_and_costs_nothing(tmp_path: Path, jump_s: float) -> None:
    """Also where its 90,000 ticks a second are more than mp4 holds from one frame to the next."""
    times_s = [index / 25 for index in range(20)] + [jump_s + index / 25 for index in range(20)]
    with av.open(str(tmp_path / "film.nut"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(90000 * time_s), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    moments_s = (0.4, jump_s + 0.4)
    job = Job("film", tmp_path / "film.nut", tmp_path / "film.mp4", Encoding(short_side=48), checked_s=moments_s)
    done = prepare_video(job)
    assert done.frames == 40
    with VideoReader(tmp_path / "film.mp4") as reader:
        np.testing.assert_allclose([picture.time_s for picture in reader.pictures()], times_s, atol=0.0011)
