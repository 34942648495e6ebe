"""What a file is that is no checkpoint, told by its first bytes, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

WEB_PAGE = re.compile(rb"\s*(<!doctype|<html|<head|<\?xml|<!--)", re.IGNORECASE)
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n")
POINTED_SIZE = re.compile(rb"^size (\d+)$", re.MULTILINE)

AGAIN = "download the file itself"

SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes weights; avadet reads those of torch and safetensors"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"\x93NUMPY", "a single array of numpy (.npy); a checkpoint holds tensors by name"),
    (b"GGUF", "a GGUF file, for language models; avadet reads checkpoints of torch and safetensors"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"%PDF", "a PDF document"),
    (b"RIFF", "a video or sound, not a model"),
    (b"\x1aE\xdf\xa3", "a video, not a model"),
)
"""First bytes of a file -> what it is."""

ONNX = re.compile(rb"\x08[\x01-\x20](\x12.[\x20-\x7e]|:|B)", re.DOTALL)


def other_kind(head: bytes, size: int) -> str | None:
    """What a file is, if it is surely no checkpoint, and the way out; None if it may be one.

    Args:
        head: its first bytes, 512 or all of them.
        size: bytes of the file.
    """
    if not size:
        return "damaged: the file is empty; copy or download it again"
    if WEB_PAGE.match(head):
        return f"a web page, not a checkpoint: what was downloaded is the answer of a server; {AGAIN}"
    if POINTER.match(head):
        pointed = POINTED_SIZE.search(head)
        of = f" of {int(pointed[1]):,} bytes" if pointed else ""
        return f"a git LFS pointer, not the weights{of} that it stands for; fetch them: git lfs pull"
    if ONNX.match(head):
        return "an ONNX file; if avadet export wrote it, call it something.onnx, other ones are not read"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it, or if it is of torch before 0.2, save it again with a newer one"
    if head[4:8] == b"ftyp":
        return "a video, not a model"
    if head.lstrip()[:1] == b"{" and head[8:10] != b'{"':
        return f"JSON, a card or a configuration, not the weights that belong to it; {AGAIN}"
    return next((kind for sign, kind in SIGNS if head.startswith(sign)), None)


def other_zip(names: Sequence[str]) -> str | None:
    """What a zip file is by the names in it, if it is none of `torch.save`, and the way out; None if it is one."""
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            "a TorchScript archive, which is a program, and avadet runs none from a file; load it with torch.jit.load "
            "where it was made, and torch.save its state_dict()"
        )
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return None
    if any(name.endswith(".npy") for name in names):
        return "an .npz of numpy; avadet reads checkpoints of torch and safetensors"
    if any(name.endswith("archive_format") or name.startswith("models/") for name in names):
        return "a program of torch.export (.pt2); torch.save the state_dict() of the model it was made of"
    nested = [name for name in names if name.endswith((".pt", ".pth", ".pyth", ".ckpt", ".safetensors"))]
    if nested:
        return f"a zip archive with {nested[0][:80]!r} in it; unpack it and give that"
    return "a zip archive, but none of torch.save"
