"""Running an iterator ahead of whoever reads it, in a thread of its own, so that both work at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

MAX_ITEMS = 48
"""Items that are made ahead at most: more than a second of video at usual rates."""

MAX_BYTES = 64 * 2**20
"""Bytes of items that are made ahead at most; for 4K, two or three frames."""


def ahead(
    source: Iterator[Item],
    bytes_of: Callable[[Item], int],
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
) -> Generator[Item, None, None]:
    """Give the items of an iterator in their order, while a thread is already making the next ones.

    The thread begins at the first item that is asked for, and waits while `max_items` or `max_bytes` are made and not
    yet taken; a single item may be larger than that. Besides these one item is in the making and one with the reader.
    However the two are timed, the items are the same and come in the same order.

    When the reader stops early - it closes this generator, or an exception ends it - the thread finishes the item in
    hand, closes the source and ends; only then does `close` return. Whoever shares something with the source, such as
    an open file, must close this generator first (`contextlib.closing`).

    Args:
        source: what to run; from now on only the thread touches it.
        bytes_of: how much memory an item takes, bytes.
        max_items: items made ahead, at least 1.
        max_bytes: memory of the items made ahead, bytes.

    Yields:
        the items of `source`.

    Raises:
        BaseException: whatever `source` raises, after the items that came before it.
    """
    queue = _Queue(bytes_of, max_items, max_bytes)
    thread = threading.Thread(target=_run, args=(source, queue), name="ahead", daemon=True)
    try:
        thread.start()
        yield from queue.items()
    finally:
        queue.stop()
        _join(thread)


def _run(source: Iterator[Item], queue: _Queue[Item]) -> None:
    """Move the items of a source to a queue until either has enough; hand on what goes wrong."""
    failure: BaseException | None = None
    try:
        for item in source if queue.is_wanted() else ():
            if not queue.put(item):
                break
            del item  # the queue counts what it holds, so nothing may be held beside it
    except BaseException as error:
        failure = error
    try:
        close = getattr(source, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        failure = failure or error
    queue.end(failure)


def _join(thread: threading.Thread) -> None:
    """Wait for a thread; a Ctrl-C meanwhile waits for it as well, lest files are closed under the thread's feet."""
    interrupt: BaseException | None = None
    while thread.is_alive():
        try:
            thread.join()
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


class _Queue(Generic[Item]):
    """A queue between two threads that is bounded in items and in bytes."""

    def __init__(self, bytes_of: Callable[[Item], int], max_items: int, max_bytes: int) -> None:
        self._bytes_of = bytes_of
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._held: deque[tuple[Item, int]] = deque()
        self._held_bytes = 0
        self._stopped = False
        self._ended = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Add an item once there is room; False if nobody wants any more."""
        size = self._bytes_of(item)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(size))
            if self._stopped:
                return False
            self._held.append((item, size))
            self._held_bytes += size
            self._changed.notify_all()
            return True

    def _has_room(self, size: int) -> bool:
        fits = len(self._held) < self._max_items and self._held_bytes + size <= self._max_bytes
        return fits or not self._held

    def items(self) -> Iterator[Item]:
        """Take the items as they come; at the end raise what went wrong."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._ended)
                if not self._held:
                    break
                item, size = self._held.popleft()
                self._held_bytes -= size
                self._changed.notify_all()
            yield item
            del item
        if self._failure is not None:
            raise self._failure

    def is_wanted(self) -> bool:
        """Whether anybody wants more."""
        with self._changed:
            return not self._stopped

    def end(self, failure: BaseException | None) -> None:
        """Say that no more will come, and why if something went wrong."""
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def stop(self) -> None:
        """Say that no more are wanted; what is held is dropped."""
        with self._changed:
            self._stopped = True
            self._held.clear()
            self._held_bytes = 0
            self._changed.notify_all()
