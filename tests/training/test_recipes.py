"""Every packaged recipe: it is what it was, its model and optimizer can be built, it says how to launch it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import recipe_digests
import torch
from each_case import each_case

from avadet.annotations.specs import data_set_names, open_data_set
from avadet.cli import train as train_command
from avadet.config import Config, ModelConfig, read_config
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.sizes import SIZES, families
from avadet.recipes import configs_folder, read_mapping, read_recipe, recipe_names
from avadet.schema import dump_config
from avadet.training import setup
from avadet.training.optim import lr_factor

RECIPES = recipe_names()
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
    clip = Config.model_validate({"data": {"spec": "x"}}).clip
    with torch.device("meta"):
        return build(family, zoo.AVA_CLASSES, pixels=setup.clip_spec(clip).pixels, **json.loads(arguments))


@cache
def config_of(name: str) -> Config:
    return read_config(name)


def test_there_is_a_recipe_for_every_data_set() -> None:
    assert {name.partition("/")[0] for name in RECIPES} == {"ava", "custom", "jhmdb21", "multisports", "ucf24"}
    assert len(RECIPES) == len(set(RECIPES)) >= 151


def test_recipes_are_what_they_were() -> None:
    """After a change on purpose: `python tools/recipe_digests.py --write`."""
    stored = json.loads(recipe_digests.DIGESTS.read_text())
    now = recipe_digests.current()
    assert now["defaults"] == stored["defaults"]
    changed = {name for name, digest in now["recipes"].items() if stored["recipes"].get(name) != digest}
    assert not changed and now["recipes"].keys() == stored["recipes"].keys()


def test_a_digest_sees_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a recipe and of what it leaves to the defaults."""
    name, before = "ava/x3d_m", recipe_digests.digest("ava/x3d_m")
    for override in ("model.arguments.drop_path=0.1", "optim.momentum=0.8", "bank={model: x}", "seed=1"):
        changed = Config.model_construct(**{**config_of(name).__dict__, "seed": 1})
        if override != "seed=1":
            extra = ["model.arguments.head.bank={width: 8}"] if "bank" in override else []
            changed = read_config(name, [override, *extra])
        monkeypatch.setattr(recipe_digests, "read_config", lambda name, changed=changed: changed)
        assert recipe_digests.digest(name) != before


def test_no_recipe_hides_another() -> None:
    """A name is a file or a row of one table, in the bases too."""
    for folder in {path.parent for path in configs_folder().rglob("*.yaml")}:
        rows = [row for file in folder.glob("*.yaml") for row in (read_mapping(file).get("table") or {})]
        names = rows + [file.stem for file in folder.glob("*.yaml") if "table" not in read_mapping(file)]
        assert len(names) == len(set(names)), folder


def test_configs_stay_short() -> None:
    files = sorted(configs_folder().rglob("*.yaml"))
    assert sum(len(file.read_text().splitlines()) for file in files) <= 2000


@pytest.mark.parametrize("folder", ["ava", "jhmdb21"])
def test_every_published_size_has_a_recipe(folder: str) -> None:
    """Of a family all or none: a new one may begin without, and the bundled model of crops is learnt by a tool."""
    trained = {config_of(name).model.family for name in RECIPES if name.startswith(f"{folder}/")}
    for family, sizes in families().items():
        published = {name for name, size in sizes.items() if size.clip is not None}
        assert published <= trained or not published & trained, family
    assert trained <= set(SIZES) and len(trained) > 50


@each_case("name", RECIPES)
def test_its_model_and_optimizer_can_be_built(name: str) -> None:
    config = config_of(name)
    stem = name.partition("/")[2]
    model = built(config)
    optimizer = setup.build_optimizer_of(config, model)
    rates = {group["peak_lr"] for group in optimizer.param_groups}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    course = {
        epoch: max(rates) * lr_factor(epoch, **config.schedule.model_dump())
        for epoch in LEARNING_RATES.get(stem, {0: 0})
    }
    if stem in LEARNING_RATES:
        assert course == pytest.approx(LEARNING_RATES[stem])
    if stem in PARAMETERS:
        assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[stem]


@each_case("name", RECIPES)
def test_it_says_how_to_launch_it(name: str) -> None:
    words = shlex.split(read_recipe(name).about["launch"].replace("NAME", name))
    start = words.index("train")
    assert words[:start] == ["avadet"] or re.fullmatch(
        r"torchrun --standalone --nproc-per-node \d+ -m avadet", " ".join(words[:start])
    )
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    args = parser.parse_args(words[start + 1 :])
    assert str(args.config) == name
    assert isinstance(read_config(args.config, args.overrides), Config)


@each_case("name", RECIPES)
def test_it_names_published_numbers_and_the_start(name: str) -> None:
    config = config_of(name)
    about = read_recipe(name).about
    assert about["model"] and about["data"] and about["published"]
    if "init" in about:
        assert about["init"].startswith("none") == (config.model.init is None)


@each_case("name", RECIPES)
def test_its_start_is_in_the_zoo(name: str) -> None:
    """Where it names no file of the user's: weights of its own architecture or of pictures, pixels as published."""
    config = config_of(name)
    start, clip = config.model.init, config.clip
    if start is not None and not start.suffix:
        card = zoo.card_of(zoo.entry_of(str(start)))
        assert card["architecture"] == config.model.family or card["classifies"] == "pictures"
        assert (tuple(card["clip"]["mean"]), tuple(card["clip"]["std"])) == (clip.mean, clip.std)


@each_case("name", RECIPES)
def test_a_data_set_by_name_has_its_splits(name: str) -> None:
    config = config_of(name)
    if config.data.spec in data_set_names():
        data = open_data_set(config.data.spec, "nowhere", config.data.overrides)
        assert data.split(config.data.train) and data.split(config.data.scored)
        proposals = [source.split(own).proposals for source, own in data.sources(config.data.train)]
        assert [one is None for one in proposals] == [config.data.proposals is None] * len(proposals)


@each_case("name", RECIPES)
def test_it_dumps_and_reads_back(name: str, tmp_path: Path) -> None:
    config = config_of(name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert read_config(copy) == config


@each_case("name", [name for name in RECIPES if name.endswith("_lfb")])
def test_a_bank_is_of_a_model_that_another_recipe_trains(name: str) -> None:
    config, folder = config_of(name), name.partition("/")[0]
    others = [config_of(other) for other in RECIPES if other.startswith(f"{folder}/")]
    (trained,) = [other for other in others if other.run_dir == config.bank.model.parent]
    assert config.bank.model.name == "model.safetensors" and trained.data == config.data
    assert built(config).head.bank.bank_features == built(trained).head.own_features


def test_wrong_families_and_keys_are_refused() -> None:
    clip = Config.model_validate({"data": {"spec": "x"}}).clip
    for changes, message in (
        ({"family": "slow_r5"}, r"unknown model\.family 'slow_r5'; did you mean slow_r50"),
        ({"family": "slow_r50", "stages": (4,)}, r"model\.stages has no effect on slow_r50; see model\.arguments"),
        ({"family": "tiny_actions", "arguments": {"a": 1}}, r"model\.arguments has no effect on tiny_actions"),
    ):
        with pytest.raises(AvadetError, match=message):
            setup.model_arguments(ModelConfig(**changes), clip)
