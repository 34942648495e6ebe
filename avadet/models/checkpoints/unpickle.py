"""The pickle inside a checkpoint, read without running anything in it.

What `plain_pickle` reads - numbers, texts, containers, arrays - is read here too. Tensors become notes of where their
values lie and how (`StoredTensor`), checked later against the storage itself; names of any other class become inert
(`inert`): nothing is imported, called, or asked to set its state. Names that no trainer writes and that could only be
meant to run something are refused outright, so that whoever reads the message knows what kind of file that is.
"""

from __future__ import annotations

import builtins
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, TypeGuard

import numpy as np
import torch

from avadet.models.checkpoints.inert import InertClass, InertObject, is_whole_number
from avadet.plain_pickle import MAKERS, NotPlain, PickleReader, asks_to_run, operations_of

MAX_DIMS = 64

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
        *("uint8", "int8", "int16", "int32", "int64", "bool"),
    )
}
"""Types of tensors that are read; those of quantised and other unusual tensors are not."""

STORAGES: dict[str, torch.dtype | None] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "UntypedStorage": None,
}
"""torch's name of a storage -> type of its values; None = bytes, the tensor says what they are."""

RUNS_CODE = frozenset(
    (
        *("os", "posix", "nt", "posixpath", "ntpath", "subprocess", "_posixsubprocess", "commands", "popen2", "pty"),
        *("sys", "imp", "importlib", "_frozen_importlib", "_imp", "runpy", "pkgutil", "zipimport", "site", "code"),
        *("codeop", "pdb", "bdb", "ctypes", "_ctypes", "cffi", "socket", "_socket", "ssl", "shutil", "tempfile"),
        *("webbrowser", "urllib", "urllib2", "http", "httplib", "ftplib", "smtplib", "xmlrpc", "pickle", "_pickle"),
        *("cPickle", "marshal", "shelve", "timeit", "cProfile", "profile", "trace", "doctest", "unittest"),
        *("asyncio", "concurrent", "signal", "_io", "io", "fileinput", "mmap", "pip", "setuptools", "pydoc"),
        *("gc", "inspect", "linecache", "faulthandler", "platform", "venv", "ensurepip"),
    )
)
"""Modules whose names stand in no honest checkpoint."""

RUNS_CODE_TOO = frozenset(
    ("types.FunctionType", "types.CodeType", "types.LambdaType", "functools.reduce", "torch.load", "torch.hub.load")
)

OF_PYTHON_2 = frozenset(("xrange", "unicode", "long", "basestring", "getattr"))
"""Names of `builtins` that are no types here; `getattr` stands before enumerations and methods. None is called."""

REBUILT = ("torch._utils._rebuild_", "torch._tensor._rebuild_")
"""How the names begin of the functions that put tensors together again."""


@dataclass(frozen=True)
class StorageType:
    """One of torch's types of storages.

    Attributes:
        dtype: of its values; None = bytes.
    """

    dtype: torch.dtype | None


@dataclass(frozen=True)
class StorageRef:
    """The values of one or more tensors, which lie elsewhere in the file.

    Attributes:
        key: where: a name in the file.
        dtype: type of the values; None = bytes.
        count: how many values the file says there are.
        first: the first of them that this storage begins with.
        length: how many from there belong to it.
    """

    key: str
    dtype: torch.dtype | None
    count: int
    first: int
    length: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still in the file, and nothing in the file is believed yet.

    Attributes:
        storage: its values.
        dtype: their type.
        offset: the place of the first one in the storage.
        shape: its size.
        stride: steps through the storage, for each dimension.
    """

    storage: StorageRef
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class CheckpointReader(PickleReader):
    """Reads the pickle of a checkpoint; see the module.

    Attributes:
        units: of each storage that was referred to, how many bytes a value takes.
    """

    makers: ClassVar[Mapping[tuple[str, str], Callable[..., Any]]]

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Begin at the beginning of a pickle in a file of `size` bytes."""
        super().__init__(file, size)
        self.units: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name: a maker written here, a type of torch, an inert class."""
        if (module, name) in self.makers:
            return self.makers[module, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return StorageType(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        root = module.partition(".")[0]
        is_code = root in RUNS_CODE or f"{module}.{name}" in RUNS_CODE_TOO
        if is_code or (root in ("builtins", "__builtin__") and not _is_type(name)):
            raise asks_to_run(module, name)
        return InertClass(f"{module}.{name}")

    def call_maker(self) -> None:
        """Operation REDUCE: a maker is called, of a class or function only the name and the arguments are noted."""
        arguments = self.stack.pop()
        called = self.stack[-1]
        if not isinstance(arguments, tuple):
            raise NotPlain(f"it asks to call something with a {type(arguments).__name__}")
        if isinstance(called, InertClass):
            self.stack[-1] = InertObject(called.name, arguments)
        elif isinstance(called, InertObject):
            self.stack[-1] = InertObject(called.kind, arguments)
        else:
            self.stack.append(arguments)
            super().call_maker()

    def fill_state(self) -> None:
        """Operation BUILD: note what an object was to be filled with."""
        state, target = self.stack[-1], self.stack[-2]
        if isinstance(target, InertObject):
            target.state = self.stack.pop()
        elif isinstance(target, dict | list | StoredTensor) or (type(target) is np.ndarray and _is_of_objects(state)):
            self.stack.pop()  # what hangs on a state dict or a parameter, versions and hooks; an array stays empty
        else:
            super().fill_state()

    def make_object(self) -> None:
        """Operation NEWOBJ."""
        arguments = self.stack.pop()
        self._make(self.stack.pop(), arguments)

    def make_object_by_names(self) -> None:
        """Operation NEWOBJ_EX."""
        named, arguments = self.stack.pop(), self.stack.pop()
        self._make(self.stack.pop(), (arguments, named))

    def make_object_of_mark(self) -> None:
        """Operation OBJ."""
        made_of, *arguments = self.pop_mark()
        self._make(made_of, tuple(arguments))

    def name_class(self) -> None:
        """Operation INST."""
        module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")
        self._make(self.find_class(module, name), tuple(self.pop_mark()))

    def _make(self, made_of: object, arguments: object) -> None:
        """Note an object that was to be made."""
        if not (isinstance(made_of, InertClass) and isinstance(arguments, tuple)):
            raise NotPlain(f"it wants an object made of a {type(made_of).__name__}")
        self.append(InertObject(made_of.name, arguments))

    def refer_to_storage(self) -> None:
        """Operation BINPERSID: the storage of a tensor, or a module's class, which old files name with its source."""
        named = self.stack.pop()
        if isinstance(named, tuple) and len(named) >= 2 and named[0] == "module" and isinstance(named[1], InertClass):
            self.append(named[1])
        else:
            storage = _storage(named)
            if isinstance(storage, InertObject):
                self.append(storage)
                return
            self.units[storage.key] = 1 if storage.dtype is None else storage.dtype.itemsize
            self.append(storage)


_MORE = {
    b"\x81"[0]: "make_object",
    b"\x92"[0]: "make_object_by_names",
    b"o"[0]: "make_object_of_mark",
    b"Q"[0]: "refer_to_storage",
}
"""Byte of an operation -> method: NEWOBJ, NEWOBJ_EX, OBJ, BINPERSID."""


def is_unread_tensor(value: object) -> TypeGuard[InertObject]:
    """Whether something would be a tensor of a kind that is not read: quantised, sparse, without values ..."""
    return isinstance(value, InertObject) and value.kind.startswith(REBUILT)


def _is_type(name: str) -> bool:
    """Whether a name of `builtins` is a type's, or one that honest pickles mention as well."""
    return name in OF_PYTHON_2 or isinstance(getattr(builtins, name, None), type)


def _storage(named: object) -> StorageRef | InertObject:
    """The storage that a persistent id stands for, as torch writes it."""
    if not (isinstance(named, tuple) and len(named) in (5, 6) and named[0] == "storage"):
        raise NotPlain("it refers to something else than the values of a tensor")
    _, kind, key, _, count, *view = named
    key = str(key) if type(key) is int else key
    if isinstance(kind, InertClass) and kind.name.startswith("torch."):
        return InertObject(kind.name)  # of a type that is not read
    if not (isinstance(kind, StorageType) and isinstance(key, str) and is_whole_number(count) and count >= 0):
        raise NotPlain("it refers to the values of a tensor in a form that torch does not write")
    first, length = 0, count
    if view and view[0] is not None:
        if not (isinstance(view[0], tuple) and len(view[0]) == 3 and all(map(is_whole_number, view[0][1:]))):
            raise NotPlain("it refers to the values of a tensor in a form that torch does not write")
        _, first, length = view[0]
    if not (first >= 0 and length >= 0 and first + length <= count):
        raise NotPlain("a tensor claims values that are not its storage's")
    return StorageRef(key, kind.dtype, count, first, length)


def _tensor(
    storage: object, offset: object, shape: object, stride: object, dtype: torch.dtype | None
) -> StoredTensor | InertObject:
    """A tensor; its numbers are sane, and checked against the storage when it is read."""
    if isinstance(storage, InertObject):
        return InertObject(f"{REBUILT[0]}tensor")
    if not isinstance(storage, StorageRef):
        raise NotPlain("a tensor without a storage")
    if not (is_counts(shape) and is_counts(stride) and len(shape) == len(stride) <= MAX_DIMS and is_counts((offset,))):
        raise NotPlain("a tensor whose size is not of whole numbers from 0")
    kind = dtype or storage.dtype
    if kind is None:
        raise NotPlain("a tensor of no type")
    assert isinstance(offset, int)
    return StoredTensor(storage, kind, offset, tuple(shape), tuple(stride))


def is_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    """Whether these are whole numbers from 0."""
    return isinstance(values, tuple | list) and all(is_whole_number(value) and value >= 0 for value in values)


def _make_tensor(storage: object, offset: object, shape: object, stride: object, *_: object) -> object:
    """`torch._utils._rebuild_tensor` and its second version."""
    return _tensor(storage, offset, shape, stride, None)


def _make_tensor_of_type(
    storage: object, offset: object, shape: object, stride: object, grad: object, hooks: object, dtype: object, *_: Any
) -> object:
    """The third version, which tells the type."""
    if not isinstance(dtype, torch.dtype):
        return InertObject(f"{REBUILT[0]}tensor_v3")
    return _tensor(storage, offset, shape, stride, dtype)


def _make_parameter(data: object, *_: object) -> object:
    """A parameter: the tensor that it is."""
    return data


def _make_subclass(maker: object, kind: object, arguments: object, *_: object) -> object:
    """A tensor of a class of its own: the tensor that it is, if that is made as others are."""
    if maker in (_make_tensor, _make_tensor_of_type, _make_parameter) and isinstance(arguments, tuple):
        return maker(*arguments)
    return InertObject(f"{REBUILT[0]}from_type", (kind, arguments))


def _is_of_objects(state: object) -> bool:
    """Whether this is the state of an array of something else than numbers and texts."""
    return isinstance(state, tuple) and any(isinstance(part, InertObject) for part in state)


def _make_dtype(code: object, *_: object) -> object:
    """A type of arrays; one of objects or records is only noted."""
    try:
        return MAKERS["numpy", "dtype"](code)
    except NotPlain:
        return InertObject("numpy.dtype", (code,))


def _make_scalar(dtype: object, raw: object = b"") -> object:
    """A single number of numpy's."""
    if isinstance(dtype, InertObject):
        return InertObject("numpy.generic", (raw,))
    return MAKERS["numpy._core.multiarray", "scalar"](dtype, raw)


def _make_filled(raw: object, dtype: object, shape: object, order: str) -> object:
    """A whole array, as protocol 5 writes it."""
    if isinstance(dtype, InertObject):
        return InertObject("numpy.ndarray", (shape,))
    return MAKERS["numpy._core.numeric", "_frombuffer"](raw, dtype, shape, order)


def _refuse_bytes(*_: object) -> None:
    """A storage in the form of another file inside this one."""
    raise NotPlain("its tensors were written by pickle; write them by torch.save(model.state_dict(), FILE) instead")


def _make_size(values: object = ()) -> tuple[int, ...]:
    """A size."""
    return tuple(values) if is_counts(values) else ()


def _make_of_class(made_of: object, *arguments: object) -> InertObject:
    """`copyreg._reconstructor` and `__newobj__`: an object without arguments, to be filled later."""
    if not isinstance(made_of, InertClass):
        raise NotPlain(f"it wants an object made of a {type(made_of).__name__}")
    return InertObject(made_of.name, arguments)


def _make_ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """A dictionary of some kind that has no more to it: Counter, defaultdict less its factory."""
    made: OrderedDict[Any, Any] = MAKERS["collections", "OrderedDict"](
        pairs.items() if isinstance(pairs, dict) else pairs
    )
    return made


def _make_default(*_: object) -> OrderedDict[Any, Any]:
    """A defaultdict, whose items follow; its factory is left out."""
    return OrderedDict()


def _make_list(items: Iterable[Any] = (), *_: object) -> list[Any]:
    """A deque."""
    return list(items)


def _make_array(data: object, *_: object) -> object:
    """A tensor of another device, written as numpy's."""
    return data if isinstance(data, np.ndarray | StoredTensor) else InertObject(f"{REBUILT[0]}device_tensor")


CheckpointReader.makers = MAKERS | {
    ("numpy", "dtype"): _make_dtype,
    **{(f"numpy.{core}.multiarray", "scalar"): _make_scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _make_filled for core in ("core", "_core")},
    ("torch.storage", "_load_from_bytes"): _refuse_bytes,
    ("collections", "Counter"): _make_ordered,
    ("collections", "defaultdict"): _make_default,
    ("collections", "deque"): _make_list,
    ("copyreg", "_reconstructor"): _make_of_class,
    ("copy_reg", "_reconstructor"): _make_of_class,
    ("copyreg", "__newobj__"): _make_of_class,
    ("torch", "Size"): _make_size,
    ("torch._utils", "_rebuild_tensor"): _make_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _make_tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _make_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _make_parameter,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _make_array,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _make_array,
    ("torch._tensor", "_rebuild_from_type_v2"): _make_subclass,
}
CheckpointReader.dispatch = operations_of(CheckpointReader, _MORE)
