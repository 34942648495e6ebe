"""Cases that share a test: each runs, and those that fail are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from each_case import each_case


def test_every_case_runs_and_every_failure_is_named() -> None:
    ran: list[int] = []

    @each_case("number", [1, 2, pytest.param(3, id="three"), 4])
    def case(number: int) -> None:
        ran.append(number)
        assert number % 2 == 0

    with pytest.raises(BaseExceptionGroup, match=r"2 of 4 cases failed: 0: 1; three") as told:
        case()
    assert ran == [1, 2, 3, 4]
    assert [error.__notes__ for error in told.value.exceptions] == [
        ["in case [0: 1] of case"],
        ["in case [three] of case"],
    ]


def test_a_single_failure_is_raised_as_it_is() -> None:
    @each_case(("a", "b"), [(1, 1), (1, 2)], ids=["equal", "other"])
    def case(a: int, b: int) -> None:
        assert a == b

    with pytest.raises(AssertionError) as told:
        case()
    assert told.value.__notes__ == ["in case [other] of case"]


def test_what_pytest_fails_is_a_failure_and_what_it_skips_is_none() -> None:
    @each_case("number", range(3))
    def case(number: int) -> None:
        if number == 1:
            pytest.skip("not this one")
        if number == 2:
            pytest.fail("this one")

    with pytest.raises(pytest.fail.Exception, match="this one"):
        case()

    @each_case("number", range(3))
    def nothing(number: int) -> None:
        pytest.skip("none of these")

    with pytest.raises(pytest.skip.Exception, match="none of these"):
        nothing()


def test_without_cases_nothing_passes() -> None:
    @each_case("number", [])
    def case(number: int) -> None:
        raise AssertionError

    with pytest.raises(pytest.skip.Exception, match="no cases"):
        case()


def test_a_mark_belongs_to_parametrize() -> None:
    with pytest.raises(AssertionError, match="carries no mark"):
        each_case("number", [pytest.param(1, marks=pytest.mark.slow)])


SEEN: list[tuple[str, int]] = []


@each_case("word", ["a", "b"])
@each_case("number", [1, 2])
def test_cases_of_cases_have_their_own_folder_patches_and_output(
    word: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""
    assert "AVADET_EACH_CASE" not in os.environ
    monkeypatch.setenv("AVADET_EACH_CASE", word)
    (tmp_path / "file").touch()
    print(word, number)
    SEEN.append((word, number))


def test_all_of_them_ran() -> None:
    assert SEEN[:4] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
