"""Running an iterator ahead in a thread: order, bounds, errors, and that nothing is left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from avadet.video.ahead import ahead


class Source:
    """Counts to a number, and how far it has come; knows in which thread it ran and whether it was closed."""

    def __init__(self, stop: int, fails_at: int | None = None) -> None:
        self.made = 0
        self.closed = False
        self.thread: threading.Thread | None = None
        self._stop = stop
        self._fails_at = fails_at

    def items(self) -> Iterator[int]:
        self.thread = threading.current_thread()
        try:
            for number in range(self._stop):
                if number == self._fails_at:
                    raise ValueError(f"no {number}")
                self.made += 1
                yield number
        finally:
            self.closed = True


def settled(source: Source, expected: int) -> int:
    """How many items a source has made, given time to make as many as expected, and then some more."""
    until_s = time.monotonic() + 10
    while source.made < expected and time.monotonic() < until_s:
        time.sleep(0.001)
    time.sleep(0.03)
    return source.made


def nothing(item: object) -> int:
    return 0


def test_every_item_in_order_made_in_another_thread() -> None:
    source = Source(1000)
    assert list(ahead(source.items(), nothing, max_items=3)) == list(range(1000))
    assert source.thread is not threading.current_thread()
    assert source.closed
    assert not source.thread.is_alive()


def test_nothing_begins_before_the_first_item_is_asked_for() -> None:
    source = Source(5)
    before = threading.active_count()
    running = ahead(source.items(), nothing)
    assert (source.made, threading.active_count()) == (0, before)
    running.close()
    assert source.made == 0


@pytest.mark.parametrize(
    ("max_items", "max_bytes", "made"),
    [
        (4, 1000, 1 + 4 + 1),  # taken, held, in the making
        (100, 35, 1 + 3 + 1),  # three of ten bytes fit into 35
        (100, 5, 1 + 1 + 1),  # one is held even if it is larger than the limit
    ],
)
def test_what_is_ahead_is_bounded_in_items_and_bytes(max_items: int, max_bytes: int, made: int) -> None:
    source = Source(50)
    running = ahead(source.items(), lambda item: 10, max_items, max_bytes)
    assert next(running) == 0
    assert settled(source, made) == made
    assert next(running) == 1
    assert settled(source, made + 1) == made + 1
    running.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    source = Source(9, fails_at=3)
    seen = []
    with pytest.raises(ValueError, match="no 3"):
        for item in ahead(source.items(), nothing):
            seen.append(item)
    assert seen == [0, 1, 2]
    assert not source.thread.is_alive()


def test_an_interrupt_in_the_source_reaches_the_reader() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    running = ahead(items(), nothing)
    assert next(running) == 0
    with pytest.raises(KeyboardInterrupt):
        next(running)


@pytest.mark.parametrize("max_items", [1, 10_000])
def test_a_reader_that_stops_stops_the_thread_and_closes_the_source(max_items: int) -> None:
    source = Source(10**9)
    running = ahead(source.items(), nothing, max_items)
    assert next(running) == 0
    began_s = time.monotonic()
    running.close()
    assert time.monotonic() - began_s < 1.0
    assert source.closed
    assert not source.thread.is_alive()


def test_a_reader_that_fails_stops_the_thread() -> None:
    source = Source(10**9)
    with pytest.raises(ZeroDivisionError):
        for item in ahead(source.items(), nothing):
            1 // (item - 5)
    source.thread.join(timeout=5)
    assert source.closed


def test_chains_stop_from_the_last_to_the_first() -> None:
    source = Source(10**9)
    before = threading.active_count()

    def doubled(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            yield 2 * item

    running = ahead(doubled(ahead(source.items(), nothing)), nothing)
    assert [next(running) for _ in range(3)] == [0, 2, 4]
    running.close()
    assert source.closed
    assert threading.active_count() == before


def test_items_that_were_taken_are_not_held() -> None:
    alive = set()

    class Item:
        def __init__(self, number: int) -> None:
            self.number = number
            alive.add(number)

        def __del__(self) -> None:
            alive.discard(self.number)

    for item in ahead((Item(number) for number in range(200)), nothing, max_items=2):
        assert item.number in alive
        assert len(alive) <= 2 + 3  # held, in the making twice (the source's own and the queue's), with the reader
    del item
    assert alive == set()


def test_the_next_item_is_made_while_the_reader_is_busy_with_the_last() -> None:
    second_is_made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second_is_made.set()
        yield 2

    for _ in ahead(items(), nothing):
        assert second_is_made.wait(timeout=10)
