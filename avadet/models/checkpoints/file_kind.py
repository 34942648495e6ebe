"""What a file is that is no checkpoint, told by its first bytes, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*?^size (\d+)$)?", re.MULTILINE | re.DOTALL)

SIGNS: tuple[tuple[bytes, str], ...] = (
    (
        rb"(?i)\s*(<!doctype|<html|<head|<\?xml|<!--)",
        "a web page, not a checkpoint: what was downloaded is the answer of a server; download the file itself",
    ),
    (
        rb"\x08[\x01-\x20](\x12.[\x20-\x7e]|:|B)",
        "an ONNX file; if avadet export wrote it, call it something.onnx, other ones are not read",
    ),
    (rb".{257}ustar", "a tar archive; unpack it, or if it is of torch before 0.2, save it again with a newer one"),
    (rb".{4}ftyp|\x1aE\xdf\xa3", "a video, not a model"),
    (
        rb"(?!.{8}\{\")\s*\{",  # the header of safetensors begins after eight bytes
        "JSON, a card or a configuration, not the weights that belong to it; download the file itself",
    ),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes weights; avadet reads those of torch and safetensors"),
    (rb"\x1f\x8b", "a gzip archive; unpack it"),
    (rb"BZh", "a bzip2 archive; unpack it"),
    (rb"\xfd7zXZ\x00", "an xz archive; unpack it"),
    (rb"7z\xbc\xaf", "a 7z archive; unpack it"),
    (rb"Rar!", "a rar archive; unpack it"),
    (rb"\x93NUMPY", "a single array of numpy (.npy); a checkpoint holds tensors by name"),
    (rb"GGUF", "a GGUF file, for language models; avadet reads checkpoints of torch and safetensors"),
    (rb"\xff\xd8\xff", "an image (JPEG)"),
    (rb"\x89PNG", "an image (PNG)"),
    (rb"%PDF", "a PDF document"),
    (rb"RIFF", "a video or sound, not a model"),
)
"""(regular expression of a file's first bytes, what it is and the way out); the first that matches counts."""


def other_kind(head: bytes, size: int) -> str | None:
    """What a file is, if it is surely no checkpoint, and the way out; None if it may be one.

    Args:
        head: its first bytes, 512 or all of them.
        size: bytes of the file.
    """
    if not size:
        return "damaged: the file is empty; copy or download it again"
    pointer = POINTER.match(head)
    if pointer:
        of = f" of {int(pointer[1]):,} bytes" if pointer[1] else ""
        return f"a git LFS pointer, not the weights{of} that it stands for; fetch them: git lfs pull"
    return next((kind for sign, kind in SIGNS if re.match(sign, head, re.DOTALL)), None)


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
