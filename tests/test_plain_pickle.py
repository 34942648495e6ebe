"""Pickles of plain data come back whole; everything else is refused, and seen not to run."""

from __future__ import annotations

import collections
import os
import pickle
import re
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.plain_pickle import read_plain_pickle

PLAIN: list[Any] = [
    {"a": [1, -(2**70), 2.5, None, True], "text": "höhe €", "raw": b"\x00\xff", "empty": b"", 3: (1, (2,), 1j)},
    {"set": {1, 2}, "frozen": frozenset({"x"}), "bytes": bytearray(b"\x80x"), "none": bytearray()},
    OrderedDict([("b", 1), ("a", 2)]),
    [],
]


class Runs:
    """Pickles to a call that leaves a trace."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def written(folder: Path, content: bytes) -> Path:
    path = folder / "x.pkl"
    path.write_bytes(content)
    return path


@each_case("protocol", range(6))
@each_case("value", PLAIN)
def test_plain_values_come_back(tmp_path: Path, protocol: int, value: Any) -> None:
    back = read_plain_pickle(written(tmp_path, pickle.dumps(value, protocol)))
    assert back == value
    assert type(back) is type(value)


@each_case("protocol", range(6))
@each_case("code", ["f4", ">f8", "<i2", "u1", "?", "c8", "S3", "U4", "f2"])
def test_arrays_come_back(tmp_path: Path, protocol: int, code: str) -> None:
    array = (np.arange(6) % 2).reshape(2, 3).astype(code)
    value = [array, array.T, array[:, :0], np.asfortranarray(array), array[1, 2], array]
    back: Any = read_plain_pickle(written(tmp_path, pickle.dumps(value, protocol)))
    for got, want in zip(back, value):
        assert (got.dtype.newbyteorder("="), got.shape) == (want.dtype.newbyteorder("="), want.shape)
        assert np.array_equal(got, want)
    assert back[0] is back[5]
    assert back[0].flags.writeable


def test_byte_orders_are_not_left_behind(tmp_path: Path) -> None:
    read_plain_pickle(written(tmp_path, pickle.dumps(np.ones(2, ">f4"), 2)))
    # The same without the request for a copy of the type: numpy's own float32 must not become big-endian.
    sly = pickle.dumps(np.ones(2, ">f4"), 2).replace(b"\x89\x88\x87", b"\x89\x89\x87")
    assert read_plain_pickle(written(tmp_path, sly)).tolist() == [1, 1]  # type: ignore[attr-defined]
    assert np.dtype("f4").isnative
    assert np.float32(1).tobytes() == struct.pack("=f", 1)


def test_strings_of_python_2_are_latin_1(tmp_path: Path) -> None:
    # {'é': array([1., 2.], '<f4')} as Python 2.7 and numpy 1.x write it with protocol 2.
    content = (
        b"\x80\x02}q\x00U\x01\xe9q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
        b"U\x01b\x87Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tbs."
    )
    back: Any = read_plain_pickle(written(tmp_path, content))
    assert list(back) == ["é"]
    assert back["é"].tolist() == [1, 2]
    # The same text with protocol 0, whose escapes hold bytes beyond ASCII.
    assert read_plain_pickle(written(tmp_path, b"(lp0\nS'\\xe9'\np1\naI3\naL5L\na.")) == ["é", 3, 5]


@each_case("protocol", range(6))
def test_a_call_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    evil = Runs(os.system, f"touch {trace}")
    for value in (evil, {"blobs": {"conv1_w": [evil]}}, OrderedDict(x=evil)):
        path = written(tmp_path, pickle.dumps(value, protocol))
        with pytest.raises(AvadetError, match=rf"^{re.escape(str(path))}: refused, it asks to run posix\.system when"):
            read_plain_pickle(path)
    path = written(tmp_path, pickle.dumps(Runs(eval, f"open({str(trace)!r}, 'w')"), protocol))
    with pytest.raises(AvadetError, match=r"it asks to run (builtins|__builtin__)\.eval when read"):
        read_plain_pickle(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the standard reader runs it, so the test above means something"


@each_case(
    ("content", "message"),
    [
        (b"(S'true'\nios\nsystem\n.", r"asks to run os\.system"),  # INST
        (b"(cos\nsystem\nS'true'\no.", r"asks to run os\.system"),  # OBJ
        (b"cnumpy\nload\n.", r"asks to run numpy\.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", r"asks to run numpy\.ndarray\.__init__"),
        (b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.", r"asks to run a\\nb\.c when"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "an object made that is no plain data"),  # NEWOBJ
        (b"\x82\x01.", "an object made that is no plain data"),  # EXT1
        (b"Pperson\n.", "an object made that is no plain data"),  # PERSID
        (b"\x80\x02]U\x01x\x85R.", "asks to call a list"),
        (b"\x80\x02ccollections\nOrderedDict\n)R}b.", "asks to set the state of a OrderedDict"),
        (b"\x80\x02cnumpy\ndtype\n}b.", "asks to set the state of a function"),
    ],
)
def test_every_way_to_an_object_is_closed(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AvadetError, match=rf"x\.pkl: refused, .*{message}"):
        read_plain_pickle(written(tmp_path, content))


@each_case("protocol", range(6))
def test_arrays_of_objects_are_refused(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    objects = np.empty(1, object)
    objects[0] = Runs(os.system, f"touch {trace}")
    with pytest.raises(AvadetError, match=r"x\.pkl: refused, it (holds an array of type 'O8'|asks to run)"):
        read_plain_pickle(written(tmp_path, pickle.dumps(objects, protocol)))
    assert not trace.exists()
    fields = np.zeros(2, [("a", "f4"), ("b", "i4")])
    with pytest.raises(AvadetError, match=r"refused, it holds an array of type 'V8'"):
        read_plain_pickle(written(tmp_path, pickle.dumps(fields, protocol)))


@each_case(
    ("content", "message"),
    [
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00ab.", "damaged"),  # a bytearray of 281 TB
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00ab.", "damaged"),  # bytes of 281 TB
        (b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "a bytearray must hold bytes, got int"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00zip\x86R.", "damaged"),
        (pickle.dumps(np.zeros(1), 2).replace(b"K\x01\x85", b"J\xff\xff\xff\x7f\x85"), "cannot have 8 bytes"),
        (pickle.dumps(np.zeros((1, 1)), 2).replace(b"K\x01K\x01\x86", b"K\x01J\xff\xff\xff\xff\x86"), "must be counts"),
    ],
)
def test_claims_beyond_the_file_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AvadetError, match=rf"x\.pkl: .*{message}"):
        read_plain_pickle(written(tmp_path, content))


def test_one_block_of_bytes_cannot_become_a_thousand_arrays(tmp_path: Path) -> None:
    block = "X" * (1 << 20)
    head = b"\x80\x02]q\x00(" + b"T" + struct.pack("<i", len(block)) + block.encode() + b"q\x01"
    one = (
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01" + b"J" + struct.pack("<i", len(block)) + b"\x85"
        b"cnumpy\ndtype\nU\x02u1\x85R\x89h\x01tb"
    )
    assert len(read_plain_pickle(written(tmp_path, head + one * 3 + b"e."))) == 4  # type: ignore[arg-type]
    with pytest.raises(AvadetError, match="arrays would be over 4 times as large as the file"):
        read_plain_pickle(written(tmp_path, head + one * 1000 + b"e."))


def test_every_cut_of_a_good_file_is_called_damaged(tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.arange(3.0), "b": [1, "x"]}, 2)
    for length in range(len(whole)):
        with pytest.raises(AvadetError, match=r"x\.pkl: (damaged, or no pickle|refused)"):
            read_plain_pickle(written(tmp_path, whole[:length]))


def test_garbage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(pickle.dumps([{"a": np.arange(3.0)}, 1.5, "x"], 2), np.uint8)
    refused = 0
    for _ in range(300):
        bent = whole.copy()
        bent[rng.integers(len(bent), size=2)] = rng.integers(256, size=2)
        try:
            read_plain_pickle(written(tmp_path, bent.tobytes()))
        except AvadetError as error:
            refused += 1
            assert str(error).count("\n") == 0
    assert refused > 100


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"none\.pkl: no such file"):
        read_plain_pickle(tmp_path / "none.pkl")
    with pytest.raises(AvadetError, match="cannot be read: Is a directory"):
        read_plain_pickle(tmp_path)


@pytest.mark.shared
def test_weights_of_caffe2_are_read(shared: Path) -> None:
    content: Any = read_plain_pickle(shared / "parity/models/slowfast_32x2_r50_tiny/checkpoint_caffe2.pkl")
    blobs = content["blobs"]
    assert len(blobs) == 555
    assert blobs["conv1_w"].dtype == np.float32
    assert blobs["conv1_w"].shape == (8, 3, 1, 7, 7)


@each_case("protocol", range(6))
def test_a_dictionary_with_defaults_is_one_without(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    content = collections.defaultdict(list, {"a": [1], "b": [2.5]})
    path.write_bytes(pickle.dumps(content, protocol))
    read = read_plain_pickle(path)
    assert type(read) is dict and read == content
