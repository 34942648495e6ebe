"""Tensors that are still in a file: where their values lie and how, as the pickle says, none of it believed yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch

from avadet.models.checkpoints.inert import InertClass, InertObject, is_whole_number
from avadet.plain_pickle import NotPlain

MAX_DIMS = 64

_TYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "bool"),
)
_KINDS = (
    *("Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"),
    *("Byte", "Char", "Short", "Int", "Long", "Bool"),
)

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _TYPES}
"""Types of tensors that are read; those of quantised and other unusual tensors are not."""

STORAGES: dict[str, torch.dtype | None] = {
    **{f"{kind}Storage": dtype for kind, dtype in zip(_KINDS, DTYPES.values(), strict=True)},
    "UntypedStorage": None,
}
"""torch's name of a storage -> type of its values; None = bytes, the tensor says what they are."""

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

    @property
    def unit(self) -> int:
        """Bytes that a value takes."""
        return 1 if self.dtype is None else self.dtype.itemsize


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


def is_unread_tensor(value: object) -> TypeGuard[InertObject]:
    """Whether something would be a tensor of a kind that is not read: quantised, sparse, without values ..."""
    return isinstance(value, InertObject) and value.kind.startswith(REBUILT)


def storage_of(named: object) -> StorageRef | InertObject:
    """The storage that a persistent id stands for, as torch writes it."""
    if not (isinstance(named, tuple) and len(named) in (5, 6) and named[0] == "storage"):
        raise NotPlain("it refers to something else than the values of a tensor")
    _, kind, key, _, count, *view = named
    key = str(key) if type(key) is int else key
    if isinstance(kind, InertClass) and kind.kind.startswith("torch."):
        return InertObject(kind.kind)  # of a type that is not read
    part = view[0] if view and view[0] is not None else (None, 0, count)
    is_part = isinstance(part, tuple) and len(part) == 3 and all(map(is_whole_number, part[1:]))
    if not (isinstance(kind, StorageType) and isinstance(key, str) and is_counts((count,)) and is_part):
        raise NotPlain("it refers to the values of a tensor in a form that torch does not write")
    _, first, length = part
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


def _refuse_bytes(*_: object) -> None:
    """A storage in the form of another file inside this one."""
    raise NotPlain("its tensors were written by pickle; write them by torch.save(model.state_dict(), FILE) instead")


def _make_size(values: object = ()) -> tuple[int, ...]:
    """A size."""
    return tuple(values) if is_counts(values) else ()


def _make_array(data: object, *_: object) -> object:
    """A tensor of another device, written as numpy's."""
    return data if isinstance(data, np.ndarray | StoredTensor) else InertObject(f"{REBUILT[0]}device_tensor")


TENSOR_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch.storage", "_load_from_bytes"): _refuse_bytes,
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
"""Functions of torch that pickles call to put tensors together -> what is called in their place."""
