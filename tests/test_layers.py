"""The plan of the house, enforced: who may import whom, and what an import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "avadet"
HEAVY = {"torch", "torchvision", "cv2", "av", "pandas", "pytorchvideo", "trackers", "scipy", "onnxruntime", "tqdm"}
LAYER = {
    **dict.fromkeys(("errors", "failures", "files", "memory", "partials", "plain_pickle", "progress", "urls"), 0),
    **dict.fromkeys(("types", "boxes", "keyframes", "labels"), 0),
    **dict.fromkeys(["schema", "config", "video", "annotations", "evaluation", "figures"], 1),
    **dict.fromkeys(["persons", "models", "data"], 2),
    **dict.fromkeys(["training", "inference"], 3),
    "cli": 4,
}
TORCH_FREE = {
    *("errors", "failures", "files", "partials", "plain_pickle", "progress", "urls"),
    *("types", "boxes", "keyframes", "labels"),
    *("video", "annotations", "evaluation", "figures"),
}
NAMES_THAT_GATHER_EVERYTHING = {"utils", "util", "common", "helper", "helpers", "misc"}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str) -> set[str]:
    """Dotted names of every module that a source imports, wherever in the file the import stands."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "avadet")
    return modules


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("avadet.")} & LAYER.keys()


def violations(room: str, source: str) -> list[str]:
    """Rooms that a module of `room` imports although it lies in its own layer (L3) or above."""
    wrong = []
    for other in rooms(imported_modules(source)) - {room}:
        sideways_at_l3 = LAYER[other] == LAYER[room] == 3
        if LAYER[other] > LAYER[room] or sideways_at_l3:
            wrong.append(other)
    return sorted(wrong)


def test_the_rule_sees_upward_and_sideways_imports() -> None:
    assert violations("video", "from avadet.models.zoo import load") == ["models"]
    assert violations("training", "import avadet.inference.pipeline") == ["inference"]
    assert violations("types", "def late():\n    from avadet import cli") == ["cli"]
    assert violations("models", "from avadet.types import Frame\nfrom avadet.persons import load") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_layer_and_below(path: Path) -> None:
    assert violations(room_of(path), path.read_text()) == []


def test_every_module_lies_in_a_room_of_the_plan() -> None:
    assert {room_of(path) for path in SOURCES} <= LAYER.keys()


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) in TORCH_FREE], ids=lambda p: p.stem)
def test_the_lower_rooms_know_no_torch(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported_modules(path.read_text())}
    assert not roots & {"torch", "torchvision", "pytorchvideo"}


@pytest.mark.parametrize("room", ["annotations", "evaluation"])
def test_formats_and_scores_know_no_pictures(room: str) -> None:
    for path in (PACKAGE / room).glob("*.py"):
        assert not {name.split(".")[0] for name in imported_modules(path.read_text())} & {"cv2", "av"}, path.name


def test_pytorchvideo_transforms_are_never_imported() -> None:
    for path in SOURCES:
        assert not any(m.startswith("pytorchvideo.transforms") for m in imported_modules(path.read_text())), path


def test_only_the_command_line_prints_and_exits() -> None:
    for path in SOURCES:
        if room_of(path) == "cli":
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not names & {"print", "exit"}, f"{path.relative_to(PACKAGE)} prints or exits"


def test_no_module_gathers_everything() -> None:
    named = {part for path in SOURCES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not named & NAMES_THAT_GATHER_EVERYTHING


@pytest.mark.parametrize(
    "code",
    [
        "import avadet",
        "import avadet.__main__",
        "import contextlib, avadet.cli.main as m\nwith contextlib.suppress(SystemExit): m.main(['--help'])",
        "import contextlib, avadet.cli.main as m\nwith contextlib.suppress(SystemExit): m.main(['--version'])",
        "import contextlib, avadet.cli.main as m\nwith contextlib.suppress(SystemExit): m.main(['infer', '--help'])",
    ],
    ids=["import", "module", "help", "version", "infer-help"],
)
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    script = f"import sys\n{code}\nprint('LOADED', *sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"
