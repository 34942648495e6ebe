"""The table of planted faults speaks of the code as it is; the faults themselves are planted by tools/mutants.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mutants
import pytest
from mutants import Fault, planted, read_faults

FAULTS = read_faults()
ROOMS = ("evaluation", "data", "training", "video", "inference")


def test_there_are_faults_of_every_room() -> None:
    assert len(FAULTS) >= 40
    for room in ROOMS:
        assert sum(fault.file.startswith(f"avadet/{room}/") for fault in FAULTS) >= 5, room


def test_no_fault_is_stale() -> None:
    assert {fault.name: why for fault in FAULTS if (why := fault.stale())} == {}


def test_what_makes_a_fault_stale() -> None:
    fault = FAULTS[0]
    assert not fault.stale()
    file, _, node = fault.test.partition("::")
    for changed, said in (
        (replace(fault, new=fault.old), "the same"),
        (replace(fault, file="avadet/nowhere.py"), "there is no avadet/nowhere.py"),
        (replace(fault, old="nowhere"), "stands 0 times"),
        (replace(fault, old="import"), "expected once"),
        (replace(fault, test=f"tests/nowhere.py::{node}"), "there is no tests/nowhere.py"),
        (replace(fault, test=f"{file}::test_nowhere"), "there is no test "),
    ):
        assert said in changed.stale()


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A tree with one line of code and a test of a part of it."""
    (tmp_path / "code.py").write_text("def price(count, each): return count * each\n")
    (tmp_path / "test_code.py").write_text("def test_price():\n    assert '* each' in open('code.py').read()\n")
    return tmp_path


CAUGHT = Fault("price", "code.py", "* each", "+ each", "test_code.py")
SURVIVES = replace(CAUGHT, old="count,", new="number,")


@pytest.mark.parametrize(
    ("fault", "code", "said"), [(CAUGHT, 1, "caught"), (SURVIVES, 0, "SURVIVED"), (CAUGHT, 2, "py")]
)
def test_a_fault_is_there_while_tests_run_and_gone_afterwards(
    fault: Fault, code: int, said: str, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (house / "code.py").read_text()

    def staged(root: Path, targets: list[str]) -> tuple[int, str]:
        assert targets == ["test_code.py"] and (root / "code.py").read_text() == before.replace(fault.old, fault.new)
        return code, "what pytest said"

    monkeypatch.setattr(mutants, "run_tests", staged)
    assert mutants.judge(fault, house)[0].startswith(said)
    assert (house / "code.py").read_text() == before
    with pytest.raises(KeyboardInterrupt), planted(fault, house):
        raise KeyboardInterrupt
    assert (house / "code.py").read_text() == before


@pytest.mark.slow
def test_tests_are_run_in_the_tree_with_the_fault(house: Path) -> None:
    assert (mutants.judge(CAUGHT, house)[0], mutants.judge(SURVIVES, house)[0]) == ("caught", "SURVIVED")


def test_what_is_red_without_a_fault_is_found_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def staged(_root: Path, targets: list[str], **_how: object) -> tuple[int, str]:
        runs.append(targets)
        return int("c" in targets), f"{targets} ran"

    monkeypatch.setattr(mutants, "run_tests", staged)
    assert mutants.red_without(Path(), list("abcd")) == {"c": "['c'] ran"}
    assert runs == [list("abcd"), list("ab"), list("cd"), ["c"], ["d"]]
    assert mutants.red_without(Path(), list("ab")) == {}


def test_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FAULTS)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("- {name: a, file: b, old: c, new: d}", "a: .*missing.*'test'"),
        ("- {name: a, file: b, old: c, new: d, test: e, tset: f}", "unexpected keyword argument 'tset'"),
        ("- &one {name: a, file: b, old: c, new: d, test: e}\n- *one", "a is there twice"),
    ],
)
def test_a_table_with_a_slip_is_refused(entry: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "slips.yaml").write_text(entry)
    with pytest.raises(ValueError, match=said):
        read_faults(tmp_path)
