"""What is wrong with a run is said before its data is read, all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from each_case import each_case

from avadet.config import read_config
from avadet.errors import AvadetError
from avadet.training import loop
from avadet.training.distributed import Processes
from avadet.training.loop import train
from avadet.training.preflight import check_run

PLAIN = ["model.init=null", "device=cpu", "data.spec=nowhere.yaml"]


@each_case(
    ("recipe", "overrides", "message"),
    [
        ("custom/tiny", ["model.init=none.pth"], r"none\.pth: no such file"),
        ("custom/tiny", ["model.init=slow_r5"], "unknown weights 'slow_r5'"),
        ("custom/tiny", ["model.init_labels=none.txt"], r"none\.txt"),
        ("custom/tiny", ["device=gpu"], "device must be auto, cpu or cuda"),
        ("custom/tiny", ["train.precision=fp16"], "train.precision=fp16 needs CUDA"),
        ("custom/tiny", ["model.family=slow_r5"], "unknown model.family 'slow_r5'; did you mean slow_r50"),
        ("custom/tiny", ["model.arguments.crop=5"], "crop"),
        ("custom/tiny", ["optim.layer_decay=0.5"], "optim.layer_decay is for transformers"),
        ("custom/tiny", ["data.batch_size=5", "train.accumulate=2"], "data.batch_size 5 cannot be divided"),
        ("custom/slow_r50", ["model.arguments.head.kind=tow_layer"], "tow_layer"),
        ("custom/slow_r50", ["model.frozen=2"], "model.frozen has no effect on slow_r50"),
        ("ava/tiny_actions", ["model.frozen=2"], "model.frozen is for the tiny families with model.init"),
        ("jhmdb21/slowfast_r50_lfb", ["bank.model=none.safetensors"], r"none\.safetensors"),
    ],
)
def test_each_mistake(
    recipe: str, overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "read_run_data", lambda config: pytest.fail("the data is read first"))
    config = read_config(recipe, [*PLAIN, f"run_dir={tmp_path}", *overrides])
    with pytest.raises(AvadetError, match=message) as caught:
        train(config)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_all_of_them_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mistakes = ["device=gpu", "model.init=none.pth", "model.arguments.crop=5", "data.batch_size=5"]
    config = read_config("custom/tiny", [*mistakes, "train.accumulate=2", f"run_dir={tmp_path}/file/run"])
    with pytest.raises(AvadetError) as caught:
        check_run(config, Processes(), resume=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5 and "cannot write" in lines[1]


def test_a_checkpoint_to_resume_must_be_there(tmp_path: Path) -> None:
    config = read_config("custom/tiny", [*PLAIN, f"run_dir={tmp_path}"])
    with pytest.raises(AvadetError, match=r"nothing to resume: .* is missing; start without --resume"):
        check_run(config, Processes(), resume=True)


def test_checking_draws_no_random_numbers(tmp_path: Path) -> None:
    config = read_config("custom/tiny", [*PLAIN, f"run_dir={tmp_path}"])
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_run(config, Processes(), resume=False)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.shared
@pytest.mark.slow
def test_custom_tiny_learns_own_data_on_a_cpu(shared: Path, tmp_path: Path) -> None:
    """The toy data set, labelled such that there is something to learn: the left one walks, the right one sits."""
    toy = shared / "data" / "faults" / "datasets" / "toy"
    for name in ("train", "val"):
        rows = [line.split(",") for line in (toy / f"{name}.csv").read_text().split()]
        fixed = [",".join([*row[:6], "1" if float(row[2]) < 0.3 else "2", *row[7:]]) for row in rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(fixed) + "\n")
    (tmp_path / "mine.yaml").write_text((toy / "mine.yaml").read_text())
    (tmp_path / "videos").symlink_to(toy / "videos")
    small = ["schedule.epochs=2", "train.threads=1", "model.arguments.crop_px=64", "data.workers=0"]
    config = read_config("custom/tiny", [f"data.spec={tmp_path}/mine.yaml", f"run_dir={tmp_path}/run", *small])
    said: list[str] = []
    folder = train(config, say=said.append)
    first, last = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert last["loss"] < first["loss"] and last["frame_map"] > 80
    assert any("classifier: 2 of 2 classes carried over by name" in line for line in said)
