"""From config to parts: what is refused, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from staged_squares import LABELS, config

from avadet.config import Config, read_config
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.formats.acar import ACAR
from avadet.models.checkpoints.formats.pyslowfast import PYSLOWFAST
from avadet.models.checkpoints.weights import Checkpoint, remap_classifier, save_model
from avadet.models.detectors.two_stage import ActionModel
from avadet.training import setup
from avadet.training.distributed import Processes
from avadet.training.fingerprint import resume_fingerprint
from avadet.training.logs import RunFolder, describe_machine, git_commit
from avadet.training.preflight import check_run
from avadet.types import LabelMap

AVA = read_label_map("ava_v2.2")
FIVE = LabelMap(("right", "a", "b", "left", "c"), (1, 2, 3, 4, 5), ("action",) * 5, (True,) * 5, exclusive=True)


def _saved_start(folder: Path) -> tuple[Config, ActionModel]:
    """A config, and a model of five classes that it begins from."""
    wanted = config(folder)
    first, _ = setup.build_model(wanted.model, wanted.clip, FIVE)
    card = make_card("start", "tiny_actions", {}, setup.clip_spec(wanted.clip), FIVE)
    save_model(folder / "start.safetensors", first, card)
    return config(folder, model={"init": folder / "start.safetensors"}), first


def test_a_trained_model_is_a_start_for_other_classes_by_their_names(tmp_path: Path) -> None:
    wanted, first = _saved_start(tmp_path)
    second, origin = setup.build_model(wanted.model, wanted.clip, LABELS)
    torch.testing.assert_close(second.backbone.state_dict(), first.backbone.state_dict())
    rows, old = second.head.proj.weight, first.head.proj.weight
    assert torch.equal(rows[0], old[3]) and torch.equal(rows[1], old[0])  # left, right
    assert not any(torch.equal(rows[2], row) for row in old) and rows[2].std() > 0  # still is new
    assert "classifier: 2 of 3 classes carried over by name, the others random" in origin
    named = config(tmp_path, model={"init": tmp_path / "start.safetensors", "init_labels": "jhmdb21"})
    _, origin = setup.build_model(named.model, named.clip, LABELS)
    assert "0 of 3 classes carried over" in origin
    resnet = config(tmp_path, model={"family": "slow_r50", "init": tmp_path / "start.safetensors"})
    with pytest.raises(AvadetError, match="no tensor fits family slow_r50"):
        setup.build_model(resnet.model, resnet.clip, LABELS)


def test_sixty_classes_of_acar_net_are_those_of_ava_that_count(tmp_path: Path) -> None:
    weight = torch.arange(60.0)[:, None].repeat(1, 4)
    names = [name for name, counts in zip(AVA.names, AVA.evaluated) if counts]
    checkpoint = Checkpoint("x.pth.tar", ACAR, {"head.proj.weight": weight}, {})
    assert setup._classes_of(config(tmp_path).model, checkpoint) == tuple(names)
    other = Checkpoint("x.pyth", PYSLOWFAST, {"head.proj.weight": weight}, {})
    assert setup._classes_of(config(tmp_path).model, other) is None
    eighty = Checkpoint("x.pyth", PYSLOWFAST, {"head.proj.weight": torch.zeros(80, 4)}, {})
    assert setup._classes_of(config(tmp_path).model, eighty) == AVA.names


def test_weights_without_a_card_leave_the_classifier_random(tmp_path: Path) -> None:
    wanted, first = _saved_start(tmp_path)
    (tmp_path / "start.json").write_text("{}")
    second, origin = setup.build_model(wanted.model, wanted.clip, LABELS)
    assert second.head.proj.weight.shape[0] == 3 and torch.equal(second.head.norm.weight, first.head.norm.weight)
    assert "2 reshaped (head.proj.weight 5x576 for 3x576" in origin


def test_the_same_classes_in_the_same_order_load_whole(tmp_path: Path) -> None:
    wanted, first = _saved_start(tmp_path)
    second, origin = setup.build_model(wanted.model, wanted.clip, FIVE)
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    assert "carried" not in origin


def test_names_are_equal_but_for_case_and_underscores() -> None:
    model = build("tiny_actions", 3)
    fresh = model.head.proj.bias.detach().clone()
    rows = torch.arange(4.0)[:, None].expand(4, 576)
    tensors = {"head.proj.weight": rows, "head.proj.bias": torch.arange(4.0), "head.norm.bias": torch.zeros(4)}
    changed, count = remap_classifier(model, tensors, ("Stand Up", "sit", "walk", "walk"), ("walk", "stand_up", "fly"))
    assert count == 2 and changed["head.proj.bias"].tolist() == [2.0, 0.0, fresh[2].item()]
    assert changed["head.proj.weight"][:2, 0].tolist() == [2.0, 0.0]
    assert torch.equal(changed["head.norm.bias"], torch.zeros(4))
    assert remap_classifier(model, tensors, ("a", "b", "c", "d"), ("e", "f", "g")) == (
        {"head.norm.bias": tensors["head.norm.bias"]}, 0,
    )  # fmt: skip


def test_a_part_of_a_name_is_enough_where_it_is_clear() -> None:
    model = build("tiny_actions", 4)
    names = ("run/jog", "eat (something)", "hit (an object)", "fight/hit (a person)", "sit")
    tensors = {"head.proj.weight": torch.arange(5.0)[:, None].expand(5, 576), "head.proj.bias": torch.arange(5.0)}
    changed, count = remap_classifier(model, tensors, names, ("eat", "Run", "hit", "sit"))
    assert count == 3 and changed["head.proj.bias"][[0, 1, 3]].tolist() == [1.0, 0.0, 4.0]
    assert changed["head.proj.bias"][2] == model.head.proj.bias[2]  # an object or a person


def test_the_bundled_model_is_a_start_for_own_classes(tmp_path: Path) -> None:
    """Both of its classifiers, whose logits are added, are carried over; what it has not is drawn."""
    own = LabelMap(("sit", "juggle", "run"), (1, 2, 3), ("action",) * 3, (True,) * 3)
    bundled = zoo.load("tiny")
    wanted = read_config("custom/tiny", ["model.init=tiny"])
    model, origin = setup.build_model(wanted.model, wanted.clip, own)
    assert "classifier: 2 of 3 classes carried over by name" in origin and "0 reshaped" in origin
    rows = [bundled.labels.names.index(name) for name in ("sit", "run/jog")]
    for layer in ("of_appearance", "of_motion"):
        new, old = getattr(model, layer), getattr(bundled.model, layer)
        assert torch.equal(new.weight[[0, 2]], old.weight[rows]) and torch.equal(new.bias[[0, 2]], old.bias[rows])
        assert new.weight.shape[0] == 3 and new.weight[1].std() > 0
    torch.testing.assert_close(model.motion.state_dict(), bundled.model.motion.state_dict())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.resolution=5"], r"model\.resolution has no effect on person_crops"),
        (["clip.num_frames=4"], r"appearance_frames must be some of 0 to 3"),
        (["model.arguments={head: {aligned: true}}"], "head"),
    ],
)
def test_what_the_bundled_model_does_not_take(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=message):
        check_run(read_config("custom/tiny", [f"run_dir={tmp_path}", *overrides]), Processes(), resume=False)


def test_resume_fingerprint() -> None:
    lines = resume_fingerprint(config(Path("a"))).splitlines()
    assert "seed=0" in lines and "optim.lr=0.002" in lines and "augment.size_hw=[48, 64]" in lines
    assert not [
        line
        for line in lines
        if line.startswith(
            ("device", "run_dir", "evaluate", "data.root", "data.cache=", "data.on_error", "data.max_skipped")
        )
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


def test_a_run_folder_tells_of_every_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start("seed: 0\n")
    first = json.loads((folder.path / "run.json").read_text())
    assert "resumed" not in first
    folder.resume(1, 7)
    folder.resume(2, 9)
    notes = json.loads((folder.path / "run.json").read_text())
    assert {name: notes[name] for name in first} == first
    assert [(one["epochs_done"], one["steps_done"]) for one in notes["resumed"]] == [(1, 7), (2, 9)]
    assert all(one["command"] and one["torch"] for one in notes["resumed"])
    (folder.path / "run.json").write_text("[]")  # not worth an error to somebody who wants to train
    folder.resume(2, 9)
    assert len(json.loads((folder.path / "run.json").read_text())["resumed"]) == 1
