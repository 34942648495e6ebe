"""From config to parts: what is refused, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from staged_squares import LABELS, SquareStore, config, video

from avadet.config import decisive_values
from avadet.errors import AvadetError
from avadet.models.weights import save_model
from avadet.training import setup
from avadet.training.logs import RunFolder, describe_machine, git_commit


def _data(*videos: object) -> setup.Data:
    return setup.Data(LABELS, list(videos), [video(1)], SquareStore())


def test_what_is_said_of_the_data() -> None:
    lines = setup.describe_data(_data(video(0), video(3), video(1)))
    assert lines == [
        "training on 3 videos with 24 boxes, scoring on 1 videos",
        "3 classes, 1 to 2 videos each",
        "no training video of: still",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_index": 3}, r"left/0: class 3 is not in \[0, 3\)"),
        ({"boxes_norm": np.full((8, 4), 1.5, np.float32)}, r"left/0: boxes must lie in \[0, 1\], got 1.5 to 1.5"),
        ({"boxes_norm": np.full((8, 4), np.nan, np.float32)}, "got nan to nan"),
        ({"times_s": np.arange(8) + 9.0}, "left_0.mp4: no annotated frame can be read"),
    ],
)
def test_wrong_annotations_are_found_before_training(changes: dict[str, object], message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        setup.describe_data(_data(replace(video(0), **changes)))


def test_a_trained_model_is_a_start_for_other_classes(tmp_path: Path) -> None:
    wanted = config(tmp_path)
    first, _ = setup.build_model(wanted.model, wanted.clip, 5)
    save_model(tmp_path / "start.safetensors", first, {})
    section = wanted.model.model_copy(update={"init": tmp_path / "start.safetensors"})
    second, origin = setup.build_model(section, wanted.clip, 3)
    torch.testing.assert_close(second.backbone.state_dict(), first.backbone.state_dict())
    assert second.head.proj.weight.shape[0] == 3
    assert "2 reshaped (head.proj.weight 5x576 for 3x576" in origin
    resnet = config(tmp_path, model={"family": "slow_r50", "init": tmp_path / "start.safetensors"})
    with pytest.raises(AvadetError, match="no tensor fits family slow_r50"):
        setup.build_model(resnet.model, resnet.clip, 3)


def test_decisive_values() -> None:
    lines = decisive_values(config(Path("a"))).splitlines()
    assert "seed=0" in lines and "optim.lr=0.002" in lines and "augment.size_hw=[48, 64]" in lines
    assert not [
        line for line in lines if line.startswith(("device", "run_dir", "evaluate", "data.root", "data.cache="))
    ]


def test_metrics_of_an_unfinished_epoch_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start("seed: 0\n")
    for epoch in (1, 2, 3):
        folder.log({"epoch": epoch, "loss": 0.5})
    assert folder.resume(2) == {"epoch": 2, "loss": 0.5}
    assert [line[:11] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [
        '{"epoch": 1', '{"epoch": 2',
    ]  # fmt: skip
    assert (tmp_path / "run" / "config.yaml").read_text() == "seed: 0\n"


def test_machine_and_commit(tmp_path: Path) -> None:
    assert describe_machine()["torch"] == torch.__version__.split("+")[0] or describe_machine()["torch"]
    assert git_commit(tmp_path) == ""
