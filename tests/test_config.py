"""The training config: shipped files, overrides, the text of every error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from each_case import each_case

from avadet.config import Config, read_config
from avadet.errors import AvadetError
from avadet.files import resource_folder
from avadet.recipes import read_recipe
from avadet.schema import dump_config

TINY = resource_folder("configs") / "jhmdb21" / "tiny.yaml"


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    config = read_config(TINY, ["seed=3", "schedule.milestones=[4, 8]", "model.init=a/b.pth"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert read_config(copy) == config


@each_case(
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
    path.write_text("data: {spec: d}\n")
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


@each_case(
    ("overrides", "message"),
    [
        (["data.cache_short_side=240"], "data.cache_short_side has no effect without data.cache"),
        (["augment.zoom=[2, 1]"], r"augment.zoom must be \[low, high\], got \[2.0, 1.0\]"),
        (["optim.lr=.inf"], "optim.lr: input should be a finite number"),
        (["optim"], "an override reads section.key=value, got 'optim'"),
        (["seed.deep=1"], r"seed: input should be a valid integer, got \{'deep': 1\}"),
        (["run_dir.deep=1"], "override 'run_dir.deep=1': 'run_dir' is a value, not a section"),
        (["seed=[1"], r"'\[1' is not YAML"),
    ],
)
def test_single_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        read_config(TINY, overrides)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"no config '.*none\.yaml': neither a file nor a name of `avadet configs`"):
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


def test_conflicts_are_told_beside_wrong_values() -> None:
    """Checks of several values do not wait until each of them is right by itself, but never speak of wrong ones."""
    with pytest.raises(AvadetError) as caught:
        read_config(
            TINY,
            [
                *("optim.lr=-1", "augment.zoom=[2, 1]", "train.shard=true", "train.precision=fp16"),
                *("oops", "data.max_skipped=2", "data.cache_short_side=9", "bank.window_s=5"),
                "evaluate.keep_best_person=true",
            ],
        )
    lines = [line.removeprefix(f"{TINY}: ") for line in str(caught.value).splitlines()]
    assert lines == [
        "an override reads section.key=value, got 'oops'",
        "bank.model: missing; it has no default",
        "data.max_skipped: input should be less than or equal to 1, got 2",
        "optim.lr: input should be greater than 0, got -1",
        "data.cache_short_side has no effect without data.cache; leave it out",
        "augment.zoom must be [low, high], got [2.0, 1.0]",
        "train.shard and train.precision=fp16 do not go together; use bf16 or fp32",
        "evaluate.keep_best_person has no effect without evaluate.person_score",
        "data.cache_short_side 9 is less than clip.short_side 192; clips would be blurred",
    ]


class TestBases:
    """Configs put together from others, in a user's folder and from the packaged ones."""

    def write(self, folder: Path, **files: str) -> Path:
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        return folder / f"{next(iter(files))}.yaml"

    def test_are_merged_in_order_and_lists_are_replaced(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path,
            own="base: [one, two]\ndata: {spec: d}\nschedule: {milestones: [3]}\nmodel: {arguments: {a: 1}}",
            one="optim: {lr: 1, momentum: 0.5}\nschedule: {milestones: [1, 2]}\nmodel: {arguments: {b: {c: 1}}}",
            two="base: three\noptim: {lr: 2}",
            three="optim: {lr: 3, weight_decay: 0.3}",
        )
        config = read_config(path, ["optim.momentum=0.6"])
        assert (config.optim.lr, config.optim.momentum, config.optim.weight_decay) == (2, 0.6, 0.3)
        assert config.schedule.milestones == (3,) and config.model.arguments == {"a": 1, "b": {"c": 1}}
        origins = read_recipe(path).origins
        assert {key: origins[key].file.stem for key in ("optim.lr", "optim.momentum", "optim.weight_decay")} == {
            "optim.lr": "two",
            "optim.momentum": "one",
            "optim.weight_decay": "three",
        }

    def test_an_empty_mapping_and_an_override_replace(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, own="base: ava/i3d_nl_r50\nmodel: {arguments: {}}")
        assert read_config(path).model.arguments == {}
        assert read_config("ava/i3d_nl_r50", ["model.arguments={head: {}}"]).model.arguments == {"head": {}}

    def test_packaged_ones_are_found_by_name_and_the_run_has_the_own_name(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, mine="base: jhmdb21/slowfast_r50\noptim: {lr: 0.5}")
        mine, packaged = read_config(path), read_config("jhmdb21/slowfast_r50")
        assert mine.run_dir == Path("runs/jhmdb21_mine") and mine.optim.lr == 0.5
        assert mine.model == packaged.model and mine.data == packaged.data

    def test_rows_of_a_table_are_configs(self, tmp_path: Path) -> None:
        text = "base: one\nrun_dir: r/{name}\ntable:\n  small:\n  large: {base: small, optim: {lr: 2}}"
        path = self.write(tmp_path, sizes=text, one="data: {spec: d}\noptim: {lr: 1}")
        small, large = (read_config(tmp_path / name) for name in ("small", "large"))
        assert (small.optim.lr, small.run_dir) == (1, Path("r/small"))
        assert (large.optim.lr, large.run_dir) == (2, Path("r/small"))  # filled in where it is written
        with pytest.raises(AvadetError, match="is a table of configs; name one of them: large, small"):
            read_config(path)

    @pytest.mark.parametrize("name", ["ava/x3d_m", "configs/ava/x3d_m.yaml", TINY.parents[1] / "ava" / "x3d_m.yaml"])
    def test_a_packaged_recipe_has_a_name_wherever_one_is(
        self, name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert read_config(name).model.family == "x3d_m"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("ava/x3d_n", "no config 'ava/x3d_n'.*; did you mean ava/x3d_"),
            ("x3d_m", "; did you mean ava/x3d_m or jhmdb21/x3d_m"),
            ("configs/ava/slowfst_32x2_r50.yaml", "did you mean ava/slowfast_32x2_r50"),
            ("qqqqqq", "neither a file nor a name of `avadet configs`$"),
            ("_base_/data/jhmdb2", "did you mean _base_/data/jhmdb21"),
        ],
    )
    def test_close_names_are_listed(self, name: str, message: str) -> None:
        with pytest.raises(AvadetError, match=message) as caught:
            read_config(name)
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize(
        ("base", "message"),
        [
            ("none", r"own\.yaml: there is no base 'none'$"),
            ("ava/x3d_n", "there is no base 'ava/x3d_n'; did you mean ava/x3d_"),
            ("../other", r"base '../other' must lie in .* or be the name of a packaged one"),
            ("/etc/hostname", "base '/etc/hostname' must lie in"),
            ("own", r"own\.yaml: is a base of itself: .*own\.yaml -> .*own\.yaml$"),
            ("round", r"is a base of itself: .*own\.yaml -> .*round\.yaml -> .*own\.yaml$"),
            ("../inner/own", r"is a base of itself"),
            ("broken", r"broken\.yaml is not YAML"),
            ("[[a]]", r"base must be a name or a list of names, got \[\['a'\]\]"),
            ("sizes", r"sizes\.yaml: is a table of configs; name one of them: one, two"),
            ("_base_/models/c2d_r5", "there is no base '_base_/models/c2d_r5'; did you mean _base_/models/c2d_r50"),
        ],
    )
    def test_a_wrong_base_is_one_line_beside_all_others(self, base: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "other.yaml").write_text("seed: 1\n")
        folder = tmp_path / "inner"
        folder.mkdir()
        files = {"round": "base: own", "broken": "a: [", "sizes": "table: {two: , one: }"}
        path = self.write(folder, own=f"base: {base}\noptim: {{lrr: 1}}", **files)
        with pytest.raises(AvadetError) as caught:
            read_config(path, ["train.accumulate=0"])
        first, *others = str(caught.value).splitlines()
        assert re.search(message, first), first
        assert [line.removeprefix(f"{path}: ") for line in others] == [
            "optim.lrr: unknown key; did you mean 'lr'?",
            "train.accumulate: input should be greater than 0, got 0",
        ]

    def test_a_link_out_of_the_folder_is_no_base(self, tmp_path: Path) -> None:
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "secret.yaml").write_text("seed: 1\n")
        (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
        path = self.write(folder, own="base: link.yaml\ndata: {spec: d}")
        with pytest.raises(AvadetError, match=r"base 'link\.yaml' must lie in"):
            read_config(path)

    def test_a_mistake_in_a_base_names_its_file(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, own="base: one\ndata: {spec: d}", one="optim: {lr: -1}")
        with pytest.raises(AvadetError, match=r"own\.yaml: optim\.lr: .* got -1 \(in .*one\.yaml\)$"):
            read_config(path)

    def test_a_key_that_appears_twice_is_an_error(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, own="data: {spec: d}\noptim: {lr: 1}\noptim: {momentum: 0}")
        with pytest.raises(AvadetError, match=r"own\.yaml is not YAML: line 3: 'optim' appears twice"):
            read_config(path)

    def test_a_value_that_holds_itself_is_an_error(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, own="data: {root: /d}\nmodel: {arguments: &a {b: *a}}")
        with pytest.raises(AvadetError, match=r"own\.yaml: a value holds itself"):
            read_config(path)
