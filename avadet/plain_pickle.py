"""Reading pickles of plain data without running anything in them.

A pickle is a program: the standard reader imports and calls whatever the file names. The files of this field that
come as pickles (weights of caffe2, person proposals, tubes of UCF101-24 and JHMDB) need no such freedom; they hold
numbers, texts, containers and numpy arrays. This reader interprets only those. A name that the file asks for is
looked up in a short table of makers written here, never imported, and the one kind of object that may set its own
state, an array, has that state checked first.
"""

from __future__ import annotations

import io
import math
import pickle
import reprlib
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from avadet.errors import AvadetError

MAX_DIMS = 32
ARRAY_KINDS = "biufcSU"
SLACK_BYTES = 1 << 20
GROWTH = 4
"""Arrays together may hold this many bytes for one of the file, and `SLACK_BYTES`; honest files stay below one."""
MAX_KEY_PARTS = 1000
"""Parts of a dictionary's key, counted through all tuples in it: hashing goes through them one by one."""
LATIN_1 = ("latin-1", "latin1", "iso-8859-1", "iso8859-1")

DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    struct.error,
    TypeError,
    ValueError,
)
"""What reading nonsense raises."""


class NotPlain(Exception):
    """The file holds more than plain data; says what."""


def read_plain_pickle(path: str | Path) -> object:
    """Read a pickle that holds nothing but numbers, texts, bytes, containers and numpy arrays.

    Protocols 0 to 5, written by Python 2 (its byte strings become text by latin-1) or 3, by numpy 1 or 2. Nothing in
    the file is imported or called.

    Args:
        path: the file; it is read whole, and its arrays take about its size again.

    Returns:
        the first object in the file, as its writer had it.

    Raises:
        AvadetError: if the file is missing or damaged, asks for anything else (the message names it), or claims
            arrays beyond its own size.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such file") from error
    except OSError as error:
        raise AvadetError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return PickleReader(io.BytesIO(content), len(content)).load()
    except NotPlain as error:
        held = "such a file may hold numbers, texts, containers and numpy arrays of numbers only"
        raise AvadetError(f"{path}: refused, {error}; {held}") from error
    except DAMAGE as error:
        raise AvadetError(f"{path}: damaged, or no pickle ({type(error).__name__}: {error})") from error


class PickleReader(pickle._Unpickler):
    """The standard library's reader in Python, with every operation that could run something taken out.

    Operations are methods of this class, found through `dispatch`; those that it does not list are refused. A reader
    of more than plain data overrides `find_class`, `call_maker` and their like and takes its own table from
    `operations_of`.

    Args:
        file: stands at the beginning of a pickle.
        size: bytes of the whole file, by which its arrays are bounded.
    """

    makers: ClassVar[Mapping[tuple[str, str], Callable[..., Any]]]
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Begin; arguments as for the class."""
        super().__init__(file, encoding="latin-1")
        self.bytes_left = GROWTH * size + SLACK_BYTES

    def find_class(self, module: str, name: str) -> Any:
        """The maker written here for a name; all names come through here."""
        try:
            return self.makers[module, name]
        except KeyError:
            raise asks_to_run(module, name) from None

    def call_maker(self) -> None:
        """Operation REDUCE: call a maker with the arguments on top of the stack."""
        arguments = self.stack.pop()
        maker = self.stack[-1]
        if not any(maker is known for known in self.makers.values()):
            raise NotPlain(f"it asks to call a {type(maker).__name__} when read")
        made = maker(*arguments)
        if isinstance(made, np.ndarray):
            self.spend(made.nbytes)
        self.stack[-1] = made

    def set_items(self) -> None:
        """Operation SETITEMS."""
        self.fill(self.pop_mark())

    def set_item(self) -> None:
        """Operation SETITEM."""
        value, key = self.stack.pop(), self.stack.pop()
        self.fill([key, value])

    def fill(self, items: list[Any]) -> None:
        """Put keys and values, in turns, into the dictionary on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, np.ndarray):
            self.refuse()
        _check_keys(items[::2])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def make_dictionary(self) -> None:
        """Operation DICT."""
        items = self.pop_mark()
        _check_keys(items[::2])
        self.append(dict(zip(items[::2], items[1::2], strict=True)))

    def add_items(self) -> None:
        """Operation ADDITEMS."""
        items = self.pop_mark()
        _check_keys(items)
        for item in items:
            self.stack[-1].add(item)

    def make_frozenset(self) -> None:
        """Operation FROZENSET."""
        items = self.pop_mark()
        _check_keys(items)
        self.append(frozenset(items))

    def fill_state(self) -> None:
        """Operation BUILD: give an array its shape, type and values, or a type its byte order."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, np.dtype):
            ordered = np.dtype(target.str).newbyteorder(">" if state[1] == ">" else "<")
            target.__setstate__(ordered.__reduce__()[2])  # type: ignore[attr-defined]
        elif type(target) is np.ndarray:
            shape, dtype, is_fortran, raw = state[-4:]
            values = _as_bytes(raw)
            self.spend(len(values))
            _check_array(shape, dtype, len(values))
            target.__setstate__((1, shape, dtype, bool(is_fortran), values))  # type: ignore[arg-type]
        else:
            raise NotPlain(f"it asks to set the state of a {type(target).__name__}")

    def claim_bytearray(self) -> None:
        """Operation BYTEARRAY8: the standard one makes room before it looks how much there is."""
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(count)))

    def name_class(self) -> None:
        """Operation INST: look up a class and make an object of it; the look-up refuses every class."""
        module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")
        self.find_class(module, name)
        self.refuse()

    def refuse(self) -> None:
        """Any other operation."""
        raise NotPlain("it wants an object made that is no plain data")

    def spend(self, count: int) -> None:
        """Take `count` bytes of array off what the file may claim."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise NotPlain(f"its arrays would be over {GROWTH} times as large as the file")


_OPERATIONS = """
    PROTO STOP MARK POP POP_MARK DUP FRAME NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT EMPTY_SET
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL
"""
"""The operations taken over as they are: constants, containers, references and the look-up of names."""

OWN_OPERATIONS: dict[int, str] = {
    pickle.REDUCE[0]: "call_maker",
    pickle.BUILD[0]: "fill_state",
    pickle.INST[0]: "name_class",
    pickle.BYTEARRAY8[0]: "claim_bytearray",
    pickle.SETITEM[0]: "set_item",
    pickle.SETITEMS[0]: "set_items",
    pickle.DICT[0]: "make_dictionary",
    pickle.ADDITEMS[0]: "add_items",
    pickle.FROZENSET[0]: "make_frozenset",
}
"""Byte of an operation -> the method here that does it in the place of the standard one."""


def operations_of(
    reader: type[PickleReader], more: Mapping[int, str] | None = None
) -> dict[int, Callable[[Any], None]]:
    """The `dispatch` of a reader: byte of an operation -> method; whatever is not listed is refused.

    Args:
        reader: whose methods they are.
        more: further operations of its own, as `OWN_OPERATIONS`.
    """
    standard = pickle._Unpickler.dispatch
    taken = {getattr(pickle, name)[0] for name in _OPERATIONS.split()}
    table = {code: method if code in taken else reader.refuse for code, method in standard.items()}
    return table | {code: getattr(reader, name) for code, name in (OWN_OPERATIONS | dict(more or {})).items()}


def asks_to_run(module: str, name: str) -> NotPlain:
    """What is raised for a name that stands for code."""
    return NotPlain(f"it asks to run {ascii(f'{module}.{name}')[1:-1][:80]} when read")


def _check_keys(keys: Iterable[object]) -> None:
    """Raise unless every key is hashed in no time: tuples in tuples take one step for each way through them."""
    for key in keys:
        waiting, parts = [key], 0
        while waiting:
            part = waiting.pop()
            parts += 1
            if isinstance(part, tuple | frozenset):
                waiting.extend(part)
            if parts + len(waiting) > MAX_KEY_PARTS:
                raise NotPlain("it has a dictionary whose keys are towers of tuples")


def _as_bytes(raw: object) -> bytes:
    """The raw values of an array: bytes, or text that Python 2 meant as bytes."""
    if isinstance(raw, str):
        return raw.encode("latin-1")
    if not isinstance(raw, (bytes, bytearray)):
        raise TypeError(f"values of an array must be bytes, got {type(raw).__name__}")
    return bytes(raw)


def _check_array(shape: object, dtype: object, num_bytes: int) -> None:
    """Raise unless so many bytes fill an array of this shape and plain type exactly."""
    if not (isinstance(shape, tuple) and len(shape) <= MAX_DIMS and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError(f"shape of an array must be counts, got {reprlib.repr(shape)}")
    if not (isinstance(dtype, np.dtype) and dtype.kind in ARRAY_KINDS):
        raise TypeError(f"an array must be of numbers or texts, got {reprlib.repr(dtype)}")
    if math.prod(shape) * dtype.itemsize != num_bytes:
        raise ValueError(f"an array of shape {reprlib.repr(shape)} and {dtype} cannot have {num_bytes} bytes")


def _make_dtype(code: object, *_: object) -> np.dtype[Any]:
    """A new array type, never one of numpy's own objects: its byte order may be set later."""
    text = code.decode("ascii") if isinstance(code, bytes) else code
    if not (isinstance(text, str) and text.isalnum() and np.dtype(text).kind in ARRAY_KINDS):
        raise NotPlain(f"it holds an array of type {reprlib.repr(code)}")
    return np.dtype(text, False, True)


def _make_empty(*_: object) -> np.ndarray[Any, Any]:
    """An array whose shape, type and values are still to come."""
    return np.zeros((0,), np.int8)


def _make_filled(raw: object, dtype: object, shape: object, order: str) -> np.ndarray[Any, Any]:
    """A whole array, as protocol 5 writes it."""
    values = _as_bytes(raw)
    _check_array(shape, dtype, len(values))
    flat: np.ndarray[Any, Any] = np.frombuffer(bytearray(values), dtype)  # type: ignore[call-overload]
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _make_scalar(dtype: object, raw: object) -> Any:
    """A single number of numpy's."""
    values = _as_bytes(raw)
    _check_array((), dtype, len(values))
    return np.frombuffer(values, dtype)[0]  # type: ignore[call-overload]


def _make_bytes(text: str = "", encoding: str = "latin-1") -> bytes:
    """Bytes, as Python 3 writes them for Python 2."""
    if not (isinstance(text, str) and isinstance(encoding, str) and encoding.lower() in LATIN_1):
        raise TypeError(f"bytes must be written as latin-1 text, got {type(text).__name__} in {reprlib.repr(encoding)}")
    return text.encode("latin-1")


def _make_bytearray(content: str | bytes = b"", encoding: str = "latin-1") -> bytearray:
    """A bytearray; a number, for which Python would make room, is none of its contents."""
    if isinstance(content, str):
        return bytearray(_make_bytes(content, encoding))
    if not isinstance(content, bytes):
        raise TypeError(f"a bytearray must hold bytes, got {type(content).__name__}")
    return bytearray(content)


def _make_complex(real: float, imaginary: float) -> complex:
    """A complex number."""
    return complex(float(real), float(imaginary))


def _make_set(items: list[Any] | tuple[Any, ...] = ()) -> set[Any]:
    """A set."""
    _check_keys(items)
    return set(items)


def _make_frozenset(items: list[Any] | tuple[Any, ...] = ()) -> frozenset[Any]:
    """A frozen set."""
    _check_keys(items)
    return frozenset(items)


def _make_ordered(pairs: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    """An ordered dictionary."""
    listed = [(key, value) for key, value in pairs]
    _check_keys(key for key, _ in listed)
    return OrderedDict(listed)


def _make_default(*_: object) -> dict[Any, Any]:
    """A dictionary with defaults, without these: what is not in the file is not there."""
    return {}


def _mentioned_type(*_: object) -> None:
    """Stands for a type that files mention and never call, such as that of arrays, or of a dictionary's defaults."""
    raise TypeError("a value made by its type; expected one made from its state")


MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _make_ordered,
    ("_codecs", "encode"): _make_bytes,
    ("collections", "defaultdict"): _make_default,
    ("numpy", "ndarray"): _mentioned_type,
    **{
        (room, name): _mentioned_type
        for room in ("__builtin__", "builtins")
        for name in ("list", "dict", "int", "float")
    },
    ("numpy", "dtype"): _make_dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _make_empty for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _make_scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _make_filled for core in ("core", "_core")},
    **{(builtins, "set"): _make_set for builtins in ("__builtin__", "builtins")},
    **{(builtins, "frozenset"): _make_frozenset for builtins in ("__builtin__", "builtins")},
    **{(builtins, "complex"): _make_complex for builtins in ("__builtin__", "builtins")},
    **{(builtins, "bytes"): _make_bytes for builtins in ("__builtin__", "builtins")},
    **{(builtins, "bytearray"): _make_bytearray for builtins in ("__builtin__", "builtins")},
}
"""Every name a file may ask for, and what is called in its place."""

PickleReader.makers = MAKERS
PickleReader.dispatch = operations_of(PickleReader)
