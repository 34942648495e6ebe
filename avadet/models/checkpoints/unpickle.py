"""The pickle inside a checkpoint, read without running anything in it.

What `plain_pickle` reads - numbers, texts, containers, arrays - is read here too. Tensors become notes of where their
values lie and how (`StoredTensor`), checked later against the storage itself; names of any other class become inert
(`inert`): nothing is imported, called, or asked to set its state. Names that no trainer writes and that could only be
meant to run something are refused outright, so that whoever reads the message knows what kind of file that is.
"""

from __future__ import annotations

import builtins
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

from avadet.models.checkpoints.inert import InertClass, InertObject
from avadet.models.checkpoints.stored_tensors import (
    DTYPES,
    STORAGES,
    TENSOR_MAKERS,
    StorageRef,
    StorageType,
    StoredTensor,
    storage_of,
)
from avadet.plain_pickle import MAKERS, NotPlain, PickleReader, asks_to_run, operations_of

_PACKAGES = "os importlib ctypes urllib http xmlrpc unittest asyncio concurrent pip setuptools ensurepip venv"
_MODULES = """
    posix nt posixpath ntpath subprocess _posixsubprocess commands popen2 pty sys imp _frozen_importlib _imp runpy
    pkgutil zipimport site code codeop pdb bdb _ctypes cffi socket _socket ssl shutil tempfile webbrowser urllib2
    httplib ftplib smtplib pickle _pickle cPickle marshal shelve timeit cProfile profile trace doctest signal _io io
    fileinput mmap pydoc gc inspect linecache faulthandler platform
"""
PACKAGES_THAT_RUN, MODULES_THAT_RUN = frozenset(_PACKAGES.split()), frozenset(_MODULES.split())
"""Whose names stand in no honest checkpoint; a package of a user may be called like one of the modules."""

NAMES_THAT_RUN = frozenset(
    ("types.FunctionType", "types.CodeType", "types.LambdaType", "functools.reduce", "torch.load", "torch.hub.load")
)

OF_PYTHON_2 = frozenset(("xrange", "unicode", "long", "basestring", "getattr"))
"""Names of `builtins` that are no types here; `getattr` stands before enumerations and methods. None is called."""


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
        runs = root in PACKAGES_THAT_RUN or module in MODULES_THAT_RUN or f"{module}.{name}" in NAMES_THAT_RUN
        if runs or (root in ("builtins", "__builtin__") and not _is_type(name)):
            raise asks_to_run(module, name)
        return InertClass(f"{module}.{name}")

    def call_maker(self) -> None:
        """Operation REDUCE: a maker is called, of a class or function only the name and the arguments are noted."""
        arguments = self.stack.pop()
        called = self.stack[-1]
        if not isinstance(arguments, tuple):
            raise NotPlain(f"it asks to call something with a {type(arguments).__name__}")
        if isinstance(called, InertClass | InertObject):
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
        if not isinstance(arguments, tuple):
            raise NotPlain(f"it wants an object made with a {type(arguments).__name__}")
        self.append(_make_of_class(made_of, *arguments))

    def refer_to_storage(self) -> None:
        """Operation BINPERSID: the storage of a tensor, or a module's class, which old files name with its source."""
        named = self.stack.pop()
        if isinstance(named, tuple) and len(named) >= 2 and named[0] == "module" and isinstance(named[1], InertClass):
            self.append(named[1])
            return
        storage = storage_of(named)
        if isinstance(storage, StorageRef):
            self.units[storage.key] = storage.unit
        self.append(storage)


_MORE = {
    pickle.NEWOBJ[0]: "make_object",
    pickle.NEWOBJ_EX[0]: "make_object_by_names",
    pickle.OBJ[0]: "make_object_of_mark",
    pickle.BINPERSID[0]: "refer_to_storage",
}
"""Byte of an operation -> method."""


def _is_type(name: str) -> bool:
    """Whether a name of `builtins` is a type's, or one that honest pickles mention as well."""
    return name in OF_PYTHON_2 or isinstance(getattr(builtins, name, None), type)


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


def _make_of_class(made_of: object, *arguments: object) -> InertObject:
    """An object that was to be made; of `copyreg._reconstructor` and `__newobj__`, to be filled later."""
    if not isinstance(made_of, InertClass):
        raise NotPlain(f"it wants an object made of a {type(made_of).__name__}")
    return InertObject(made_of.kind, arguments)


def _make_ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """A dictionary of some kind that has no more to it, as a Counter."""
    items = pairs.items() if isinstance(pairs, dict) else pairs
    made: OrderedDict[Any, Any] = MAKERS["collections", "OrderedDict"](items)
    return made


def _make_default(*_: object) -> OrderedDict[Any, Any]:
    """A defaultdict, whose items follow; its factory is left out."""
    return OrderedDict()


def _make_list(items: Iterable[Any] = (), *_: object) -> list[Any]:
    """A deque."""
    return list(items)


CheckpointReader.makers = (
    MAKERS
    | TENSOR_MAKERS
    | {
        ("numpy", "dtype"): _make_dtype,
        **{(f"numpy.{core}.multiarray", "scalar"): _make_scalar for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _make_filled for core in ("core", "_core")},
        ("collections", "Counter"): _make_ordered,
        ("collections", "defaultdict"): _make_default,
        ("collections", "deque"): _make_list,
        **{(module, "_reconstructor"): _make_of_class for module in ("copyreg", "copy_reg")},
        ("copyreg", "__newobj__"): _make_of_class,
    }
)
CheckpointReader.dispatch = operations_of(CheckpointReader, _MORE)
