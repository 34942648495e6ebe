"""What is given where a file of weights is asked for: other files, each named in one line; folders of trainings."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from each_case import each_case
from torch import nn

from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.run_folder import weights_in
from avadet.models.checkpoints.weights import save_model

PAGE = b"\n<!DOCTYPE html><html><title>404</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 238000000\n"


def saved(value: object, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(2))
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
def script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)  # type: ignore[no-untyped-call]
    return file.getvalue()


WEIGHTS = {"s1.pathway0_stem.conv.weight": torch.zeros(200)}

OTHER: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "damaged: the file is empty"),
    "web page": (lambda: PAGE, "a web page, not a checkpoint"),
    "xml": (lambda: b"<?xml version='1.0'?><Error>", "a web page, not a checkpoint"),
    "git lfs": (lambda: POINTER, r"a git LFS pointer, not the weights of 238,000,000 bytes .*git lfs pull"),
    "json": (lambda: b'{"message": "not found"}', "JSON, a card or a configuration"),
    "onnx": (lambda: b"\x08\x07\x12\x07pytorch\x1a\x052.0.0:", r"an ONNX file; .*call it something\.onnx"),
    "torchscript": (script, "a TorchScript archive, .*state_dict"),
    "module": (lambda: saved(nn.Linear(2, 2)), r"a whole module, pickled \(torch\.nn\..*Linear\).*state_dict"),
    "old module": (lambda: saved(nn.Linear(2, 2), True), r"a whole module, pickled \(torch\.nn\..*Linear\)"),
    "module in a dictionary": (lambda: saved({"model": nn.Linear(2, 2), "epoch": 1}), "a whole module, pickled"),
    "yolo": (lambda: saved({"model": {"model.0.conv.weight": torch.zeros(3, 3)}}), "does not build YOLO"),
    "yowo": (lambda: saved({"model": {"backbone_2d.backbone.x": torch.zeros(3)}}), "does not build YOWO"),
    "other weights": (lambda: saved({"model": {"a.b": torch.zeros(3)}}), r"of no known format \(first names: a\.b\)"),
    "no weights": (lambda: saved({"epoch": 3, "lr": 0.1}), r"no tensors by name \(it has: epoch, lr\)"),
    "a list": (lambda: saved([1, 2]), "a checkpoint must be a dictionary, got list"),
    "a tensor": (lambda: saved(torch.zeros(2)), "a checkpoint must be a dictionary"),
    "cut zip": (lambda: saved(WEIGHTS)[:-300], r"damaged, .*cut short"),
    "cut old": (lambda: saved(WEIGHTS, True)[:-300], r"damaged, .*cut short"),
    "zip": (lambda: zipped(**{"a.txt": b"x"}), "a zip archive, but none of torch.save"),
    "zip of a checkpoint": (lambda: zipped(**{"run/last.pth": b"x"}), r"a zip archive with 'run/last\.pth' in it"),
    "npz": (npz, "an .npz of numpy"),
    "tar": (tar, "a tar archive"),
    "gzip": (lambda: b"\x1f\x8b\x08\x00", "a gzip archive; unpack it"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "video": (lambda: b"\x00\x00\x00\x20ftypisom", "a video, not a model"),
}  # fmt: skip


@each_case("kind", OTHER)
def test_another_file_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    content, message = OTHER[kind]
    path = tmp_path / "x.pth"
    path.write_bytes(content())
    with pytest.raises(AvadetError, match=rf"^{path}: .*{message}") as caught:
        zoo.load(path)
    assert "\n" not in str(caught.value)


@each_case(("content", "message"), [(PAGE, "a web page"), (POINTER, "git lfs pull"), (b"", "empty")])
def test_the_same_under_the_name_of_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(AvadetError, match=rf"x\.safetensors: not a readable safetensors file: .*{message}"):
        zoo.load(path)
    path.write_bytes(saved(WEIGHTS))
    with pytest.raises(AvadetError, match=r"no classifier among its 1 tensors"):  # read for what it is
        zoo.load(path)


EPOCH_10 = "checkpoint_epoch_00010.pyth"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a training here leaves it."""
    spec = zoo.clip_of(zoo.card_of(zoo.entry_of("tiny")))
    arguments: dict[str, Any] = {"width": 4, "depths": [1, 1, 1, 1]}
    card = make_card("mine", "slow_r50", arguments, spec, zoo.numbered_labels(2))
    folder = tmp_path / "runs" / "tiny"  # the name of a model, but a path
    save_model(folder / "model.safetensors", build("slow_r50", 2, pixels=spec.pixels, **arguments), card)
    (folder / "config.yaml").touch()
    return folder


def test_the_folder_of_a_training_stands_for_its_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = zoo.load(run)
    assert (loaded.name, loaded.report.source) == ("mine", str(run / "model.safetensors"))
    assert f"of the files in {run}" in str(loaded.report)
    assert zoo.fetched(run) == run / "model.safetensors"
    assert main(["models", "show", str(run)]) == 0
    assert f"path         {run / 'model.safetensors'}" in capsys.readouterr().out
    assert main(["convert", str(run), str(run.parent / "out.safetensors")]) == 0
    assert f"of the files in {run}" in capsys.readouterr().out


@each_case(
    ("names", "taken"),
    [
        (["last.pt", "best.pt", "bank.safetensors"], "best.pt"),
        (["last.pt", ".best.partial-3.pt"], "last.pt"),
        (["checkpoints/checkpoint_epoch_00009.pyth", "checkpoints/checkpoint_epoch_00010.pyth"], EPOCH_10),
        (["epoch_9.pth", "epoch_10.pth", "best_mAP_overall_epoch_8.pth"], "best_mAP_overall_epoch_8.pth"),
        (["checkpoints/epoch=9-step=90.ckpt", "checkpoints/epoch=10-step=100.ckpt"], "epoch=10-step=100.ckpt"),
        (["checkpoints/epoch=9-step=90.ckpt", "checkpoints/last.ckpt"], "last.ckpt"),
        (["pytorch_model.bin", "optimizer.pt", "training_args.bin", "rng_state_0.pth"], "pytorch_model.bin"),
        (["slow.pth", "log.txt"], "slow.pth"),
    ],
)  # fmt: skip
def test_of_several_the_best_then_the_last_then_the_highest(tmp_path: Path, names: list[str], taken: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert weights_in(tmp_path).name == taken


@each_case(
    ("names", "message"),
    [
        ([], r"a folder without weights of a model \(it is empty\); give the folder of a training"),
        (["a.txt", "b.txt"], r"\(it has a\.txt, b\.txt\)"),
        (["config.yaml", "metrics.jsonl"], "has not saved yet, or was stopped before; go on with --resume"),
        (["slow.pth", "fast.pth"], r"holds several files of weights \(fast\.pth, slow\.pth\); give one of them"),
        (["slow_1.pth", "fast_2.pth"], "several files of weights"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], "are in 2 pieces"),
        ([".metadata", "__0_0.distcp"], "dcp_to_torch FOLDER FILE"),
        (["zero_to_fp32.py", "latest"], "put together by its zero_to_fp32.py"),
    ],
)
def test_a_folder_that_does_not_tell_says_what_it_has(
    tmp_path: Path, names: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(AvadetError, match=rf"^{tmp_path}: .*{message}"):
        zoo.load(tmp_path)
    assert main(["models", "show", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"avadet: error: {tmp_path}: ")
    assert error.count("\n") == 1
