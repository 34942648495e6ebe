"""Long-term feature banks in whole runs: made once, read by the clip, learnt from, left beside the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ava_like import STARTS_AT_S, Actor, Film, write_set
from safetensors import safe_open
from staged_squares import config as squares_config

from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.cli.main import main
from avadet.config import Config
from avadet.data.clips import ClipDataset
from avadet.data.feature_banks import BankFile, FeatureBank
from avadet.data.index import AnnotationIndex
from avadet.data.keyframes import training_index
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.training import setup
from avadet.training.banks import BankMaker, Banks
from avadet.training.distributed import Processes
from avadet.training.fingerprint import resume_fingerprint
from avadet.training.loop import Run, train
from avadet.types import ClipSpec, FrameKey, LabelMap

FPS, SECONDS = 5.0, 5
CLASSES = ["red film", "blue film", "flag"]
FLAG, PERSON = (0.05, 0.2, 0.45, 0.9), (0.55, 0.2, 0.95, 0.9)
COLOUR = {"red film": (240, 30, 30), "blue film": (30, 30, 240)}
SPEC = ClipSpec(num_frames=1, stride=1, fps=FPS, short_side=48, mean=(0.45,) * 3, std=(0.225,) * 3)
SMALL = {"width": 8, "depths": [1, 1, 1, 1]}


def film(kind: str) -> Film:
    """In its first second a flag in a colour; then a grey person, whose class is that colour. No clip shows both."""
    count = int(SECONDS * FPS)
    frames = np.full((count, 48, 64, 3), 20, np.uint8)
    boxes = np.full((2, count, 4), np.nan)
    for index, frame in enumerate(frames):
        is_flag = index < FPS
        x1, y1, x2, y2 = box = FLAG if is_flag else PERSON
        frame[int(y1 * 48) : int(y2 * 48), int(x1 * 64) : int(x2 * 64)] = COLOUR[kind] if is_flag else (130, 130, 130)
        boxes[0 if is_flag else 1, index] = box
    return Film(frames, FPS, (Actor(("flag",), boxes[0]), Actor((kind,), boxes[1])))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films to learn from, two to score on."""
    kinds = list(COLOUR)
    films = {f"day/{number}": film(kinds[number % 2]) for number in range(8)}
    folder = tmp_path_factory.mktemp("flags")
    return write_set(folder, films, CLASSES, ["day/6", "day/7"])


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Slow with random weights, whose features tell colours apart."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("looker") / "looker.safetensors"
    labels = LabelMap(("any",), (1,), ("action",), (True,))
    save_model(
        path,
        build("slow_r50", 1, pixels=SPEC.pixels, **SMALL).eval(),
        make_card("looker", "slow_r50", SMALL, SPEC, labels),
    )
    return path


def config(spec: Path, looker: Path, run_dir: Path, **changes: dict[str, object]) -> Config:
    head = {"bank": {"width": 16, "depth": 1, "dropout": 0.0}}
    values: dict[str, dict[str, object]] = {
        "model": {"family": "slow_r50", "arguments": {**SMALL, "head": head}, "dropout": 0.0, "init": str(looker)},
        "bank": {"model": str(looker), "folder": str(run_dir.parent / "banks")},
        "clip": {"num_frames": 1, "stride": 1, "fps": FPS, "short_side": 48, "mean": SPEC.mean, "std": SPEC.std},
        "data": {"spec": str(spec), "batch_size": 6},
        "augment": {"size_hw": (48, 64), "short_side": (48, 48), "saturation": 0, "grayscale": 0, "aspect": 1,
                    "brightness": 0, "contrast": 0, "box_jitter": 0, "speed": (1, 1), "flip": 0},
        "optim": {"lr": 2e-2, "backbone_lr_factor": 0.0, "weight_decay": 0.0},
        "schedule": {"epochs": 6},
        "loss": {"kind": "bce", "mixup_alpha": 0.0, "label_smoothing": 0.0},
        "train": {"threads": 1, "ema_decay": 0.0, "batch_norm": "frozen"},
        "evaluate": {"every_epochs": 100, "frame_step": 1},
    }  # fmt: skip
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields}
    return Config.model_validate({"device": "cpu", "run_dir": run_dir, **values})


def people(spec: Path, split: str = "train") -> AnnotationIndex:
    data = open_data_set(str(spec), None, ())
    return training_index(read_split(data, split), data.labels)


def maker(looker: Path, folder: Path) -> BankMaker:
    return BankMaker(zoo.load(looker), folder, torch.device("cpu"), batch_size=3)


def test_a_bank_holds_the_features_of_everybody_in_a_video(spec: Path, looker: Path, tmp_path: Path) -> None:
    targets, made = people(spec), maker(looker, tmp_path)
    banks = made.banks(targets, Processes())
    assert sorted(banks) == [f"day/{number}" for number in range(6)]
    clips = ClipDataset(targets, SPEC)
    for keyframe in range(len(targets)):
        key, sample = targets.key(keyframe), clips[0, keyframe]
        rois = np.column_stack([np.zeros(len(sample.boxes_px)), sample.boxes_px]).astype(np.float32)
        frames = torch.from_numpy(sample.frames[None]).permute(0, 4, 1, 2, 3)
        with torch.no_grad():
            expected = made.model.model.box_features(frames, torch.from_numpy(rois))
        found = banks[key.video_id].around(key.time_s, 0.5)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    times = banks["day/0"].times_s
    assert times.tolist() == [STARTS_AT_S + second for second in range(SECONDS)]
    with safe_open(banks["day/0"].path, "numpy") as file:
        assert file.metadata()["video_id"] == "day/0"


def test_banks_are_made_once_and_anew_when_anything_changes(spec: Path, looker: Path, tmp_path: Path) -> None:
    targets, made = people(spec), maker(looker, tmp_path)
    made.banks(targets, Processes())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    made.banks(targets, Processes())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files and len(files) == 6
    next(iter(files)).unlink()  # as if the run had been killed before this one
    made.banks(targets, Processes())
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files}
    moved = targets.boxes_norm.copy()
    moved[0, 0] += 0.01  # one box of the first video
    made.banks(replace(targets, boxes_norm=moved), Processes())
    assert len(list(tmp_path.iterdir())) == 7
    other = replace(made, model=replace(made.model, spec=replace(SPEC, short_side=40)))
    assert len({path.path for path in other.banks(targets, Processes()).values()} - set(files)) == 6


def test_processes_make_a_share_each(spec: Path, looker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, written = maker(looker, tmp_path), []
    monkeypatch.setattr(Processes, "gather", lambda self, item: [item])
    monkeypatch.setattr(FeatureBank, "save", lambda self, path: written.append(self.video_id))
    for rank in range(2):
        with pytest.raises(AvadetError, match="no such feature bank"):  # the other one's are not there yet
            made.banks(people(spec), Processes(rank, 2))
    assert written == ["day/0", "day/2", "day/4", "day/1", "day/3", "day/5"]


def test_names_of_videos_do_not_leave_the_folder(spec: Path, looker: Path, tmp_path: Path) -> None:
    targets = people(spec)
    names = ("../out", "/abs", "..", "a/b")
    videos = tuple(replace(video, video_id=name) for video, name in zip(targets.videos, names)) + targets.videos[4:]
    banks = maker(looker, tmp_path / "banks").banks(replace(targets, videos=videos), Processes())
    assert {bank.path.parent for bank in banks.values()} == {tmp_path / "banks"}
    assert len(list((tmp_path / "banks").iterdir())) == 6 and len(list(tmp_path.iterdir())) == 1


def test_a_window_on_disk_is_a_window_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bank = FeatureBank("v", np.sort(rng.integers(0, 20, 30)).astype(np.float64), rng.random((30, 5), np.float32))
    bank.save(tmp_path / "v.safetensors")
    file = BankFile(tmp_path / "v.safetensors")
    for time_s, window_s in [(0, 4), (10, 6), (19, 60), (300, 10), (-9, 2), (5, 0)]:
        np.testing.assert_array_equal(file.around(time_s, window_s), bank.around(time_s, window_s))
    nobody = FeatureBank("n", np.zeros(0), np.zeros((0, 5), np.float32))
    nobody.save(tmp_path / "n.safetensors")
    assert BankFile(tmp_path / "n.safetensors").around(3.0).shape == (0, 5)
    banks = Banks({"v": file, "n": BankFile(tmp_path / "n.safetensors")}, 6.0)
    window = banks.window([FrameKey("n", 3.0), FrameKey("v", 10.0), FrameKey("v", 19.0)])
    inside = [bank.around(10, 6), bank.around(19, 6)]
    assert window.batch_index.tolist() == [1] * len(inside[0]) + [2] * len(inside[1])
    np.testing.assert_array_equal(window.features, np.concatenate(inside))


def test_a_run_learns_what_only_the_bank_tells(spec: Path, looker: Path, tmp_path: Path) -> None:
    """With windows of 60 s the flag is seen and every person right; those of 1 s show the person alone: chance."""
    metrics = train(config(spec, looker, tmp_path / "run", schedule={"epochs": 14})).metrics()
    assert metrics[-1]["loss"] < 0.1 * metrics[0]["loss"]
    assert metrics[-1]["frame_map"] == 100.0
    near = train(config(spec, looker, tmp_path / "near", bank={"window_s": 1.0})).metrics()
    assert near[-1]["loss"] > 10 * metrics[-1]["loss"] and near[-1]["frame_map"] < 90


def test_what_a_run_leaves(spec: Path, looker: Path, tmp_path: Path) -> None:
    folder = train(config(spec, looker, tmp_path / "run", schedule={"epochs": 1}, bank={"window_s": 7}))
    card = json.loads(folder.model.with_suffix(".json").read_text())
    assert card["bank"] == {"weights": "bank.safetensors", "window_s": 7.0}
    assert card["training"]["config"]["bank"] == {"model": "looker.safetensors", "window_s": 7.0}
    assert str(tmp_path) not in json.dumps(card)
    assert folder.bank.read_bytes() == looker.read_bytes()
    assert json.loads(folder.bank.with_suffix(".json").read_text())["name"] == "looker"


def test_a_run_with_banks_is_resumed_bit_equal(
    spec: Path, looker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short: dict[str, dict[str, object]] = {
        "schedule": {"epochs": 2},
        "train": {"threads": 1, "save_every": 1, "batch_norm": "frozen"},
        "loss": {"kind": "bce", "mixup_alpha": 0.5, "mixup_share": 0.7},
    }
    straight = train(config(spec, looker, tmp_path / "straight", **short))
    save = Run.save

    def save_and_break(self: Run, is_best: bool = False) -> None:
        save(self, is_best)
        if (self.trainer.position.epoch, self.trainer.position.step) == (1, 2):
            raise KeyboardInterrupt

    broken = config(spec, looker, tmp_path / "broken", **short)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "save", save_and_break)
        train(broken)
    assert train(broken, resume=True).model.read_bytes() == straight.model.read_bytes()


def test_precise_norms_and_several_sizes_see_windows_too(spec: Path, looker: Path, tmp_path: Path) -> None:
    head = {"norm": True, "bank": {"width": 16}}
    wanted = config(
        spec,
        looker,
        tmp_path / "run",
        schedule={"epochs": 1},
        model={"arguments": {**SMALL, "head": head}},
        train={"precise_bn": 2, "threads": 1, "batch_norm": "plain"},
        evaluate={"flip": True, "short_sides": (48, 56)},
    )
    assert 0 <= train(wanted).metrics()[-1]["frame_map"] <= 100


def test_config_errors(spec: Path, looker: Path, tmp_path: Path) -> None:
    plain = {"family": "slow_r50", "arguments": SMALL}
    with pytest.raises(ValueError, match=r"bank has no effect without model\.arguments\.head\.bank"):
        config(spec, looker, tmp_path, model=plain)
    with pytest.raises(ValueError, match=r"head\.bank needs bank\.model"):
        Config.model_validate({**config(spec, looker, tmp_path).model_dump(), "bank": None})
    assert "bank" not in resume_fingerprint(squares_config(tmp_path))  # runs from before banks can still be resumed


def test_a_bank_of_another_width_is_told_before_training(spec: Path, looker: Path, tmp_path: Path) -> None:
    arguments = {**SMALL, "head": {"bank": {"width": 16, "bank_features": 99}}}
    wanted = config(spec, looker, tmp_path / "run", model={"arguments": arguments})
    with pytest.raises(AvadetError, match=r"reads feature banks of 99 .* looker have 256; set .*bank_features=256"):
        train(wanted)
    assert not (tmp_path / "banks").exists()  # nor were any made


def test_a_film_that_cannot_be_read_has_an_empty_bank_if_that_is_allowed(
    spec: Path, looker: Path, tmp_path: Path
) -> None:
    targets = people(spec)
    videos = tuple(replace(one, path=None) if one.video_id == "day/0" else one for one in targets.videos)
    lost, stopping = replace(targets, videos=videos), maker(looker, tmp_path)
    with pytest.raises(AvadetError, match="day/0 has no file"):
        stopping.banks(lost, Processes())
    banks = replace(stopping, on_error="skip").banks(lost, Processes())
    assert len(banks["day/0"].times_s) == 0 < len(banks["day/1"].times_s)


def test_only_a_single_detector_makes_banks(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="tiny cannot make feature banks: it is no single detector"):
        BankMaker(zoo.load("tiny"), tmp_path, torch.device("cpu"))


def test_a_reader_of_banks_makes_none(spec: Path, looker: Path, tmp_path: Path) -> None:
    folder = train(config(spec, looker, tmp_path / "run", schedule={"epochs": 1}))
    with pytest.raises(AvadetError, match="cannot make feature banks: it reads one itself"):
        maker(folder.model, tmp_path)


def test_the_number_of_a_run_is_that_of_test(
    spec: Path, looker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(config(spec, looker, tmp_path / "run", schedule={"epochs": 2}, bank={"window_s": 0.21}))
    assert main(["test", str(folder.path), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "det.csv")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"frame-mAP@0.5 (activitynet): {folder.metrics()[-1]['frame_map']:.2f} on ")
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 2  # films to score on


def test_the_bank_model_may_be_missing(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="no such file"):
        setup.bank_maker(config(spec, tmp_path / "gone.safetensors", tmp_path / "run"), torch.device("cpu"))
