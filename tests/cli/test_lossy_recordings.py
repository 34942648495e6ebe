"""What the last lines say of what was left out: by `infer` and `detect-persons`, of files, links and the web."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import staged
from web import WebServer

from avadet.annotations.ava import read_detections
from avadet.cli import video_files
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.inference import run as inference_run
from avadet.persons import load

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _square_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (inference_run, load):
        monkeypatch.setattr(room, "load_detector", lambda name, device, threshold=None: staged.BrightSquare())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staged.write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a bright square over noise: large enough to break off between."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "ultrafast", "bf": "0", "g": "10"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for _ in range(40):
            image = rng.integers(0, 100, (96, 128, 3), dtype=np.uint8)
            image[32:64, 32:64] = 255
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))
    return path


def infer(model: Path, out: Path, *words: object) -> int:
    return main([str(word) for word in ["infer", *words, "--out", out, "--model", model]])


def test_links_and_other_files_of_a_folder_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    staged.write_video(folder / "a.mp4", seconds=1.0)
    (folder / "again.mp4").symlink_to("a.mp4")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    for name in ("notes.txt", "cover.jpg", ".hidden.txt"):
        (folder / name).write_text("no video\n")
    assert infer(model, tmp_path / "out", folder, "--no-video") == 1
    assert capsys.readouterr().err.splitlines()[-4:] == [
        f"avadet: 2 files of {folder} passed over, by the name no video: cover.jpg, notes.txt",
        f"avadet: {folder}/again.mp4 passed over: it is the same file as {folder}/a.mp4",
        "avadet: 1 of 2 videos failed:",
        f"avadet:   {folder}/gone.mp4 is a link to nowhere.mp4, where nothing is; restore the file, or remove the link",
    ]


def test_a_link_to_nowhere_that_a_pattern_matches_is_a_video_that_fails(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    assert video_files.expand([str(tmp_path / "*.mp4")]) == [tmp_path / "gone.mp4"]


def test_losses_of_one_of_several_videos_are_in_the_last_line(
    model: Path, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged.write_video(tmp_path / "a.mp4", seconds=1.0)
    data = noisy.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert infer(model, tmp_path / "out", tmp_path, "--no-video") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"avadet: warning: 1 of 2 videos have losses, told above: {tmp_path}/cut.mp4"
    assert any("breaks off at" in line and "before the end that its header gives" in line for line in said)


def test_a_picture_too_large_for_h264_costs_the_video_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with av.open(str(tmp_path / "wide.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=2)
        stream.height, stream.width, stream.pix_fmt = 48, 16400, "yuv420p"
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 16400, 3), np.uint8), "rgb24")))
        output.mux(stream.encode(None))
    out = tmp_path / "out"
    assert infer(model, out, tmp_path / "wide.mkv", "--no-page") == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"avadet: warning: {out}/wide.mp4 is left out: pictures of {tmp_path}/wide.mkv are 16400x48 px, "
        "too large for H.264"
    )
    assert sorted(path.name for path in out.iterdir()) == [
        f"wide.{kind}" for kind in ("ava.csv", "events.csv", "jsonl", "run.json")
    ]
    assert json.loads((out / "wide.run.json").read_text())["results"]["wide.mp4"] is None
    assert infer(model, out, tmp_path / "wide.mkv", "--no-page") == 0
    assert "already done" in capsys.readouterr().out


@pytest.mark.parametrize(("share", "code"), [(1.0, 0), (0.6, 1)])
def test_infer_keeps_what_came_of_a_web_recording(
    share: float, code: int, model: Path, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with WebServer(noisy.read_bytes(), share) as server:
        url = server.url.replace("http://", f"HTTP://me:{SECRET}@") + f"?token={SECRET}"
        assert infer(model, tmp_path, url, "--timeout", 2) == code
    said = capsys.readouterr()
    assert (" breaks off at " in said.err.splitlines()[-1]) == (code == 1)
    assert SECRET not in said.out + said.err
    (csv,) = tmp_path.glob("*.ava.csv")
    times_s = set(read_detections(csv).times_s.tolist())
    assert {0.0, 1.0, 2.0, 3.0} <= times_s if code == 0 else {0.0, 1.0} <= times_s < {0.0, 1.0, 2.0, 3.0}
    assert len(list(tmp_path.glob("*.mp4"))) == 1 and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("share", "code"), [(1.0, 0), (0.6, 1)])
def test_detect_persons_reads_from_the_web(
    share: float, code: int, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with WebServer(noisy.read_bytes(), share) as server:
        url = f"{server.url}?token={SECRET}"
        assert main(["detect-persons", url, "--out", str(tmp_path / "boxes.csv")]) == code
    said = capsys.readouterr()
    assert (" breaks off at " in said.err.splitlines()[-1]) == (code == 1)
    assert SECRET not in said.out + said.err
    rows = [line.split(",")[:2] for line in (tmp_path / "boxes.csv").read_text().splitlines()]
    assert {row[0] for row in rows} == {"clip"}
    assert [float(row[1]) for row in rows][:2] == [0.0, 1.0]
    assert len(rows) == 4 if code == 0 else 2 <= len(rows) < 4


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (f"s3://bucket/clip.mp4?sig={SECRET}", "s3://bucket cannot be read: addresses may begin with rtsp://"),
        (f"ftp://me:{SECRET}@host/clip.mp4", "ftp://host cannot be read: addresses may begin with rtsp://"),
    ],
)
def test_addresses_that_nothing_reads(
    word: str, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(model, tmp_path / "out", word) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"avadet: error: {message}") and SECRET not in said
    assert not (tmp_path / "out").exists()


def test_an_address_in_a_place_of_paths_is_printed_without_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"https://me:{SECRET}@host/truth.csv?sig={SECRET}"
    assert main(["eval", address, "--gt", address, "--debug"]) == 1
    said = capsys.readouterr()
    assert "https:/host/truth.csv?..." in said.err and SECRET not in said.out + said.err


def test_a_camera_is_not_for_detect_persons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect-persons", f"rtsp://me:{SECRET}@cam/1", "--out", str(tmp_path / "boxes.csv")]) == 1
    assert capsys.readouterr().err == (
        "avadet: error: rtsp://cam is live; detect-persons reads recordings, avadet infer reads live sources\n"
    )


def test_an_address_of_this_machine_is_a_path(tmp_path: Path) -> None:
    assert video_files.expand([f"file://{tmp_path}/my%20clip.mp4"]) == [tmp_path / "my clip.mp4"]


def test_a_sound_file_with_a_cover_is_called_that(tmp_path: Path) -> None:
    from avadet.video.read import probe

    with av.open(str(tmp_path / "song.mp3"), "w") as output:
        sound = output.add_stream("libmp3lame", rate=44100, layout="stereo")
        cover = output.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        output.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    with pytest.raises(AvadetError, match="has no video stream, only audio and cover art, which does not count; give"):
        probe(tmp_path / "song.mp3")


def test_an_animated_webp_is_called_that(tmp_path: Path) -> None:
    """Its header: RIFF, size, WEBP, a VP8X chunk of ten bytes whose flags say animation, then a frame."""
    from avadet.video.refusals import nothing_decodes

    (tmp_path / "a.webp").write_bytes(b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x3f\0\0\x3f\0\0")
    assert "is an animated WebP, which FFmpeg cannot decode; convert it" in str(nothing_decodes(tmp_path / "a.webp"))
    (tmp_path / "b.webp").write_bytes(b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x3f\0\0\x3f\0\0")
    assert "damaged or cut short" in str(nothing_decodes(tmp_path / "b.webp"))
