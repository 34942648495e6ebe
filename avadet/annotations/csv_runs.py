"""Reading large files fast: a found box is as many rows as it has actions, and those rows begin alike.

A block of the file is cut into cells with whole-array operations. The beginning (video, time, box) is kept once for
each run of rows that share it; class id and last column are read for every row, eight digits at a time: an integer
below 2**53 over a power of ten up to 10**22 is the double nearest to the decimal (Clinger, "How to read floating point
numbers accurately", PLDI 1990). Anything out of the ordinary is left to the general reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avadet.types import Float64Array, IntArray

_BLOCK_BYTES = 1 << 19  # arrays of so many rows stay in the processor's cache
_MARGIN = 16  # bytes in front of a block, so that words that end in its first cell begin in the array
_COMMA, _POINT, _NEWLINE = b",.\n"
_CELLS = 8
_MAX_DECIMALS = 15
_POWERS_OF_TEN = np.array([float(10**power) for power in range(_MAX_DECIMALS + 1)])
_BOM = b"\xef\xbb\xbf"
_BYTES = 0x0101010101010101
_Words = NDArray[np.uint64]


class Runs(NamedTuple):
    """Rows of eight columns: n rows in r runs.

    Attributes:
        heads: the first six columns of each run as CSV, r lines.
        lengths: int64 (r,), rows of each run.
        class_ids: int64 (n,), the seventh column.
        last: float64 (n,), the eighth.
    """

    heads: bytes
    lengths: IntArray
    class_ids: IntArray
    last: Float64Array


def read_runs(file: IO[bytes]) -> Runs | None:
    """Read a CSV of eight plain columns whose rows come in runs.

    Args:
        file: the file's bytes, unpacked; UTF-8.

    Returns:
        the rows; None if cells are quoted or numbers written in an unusual way (signs, exponents, blanks, more than 15
        decimals), if a row has more or less than eight cells, or if few rows begin alike.
    """
    found: list[Runs] = []
    num_runs = num_rows = 0
    for block in _blocks(file):
        rows = _read_block(block)
        if rows is None:
            return None
        found.append(rows)
        num_runs, num_rows = num_runs + len(rows.lengths), num_rows + len(rows.last)
        if 2 * num_runs > num_rows + 1:
            return None
    return _join(found)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time."""
    kept = file.read(_BLOCK_BYTES).removeprefix(_BOM)
    while block := file.read(_BLOCK_BYTES):
        lines, newline, tail = block.rpartition(b"\n")
        if newline:
            yield b"".join((kept, lines, newline))
            kept = tail
        else:
            kept += block
    if kept:
        yield kept if kept.endswith(b"\n") else kept + b"\n"


def _join(found: list[Runs]) -> Runs:
    return Runs(
        b"".join(rows.heads for rows in found),
        np.concatenate([rows.lengths for rows in found]),
        np.concatenate([rows.class_ids for rows in found]),
        np.concatenate([rows.last for rows in found]),
    )


def _read_block(block: bytes) -> Runs | None:
    """The rows of some whole lines; None as `read_runs`."""
    if b'"' in block:
        return None
    text = b"\n" * _MARGIN + (block.replace(b"\r\n", b"\n") if b"\r" in block else block)
    chars = np.frombuffer(text, np.uint8)
    cells = _cell_ends(chars)
    if cells is None:
        return None
    words = np.ndarray((len(chars) - 7,), "<u8", text, strides=(1,))
    starts = np.concatenate([[_MARGIN], cells[:-1, -1] + 1])
    first = _first_of_runs(words, starts, cells[:, 5])
    class_ids = _digits(words, cells[:, 6], cells[:, 6] - cells[:, 5] - 1)
    last = _decimals(chars, words, cells[:, 7], cells[:, 7] - cells[:, 6] - 1)
    if first is None or class_ids is None or last is None or (cells[:, 6] - cells[:, 5] == 1).any():
        return None
    bounds = zip(starts[first].tolist(), cells[first, 5].tolist())
    heads = b"\n".join([text[start:end] for start, end in bounds]) + b"\n"
    return Runs(heads, np.diff(first, append=len(starts)), class_ids.astype(np.int64), last)


def _cell_ends(chars: NDArray[np.uint8]) -> IntArray | None:
    """Where each cell's comma or line end is; int64 (rows, 8). None if not every row has eight cells."""
    newlines = chars == _NEWLINE
    ends = np.flatnonzero(newlines | (chars == _COMMA))[_MARGIN:]
    if len(ends) % _CELLS:
        return None
    cells = ends.reshape(-1, _CELLS)
    rows = np.count_nonzero(newlines) - _MARGIN
    return cells if rows == len(cells) and bool(newlines[cells[:, -1]].all()) else None


def _first_of_runs(words: _Words, starts: IntArray, ends: IntArray) -> IntArray | None:
    """Rows that begin unlike the row before; int64. None if beginnings are too short to be any."""
    lengths = ends - starts
    if lengths.min() < 8:
        return None
    alike = lengths[1:] == lengths[:-1]
    for offset in range(0, int(lengths.max()), 8):
        word = words[starts + np.minimum(offset, lengths - 8)]
        alike &= word[1:] == word[:-1]
    return np.concatenate([[0], np.flatnonzero(~alike) + 1])


def _digits(words: _Words, ends: IntArray, lengths: IntArray) -> _Words | None:
    """The whole numbers of up to eight digits that end before `ends`, 0 for no digits; None if one is no number."""
    if lengths.max() > 8:
        return None
    foreign = (64 - 8 * lengths).astype(np.uint64)
    word = (words[ends - 8] ^ np.uint64(0x30 * _BYTES)) >> foreign << foreign
    if np.bitwise_or.reduce((word + np.uint64(0x76 * _BYTES)) | word) & np.uint64(0x80 * _BYTES):
        return None
    # pairs of digits, then fours, then all eight; the first digit is in the lowest byte
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (word * np.uint64(10_000) + (word >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def _decimals(chars: NDArray[np.uint8], words: _Words, ends: IntArray, lengths: IntArray) -> Float64Array | None:
    """Numbers like 0.085318, 1.0 or 152; None if one is written otherwise."""
    starts = ends - lengths
    pointed = (chars[starts + 1] == _POINT) & (lengths > 1)
    decimals = np.where(pointed, lengths - 2, 0)
    if lengths.min() < 1 or decimals.max() > _MAX_DECIMALS:
        return None
    whole = _digits(words, np.where(pointed, starts + 1, ends), np.where(pointed, 1, lengths))
    low = _digits(words, ends, np.minimum(decimals, 8))
    if whole is None or low is None:
        return None
    scale = _POWERS_OF_TEN[decimals]
    value = whole.astype(np.float64) * scale + low.astype(np.float64)
    if decimals.max() > 8:
        high = _digits(words, ends - 8, np.maximum(decimals - 8, 0))
        if high is None:
            return None
        value += high.astype(np.float64) * 1e8
    return value / scale if value.max() < 2.0**53 else None
