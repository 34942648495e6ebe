"""BatchNorm frozen, precise and joined; blocks that are computed again; learning curves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from staged_squares import config, use_squares
from torch import nn

from avadet.data.batching import ClipBatch
from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.training import loop
from avadet.training.curves import panel, write_curves
from avadet.training.distributed import Processes
from avadet.training.logs import RunFolder, StepLog, duration
from avadet.training.loop import train
from avadet.training.norms import batch_norms, freeze_norms, measure_norms
from avadet.training.recompute import recompute_blocks


def clips(seed: int, count: int = 2) -> ClipBatch:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 4, 32, 40), generator=draw, dtype=torch.uint8)
    rois = torch.tensor([[float(index), 4, 4, 30, 30] for index in range(count)])
    return ClipBatch(pixels, rois, torch.eye(3)[torch.arange(count) % 3])


class Mean(nn.Module):
    """A BatchNorm of one channel, given the mean of each clip."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, pixels: torch.Tensor, _rois: torch.Tensor) -> torch.Tensor:
        return self.norm(pixels.float().mean(dim=(1, 2, 3, 4))[:, None])


def test_precise_statistics_by_hand() -> None:
    batches = []
    for values in ((0, 4), (10, 12)):
        pixels = torch.tensor(values, dtype=torch.uint8)[:, None, None, None, None].expand(2, 3, 1, 2, 2)
        batches.append(ClipBatch(pixels, torch.zeros(2, 5), torch.zeros(2, 1)))
    model = Mean().eval()
    model.norm.running_mean.fill_(99)
    measure_norms(model, batches, torch.device("cpu"), Processes())
    # means 2 and 11; variances (n - 1) 8 and 2
    assert model.norm.running_mean.item() == pytest.approx(6.5) and model.norm.running_var.item() == pytest.approx(5)
    assert model.norm.momentum == 0.1 and not model.norm.training


def test_frozen_norms_stay_as_they_are() -> None:
    model = build("tiny_actions", 3, num_frames=4)
    model.train()
    freeze_norms(model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    batch = clips(0)
    model(batch.clips, batch.rois).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(norm.weight.grad is None for norm in batch_norms(model)) and model.training


def test_recomputed_blocks_give_the_same_gradients_and_statistics() -> None:
    results = []
    for again in (False, True):
        torch.manual_seed(3)
        model = build("tiny_actions", 3, num_frames=4).train()
        if again:
            assert recompute_blocks(model) == 3
        torch.manual_seed(4)  # the dropout of both
        batch = clips(1)
        model(batch.clips, batch.rois).square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        results.append((gradients, {name: value.clone() for name, value in model.named_buffers()}))
    (first, statistics), (second, same) = results
    for one, other in zip(first, second):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(value, same[name]) for name, value in statistics.items())
    with pytest.raises(AvadetError, match=r"train\.recompute: this model's backbone has no blocks"):
        recompute_blocks(nn.Sequential(nn.Linear(1, 1)))


def test_a_run_with_precise_statistics_and_what_needs_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    folder = train(config(tmp_path / "precise", train={"precise_bn": 1, "threads": 1}, schedule={"epochs": 1}))
    assert 0 <= folder.metrics()[-1]["frame_map"] <= 100
    with pytest.raises(
        ValidationError, match=r"train.precise_bn would replace what train.batch_norm=frozen keeps; set it to 0"
    ):
        config(tmp_path / "both", train={"precise_bn": 1, "batch_norm": "frozen"})
    if torch.cuda.is_available():
        pytest.skip("the rest is about machines without CUDA")
    with pytest.raises(AvadetError, match=r"train\.batch_norm=sync needs CUDA, this run is on cpu"):
        train(config(tmp_path / "sync", train={"batch_norm": "sync"}))
    with pytest.raises(AvadetError, match=r"train\.precision=fp16 needs CUDA, this run is on cpu; use bf16 or fp32"):
        train(config(tmp_path / "half", train={"precision": "fp16"}))


def test_a_missing_tensorboard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(AvadetError, match=r"needs TensorBoard: pip install 'avadet\[tensorboard\]'"):
        StepLog(RunFolder(tmp_path), print, 1, 10, tensorboard=True)
    monkeypatch.setattr(loop, "read_run_data", lambda _config: pytest.fail("the data was read"))
    with pytest.raises(AvadetError, match=r"train\.tensorboard needs TensorBoard: pip install"):
        train(config(tmp_path / "run", train={"tensorboard": True}))
    assert not (tmp_path / "run").exists()


def test_steps_tell_pace_and_time_left(tmp_path: Path) -> None:
    said: list[str] = []
    log = StepLog(RunFolder(tmp_path), said.append, 2, 100, tensorboard=False)
    for number in (1, 2, 3, 4):
        log.step(number, number / 10, {"loss": 0.5}, seconds=2.0, data_seconds=0.5)
    assert said == [
        "step 2/100  loss 0.5  2 s per step, 0.5 s of it waiting for data, 0:03:16 left",
        "step 4/100  loss 0.5  2 s per step, 0.5 s of it waiting for data, 0:03:12 left",
    ]
    assert duration(36_065.4) == "10:01:05"


def test_curves_show_what_was_logged(tmp_path: Path) -> None:
    metrics = [{"epoch": 1, "loss": 2.0, "seconds": 9}, {"epoch": 2, "loss": 1.0, "frame_map": 30.0, "seconds": 9}]
    write_curves(tmp_path / "curves.png", metrics)
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.shape == (260, 840, 3)  # loss and frame_map, not the seconds
    write_curves(tmp_path / "none.png", [])
    assert not (tmp_path / "none.png").exists()
    falling, rising = (panel("x", [(1.0, a), (2.0, b)], 2.0) for a, b in ((2.0, 1.0), (1.0, 2.0)))
    blue = [np.argwhere((one == (31, 119, 180)).all(axis=2)) for one in (falling, rising)]
    heights = [points[points[:, 1] < 80][:, 0].mean() for points in blue]
    assert heights[0] < 60 < 200 < heights[1]  # the left end: high where it falls, low where it rises
