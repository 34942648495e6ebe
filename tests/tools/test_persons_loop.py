"""Training the person detector on a handful of rendered frames: it runs, it resumes, it can be loaded."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from person_training.config import PersonsConfig, VideoSet
from person_training.frames import FramePack
from person_training.loop import FrozenStart, PersonTrainer, start_net
from person_training.packs import _video_frames, load_packs
from person_training.sources import Teacher, figure_frames
from safetensors.torch import load_file
from staged import write_video
from train_persons import main

from avadet.errors import AvadetError
from avadet.files import resource_folder
from avadet.persons.person_net import PersonNet
from avadet.persons.tiny import TinyPersons
from avadet.schema import read_schema
from avadet.types import PersonBoxes, UInt8Array

CONFIG = resource_folder("configs") / "persons" / "tiny.yaml"
SMALL = (
    "train.steps=4", "train.batch_size=2", "train.workers=0", "train.save_every=2", "train.warmup_steps=1",
    "augment.sizes_hw=[[64, 96], [96, 64]]", "width=8", "long_side=96", "device=cpu", "data.videos=[]",
    "data.pictures=[{name: free, folders: [x], share: 0.2, research: false}, {name: bound, folders: [x], share: 0.1}]",
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs of rendered frames, named like clips of JHMDB; no plain clips."""
    folder = tmp_path_factory.mktemp("packs")
    frames = [frame for _, frame in figure_frames(2, 2, seed=5)]
    names = [f"walk/video{i}_walk_f_cm_np1_ba_med_0" for i in range(len(frames))]
    FramePack.gather(iter(zip(names, frames))).save(folder / "jhmdb.npz")
    FramePack.gather(iter(zip(itertools.repeat("scene"), frames))).save(folder / "figures.npz")
    FramePack.gather(iter(())).save(folder / "clips.npz")
    FramePack.gather(iter(zip(itertools.repeat("free/a"), frames))).save(folder / "free.npz")
    FramePack.gather(iter(zip(itertools.repeat("bound/b"), frames))).save(folder / "bound.npz")
    return folder


def config(cache: Path, run: Path, *more: str) -> PersonsConfig:
    return read_schema(CONFIG, [*SMALL, f"data.cache={cache}", f"run_dir={run}", *more], PersonsConfig)


def test_the_shipped_config_is_whole() -> None:
    written = read_schema(CONFIG, [], PersonsConfig)
    assert len(written.data.held_out) == 7
    assert written.width == 96


def test_a_wrong_key_is_named() -> None:
    with pytest.raises(AvadetError, match=r"train\.stepss: unknown key; did you mean 'steps'\?"):
        read_schema(CONFIG, ["train.stepss=3"], PersonsConfig)


def test_videos_of_a_folder_are_those_not_held_out(tmp_path: Path) -> None:
    folder = tmp_path / "films" / "deep"
    for name in ("a", "held"):
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"{name}.mp4", seconds=0.5)

    def look(image: UInt8Array) -> PersonBoxes:
        return PersonBoxes(np.array([[1, 2, 30, 40]], np.float32), np.ones(1, np.float32), image.shape[:2])

    teacher = Teacher(look, 0.4, 0.12)
    data = config(tmp_path, tmp_path, f"data.root={tmp_path}", "data.held_out=[held]").data
    films = VideoSet(name="films", folder=Path("films"), frames=2)
    assert [name for name, _ in _video_frames(films, data, teacher)] == ["a", "a"]
    with pytest.raises(AvadetError, match=r"no folder .*nowhere; check data\.root"):
        _video_frames(VideoSet(name="films", folder=Path("nowhere")), data, teacher)


def test_a_run_ends_with_a_detector(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, f"data.cache={cache}", f"run_dir={tmp_path}"]
    assert main([str(CONFIG), *words]) == 0
    weights = Path(capsys.readouterr().out.strip())
    detector = TinyPersons(weights=weights)
    detector(np.zeros((40, 60, 3), np.uint8))
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["training"]["steps"] == 4
    assert card["long_side"] == detector.long_side == 96


def test_a_resumed_run_is_the_same_run(cache: Path, tmp_path: Path) -> None:
    whole, parts = config(cache, tmp_path / "whole"), config(cache, tmp_path / "parts")
    packs = load_packs(whole.data)
    expected = load_file(PersonTrainer(whole, packs).run(report=lambda line: None))
    first = PersonTrainer(parts, packs)
    first.folder.start("")
    first._begin(resume=False)
    for step in range(2):
        first.step(step, *_batch(first, step))
    first._save(2)
    resumed = load_file(PersonTrainer(parts, packs).run(resume=True, report=lambda line: None))
    for name, value in expected.items():
        torch.testing.assert_close(value, resumed[name], rtol=0, atol=0, msg=name)


def _batch(trainer: PersonTrainer, step: int):
    from person_training.samples import collate

    return collate([trainer.samples[2 * step + i] for i in range(2)])


def test_videos_kept_aside_are_not_learnt_from(cache: Path, tmp_path: Path) -> None:
    packs = load_packs(config(cache, tmp_path, "data.validation=0.5").data)
    learnt, aside = packs.training["jhmdb"], packs.validation["jhmdb"]
    assert len(learnt) > 0
    assert len(aside) > 0
    assert not set(learnt.clip_of) & set(aside.clip_of)


def test_one_flag_leaves_out_what_is_for_research_only(cache: Path, tmp_path: Path) -> None:
    everything = load_packs(config(cache, tmp_path).data)
    assert set(everything.training) == {"free", "bound", "jhmdb", "clips", "figures"}
    allowed = load_packs(config(cache, tmp_path, "data.research=false").data)
    assert set(allowed.training) == {"free", "figures"}
    assert allowed.shares["free"] == 0.2


def test_missing_packs_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="--prepare"):
        load_packs(config(tmp_path, tmp_path).data)


def test_frozen_stages_stay_and_the_others_learn(cache: Path, tmp_path: Path) -> None:
    cfg = config(cache, tmp_path, "train.frozen_stages=3")
    trainer = PersonTrainer(cfg, load_packs(cfg.data))
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    trainer.step(1, *_batch(trainer, 0))
    frozen = ("backbone.stem.", *(f"backbone.stages.{i}." for i in range(3)))
    changed = {name for name, value in trainer.net.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith(frozen)]
    assert {"backbone.stages.3.0.main.0.weight", "backbone.stages.5.3.main.6.weight"} <= changed


def test_the_frozen_copy_gives_the_trunks_own_maps() -> None:
    trunk = PersonNet(8, "efficientnet_lite0").backbone.eval()
    for norm in (part for part in trunk.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        torch.nn.init.uniform_(norm.bias, 0, 1)
    pixels = torch.rand(1, 3, 64, 96)
    expected = trunk(pixels)[1:]
    for map_, wanted in zip(FrozenStart(trunk, 3, torch.device("cpu")).maps(pixels, trunk), expected):
        assert (map_ - wanted).abs().mean() < 0.03 * wanted.abs().mean()


def test_a_run_can_start_from_another_ones_weights(cache: Path, tmp_path: Path) -> None:
    weights = PersonTrainer(config(cache, tmp_path, "train.steps=1"), load_packs(config(cache, tmp_path).data)).run(
        report=lambda line: None
    )
    net = start_net(config(cache, tmp_path, f"init={weights}"))
    name = "head.heads.0.shared.0.weight"
    torch.testing.assert_close(net.state_dict()[name], load_file(weights)[name].float())


def test_clips_that_are_not_there_are_named(cache: Path, tmp_path: Path) -> None:
    from person_training.report import see_held_out

    data = config(cache, tmp_path, f"data.clips={tmp_path}", "data.ucf24=null", "data.held_out=[nobody]").data
    with pytest.raises(AvadetError, match=r"held_out.*nobody"):
        see_held_out(data, lambda image: None, lambda image: None)  # type: ignore[arg-type,return-value]


def test_held_out_clips_are_seen_with_their_annotations(shared: Path, cache: Path, tmp_path: Path) -> None:
    from person_training.report import FRAMES_A_CLIP, see_held_out

    from avadet.types import PersonBoxes

    name = "v_Basketball_g07_c04"
    ucf24 = shared / "data" / "ucf24"
    data = config(cache, tmp_path, f"data.ucf24={ucf24}", "data.clips=null", f"data.held_out=[{name}]").data

    def blind(image: np.ndarray) -> PersonBoxes:
        return PersonBoxes.empty((image.shape[0], image.shape[1]))

    frames = see_held_out(data, blind, blind)[name]
    assert len(frames) == FRAMES_A_CLIP
    assert {frame.found.size_hw for frame in frames} == {(256, 340)}
    assert any(len(frame.annotated_px) for frame in frames)
