"""Many small cases in one test: as `pytest.mark.parametrize`, without a collected test for each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

__all__ = ["each_case"]

Test = Callable[..., None]
FAILURES = (Exception, pytest.fail.Exception)


def each_case(
    names: str | Sequence[str], values: Iterable[Any], ids: Iterable[str] | Callable[[Any], Any] | None = None
) -> Callable[[Test], Test]:
    """Runs the test once for each of `values`, all of them even where some fail; tells which failed.

    For cases of milliseconds, where setting up a test for each costs more than the case: `parametrize` is for cases
    that take time, carry a mark, or are often run by themselves. Takes the arguments of `pytest.mark.parametrize`
    (but for `indirect`) and goes with it and with itself. Each case has `tmp_path`, `monkeypatch` and captured output
    (`capsys`, `capfd`, `caplog`) for itself; every other fixture is set up once.
    """
    words = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    ids = ids if ids is None or callable(ids) else list(ids)
    cases = [_case(words, number, value, ids) for number, value in enumerate(values)]

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)
        assert set(words) <= signature.parameters.keys(), f"{test.__name__} takes no {words}"

        @functools.wraps(test)
        def run_all(**fixtures: Any) -> None:
            failed: dict[str, BaseException] = {}
            skipped: list[str] = []
            for number, (name, arguments) in enumerate(cases):
                try:
                    with pytest.MonkeyPatch.context() as patch:
                        test(**_own(fixtures, number, patch), **arguments)
                except pytest.skip.Exception as told:
                    skipped.append(str(told))
                except FAILURES as error:
                    error.add_note(f"in case [{name}] of {test.__name__}")
                    failed[name] = error
            _report(failed, len(cases))
            if len(skipped) == len(cases):
                pytest.skip(skipped[0] if skipped else "no cases")

        left = [parameter for name, parameter in signature.parameters.items() if name not in words]
        run_all.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run_all

    return decorate


def _case(words: list[str], number: int, value: Any, ids: Any) -> tuple[str, dict[str, Any]]:
    """A case's name and arguments, from what `pytest.mark.parametrize` takes."""
    own_id = None
    if hasattr(value, "marks"):  # a pytest.param
        assert not value.marks, "a case of each_case carries no mark: use pytest.mark.parametrize"
        own_id, values = value.id, value.values
    else:
        values = (value,) if len(words) == 1 else tuple(value)
    assert len(values) == len(words), f"expected values of {words}, got {values}"
    if own_id is None and ids is not None:
        own_id = "-".join(str(ids(one)) for one in values) if callable(ids) else ids[number]
    return own_id or f"{number}: {', '.join(map(_short, values))}", dict(zip(words, values))


def _short(value: Any) -> str:
    text = getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _own(fixtures: dict[str, Any], number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The fixtures as a test of its own would have them."""
    own = dict(fixtures)
    if "tmp_path" in own:
        folder: Path = own["tmp_path"] / str(number)
        folder.mkdir()
        own["tmp_path"] = folder
    if "monkeypatch" in own:
        own["monkeypatch"] = patch
    for name in own.keys() & {"capsys", "capfd", "capsysbinary", "capfdbinary"}:
        own[name].readouterr()
    if "caplog" in own:
        own["caplog"].clear()
    return own


def _report(failed: dict[str, BaseException], total: int) -> None:
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise BaseExceptionGroup(f"{len(failed)} of {total} cases failed: {'; '.join(failed)}", list(failed.values()))
