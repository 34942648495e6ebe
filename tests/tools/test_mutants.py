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
    """A tree with one line of code and a test of half of it."""
    (tmp_path / "code.py").write_text("def price(count, each): return count * each\n")
    test = "from pathlib import Path\ndef test_price():\n    text = Path('code.py').read_text()\n    assert '* each' in text"
    (tmp_path / "test_code.py").write_text(test + "\n")
    return tmp_path


def test_faults_are_caught_or_survive_and_are_gone_afterwards(house: Path) -> None:
    before = (house / "code.py").read_text()
    fault = Fault("price", "code.py", "* each", "+ each", "test_code.py")
    assert mutants.judge(fault, house)[0] == "caught"
    assert mutants.judge(replace(fault, old="count,", new="number,"), house)[0] == "SURVIVED"
    assert (house / "code.py").read_text() == before
    with pytest.raises(KeyboardInterrupt), planted(fault, house):
        assert "+ each" in (house / "code.py").read_text()
        raise KeyboardInterrupt
    assert (house / "code.py").read_text() == before


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
