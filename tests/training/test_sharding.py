"""Models divided among processes train as undivided ones do, and what they write is whole."""

from __future__ import annotations

import copy
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from joined_runs import joined_config, together, transformer_config
from pydantic import ValidationError
from staged_squares import use_squares
from torch import Tensor, nn
from torch import distributed as dist

from avadet.config import Config, TrainConfig
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.torch_file import read_safetensors
from avadet.models.detectors.two_stage import ActionModel
from avadet.training import sharding
from avadet.training.distributed import Processes
from avadet.training.exchange import Views, exchange, with_exchange
from avadet.training.fingerprint import resume_fingerprint
from avadet.training.logs import RunFolder
from avadet.training.loop import train
from avadet.training.optim import WeightAverage
from avadet.training.recompute import blocks
from avadet.types import ClipSpec

CPU = torch.device("cpu")
SPEC = ClipSpec(num_frames=4, stride=1, fps=30, short_side=32, mean=(0.45,) * 3, std=(0.225,) * 3)
ROIS = torch.tensor([[0.0, 4, 4, 30, 30], [1, 8, 2, 24, 28], [1, 0, 0, 32, 32]])
VIT = {"embed_dim": 16, "depth": 2, "heads": 2, "tubelet": (2, 8, 8), "grid": (2, 4, 4)}
MODELS = {
    "videomae": VIT,
    "slowfast": {"width": 8, "depths": (1, 1, 1, 1), "fast_width": 4, "alpha": 2},
    "tiny_two_views": {"num_frames": 4, "crop_hw": (32, 32)},
}


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def clips() -> Tensor:
    return torch.randint(0, 256, (2, 3, 4, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def built(family: str = "videomae") -> ActionModel:
    torch.manual_seed(0)
    return build(family, 3, pixels=SPEC.pixels, **MODELS[family]).eval()


def backward(views: nn.Module) -> None:
    torch.autograd.backward(torch.stack([logits.square().mean() for logits in views(clips(), ROIS)]).sum())


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("family", list(MODELS))
def test_gradients_are_those_of_the_undivided_model(family: str) -> None:
    model = built(family)
    plain = Views(copy.deepcopy(model))
    backward(plain)
    views = Views(model)
    sharding.divide(views, CPU, 1)
    backward(views)
    for (name, parameter), (_, other) in zip(plain.named_parameters(), views.named_parameters(), strict=True):
        assert sharding.is_divided(other) and not sharding.is_divided(parameter)
        torch.testing.assert_close(sharding.whole(other.grad), parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.usefixtures("one_process")
def test_each_block_is_gathered_by_itself() -> None:
    from torch.distributed.fsdp import FSDPModule

    model = built()
    views = Views(model)
    sharding.divide(views, CPU, 1)
    names = [name for name, part in views.named_modules() if isinstance(part, FSDPModule)]
    assert names == ["", "model.backbone.blocks.0", "model.backbone.blocks.1"]
    assert blocks(model) == list(model.backbone.blocks)


@pytest.mark.usefixtures("one_process")
def test_lower_precision_is_the_blocks_alone() -> None:
    views = Views(built())
    sharding.divide(views, CPU, 1, torch.bfloat16)
    seen: dict[str, torch.dtype] = {}
    model = views.model
    model.backbone.blocks[1].attn.proj.register_forward_hook(lambda part, *_: seen.update(block=part.weight.dtype))
    model.head.proj.register_forward_hook(lambda part, *_: seen.update(head=part.weight.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        backward(views)
    assert seen == {"block": torch.bfloat16, "head": torch.float32}
    assert all(one.dtype == one.grad.dtype == torch.float32 for one in views.parameters())


@pytest.mark.usefixtures("one_process")
def test_parts_wait_for_the_last_one() -> None:
    model = built()
    plain = Views(copy.deepcopy(model))
    backward(plain)
    backward(plain)
    views = Views(model)
    sharding.divide(views, CPU, 1)
    weight = views.model.head.proj.weight
    with exchange(views, is_last=False):
        backward(views)
    assert weight.grad is None  # of this process's share; nothing was sent yet
    with exchange(views, is_last=True):
        backward(views)
    torch.testing.assert_close(sharding.whole(weight.grad), plain.model.head.proj.weight.grad)


@pytest.mark.usefixtures("one_process")
def test_states_are_whole_and_go_into_divided_and_undivided_models() -> None:
    model, other = built(), built()
    views = Views(model)
    sharding.divide(views, CPU, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    backward(views)
    optimizer.step()
    state = sharding.gathered({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, keep=True)
    plain = torch.optim.AdamW(other.parameters())
    sharding.load_weights(other, state["model"])
    sharding.load_optimizer(plain, state["optimizer"])
    again = sharding.gathered({"model": other.state_dict(), "optimizer": plain.state_dict()}, keep=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    sharding.load_weights(model, again["model"])
    sharding.load_optimizer(optimizer, again["optimizer"])
    back = sharding.gathered({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, keep=True)
    for one in (again, back):
        assert all(torch.equal(value, one["model"][name]) for name, value in state["model"].items())
        for index, moments in state["optimizer"]["state"].items():
            assert moments["exp_avg"].abs().max() > 0 and not sharding.is_divided(moments["exp_avg"])
            assert all(torch.equal(value, one["optimizer"]["state"][index][name]) for name, value in moments.items())
    nothing = sharding.gathered([model.head.proj.weight.detach(), torch.ones(2)], keep=False)
    assert nothing[0].numel() == 0 and nothing[1].numel() == 2


@pytest.mark.usefixtures("one_process")
def test_a_divided_average_can_be_called_once_it_is_whole() -> None:
    model = built("slowfast")
    average = WeightAverage(model, 0.5)
    expected = copy.deepcopy(average.model)(clips(), ROIS)
    sharding.divide(Views(model), CPU, 1)
    sharding.divide_like(average.model, model, CPU)
    assert all(sharding.is_divided(parameter) for parameter in average.model.parameters())
    net = sharding.whole_net(average.model)
    assert torch.equal(net(clips(), ROIS), expected)
    assert all(mine is its for mine, its in zip(net.buffers(), average.model.buffers()))
    assert all(sharding.is_divided(parameter) for parameter in average.model.parameters())
    assert sharding.whole_net(net) is net
    with torch.no_grad():
        sharding.own_share(model.head.proj.weight).add_(1.0)
    before = sharding.whole(average.model.head.proj.weight).clone()
    average.update(model)  # of the first step's difference 9/10 is taken, at most 1 - 0.5
    moved = sharding.whole(average.model.head.proj.weight) - before
    assert torch.allclose(moved, torch.full_like(moved, 0.9), atol=1e-6)


def test_what_cannot_be_divided_is_told() -> None:
    with pytest.raises(AvadetError, match=r"train\.shard needs train\.precision=fp32 for a model with BatchNorm"):
        with_exchange(built("slowfast"), Processes(0, 2, 0), CPU, shard=True, dtype=torch.bfloat16)
    with pytest.raises(
        ValidationError, match=r"train\.shard and train\.precision=fp16 do not go together; use bf16 or fp32"
    ):
        TrainConfig(shard=True, precision="fp16")
    with pytest.raises(
        ValidationError, match=r"train\.shard and train\.batch_norm=sync do not go together; use frozen or plain"
    ):
        TrainConfig(shard=True, batch_norm="sync")


def test_an_old_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    with pytest.raises(AvadetError, match=r"train\.shard needs torch 2\.6 or newer, this is 2"):
        sharding.divide(Views(built()), CPU, 2)


def test_one_process_has_nothing_to_divide(tmp_path: Path) -> None:
    model = built()
    assert not sharding.is_divided(next(with_exchange(model, Processes(), CPU, shard=True).parameters()))
    one, other = (resume_fingerprint(transformer_config(tmp_path, shard=shard)) for shard in (False, True))
    assert one == other  # a run may go on divided or not


def everything(folder: RunFolder) -> dict[str, Tensor]:
    """Weights, average and moments of a checkpoint."""
    state = torch.load(folder.checkpoint, weights_only=True)
    moments = {f"{i}.{key}": value for i, one in state["optimizer"]["state"].items() for key, value in one.items()}
    return {
        **{f"model.{name}": value for name, value in state["model"].items()},
        **{f"average.{name}": value for name, value in state["average"]["model"].items()},
        **{name: value for name, value in moments.items() if value is not None},
    }


def largest_difference(one: RunFolder, other: RunFolder) -> float:
    first, second = everything(one), everything(other)
    assert first.keys() == second.keys() and {type(value) for value in second.values()} == {Tensor}
    return max(float((first[name].float() - second[name].float()).abs().max()) for name in first)


def scores(folder: RunFolder) -> list[float]:
    return [line["frame_map"] for line in folder.metrics()]


@pytest.mark.slow
def test_two_processes_equal_one_divided_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    cnn, vit = train(joined_config(tmp_path / "cnn")), train(transformer_config(tmp_path / "vit"))
    low = train(transformer_config(tmp_path / "low", precision="bf16"))
    runs = {
        "vit_ddp": transformer_config(tmp_path / "vit_ddp"),
        "vit_shard": transformer_config(tmp_path / "vit_shard", shard=True),
        "vit_parts": transformer_config(tmp_path / "vit_parts", shard=True, accumulate=2, recompute=True),
        "cnn_shard": joined_config(tmp_path / "cnn_shard", shard=True),
        "low_shard": transformer_config(tmp_path / "low_shard", shard=True, precision="bf16"),
    }
    assert together(*runs.values()) == [0, 0]
    done = {name: RunFolder(tmp_path / name) for name in runs}
    found = {name: largest_difference(vit, done[name]) for name in ("vit_ddp", "vit_shard", "vit_parts")}
    found["cnn_shard"] = largest_difference(cnn, done["cnn_shard"])
    found["low_shard"], apart = largest_difference(low, done["low_shard"]), largest_difference(vit, low)
    print(found, "bf16 from fp32", apart)
    assert max(found[name] for name in found if name != "low_shard") < 1e-6
    assert found["low_shard"] < 0.005
    for name, folder in done.items():
        alone = {"vit": vit, "cnn": cnn, "low": low}[name.split("_")[0]]
        assert name.startswith("low") or scores(folder) == scores(alone)
        average = torch.load(folder.checkpoint, weights_only=True)["average"]["model"]
        model = read_safetensors(folder.model)
        assert model.keys() == average.keys()
        assert all(torch.equal(value, model[key]) for key, value in average.items())
    assert zoo.load(str(done["cnn_shard"].model)).model.num_classes == 3


@pytest.mark.slow
def test_a_killed_divided_run_goes_on_bit_equal_and_undivided_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanted(name: str, shard: bool) -> Config:
        return transformer_config(tmp_path / name, dropout=0.3, optimizer="adamw", shard=shard, save_every=1)

    for name, shard in (("divided", True), ("undivided", False)):
        assert together(wanted(name, shard), mishap="kill")[0] == -signal.SIGKILL
        place = torch.load(tmp_path / name / "last.pt", weights_only=True)["position"]
        assert (place["epoch"], place["step"]) == (0, 2)
    for source, name in (("divided", "divided_to_not"), ("undivided", "not_to_divided")):
        shutil.copytree(tmp_path / source, tmp_path / name)
    shutil.copytree(tmp_path / "divided", tmp_path / "divided_to_one")
    again = [wanted("divided", True), wanted("divided_to_not", False), wanted("not_to_divided", True)]
    assert together(wanted("straight", True), resume=again) == [0, 0]
    straight = RunFolder(tmp_path / "straight")
    found = {
        name: largest_difference(straight, RunFolder(tmp_path / name))
        for name in ("divided", "divided_to_not", "not_to_divided")
    }
    use_squares(monkeypatch)
    folder = train(wanted("divided_to_one", True), resume=True)  # dropout draws otherwise, steps are as many
    print(found)
    assert found["divided"] == 0.0
    assert max(found.values()) < 1e-5
    assert len(folder.metrics()) == 2 and folder.metrics()[-1]["loss"] > 0
    assert straight.model.read_bytes() == RunFolder(tmp_path / "divided").model.read_bytes()
    assert not list((tmp_path / "divided").glob(".*partial*"))


@pytest.mark.slow
def test_all_processes_stop_at_a_loss_that_is_no_number(tmp_path: Path) -> None:
    assert together(transformer_config(tmp_path, shard=True), mishap="nan") == [3, 3]
    first, second = ((tmp_path / f"error{rank}.txt").read_text() for rank in range(2))
    assert first == second and "the loss is nan" in first and "in step 1 of epoch 2, on " in first
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["position"]["epoch"] == 1 and all(torch.isfinite(value).all() for value in state["model"].values())
