"""The plan of the house, enforced: who may import whom, and what an import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from each_case import each_case

PACKAGE = Path(__file__).resolve().parents[1] / "avadet"
HEAVY = {"torch", "torchvision", "cv2", "av", "pandas", "pytorchvideo", "trackers", "scipy", "onnxruntime", "tqdm"}
LAYER = {
    **dict.fromkeys(("errors", "failures", "files", "memory", "partials", "plain_pickle", "progress", "urls"), 0),
    **dict.fromkeys(("types", "boxes", "keyframes", "labels"), 0),
    **dict.fromkeys(["recipes", "schema", "config", "video", "annotations", "evaluation", "synthetic"], 1),
    **dict.fromkeys(["persons", "models", "data"], 2),
    **dict.fromkeys(["training", "inference"], 3),
    "cli": 4,
}
TORCH_FREE = {
    *("errors", "failures", "files", "partials", "plain_pickle", "progress", "urls"),
    *("types", "boxes", "keyframes", "labels"),
    *("video", "annotations", "evaluation", "synthetic"),
}
NAMES_THAT_GATHER_EVERYTHING = {"utils", "util", "common", "helper", "helpers", "misc"}
FLOOR = {
    **dict.fromkeys(["cards", "devices", "download"], 0),
    **{"sizes": 1, "backbones": 1, "heads": 2, "detectors": 3, "build": 4, "checkpoints": 5},
    **dict.fromkeys(["loaded", "predict", "scores"], 6),
    **{"engines": 7, "zoo": 8},
}
"""Floors of the models room; a module imports from its own floor and from those below."""

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


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


@each_case("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_layer_and_below(path: Path) -> None:
    assert violations(room_of(path), path.read_text()) == []


def test_every_module_lies_in_a_room_of_the_plan() -> None:
    assert {room_of(path) for path in SOURCES} <= LAYER.keys()


def loads(module: str, source: str, modules: Collection[str]) -> set[str]:
    """Which of `modules` a module's imports load, wherever they stand: with each, packages that it is in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else str(node.module) for name in inside]
        else:
            continue
        for name in names:
            packages = [name[:end] for end in range(len(name)) if name[end] == "."]
            found.update({name, *(package for package in packages if not module.startswith(f"{package}."))})
    return (found & set(modules)) - {module}


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The largest sets of modules each of which leads to every other, none where no module leads back to itself."""
    reached = {module: set(others) for module, others in graph.items()}
    for middle in graph:
        for module in graph:
            if middle in reached[module]:
                reached[module] |= reached[middle]
    found: list[set[str]] = []
    for module in graph:
        circle = {other for other in reached[module] if module in reached.get(other, set())}
        if circle and circle not in found:
            found.append(circle)
    return found


def climbs(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """(importer, imported) in the models room, by short names, where the imported one lies on a higher floor."""
    short = {name: name.removeprefix("avadet.models.") for name in graph if name.startswith("avadet.models.")}
    pairs = [(short[module], short[other]) for module in short for other in graph[module] & short.keys()]
    return {pair for pair in pairs if FLOOR[pair[1].split(".")[0]] > FLOOR[pair[0].split(".")[0]]}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return {module: loads(module, path.read_text(), MODULES) for module, path in MODULES.items()}


def test_a_circle_is_seen_wherever_its_imports_stand() -> None:
    room = {
        "a.b": "def late():\n    from a.c import x",
        "a.c": "if TYPE_CHECKING:\n    import a.d.e",
        "a.d": "from a import b",
        "a.d.e": "from a.d import f",
        "a.d.f": "",
    }
    found = {module: loads(module, source, room) for module, source in room.items()}
    # a.c loads the package of a.d.e as well; a.d.e, which is inside, does not count as loading it anew.
    assert found == {"a.b": {"a.c"}, "a.c": {"a.d", "a.d.e"}, "a.d": {"a.b"}, "a.d.e": {"a.d.f"}, "a.d.f": set()}
    assert circles(found) == [{"a.b", "a.c", "a.d"}]
    assert circles({**found, "a.d": set()}) == []


def test_no_module_imports_itself_by_way_of_others(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_the_models_room_is_built_from_its_nets_upward(graph: dict[str, set[str]]) -> None:
    assert climbs(graph) == set(), "imports from a higher floor"


def test_every_module_of_the_models_room_has_a_floor() -> None:
    assert {module.split(".")[2] for module in MODULES if module.startswith("avadet.models.")} <= FLOOR.keys()


@each_case("path", [p for p in SOURCES if room_of(p) in TORCH_FREE], ids=lambda p: p.stem)
def test_the_lower_rooms_know_no_torch(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported_modules(path.read_text())}
    assert not roots & {"torch", "torchvision", "pytorchvideo"}


@each_case("room", ["annotations", "evaluation"])
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


@each_case(
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
