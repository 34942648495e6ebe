"""The files that hold checkpoints: zips of `torch.save`, its older form, plain pickles, safetensors.

Only the pickle is read at first, by `unpickle`. The values of a tensor are read when they are asked for, and only after
what the file claims of them - place, number, strides - was held against what there is. Nothing is unpacked to disk, so
names in a zip are only ever compared.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.checkpoints.file_kind import other_kind, other_zip
from avadet.models.checkpoints.stored_tensors import StoredTensor
from avadet.models.checkpoints.unpickle import CheckpointReader
from avadet.plain_pickle import DAMAGE, GROWTH, SLACK_BYTES, NotPlain

MAGIC = 0x1950A86A20F9469CFC6C
"""The number that files of torch before 1.6 begin with."""
COUNT_BYTES = 8
ZIP = b"PK\x03\x04"
CHUNK_BYTES = 1 << 22

Values = Callable[[str], bytearray]
"""The bytes of a storage by its key."""


@dataclass(frozen=True)
class StoredContent:
    """What a file holds, tensors still in it.

    Attributes:
        source: the file, for messages.
        root: the object that was saved, `unpickle` tells in what form.
        values: opens what gives the bytes of a storage by its key, and raises NotPlain for one that is not there.
        size: bytes of the file.
    """

    source: str
    root: object
    values: Callable[[], AbstractContextManager[Values]]
    size: int

    def tensors(self, stored: Mapping[str, object]) -> dict[str, Tensor]:
        """Read tensors, which may share their values.

        Args:
            stored: by name, of `StoredTensor`, arrays of numpy or tensors.

        Raises:
            AvadetError: if one claims values that the file does not hold, or all together far more than its size.
        """
        try:
            with self.values() as values:
                return _Tensors(values, self.size).of(stored)
        except NotPlain as error:
            raise AvadetError(f"{self.source}: damaged, or made to do harm: {error}") from error
        except (*DAMAGE, zipfile.BadZipFile, OSError, RuntimeError) as error:
            raise AvadetError(f"{self.source}: damaged ({_one_line(error)}); copy or download it again") from error


class _Tensors:
    """Tensors of one file of `size` bytes, each storage read once."""

    def __init__(self, values: Values, size: int) -> None:
        self.values = values
        self.storages: dict[str, bytearray] = {}
        self.bytes_left = GROWTH * size + SLACK_BYTES
        self.stored_left = size

    def of(self, stored: Mapping[str, object]) -> dict[str, Tensor]:
        """All of them by name."""
        made: dict[str, Tensor] = {}
        for name, value in stored.items():
            if isinstance(value, StoredTensor):
                made[name] = self._read(name, value)
            elif isinstance(value, np.ndarray):
                made[name] = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
            else:
                assert isinstance(value, Tensor)
                made[name] = value
        return made

    def _read(self, name: str, stored: StoredTensor) -> Tensor:
        """One tensor, if all that it claims lies in its storage."""
        item, storage, unit = stored.dtype.itemsize, stored.storage, stored.storage.unit
        empty = 0 in stored.shape
        last = stored.offset + sum((size - 1) * step for size, step in zip(stored.shape, stored.stride))
        if not empty and (last + 1) * item > storage.length * unit:
            raise NotPlain(f"tensor {name[:80]} claims values beyond its storage")
        self.bytes_left -= math.prod(stored.shape) * item
        if self.bytes_left < 0:
            raise NotPlain(f"its tensors would be over {GROWTH} times as large as the file")
        if empty:
            return torch.empty(stored.shape, dtype=stored.dtype)
        if storage.key not in self.storages:
            self.storages[storage.key] = self.values(storage.key)
            self.stored_left -= len(self.storages[storage.key])
            if self.stored_left < 0:
                raise NotPlain("its storages lie over each other")
        raw = self.storages[storage.key]
        if len(raw) < storage.count * unit or (storage.first * unit) % item:
            raise NotPlain(f"tensor {name[:80]} claims {storage.count * unit} bytes, its storage has {len(raw)}")
        flat = torch.frombuffer(raw, dtype=stored.dtype, offset=storage.first * unit, count=last + 1)
        return flat.as_strided(stored.shape, stored.stride, stored.offset)


def open_file(path: Path) -> StoredContent:
    """Read what a file holds but for the values of its tensors; what it is, its first bytes tell, not its name.

    Raises:
        AvadetError: if it is missing, damaged, of another kind, or asks to run something.
    """
    head, size = _beginning(path)
    is_zip, is_safe = head.startswith(ZIP), head[8:10] == b'{"'
    if path.suffix == ".safetensors":
        is_zip = is_zip and zipfile.is_zipfile(path)
        is_safe = not is_zip
    kind = None if is_zip or is_safe else other_kind(head, size)
    if kind is not None:
        raise AvadetError(f"{path}: {kind}")
    try:
        if is_zip:
            return _open_zip(path, size)
        if is_safe:
            return StoredContent(str(path), read_safetensors(path), _nothing, size)
        return _open_pickle(path, size)
    except NotPlain as error:
        raise AvadetError(f"{path}: refused, {error}; a checkpoint must hold tensors and plain values") from error
    except (*DAMAGE, zipfile.BadZipFile, OSError, RuntimeError) as error:
        more = "cut short" if is_zip and isinstance(error, zipfile.BadZipFile) else _one_line(error)
        message = f"damaged, or no file of torch.save or safetensors ({more}); copy or download it again"
        raise AvadetError(f"{path}: {message}") from error


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating ones as float32 whatever they are stored as.

    Raises:
        AvadetError: if the file is missing or damaged.
    """
    head, size = _beginning(Path(path))
    try:
        return {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    except (safetensors.SafetensorError, OSError) as error:
        kind = other_kind(head, size) or _one_line(error)
        raise AvadetError(f"{path}: not a readable safetensors file: {kind}") from error


def _beginning(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file, and how many it has."""
    try:
        with path.open("rb") as file:
            return file.read(512), path.stat().st_size
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such file") from error
    except OSError as error:
        raise AvadetError(f"{path}: cannot be read: {error.strerror}") from error


def _open_zip(path: Path, size: int) -> StoredContent:
    """A file of torch 1.6 and later."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: info for info in archive.infolist()}
        kind = other_zip(list(records))
        if kind is not None:
            raise AvadetError(f"{path}: {kind}")
        pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
        folder = pickles[0].partition("/")[0]
        if f"{folder}/byteorder" in records and _record(archive, records, f"{folder}/byteorder", size) != b"little":
            raise NotPlain("it was written on a machine of the other byte order; save it again on a usual one")
        root = _read(io.BytesIO(_record(archive, records, pickles[0], size)), size)

    @contextmanager
    def values() -> Iterator[Values]:
        with zipfile.ZipFile(path) as archive:
            yield lambda key: _record(archive, records, f"{folder}/data/{key}", size)

    return StoredContent(str(path), root, values, size)


def _record(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], name: str, size: int) -> bytearray:
    """One file of a zip, which torch stores as it is; a packed one could unpack to any size."""
    info = records.get(name)
    if info is None:
        raise NotPlain(f"it refers to {name[:80]!r}, which is not in it")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise NotPlain(f"{name[:80]!r} in it is packed or larger than the whole")
    content = bytearray(info.file_size)
    with archive.open(info) as file:
        place = 0
        while chunk := file.read(CHUNK_BYTES):
            content[place : place + len(chunk)] = chunk
            place += len(chunk)
    if place != info.file_size:
        raise NotPlain(f"{name[:80]!r} in it is shorter than it says")
    return content


def _open_pickle(path: Path, size: int) -> StoredContent:
    """A file of torch before 1.6, or a plain pickle."""
    file = io.BytesIO(path.read_bytes())
    first = _read(file, size)
    if first != MAGIC or isinstance(first, float):
        return StoredContent(str(path), first, _nothing, size)
    _read(file, size)  # the version of the form
    about = _read(file, size)
    if isinstance(about, Mapping) and about.get("little_endian") is False:
        raise NotPlain("it was written on a machine of the other byte order; save it again on a usual one")
    reader = CheckpointReader(file, size)
    root = reader.load()
    places = _places(file, _read(file, size), reader.units)

    def values(key: str) -> bytearray:
        if key not in places:
            raise NotPlain(f"it refers to storage {key[:80]!r}, which is not in it")
        start, length = places[key]
        with file.getbuffer() as content:
            return bytearray(content[start : start + length])

    return StoredContent(str(path), root, lambda: nullcontext(values), size)


def _places(file: io.BytesIO, keys: object, units: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Where the values of each storage begin, and how many bytes they are; they follow each other in this order."""
    if not isinstance(keys, list):
        raise NotPlain("it lists no storages")
    places: dict[str, tuple[int, int]] = {}
    end = file.getbuffer().nbytes
    for key in map(str, keys):
        count = int.from_bytes(file.read(COUNT_BYTES), "little", signed=True)
        start, length = file.tell(), count * units.get(key, 1)
        if not 0 <= count <= end or start + length > end:
            raise EOFError("cut short")
        places[key] = start, length
        file.seek(start + length)
    return places


def _read(file: BinaryIO, size: int) -> Any:
    """The next pickle of a file."""
    return CheckpointReader(file, size).load()


def _nothing() -> AbstractContextManager[Values]:
    """The values of storages, in a file that has none."""

    def values(key: str) -> bytearray:
        raise NotPlain("it refers to the values of a tensor, but is no file of torch.save")

    return nullcontext(values)


def _one_line(error: BaseException) -> str:
    """What went wrong, shortly."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
