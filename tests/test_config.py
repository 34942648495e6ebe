"""The training config: shipped files, overrides, the text of every error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from avadet.config import Config, read_config
from avadet.errors import AvadetError
from avadet.files import resource_folder
from avadet.schema import dump_config

TINY = resource_folder("configs") / "jhmdb21" / "tiny.yaml"


def _leaves(values: dict[str, Any], path: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        found |= _leaves(value, f"{path}{key}.") if isinstance(value, dict) else {path + key}
    return found


def test_the_shipped_config_names_every_key() -> None:
    config = read_config(TINY)
    assert _leaves(yaml.safe_load(TINY.read_text())) == _leaves(config.model_dump())


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    config = read_config(TINY, ["seed=3", "schedule.milestones=[4, 8]", "model.init=a/b.pth"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert read_config(copy) == config


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("optim.lr=1e-3", "optim", "lr", 0.001),  # YAML reads 1e-3 as a string
        ("augment.size_hw=[64, 80]", "augment", "size_hw", (64, 80)),
        ("model.init=null", "model", "init", None),
        ("evaluate.flip=true", "evaluate", "flip", True),
        ("data.root=/some/where=else", "data", "root", Path("/some/where=else")),
    ],
)
def test_overrides(override: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(read_config(TINY, [override]), section), key) == value


def test_later_overrides_win_and_sections_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("data: {root: /d}\n")
    config = read_config(path, ["optim.lr=1", "optim.lr=2"])
    assert config.optim.lr == 2
    assert config.schedule == Config.model_fields["schedule"].default


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(AvadetError) as caught:
        read_config(TINY, ["optim.lrr=1", "optim.lr=-1", "clip.num_frames=x", "foo=2", "loss.kind=tiny"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{TINY}: ") for line in lines)
    text = str(caught.value)
    assert "optim.lrr: unknown key; did you mean 'lr'?" in text
    assert "optim.lr: input should be greater than 0, got -1" in text
    assert "clip.num_frames: input should be a valid integer" in text and "got 'x'" in text
    assert "foo: unknown key; known: seed, device" in text
    assert "loss.kind: input should be 'cross_entropy', 'bce', 'focal', 'asymmetric' or 'pose_softmax', got" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.split_eval=validation"], "data.validation is 0; hold out a share"),
        (["augment.zoom=[2, 1]"], r"augment.zoom must be \[low, high\], got \[2.0, 1.0\]"),
        (["optim.lr=.inf"], "optim.lr: input should be a finite number"),
        (["optim"], "an override reads section.key=value, got 'optim'"),
        (["seed.deep=1"], "'seed' is a value, not a section"),
        (["seed=[1"], r"'\[1' is not YAML"),
    ],
)
def test_single_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        read_config(TINY, overrides)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"cannot read config .*none\.yaml: No such file"):
        read_config(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(AvadetError, match="must hold a mapping of sections, got list"):
        read_config(path)
    path.write_text("a: [\n")
    with pytest.raises(AvadetError, match="is not YAML"):
        read_config(path)
    path.write_text("seed: 1\n")
    with pytest.raises(AvadetError, match="data: missing; it has no default"):
        read_config(path)


def test_a_config_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("seed: !!python/object/apply:os.getpid []\n")
    with pytest.raises(AvadetError, match="is not YAML"):
        read_config(path)
