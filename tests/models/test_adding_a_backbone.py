"""The page for newcomers, followed to the letter on a copy of the package: one file, one row, nothing else."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-backbone.md").read_text(encoding="utf-8")
SCRIPT = """
import sys
from pathlib import Path
import avadet
assert Path(avadet.__file__).is_relative_to(Path.cwd()), avadet.__file__
from avadet.cli.main import main
from avadet.config import read_config
from avadet.models.engines.export import export
from avadet.models.zoo import load, numbered_labels
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.training.setup import build_model, clip_spec

config = read_config(Path(sys.argv[1]), sys.argv[2:])
labels = numbered_labels(3)
model, origin = build_model(config.model, config.clip, labels)
print(type(model.backbone).__name__, origin)
arguments = {**config.model.arguments, "head": {"resolution": config.model.resolution}}
card = make_card("mine", config.model.family, arguments, clip_spec(config.clip), labels)
save_model(Path("mine.safetensors"), model, card)
print(export(load("mine.safetensors"), "mine.onnx", size_hw=(64, 96)).is_open)
"""


def block(kind: str) -> str:
    """The one code block of a kind."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    text: str = found
    return text


def commands() -> list[list[str]]:
    """What the page has the reader type, in words."""
    text = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]


def run(folder: Path, *words: str) -> str:
    """What Python prints for these words in a folder, whose package it imports; fails if it does."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which the page was applied."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("avadet", "tests", "tools", "configs", "data_specs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "avadet/models/backbones/pulse.py").write_text(block("python"))
    sizes = folder / "avadet/models/sizes.py"
    before, brace, after = sizes.read_text().partition("\n}\n")
    assert brace and "SIZES: dict[str, Size] = {" in before
    sizes.write_text(f"{before}\n{block('python row')}}}\n{after}")
    (folder / "tests/models/test_pulse.py").write_text(block("python test"))
    return folder


@pytest.mark.slow
def test_laws_numbers_recipes_export_and_its_own_tests_pass(scratch: Path) -> None:
    *_, command = [words for words in commands() if words[0] == "python"]
    files = [word for word in command if word.startswith("tests/")]
    assert files and command[:3] == ["python", "-m", "pytest"] and command[-2:] == ["-k", "pulse or stated_sizes"]
    more = ["tests/models/test_pulse.py", "tests/training/test_recipes.py", "tests/models/test_backends.py"]
    chosen = "pulse or stated_sizes or known_kind or recipe_for_every or published_size_has or families_and_keys"
    lines = run(scratch, "-m", "pytest", "--slow", "-rA", "-p", "no:cacheprovider", *files, *more, "-k", chosen)
    passed = [line for line in lines.splitlines() if line.startswith("PASSED")]
    assert sum("test_laws.py" in line for line in passed) >= 20
    for name in (*files, *more):
        assert any(name in line for line in passed), name


def test_it_is_shown_as_the_page_says(scratch: Path) -> None:
    family, show = (words for words in commands() if words[:2] == ["avadet", "models"])
    assert "pulse_s  8x4 at 224 px  0.41 M  1.5" in run(scratch, "-m", *family)
    assert run(scratch, "-m", *show) == block("text")


def test_the_config_builds_it_and_an_export_holds(scratch: Path) -> None:
    (train,) = (words for words in commands() if words[:2] == ["avadet", "train"])
    found = run(scratch, "-c", SCRIPT, *train[2:], "data.root=nowhere").splitlines()
    assert found == ["Pulse initial weights: random", "True"]
