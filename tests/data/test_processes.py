"""Tasks in processes of their own: in what order, and what happens to those that do not start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from avadet.data import processes
from avadet.data.processes import outcomes
from avadet.errors import AvadetError


class Unpickled:
    """Work that calls a function where a process reads it, that is as it starts."""

    def __init__(self, function: object, argument: object) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> tuple:
        return self.call

    def __call__(self, task: object) -> object:
        return task


def test_every_task_is_done_once() -> None:
    assert sorted(outcomes(abs, [-3, 5, -4, 0], 2)) == [(-4, 4), (-3, 3), (0, 0), (5, 5)]
    assert list(outcomes(abs, [], 2)) == []
    assert multiprocessing.active_children() == []


def told_as_it_starts(numbers: tuple[int, ...]) -> Callable[[int], int]:
    """What a process works with, after signals that came before it could say what it makes of them."""
    for number in numbers:
        signal.raise_signal(number)
    return told


def told(number: int) -> int:
    """Work during which a signal comes."""
    signal.raise_signal(number)
    return number


def test_what_tells_a_run_to_stop_ends_no_process_of_it() -> None:
    """A terminal sends Ctrl-C to a whole group; tasks that are at work, or about to begin, are for the run to end."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    work = Unpickled(told_as_it_starts, numbers)
    assert sorted(outcomes(work, list(numbers), 2)) == sorted((number, number) for number in numbers)


@pytest.mark.parametrize(
    ("function", "argument", "said"),
    [
        (os._exit, 3, "a worker process ended with exit code 3 as it started; use fewer workers, or one"),
        (time.sleep, 600, "a worker process has not started within 0.5 s; use fewer workers, or one"),
    ],
)
def test_a_process_that_does_not_start_is_one_line(
    function: object, argument: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_S", 60.0 if function is os._exit else 0.5)
    with pytest.raises(AvadetError, match=said), closing(outcomes(Unpickled(function, argument), [1], 2)) as done:
        list(done)
    assert multiprocessing.active_children() == []
