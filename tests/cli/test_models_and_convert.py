"""`avadet models` and `avadet convert`: the list, and another project's checkpoint in avadet's own form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from each_case import each_case

from avadet.cli.main import main
from avadet.models import zoo
from avadet.models.build import build

CLIPS = torch.linspace(0, 1, 3 * 4 * 64 * 64).view(1, 3, 4, 64, 64)
ROIS = torch.tensor([[0.0, 4, 4, 40, 60]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AVADET_CACHE", str(folder))
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A small Slow as `torch.save` writes it."""
    torch.manual_seed(0)
    spec = zoo.clip_of(zoo.card_of(zoo.entry_of("slow_r50_4x16_ava")))
    small = build("slow_r50", 80, pixels=spec.pixels, **{"width": 4, "depths": [1, 1, 1, 1], "head": {"aligned": True}})
    path = tmp_path / "small.pyth"
    torch.save({"model_state": small.state_dict()}, path)
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines that `avadet models` prints."""
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    lines = said(capsys)
    assert lines[0].split() == ["name", "data", "set", "clip", "params", "GFLOPs", "mAP", "size", "here"]
    first = [line.split()[0] for line in lines if line]
    assert set(first) > {entry.name for entry in zoo.models()}
    assert lines[2].endswith("see WEIGHTS.md:")
    assert lines[3].startswith("tiny ") and lines[3].endswith("bundled")
    assert sum(line.endswith(" no") for line in lines) == len(zoo.models()) - 2
    assert "|vivit|" in lines[-2] and str(cache) in lines[-1]


def test_scores_of_two_data_sets_or_protocols_never_stand_in_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys)
    table = lines[: next(row for row, line in enumerate(lines) if line.startswith("mAP: "))]
    heading, groups = "", {}
    for line in table[1:]:
        if line.endswith(":"):
            heading = line.removesuffix(":")
        elif line:
            groups.setdefault(heading, []).append(line.split()[0])
    protocols = {entry.name: zoo.card_of(entry)["numbers"]["protocol"] for entry in zoo.models() if not entry.is_start}
    assert {name: heading for heading, names in groups.items() for name in names} == protocols
    assert groups["test videos of JHMDB-21 split 1, every annotated frame, annotated boxes"] == ["tiny_jhmdb"]
    multisports = groups["validation videos of MultiSports, whole frames, short side 256, detected people"]
    assert len(multisports) == 2 and all(name.endswith("_multisports") for name in multisports)
    assert (
        "slowfast_r50_8x8_ava" in groups["validation videos of AVA v2.2, whole frames, short side 256, detected people"]
    )


def test_a_bundled_model_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads("\n".join(said(capsys, "show", "tiny_jhmdb", "--json")))
    assert facts["parameters"] == zoo.card_of(zoo.entry_of("tiny_jhmdb"))["parameters"] == 312_810
    assert facts["multiply_adds_g"] == facts["GFLOPs"] == 0.45
    assert (facts["classes"], facts["class names"][:2]) == (21, ["brush_hair", "catch"])
    lines = said(capsys, "show", "tiny_jhmdb")
    for name in ("protocol", "licence", "scored on", "mAP", "classes"):
        assert any(line.startswith(f"{name:<12} ") for line in lines), name
    # The frame's view of 192 px: three stages of 24, 12 and 6 rows, of 12 frames each.
    for shape in ("12x48x24x24", "12x96x12x12", "12x192x6x6"):
        assert any("x ShuffleBlock" in line and line.endswith(shape) for line in lines)
    assert any(line.startswith("312,810 parameters; 0.45 GFLOPs") for line in lines)


def test_a_calibrated_model_is_shown_with_what_each_class_was_learnt_from(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads("\n".join(said(capsys, "show", "tiny", "--json")))
    assert facts["parameters"] == zoo.card_of(zoo.entry_of("tiny"))["parameters"]
    assert [row["class"] for row in facts["measured"]] == facts["class names"]
    assert all(row["labels"] >= 28 for row in facts["measured"])
    lines = said(capsys, "show", "tiny")
    stand = next(line for line in lines if line.startswith("stand "))
    assert "captions" in stand and " yes " in stand


def test_a_cached_model_is_shown_with_the_size_of_its_file(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    cache.mkdir()
    zoo.entry_of("slow_r50_4x16_ava").path.write_bytes(bytes(3_000_000))
    facts = json.loads("\n".join(said(capsys, "show", "slow_r50_4x16_ava", "--json")))
    assert (facts["size"], facts["here"]) == ("3 MB", "cached")
    assert facts["url"].startswith("https://") and "Apache-2.0" in facts["licence"]
    assert facts["parameters"] == 31_798_416
    assert facts["multiply_adds_g"] == pytest.approx(facts["GFLOPs"], abs=0.06)
    backbone, head = facts["parts"]
    assert backbone["shapes"] == [[1, 2048, 4, 16, 16]]
    assert head["parameters"] == 2048 * 80 + 80
    assert sum(part["parameters"] for part in backbone["parts"]) == backbone["parameters"]


def test_a_family_shows_its_sizes_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = said(capsys, "--family", "slowfast")
    assert head.split() == ["name", "clip", "params", "GFLOPs", "weights"]
    assert rows[0].split()[:8] == ["slowfast_r50", "32x2", "at", "256", "px", "33.83", "M", "96.9"]
    assert rows[1].split()[:5] == ["slowfast", "any", "size", "-", "-"]
    assert any(row.startswith("slowfast_r101_16x8_ava ") for row in rows)
    facts = json.loads("\n".join(said(capsys, "--family", "slowfast", "--json")))
    assert [one["name"] for one in facts["sizes"]] == ["slowfast_r50", "slowfast"]
    assert "slowfast_r50_8x8_ava" in facts["sizes"][0]["weights"]
    assert {one["name"] for one in facts["weights"]} >= {"slowfast_r50_8x8_ava", "slowfast_r101_8x8_ava"}


def test_a_family_without_weights_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--family", "mtv")[-1] == "no weights of this family load by name"


def test_a_backbone_is_shown_with_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(said(capsys, "show", "r3d_18"))
    assert "R3D-18: all kernels 3x3x3" in text
    assert "  layer4  2 x BasicBlock  24,908,800  1x512x2x7x7" in text
    assert "33,207,312 parameters; 40.7 GFLOPs" in text


def test_weights_to_start_from_are_told_from_detectors(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys)
    detectors = lines[: next(row for row, line in enumerate(lines) if line.startswith("mAP: "))]
    assert not any(line.startswith("r3d_18_k400 ") for line in detectors)
    assert any(line.startswith("r3d_18_k400 ") and " 63.2 " in line for line in lines)
    shown = said(capsys, "show", "r3d_18_k400")
    assert "to train     model.family=r3d_18 model.init=r3d_18_k400" in shown
    assert any(line.startswith("licence") and "BSD-3-Clause" in line for line in shown)


@each_case(
    ("name", "pin"),
    [
        ("tiny", "in the package"),
        ("r3d_18_k400", "SHA-256 begins with b3b3357e"),
        ("x3d_xs_k400", "not pinned: no hash known, no version in the address"),
        ("videomae_s_k400", "revision 1bf2b82c809609f5df1ea7648aee577e2e486b63"),
    ],
)
def test_what_fixes_the_file_is_told(capsys: pytest.CaptureFixture[str], name: str, pin: str) -> None:
    assert f"pin          {pin}" in said(capsys, "show", name)


@each_case(
    ("arguments", "message"),
    [
        (["show", "slowfast_r50_8x8"], "unknown model 'slowfast_r50_8x8'; did you mean slowfast_r50_8x8_ava"),
        (["show", "vivit_b"], "did you mean vivit or vivit_b_16x2 or"),
        (["show", "resnet3d"], "resnet3d builds any size, by model.arguments; its published sizes: slow_r50, c2d_r50"),
        (["tiny"], "one model is shown by: avadet models show tiny"),
        (["show"], "one model is shown by: avadet models show NAME"),
        (["--family", "vivi"], "unknown family 'vivi'; did you mean vivit"),
    ],
)
def test_what_makes_no_sense_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["models", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_converted_model_gives_the_same_scores(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own" / "small.safetensors"
    assert main(["convert", str(foreign), str(out), "--labels", "ava_v2.1"]) == 0
    text = capsys.readouterr().out
    assert "0 missing; 0 unexpected; 0 reshaped" in text and f"wrote {out}" in text
    first, again = zoo.load(foreign), zoo.load(out)
    assert sum(again.labels.evaluated) == 60
    with torch.no_grad():
        np.testing.assert_array_equal(first.model(CLIPS, ROIS), again.model(CLIPS, ROIS))


def test_nothing_is_overwritten_unasked(foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.safetensors"
    out.write_text("mine")
    assert main(["convert", str(foreign), str(out)]) == 1
    assert f"{out} exists; use --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["convert", str(foreign), str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "jhmdb21"], "the checkpoint has 80 classes, label map jhmdb21 has 21"),
        (["--labels", "nothing"], "unknown label map"),
    ],
)
def test_labels_must_fit(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["convert", str(foreign), str(tmp_path / "small.safetensors"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "small.safetensors").exists()


def test_a_partial_checkpoint_is_converted_only_when_asked(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(foreign, weights_only=True)
    del content["model_state"]["backbone.res5.0.branch2.norm_c.bias"]
    torch.save(content, foreign)
    out = tmp_path / "small.safetensors"
    assert main(["convert", str(foreign), str(out)]) == 1
    assert "1 missing (backbone.res5.0.branch2.norm_c.bias)" in capsys.readouterr().err
    assert main(["convert", str(foreign), str(out), "--partial"]) == 0
    assert out.exists()
