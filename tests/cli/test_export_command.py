"""`avadet export`: the file, what is said of it, and what is refused; and infer with a backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from each_case import each_case

from avadet.cli.main import main
from avadet.models import zoo

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


@pytest.mark.slow
def test_bundled_model_is_exported_and_loads_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tiny.onnx"
    assert main(["export", "tiny", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}, " in said and "tiny, 21 actions" in said
    frames = zoo.load("tiny").spec.num_frames
    assert f"takes clips uint8 (B, 3, {frames}, H, W) and rois (R, 5): any number of clips, any picture size" in said
    assert "its scores differ from torch's by at most " in said
    again = zoo.load(out)
    assert (again.labels, again.spec) == (zoo.load("tiny").labels, zoo.load("tiny").spec)
    assert main(["export", "tiny", str(out)]) == 1
    assert f"{out} exists; use --overwrite to replace it" in capsys.readouterr().err


@each_case(
    ("arguments", "message"),
    [
        (["tiny", "model.pt"], "the file's name must end in .onnx, got model.pt"),
        (["old.onnx", "new.onnx"], "old.onnx is an ONNX file already; give a name of avadet models or a checkpoint"),
        (["tinny", "model.onnx"], "unknown model 'tinny'; did you mean tiny"),
    ],
)
def test_wrong_arguments_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@each_case("size", ["256", "256x", "16x256", "-1x64", "axb"])
def test_sizes_are_checked(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "tiny", "model.onnx", f"--size={size}"])
    assert "must be HxW in pixels, 32 or more each, such as 256x341" in capsys.readouterr().err
