"""`avadet configs`: the list of recipes, and one of them with the origin of each value."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from each_case import each_case

from avadet.cli.main import main
from avadet.config import read_config
from avadet.recipes import recipe_names


def test_every_recipe_is_listed_once_in_the_group_of_its_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    text = capsys.readouterr().out
    listed = re.findall(r"^  (\S+)", text, re.MULTILINE)
    assert sorted(listed) == recipe_names()
    groups = {title: int(count) for title, count in re.findall(r"^(\S.*): (\d+)$", text, re.MULTILINE)}
    assert groups["JHMDB-21 split 1"] == sum(name.startswith("jhmdb21/") for name in recipe_names())
    assert sum(groups.values()) == len(listed)
    assert re.search(r"^  ava/x3d_m +x3d_m +16x5 at 256 px +x3d_m_k400 +X3D-M$", text, re.MULTILINE)


def test_the_list_can_be_narrowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--family", "slow_r50", "--data", "ava", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"ava/slow_4x16_r50", "ava/mmaction2_slow_8x8_r50_avak"} <= {one["name"] for one in facts}
    assert all(one["family"] == "slow_r50" and one["name"].startswith("ava/") for one in facts)


def test_one_is_shown_with_the_origin_of_each_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is printed is a config that reads back equal."""
    overrides = ["optim.lr=0.2", "model.arguments.head.resolution=5"]
    assert main(["configs", "show", overrides[0], "ava/x3d_m", overrides[1]]) == 0
    text = capsys.readouterr().out
    lines = {line.partition(":")[0].strip(): line.partition("  # ")[2] for line in text.splitlines() if "  # " in line}
    assert lines["family"] == "configs/_base_/models/x3d.yaml (x3d_m)"
    assert lines["stride"] == "configs/ava/conv_nets.yaml (x3d_m)"
    assert lines["spec"] == "configs/_base_/data/ava.yaml"
    assert lines["momentum"] == "default" and lines["lr"] == "override"
    assert re.search(r"resolution: 5 +# override", text) and re.search(r"aligned: true +# configs/_base_/heads", text)
    assert "# X3D-M, 16 frames every 5 on AVA v2.2." in text and "\n# Published: none for this recipe; its auth" in text
    assert "avadet train ava/x3d_m data.root=DIR\n" in text
    assert all(len(line) <= 120 for line in text.splitlines() if line.startswith("#"))
    copy = tmp_path / "copy.yaml"
    copy.write_text(text)
    assert read_config(copy) == read_config("ava/x3d_m", overrides)


@each_case("name", ["jhmdb21/tiny", "ava/i3d_nl_r50_lfb", "custom/tiny"])
def test_every_leaf_has_an_origin(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["values"] == read_config(name).model_dump(mode="json")
    assert all(where == "default" or where.startswith("configs/") for where in shown["origins"].values())
    assert {"model.family", "optim.lr", "train.shard"} <= shown["origins"].keys()


@each_case(
    ("words", "message"),
    [
        (["show"], "one recipe is shown by: avadet configs show NAME"),
        (["ava/x3d_m"], "one recipe is shown by: avadet configs show ava/x3d_m"),
        (["show", "ava/x3d_n"], "did you mean ava/x3d_"),
        (["--family", "x3dm"], "unknown family 'x3dm'; did you mean x3d_m"),
        (["--data", "avv"], "unknown data set 'avv'; did you mean ava"),
        (["optim.lr=1"], "avadet configs show NAME optim.lr=1"),
        (["show", "ava/x3d_m", "optim.lrr=1"], "optim.lrr: unknown key; did you mean 'lr'?"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_names_work_as_the_wheel_lays_them_out(tmp_path: Path) -> None:
    """In an installation the configs lie inside the package, tables and bases with them."""
    root = Path(__file__).resolve().parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package in wheel["packages"]:
        shutil.copytree(root / package, tmp_path / package, ignore=ignored)
    for source, target in wheel["force-include"].items():
        shutil.copytree(root / source, tmp_path / target)
    words = ["-m", "avadet", "configs", "show", "custom/tiny", "data.spec=x.yaml"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "configs/_base_/augment/crops.yaml" in done.stdout and "spec: x.yaml" in done.stdout
