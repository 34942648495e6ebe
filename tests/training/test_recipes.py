"""Every shipped recipe: it reads, its model, optimizer and schedule can be built, its header says how to launch it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from avadet.annotations.specs import data_set_names, open_data_set
from avadet.cli import train as train_command
from avadet.config import Config, ModelConfig, read_config
from avadet.files import resource_folder
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.sizes import SIZES, families
from avadet.schema import dump_config
from avadet.training import setup
from avadet.training.optim import lr_factor

CONFIGS = resource_folder("configs")
RECIPES = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "persons")
PARAMETERS = {
    "slow_4x16_r50": 31_798_416,
    "slowfast_32x2_r50": 33_828_888,
    "slowfast_r101_nl_32x2": 59_342_488,
    "slowfast_r101_nl_64x2": 59_342_488,
    "mmaction2_slowfast_4x16_r50_ava21": 33_741_688,
    "mmaction2_slowfast_4x16_r50_context_ava21": 33_926_008,
    "mmaction2_slowfast_8x8_r50_cosine": 33_827_960,
    "mmaction2_slow_8x8_r50_mlp_avak": 48_743_568,
}
"""As published; the entries of the zoo have the same."""
LEARNING_RATES = {
    # epoch: what its course has there
    "slow_4x16_r50": {0: 1.25e-4, 2.5: (1.25e-4 + 0.1) / 2, 5: 0.1, 10: 0.01, 15: 0.001},
    "slowfast_r101_nl_32x2": {5: 0.025, 19.9: 0.00025},
    "mmaction2_slowfast_4x16_r50_ava21": {0: 0.02, 5: 0.2, 10: 0.02, 15: 0.002},
    "mmaction2_slowfast_8x8_r50_cosine": {0: 0.0075, 2: 0.075, 6: 0.0375, 10: 0.0},
    "mmaction2_slow_16x4_r50_tricks_avak": {2: 0.1, 6: 0.05},
}


def built(config: Config) -> torch.nn.Module:
    """The recipe's model, with AVA's classes: how many there are shapes the classifier only."""
    return _built(config.model.family, json.dumps(setup.model_arguments(config.model, config.clip)))


@cache
def _built(family: str, arguments: str) -> torch.nn.Module:
    """On the meta device; recipes of the same model share it."""
    clip = Config.model_validate({"data": {"root": "x"}}).clip
    with torch.device("meta"):
        return build(family, zoo.AVA_CLASSES, pixels=setup.clip_spec(clip).pixels, **json.loads(arguments))


@pytest.fixture(scope="module", params=RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def recipe(request: pytest.FixtureRequest) -> tuple[Path, Config]:
    return request.param, read_config(request.param, ["data.root=nowhere"])


def test_there_is_a_recipe_for_every_data_set() -> None:
    assert {path.parent.name for path in RECIPES} == {"ava", "custom", "jhmdb21", "multisports", "ucf24"}
    assert len(RECIPES) >= 15


@pytest.mark.parametrize("folder", ["ava", "jhmdb21"])
def test_every_published_size_has_a_recipe(folder: str) -> None:
    """Of a family all or none: a new one may begin without, and the bundled model of crops is learnt by a tool."""
    trained = {yaml.safe_load(path.read_text())["model"]["family"] for path in CONFIGS.glob(f"{folder}/*.yaml")}
    for family, sizes in families().items():
        published = {name for name, size in sizes.items() if size.clip is not None}
        assert published <= trained or not published & trained, family
    assert trained <= set(SIZES) and len(trained) > 50


def test_its_model_and_optimizer_can_be_built(recipe: tuple[Path, Config]) -> None:
    path, config = recipe
    model = built(config)
    optimizer = setup.build_optimizer_of(config, model)
    rates = {group["peak_lr"] for group in optimizer.param_groups}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    course = {
        epoch: max(rates) * lr_factor(epoch, **config.schedule.model_dump())
        for epoch in LEARNING_RATES.get(path.stem, {0: 0})
    }
    if path.stem in LEARNING_RATES:
        assert course == pytest.approx(LEARNING_RATES[path.stem])
    if path.stem in PARAMETERS:
        assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[path.stem]


def test_its_header_says_how_to_launch_it(recipe: tuple[Path, Config]) -> None:
    path, _ = recipe
    header = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("#")]
    lines = [line.strip() for line in header if " train configs/" in line]
    assert len(lines) == 1, "one launch line"
    words = shlex.split(lines[0])
    start = words.index("train")
    assert words[:start] == ["avadet"] or re.fullmatch(
        r"torchrun --standalone --nproc-per-node \d+ -m avadet", " ".join(words[:start])
    )
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    args = parser.parse_args(words[start + 1 :])
    assert CONFIGS / args.config.relative_to("configs") == path
    assert isinstance(read_config(path, args.overrides), Config)


def test_a_header_names_published_numbers_and_the_start(recipe: tuple[Path, Config]) -> None:
    path, config = recipe
    header = "".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert path.stem == "tiny" or "Published" in header
    if "Init: " in header:
        assert ("Init: none" in header) == (config.model.init is None)


def test_its_start_is_in_the_zoo(recipe: tuple[Path, Config]) -> None:
    """Where it names no file of the user's: weights of its own architecture or of pictures, pixels as published."""
    _, config = recipe
    start, clip = config.model.init, config.clip
    if start is not None and not start.suffix:
        card = zoo.entry_of(str(start)).card
        assert card["architecture"] == config.model.family or card["classifies"] == "pictures"
        assert (card["clip"]["mean"], card["clip"]["std"]) == (clip.mean, clip.std)


def test_a_data_set_by_name_has_its_splits(recipe: tuple[Path, Config]) -> None:
    _, config = recipe
    if config.data.spec in data_set_names():
        data = open_data_set(config.data.spec, "nowhere", config.data.overrides)
        assert data.split(config.data.train) and data.split(config.data.scored)
        proposals = [source.split(own).proposals for source, own in data.sources(config.data.train)]
        assert [one is None for one in proposals] == [config.data.proposals is None] * len(proposals)


def test_it_dumps_and_reads_back(recipe: tuple[Path, Config], tmp_path: Path) -> None:
    _, config = recipe
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert read_config(copy) == config


def test_it_says_every_value_that_counts(recipe: tuple[Path, Config]) -> None:
    """A recipe must not move when a default does: what it leaves out is what has no effect."""
    path, config = recipe
    said, whole = yaml.safe_load(path.read_text()), config.model_dump(mode="json")
    for section in ("clip", "schedule", "train"):
        assert said[section].keys() == whole[section].keys()
    assert {"spec", "batch_size", "workers"} <= said["data"].keys() or path.stem == "tiny"


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if read_config(path, ["data.root=nowhere"]).bank is not None]
)
def test_a_bank_is_of_a_model_that_another_recipe_trains(path: Path) -> None:
    config = read_config(path, ["data.root=nowhere"])
    others = [read_config(other, ["data.root=nowhere"]) for other in sorted(path.parent.glob("*.yaml"))]
    (trained,) = [other for other in others if other.run_dir == config.bank.model.parent]
    assert config.bank.model.name == "model.safetensors" and trained.data == config.data
    assert built(config).head.bank.bank_features == built(trained).head.own_features


def test_wrong_families_and_keys_are_refused() -> None:
    from avadet.errors import AvadetError

    clip = Config.model_validate({"data": {"root": "x"}}).clip
    for changes, message in (
        ({"family": "slow_r5"}, r"unknown model\.family 'slow_r5'; did you mean slow_r50"),
        ({"family": "slow_r50", "stages": (4,)}, r"model\.stages has no effect on slow_r50; see model\.arguments"),
        ({"family": "tiny_actions", "arguments": {"a": 1}}, r"model\.arguments has no effect on tiny_actions"),
    ):
        with pytest.raises(AvadetError, match=message):
            setup.model_arguments(ModelConfig(**changes), clip)
