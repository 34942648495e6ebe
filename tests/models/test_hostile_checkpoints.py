"""Files that were made to run something, to read beyond themselves, or to never end: refused, or read and inert."""

from __future__ import annotations

import copyreg
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.checkpoints.weights import read_checkpoint

NAME = "s1.pathway0_stem.conv.weight"
"""One tensor's name, which makes a dictionary a state dict of PySlowFast."""

RUN = b"cposix\nsystem\n(S'touch trace'\ntR"
"""The standard reader runs this."""
STATE = b"}X" + struct.pack("<i", len(NAME)) + NAME.encode()
FLOATS = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n("


def text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value)) + value.encode()


def tensor(
    offset: bytes = b"K\x00", shape: bytes = b"(K\x04t", stride: bytes = b"(K\x01t", storage: bytes = FLOATS
) -> bytes:
    return TENSOR + storage + offset + shape + stride + b"\x89}tR"


def as_zip(folder: Path, content: bytes, packed: int = zipfile.ZIP_STORED, **more: bytes) -> Path:
    """A file as torch writes it, with a pickle of ours; one storage of four floats."""
    path = folder / "x.pth"
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, value in {
            "data.pkl": content,
            "version": b"3\n",
            "data/0": struct.pack("<4f", 1, 2, 3, 4),
            **more,
        }.items():
            archive.writestr(f"archive/{name}", value)
    return path


def as_old(folder: Path, content: bytes) -> Path:
    """The same as torch wrote it before 1.6."""
    path = folder / "x.pth"
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    tail = pickle.dumps(["0"], 2) + struct.pack("<q", 4) + struct.pack("<4f", 1, 2, 3, 4)
    path.write_bytes(b"".join(head) + content + tail)
    return path


def as_pickle(folder: Path, content: bytes) -> Path:
    path = folder / "x.pkl"
    path.write_bytes(content)
    return path


WRITERS = {"zip": as_zip, "old": as_old, "pickle": as_pickle}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a command that runs leaves its trace."""
    monkeypatch.chdir(tmp_path)


def test_the_honest_file_of_this_form_is_read(tmp_path: Path) -> None:
    for writer in (as_zip, as_old):
        found = read_checkpoint(writer(tmp_path, b"\x80\x02" + STATE + tensor() + b"s.")).tensors
        assert found["backbone.stem.conv.weight"].tolist() == [1, 2, 3, 4]
    pickle.loads(RUN + b".")
    assert Path("trace").exists(), "the standard reader runs what is refused below"


DEPTHS = {
    "alone": RUN,
    "value": b"}" + text("cfg") + RUN + b"s",
    "key": b"}" + RUN + b"K\x01s",
    "list of lists": b"]]]" + RUN + b"aaa",
    "argument of an inert object": b"cargparse\nNamespace\n(" + RUN + b"tR",
    "state of an inert object": b"cargparse\nNamespace\n)\x81}" + text("x") + RUN + b"sb",
    "item of an inert dictionary": b"cyacs.config\nCfgNode\n)\x81" + text("x") + RUN + b"s",
    "argument of a call of an inert call": b"cfunctools\npartial\n(" + RUN + b"tR" + b"(" + RUN + b"tR",
    "hooks of a tensor": TENSOR + FLOATS + b"K\x00(K\x04t(K\x01t\x89" + RUN + b"tR",
    "name of a storage": b"(" + text("storage") + b"ctorch\nFloatStorage\n" + RUN + text("cpu") + b"K\x04tQ",
    "storage itself": b"(" + text("storage") + RUN + text("0") + text("cpu") + b"K\x04tQ",
    "persistent id": RUN + b"Q",
    "ordered dictionary": b"ccollections\nOrderedDict\n(]]" + text("a") + b"a" + RUN + b"aatR",
    "type of an array": b"cnumpy\ndtype\n(" + RUN + b"tR",
    "inst": b"(S'touch trace'\niposix\nsystem\n",
    "obj": b"(cposix\nsystem\nS'touch trace'\no",
    "newobj": b"cposix\nsystem\n(S'touch trace'\nt\x81",
    "newobj_ex": b"\x80\x04cposix\nsystem\n(S'touch trace'\nt}\x92",
    "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(S'touch trace'\ntR",
    "dotted": b"\x80\x04\x8c\x02os\x8c\x0epath.os.system\x93(S'touch trace'\ntR",
    "put away": RUN + b"q\x010",
}


@each_case("writer", WRITERS)
@each_case("depth", DEPTHS)
def test_a_command_is_refused_at_any_depth(tmp_path: Path, depth: str, writer: str) -> None:
    content = DEPTHS[depth] + (b"." if depth != "put away" else b"}.")
    path = WRITERS[writer](tmp_path, content)
    ran = r"(posix\.system|os\.path\.os\.system)"
    with pytest.raises(AvadetError, match=rf"x\.p\w+: refused, it asks to run {ran} when") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not Path("trace").exists()


@each_case(
    "name",
    [
        *("builtins eval", "builtins exec", "builtins __import__", "builtins compile", "builtins open"),
        *("builtins setattr", "builtins globals", "__builtin__ eval", "os system", "nt system", "subprocess Popen"),
        *("runpy run_path", "importlib import_module", "pickle loads", "_pickle loads", "marshal loads", "sys exit"),
        *("types FunctionType", "code interact", "torch load", "torch.hub load", "webbrowser open", "timeit timeit"),
        *("shutil rmtree", "ctypes CDLL"),
    ],
)
def test_names_that_run_something_are_refused_by_name(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    path = as_zip(tmp_path, f"c{module}\n{function}\n(S'x'\ntR.".encode())
    with pytest.raises(AvadetError, match=rf"refused, it asks to run {module}\.{function} when"):
        read_checkpoint(path)


@each_case(
    "content",
    [
        b"cbuiltins\ngetattr\n(cargparse\nNamespace\nS'__init__'\ntR(S'x'\ntR.",  # every call of it is inert
        b"coperator\nattrgetter\n(S'system'\ntR.",
        b'cnumpy.testing._private.utils\nrunstring\n(S\'open("trace", "w")\'\n}tR.',
        b"ctorch.utils.collect_env\nrun\n(S'touch trace'\ntR.",
        b"ctorch.jit._script\n_eval_no_call\n(S'x'\ntR.",
        b"csome.package.nobody.has\nfunction\n(S'x'\ntR}S'y'\nS'z'\nsb.",
    ],
)
def test_other_functions_are_inert(tmp_path: Path, content: bytes) -> None:
    for writer in (as_zip, as_old):
        path = writer(tmp_path, b"\x80\x02" + STATE + tensor() + b"s" + text("more") + content[:-1] + b"s.")
        assert read_checkpoint(path).tensors["backbone.stem.conv.weight"].tolist() == [1, 2, 3, 4]
    assert not Path("trace").exists()


@each_case(
    ("content", "message"),
    [
        (b"Pperson\n.", "no plain data"),  # PERSID
        (b"K\x05Q.", "something else than the values"),
        (b"(" + text("storage") + b"K\x01K\x02K\x03K\x04tQ.", "a form that torch does not write"),
        (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"J\xff\xff\xff\xfftQ.",
            "a form that",
        ),
        (FLOATS[:-2] + b"(S'0'\nS'1'\nK\x02ttQ.", "a form that torch does not write"),
        (FLOATS[:-2] + b"(S'0'\nK\x01ttQ.", "a form that torch does not write"),
        (FLOATS[:-2] + b"(S'0'\nK\x01K\x04ttQ.", "values that are not its storage's"),
        (b"(" + text("module") + RUN[:14] + b"tQ.", "asks to run posix.system"),
        (b"ccollections\nOrderedDict\n(K\x01tR.", "damaged"),
        (b"cargparse\nNamespace\n]R.", "asks to call something with a list"),
        (b"]]R.", "asks to call something with a list"),
        (b"])R.", "asks to call a list"),
        (b"cargparse\nNamespace\n}b.", "asks to set the state of a InertClass"),
        (b"cnumpy\ndtype\n}b.", "asks to set the state of a function"),
        (b"])\x81.", "an object made of a list"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))\x89}tR.", "a tensor without a storage"),
        (b"ctorch.storage\n_load_from_bytes\n(C\x02abtR.", "written by pickle; write them by torch.save"),
    ],
)
def test_what_torch_does_not_write_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AvadetError, match=rf"x\.pth: .*{message}"):
        read_checkpoint(as_zip(tmp_path, content))


@each_case("operation", [b"\x82\x05", b"\x83\x05\x00", b"\x84\x05\x00\x00\x00"])
def test_registered_extensions_are_refused(tmp_path: Path, operation: bytes) -> None:
    copyreg.add_extension("posix", "system", 5)
    try:
        with pytest.raises(AvadetError, match="refused, it wants an object made that is no plain data"):
            read_checkpoint(as_zip(tmp_path, operation + b"(S'touch trace'\ntR."))
    finally:
        copyreg.remove_extension("posix", "system", 5)
    assert not Path("trace").exists()


BIG = b"\x8a\x06\x00\x00\x00\x00\x00\x01"
"""2^40"""
BEYOND: dict[str, tuple[bytes, str]] = {
    "offset": (tensor(offset=b"K\x01"), "values beyond its storage"),
    "negative offset": (tensor(offset=b"J\xff\xff\xff\xff"), "not of whole numbers"),
    "negative size": (tensor(shape=b"(J\xff\xff\xff\xfft"), "not of whole numbers"),
    "negative stride": (tensor(stride=b"(J\xff\xff\xff\xfft"), "not of whole numbers"),
    "size": (tensor(shape=b"(K\x05t"), "values beyond its storage"),
    "huge size": (tensor(shape=b"(" + BIG + b"t"), "values beyond its storage"),
    "stride": (tensor(stride=b"(K\x02t"), "values beyond its storage"),
    "one value for all": (tensor(shape=b"(" + BIG + b"t", stride=b"(K\x00t"), "times as large as the file"),
    "no size": (tensor(shape=b"N"), "not of whole numbers"),
    "texts": (tensor(shape=b"(S'4'\nt"), "not of whole numbers"),
    "other dimensions": (tensor(stride=b")"), "not of whole numbers"),
    "endless number": (tensor(shape=b"(\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b"t"), "not of whole numbers"),
    "missing": (tensor(storage=FLOATS.replace(b"\x000X", b"\x009X")), "'archive/data/9', which is not in it"),
    "outside": (tensor(storage=FLOATS.replace(text("0"), text("../../../xy"))), "which is not in it"),
    "claims more": (tensor(shape=b"(K\x05t", storage=FLOATS.replace(b"K\x04", b"K\x05")), "its storage has 16"),
    "wider type": (tensor(storage=FLOATS.replace(b"FloatStorage", b"DoubleStorage")), "its storage has 16"),
}  # fmt: skip


@each_case("kind", BEYOND)
def test_no_tensor_reaches_beyond_its_storage(tmp_path: Path, kind: str) -> None:
    content, message = BEYOND[kind]
    with pytest.raises(AvadetError, match=rf"x\.pth: .*{message}"):
        read_checkpoint(as_zip(tmp_path, b"\x80\x02" + STATE + content + b"s."))
    with pytest.raises(AvadetError, match=r"x\.pth: "):
        read_checkpoint(as_old(tmp_path, b"\x80\x02" + STATE + content + b"s."))


def test_a_packed_record_is_not_unpacked(tmp_path: Path) -> None:
    path = as_zip(tmp_path, b"\x80\x02" + STATE + tensor() + b"s.", zipfile.ZIP_DEFLATED, **{"data/0": bytes(10**8)})
    assert path.stat().st_size < 200_000
    with pytest.raises(AvadetError, match="packed or larger than the whole"):
        read_checkpoint(path)


def test_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    path = as_zip(tmp_path, b"\x80\x02" + STATE + tensor() + b"s.", **{"../../../escaped": b"x", "/etc/escaped": b"x"})
    assert read_checkpoint(path).tensors["backbone.stem.conv.weight"].tolist() == [1, 2, 3, 4]
    assert list(tmp_path.iterdir()) == [path]


def test_a_zip_that_claims_more_than_it_is(tmp_path: Path) -> None:
    path = as_zip(tmp_path, b"\x80\x02" + STATE + tensor() + b"s.")
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02", raw.index(b"archive/version", raw.index(b"PK\x01\x02")))
    struct.pack_into("<II", raw, central + 20, 2**31, 2**31)  # the sizes of data/0
    path.write_bytes(raw)
    with pytest.raises(AvadetError, match=r"x\.pth: damaged"):
        read_checkpoint(path)


TOWER = b")" + b"\x85" * 100_000
BOMBS: dict[str, tuple[bytes, str]] = {
    "deep list": (b"]" * 50_000 + b"a" * 49_999, "no tensors by name|must be a dictionary"),
    "deep dictionary": (b"}" + (text("a") + b"}") * 50_000 + b"s" * 50_000, "no tensors by name"),
    "deep key": (b"}" + TOWER + b"K\x01s", "towers of tuples"),
    "deep item": (b"\x80\x04\x8f(" + TOWER + b"\x90", "towers of tuples"),
    "deep frozen set": (b"\x80\x04(" + TOWER + b"\x91", "towers of tuples"),
    "wide key": (b"}" + b")" + b"2\x86" * 40 + b"K\x01s", "towers of tuples"),
    "laughs": (b"]" + b"q\x01]" + b"(h\x01h\x01h\x01e0" + b"".join(
        b"]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e0" for n in range(2, 60)) + b"h\x3b",
        "must be a dictionary"),
    "list in itself": (b"]q\x01h\x01a", "must be a dictionary"),
    "dictionary in itself": (b"}q\x01" + text("a") + b"h\x01s", "no tensors by name"),
    "far memo": (b"}r\xff\xff\xff\x7f", "no tensors by name"),
    "farther memo": (b"}p99999999999999\n", "no tensors by name"),
    "size that laughs": (tensor(shape=b")q\x01" + b"".join(
        b"(" + (b"h" + bytes([n])) * 8 + b"tq" + bytes([n + 1]) for n in range(1, 60))), "not of whole numbers"),
}  # fmt: skip


@each_case("kind", BOMBS)
def test_nothing_takes_for_ever(tmp_path: Path, kind: str) -> None:
    content, message = BOMBS[kind]
    began = time.process_time()
    with pytest.raises(AvadetError, match=message) as caught:
        read_checkpoint(as_zip(tmp_path, content + b"."))
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 600


def test_garbage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for writer in (as_zip, as_old):
        whole = writer(
            tmp_path, b"\x80\x02" + STATE + tensor() + b"s" + text("a") + b"cargparse\nNamespace\n)\x81}bs."
        ).read_bytes()
        for _ in range(150):
            bent = bytearray(whole)
            for place in torch.randint(len(bent), (3,), generator=generator).tolist():
                bent[place] = int(torch.randint(256, (1,), generator=generator))
            (tmp_path / "x.pth").write_bytes(bent)
            try:
                read_checkpoint(tmp_path / "x.pth")
            except AvadetError as error:
                refused += 1
                assert str(error).count("\n") == 0
    assert refused > 60


def test_what_is_read_from_such_a_file_stays_within_it(tmp_path: Path) -> None:
    """A parameter that shares another's storage, as tied weights do, is no reason to refuse."""
    tied: dict[str, Any] = {NAME: torch.arange(6.0).view(2, 3), "head.projection.weight": None}
    tied["head.projection.weight"] = tied[NAME].t()
    torch.save({"model_state": tied}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth").tensors
    assert found["head.proj.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
