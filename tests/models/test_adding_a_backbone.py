"""The page for newcomers does what it says: its code blocks are a backbone that obeys the laws."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_laws
import torch

from avadet.cli.main import main
from avadet.config import read_config
from avadet.models import families, zoo
from avadet.models.sizes import SIZES
from avadet.training.setup import build_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-backbone.md").read_text(encoding="utf-8")
FAMILY = "backbones.pulse"


def block(kind: str) -> str:
    """The one code block of a kind."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    text: str = found
    return text


def commands() -> list[list[str]]:
    """What the page has the reader type, in words."""
    text = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    return [shlex.split(line)[1:] for line in text.splitlines()]


def line_of(kind: str) -> dict[str, Any]:
    """A line of a dictionary, as the page shows it."""
    found: dict[str, Any] = eval(f"{{{block(kind)}}}", dict(vars(families)))
    return found


@pytest.fixture(scope="module", autouse=True)
def added() -> Iterator[None]:
    """The backbone, where the page puts it."""
    with pytest.MonkeyPatch.context() as patch:
        module = types.ModuleType(f"avadet.models.{FAMILY}")
        exec(compile(block("python"), "adding-a-backbone.md", "exec"), module.__dict__)
        patch.setitem(sys.modules, module.__name__, module)
        (sizes,) = line_of("python families").values()
        patch.setitem(families.FAMILIES, FAMILY, sizes)
        for name in sizes:
            patch.setitem(SIZES, name, zoo._lazy(FAMILY, name))
        for name, arguments in line_of("python small").items():
            patch.setitem(test_laws.SMALL, name, arguments)
        yield


def laws() -> list[Callable[..., None]]:
    """The laws that can be held against one model."""
    known = {"model", "architecture", "clips", "logits"}
    functions = [value for name, value in vars(test_laws).items() if name.startswith("test_")]
    found = [law for law in functions if inspect.signature(law).parameters.keys() & known]
    return [law for law in found if inspect.signature(law).parameters.keys() <= known]


def test_the_line_names_the_builders_of_the_file() -> None:
    assert set(line_of("python families")) == {FAMILY}
    assert set(line_of("python families")[FAMILY]) == set(line_of("python small"))
    test_laws.test_every_architecture_is_on_trial()


@pytest.mark.parametrize("name", sorted(line_of("python small")))
def test_it_obeys_the_laws(name: str) -> None:
    assert len(laws()) >= 10
    fixtures: dict[str, Any] = {
        "architecture": name,
        "model": inspect.unwrap(test_laws.model)(name),
        "clips": inspect.unwrap(test_laws.clips)(),
    }
    with torch.no_grad():
        fixtures["logits"] = fixtures["model"](fixtures["clips"], test_laws.ROIS)
    for law in laws():
        law(**{key: fixtures[key] for key in inspect.signature(law).parameters})


def test_its_own_tests_pass() -> None:
    scope: dict[str, Any] = {}
    exec(compile(block("python test"), "adding-a-backbone.md", "exec"), scope)
    tests = [value for name, value in scope.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_it_is_shown_as_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    family, show, _ = commands()
    assert main(family) == 0
    assert "pulse_s  8x4 at 224 px  0.41 M" in capsys.readouterr().out
    assert main(show) == 0
    assert capsys.readouterr().out == block("text")


def test_the_config_builds_it() -> None:
    command, path, *overrides = commands()[2]
    assert command == "train"
    config = read_config(ROOT / path, overrides)
    labels = zoo.numbered_labels(21)
    model, origin = build_model(config.model, config.clip, labels)
    assert type(model.backbone).__name__ == "Pulse"
    assert origin == "initial weights: random"
