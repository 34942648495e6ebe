"""Parts of a batch, in one process or in several: the sum is what one process with the whole batch does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from joined_runs import joined_config, together
from staged_squares import config, use_squares

from avadet.data.batching import ClipBatch
from avadet.errors import AvadetError
from avadet.models.detectors.two_stage import ActionModel
from avadet.training import trainer
from avadet.training.distributed import Processes
from avadet.training.exchange import Views, exchange
from avadet.training.feed import EpochSamples, Share
from avadet.training.logs import RunFolder
from avadet.training.loop import train
from avadet.training.losses import ActionLoss
from avadet.training.optim import WeightAverage


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    state = torch.load(folder.checkpoint, weights_only=True)
    return {name: value for name, value in state["average"]["model"].items() if value.is_floating_point()}


def largest_difference(one: RunFolder, other: RunFolder) -> float:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    """What one process makes of it: two epochs of three steps."""
    use_squares(monkeypatch)
    return train(joined_config(tmp_path / "alone"))


def test_accumulated_parts_equal_the_whole_batch(alone: RunFolder, tmp_path: Path) -> None:
    folder = train(joined_config(tmp_path / "parts", accumulate=2))
    assert 0 <= largest_difference(alone, folder) < 1e-6
    assert folder.metrics()[-1]["loss"] == pytest.approx(alone.metrics()[-1]["loss"], abs=2e-5)


def test_recomputing_changes_nothing(alone: RunFolder, tmp_path: Path) -> None:
    assert largest_difference(alone, train(joined_config(tmp_path / "again", recompute=True))) < 1e-6


@pytest.mark.slow
def test_two_processes_equal_one(alone: RunFolder, tmp_path: Path) -> None:
    assert together(joined_config(tmp_path / "two")) == [0, 0]
    folder = RunFolder(tmp_path / "two")
    assert largest_difference(alone, folder) < 1e-6
    assert [line["frame_map"] for line in folder.metrics()] == [line["frame_map"] for line in alone.metrics()]
    assert len(torch.load(folder.checkpoint, weights_only=True)["rng"]) == 2


class Place(ActionModel):
    """Logits of where a box is."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3, bias=False)
        torch.nn.init.zeros_(self.linear.weight)

    def forward(self, clips: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return self.linear(rois[:, 1:])


def part_of(persons: int) -> ClipBatch:
    """One clip with so many persons, who differ from part to part."""
    draw = torch.Generator().manual_seed(persons)
    rois = torch.cat([torch.zeros(persons, 1), torch.rand(persons, 4, generator=draw)], dim=1)
    labels = torch.eye(3)[torch.arange(persons) % 3]
    return ClipBatch(torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8), rois, labels, torch.tensor([0]))


class Told(Processes):
    """One of several processes, which is told what the others sum up."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.others.pop(0)


def gradient(parts: Sequence[ClipBatch], tmp_path: Path, processes: Processes) -> torch.Tensor:
    """Of one step of one process."""
    model = Place()
    sgd = torch.optim.SGD([{"params": model.parameters(), "lr": 0.1, "peak_lr": 0.1}])
    scaler, average = torch.amp.GradScaler("cpu", enabled=False), WeightAverage(model, 0.0)
    share = Share(4, len(parts), processes.rank, processes.count)
    settings = config(tmp_path, optim={"grad_clip": 0.0}, loss={"mixup_alpha": 0.0})
    one = trainer.Trainer(
        settings,
        processes,
        torch.device("cpu"),
        model,
        Views(model),
        average,
        sgd,
        scaler,
        ActionLoss("bce"),
        None,
        share,
        1,
        str,
    )
    one.step(parts)
    return model.linear.weight.grad


def test_persons_weigh_alike_whichever_process_and_part_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanged = []

    def noted(views: Views, is_last: bool) -> AbstractContextManager[None]:
        exchanged.append(is_last)
        return exchange(views, is_last)

    monkeypatch.setattr(trainer, "exchange", noted)
    parts = [part_of(persons) for persons in (1, 2, 5, 0)]
    rois = torch.cat([part.rois for part in parts])
    whole = ClipBatch(parts[0].clips, rois, torch.cat([part.labels for part in parts]), parts[0].keyframes)
    expected = gradient([whole], tmp_path, Processes())
    torch.testing.assert_close(gradient(parts, tmp_path, Processes()), expected)
    monkeypatch.setattr(Told, "others", [5, 0, 3, 0], raising=False)  # persons, then a loss that is only told
    of_both = [gradient(parts[2 * rank : 2 * rank + 2], tmp_path, Told(rank, 2)) for rank in range(2)]
    torch.testing.assert_close(sum(of_both) / 2, expected)  # as DistributedDataParallel averages them
    assert exchanged == [True, False, False, False, True, False, True, False, True]
    assert expected.abs().max() > 0


def test_parts_of_all_processes_are_the_batches_of_one() -> None:
    whole = Share(6).plan(EpochSamples(np.zeros(20, np.int64)), seed=3)
    shares = [
        Share(6, parts=3, rank=rank, processes=2).plan(EpochSamples(np.zeros(20, np.int64)), seed=3)
        for rank in range(2)
    ]
    for epoch in (0, 5):
        batches, parts = whole(epoch), [plan(epoch) for plan in shares]
        assert len(batches) == 3 and [len(own) for own in parts] == [9, 9]
        for step, batch in enumerate(batches):
            own = [part for plan in parts for part in plan[3 * step : 3 * step + 3]]
            assert np.concatenate(own).tolist() == batch.tolist()
    assert len({int(index) for batch in whole(0) for index in batch}) == 18
    assert not np.array_equal(whole(0), whole(1))


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"data\.batch_size 6 cannot be divided among 2 processes with train\.acc"):
        Share(6, parts=2, rank=1, processes=2)
    with pytest.raises(AvadetError, match=r"an epoch has 5 samples, fewer than data\.batch_size 6"):
        Share(6).plan(EpochSamples(np.zeros(5, np.int64)), seed=0)


def test_one_process_talks_to_nobody() -> None:
    one = Processes()
    assert one.is_first and one.gather("x") == ["x"] and one.total(torch.ones(2)).tolist() == [1, 1]
    assert one.device("cuda:1") == "cuda:1" and Processes(1, 2, 1).device("cpu") == "cpu"
