"""Data of a spec in a whole run: several people and labels, excluded seconds, proposals, a clock that starts late."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avadet.config import Config
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.detectors.two_stage import ActionModel
from avadet.training import setup
from avadet.training.data import read_run_data
from avadet.training.distributed import Processes
from avadet.training.feed import EpochSamples
from avadet.training.logs import RunFolder
from avadet.training.loop import Run, train
from avadet.video.write import VideoWriter

FPS, SECONDS = 10, 5
NAMES = ["red", "blue", "bright", "never"]
LEFT, RIGHT = (0.1, 0.2, 0.4, 0.9), (0.6, 0.2, 0.9, 0.9)
COLOUR = {"red": (240, 40, 40), "blue": (40, 40, 240)}


def _video(path: Path, left: str, right: str) -> None:
    with VideoWriter(path, (48, 64), Fraction(FPS)) as writer:
        for index in range(FPS * SECONDS):
            frame = np.full((48, 64, 3), 30, np.uint8)
            for (x1, y1, x2, y2), name in ((LEFT, left), (RIGHT, right)):
                frame[int(y1 * 48) : int(y2 * 48), int(x1 * 64) : int(x2 * 64)] = COLOUR[name]
            writer.write(frame, index / FPS)


def _rows(name: str, left: str, right: str) -> list[str]:
    """Seconds 901 to 904; every person is of a colour, and the red ones are bright besides."""
    rows = []
    for second in range(901, 905):
        for person, (box, colour) in enumerate(((LEFT, left), (RIGHT, right))):
            labels = [colour, "bright"] if colour == "red" else [colour]
            rows += [",".join(map(str, (name, second, *box, NAMES.index(label) + 1, person + 1))) for label in labels]
    return rows


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training videos and two to score on; of each second 903 is excluded, and one proposal is nobody's."""
    folder = tmp_path_factory.mktemp("colours")
    (folder / "videos").mkdir()
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for number in range(6):
        name, sides = f"film{number}", ("red", "blue") if number % 2 else ("blue", "red")
        _video(folder / "videos" / f"{name}.mp4", *sides)
        parts["train" if number < 4 else "val"] += _rows(name, *sides)
    lines = ["labels: [red, blue, bright, never]", "videos: {starts_at_s: 900}", "splits:"]
    for part, rows in parts.items():
        films = sorted({row.split(",")[0] for row in rows})
        (folder / f"{part}.csv").write_text("\n".join(rows) + "\n")
        (folder / f"{part}_excluded.csv").write_text("".join(f"{film},903\n" for film in films))
        found = [[film, second, *box, "", score] for film in films for second in (901, 902, 904)
                 for box, score in ((LEFT, 0.95), (RIGHT, 0.9), ((0.4, 0.0, 0.6, 0.2), 0.85))]  # fmt: skip
        (folder / f"{part}_boxes.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in found))
        lines.append(
            f"  {part}: {{annotations: {part}.csv, excluded: {part}_excluded.csv, proposals: {part}_boxes.csv}}"
        )
    (folder / "spec.yaml").write_text("\n".join(lines) + "\n")
    return folder / "spec.yaml"


def config(spec: Path, run_dir: Path, **changes: dict[str, object]) -> Config:
    values: dict[str, dict[str, object]] = {
        "model": {"dropout": 0.1},
        "clip": {"num_frames": 2, "stride": 1, "fps": FPS, "short_side": 48},
        "data": {"spec": str(spec), "batch_size": 4, "proposals": {"threshold": 0.8}},
        "augment": {"size_hw": (48, 64), "saturation": 0.0, "grayscale": 0.0, "zoom": (1.0, 1.0)},
        "schedule": {"epochs": 3},
        "optim": {"lr": 5e-3},
        "loss": {"kind": "bce", "mixup_alpha": 0.0, "label_smoothing": 0.0},
        "train": {"threads": 1, "ema_decay": 0.5, "save_every": 1},
        "evaluate": {"every_epochs": 100, "frame_step": 1, "person_score": 0.8},
    }
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields}
    return Config.model_validate({"device": "cpu", "run_dir": run_dir, **values})


def test_what_is_said_of_it(spec: Path, tmp_path: Path) -> None:
    data = read_run_data(config(spec, tmp_path))
    described = data.describe()
    assert described[:3] == [
        "training on 12 keyframes with 36 boxes, 12 of them without a label; scoring 18 boxes on 6 keyframes",
        "4 classes, 0 to 12 boxes each",
        "1 of 4 classes have no training box: never",
    ]
    excluded = "rows have an excluded keyframe; it is neither trained on nor scored; left out"
    assert [line.partition(" (")[0] for line in described[3:]] == [f"train: 12 {excluded}", f"val: 6 {excluded}"]
    assert data.class_counts() == [12, 12, 12, 0]
    assert data.names(np.array([0, 11])) == ["film0@901", "film3@904"]
    annotated = config(spec, tmp_path, data={"proposals": None}, evaluate={"person_score": None})
    assert read_run_data(annotated).describe()[0] == (
        "training on 12 keyframes with 24 boxes, 0 of them without a label; scoring 12 boxes on 6 keyframes"
    )


class Oracle(ActionModel):
    """Says of a person what the colour within its box says."""

    num_classes = 4

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        logits = []
        for owner, x1, y1, x2, y2 in rois.round().int().tolist():
            red, _, blue = clips[owner, :, 0, y1:y2, x1:x2].float().mean(dim=(1, 2)).tolist()
            logits.append([red - blue, blue - red, red - blue, -9.0] if max(red, blue) > 100 else [-9.0] * 4)
        return torch.tensor(logits).reshape(-1, 4) / 20


@pytest.mark.parametrize(("score", "people"), [(0.8, 18), (None, 12)])
def test_who_knows_everything_scores_100(score: float | None, people: int, spec: Path, tmp_path: Path) -> None:
    wanted = config(spec, tmp_path, evaluate={"person_score": score, "flip": True, "short_sides": (48, 64)})
    data = read_run_data(wanted)
    evaluate = setup.build_score(wanted, data, Processes())
    assert len(data.index.labels) == people
    outcome = evaluate(Oracle(), False)
    assert outcome.metrics == {"frame_map": 100.0}
    assert "red" in outcome.table


def test_missed_people_cost_recall(spec: Path, tmp_path: Path) -> None:
    """With a threshold between the scores of left and right, half of each colour is never found."""
    wanted = config(spec, tmp_path, evaluate={"person_score": 0.92})
    evaluate = setup.build_score(wanted, read_run_data(wanted), Processes())
    assert evaluate(Oracle(), False).metrics == {"frame_map": 50.0}


def test_shares_of_processes_make_the_whole(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(spec, tmp_path, evaluate={"batch_size": 2})
    data = read_run_data(wanted)
    whole: list[np.ndarray] = []
    monkeypatch.setattr(Processes, "gather", lambda self, item: whole.append(item) or [item])
    for processes in (Processes(), Processes(0, 2), Processes(1, 2)):
        setup.build_score(wanted, data, processes)(Oracle(), False)
    np.testing.assert_array_equal(whole[0], whole[1] + whole[2])
    assert (whole[1] == 0).all(axis=1).any() and (whole[0] > 0).all()


def test_a_run_learns_and_is_resumed_bit_equal(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    straight = train(config(spec, tmp_path / "straight"), say=said.append)
    metrics = straight.metrics()
    assert metrics[-1]["loss"] < metrics[0]["loss"] and 0 <= metrics[-1]["frame_map"] <= 100
    card = json.loads(straight.model.with_suffix(".json").read_text())
    assert card["numbers"]["people"] == "proposals of 0.8 or more" and card["data"] == "spec"
    assert str(tmp_path) not in json.dumps(card) and str(spec.parent) not in json.dumps(card)
    save = Run.save

    def save_and_break(self: Run, is_best: bool = False) -> None:
        save(self, is_best)
        if (self.trainer.position.epoch, self.trainer.position.step) == (1, 2):
            raise KeyboardInterrupt

    broken = config(spec, tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "save", save_and_break)
        train(broken)
    assert train(broken, resume=True).model.read_bytes() == straight.model.read_bytes()


def test_a_missing_video_is_told_before_training(spec: Path, tmp_path: Path) -> None:
    wanted = config(spec, tmp_path, data={"overrides": ("videos.folder=elsewhere",)})
    with pytest.raises(AvadetError, match=r"4 of 4 videos have no file in .*elsewhere, which does not exist"):
        train(wanted)
    assert not RunFolder(tmp_path).checkpoint.exists()


def test_cross_entropy_wants_one_action_a_person(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="cross_entropy is for one action a person, but 12 of 36 persons to train on"):
        read_run_data(config(spec, tmp_path, loss={"kind": "cross_entropy"}))


def test_keys_without_effect_are_refused(spec: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"data": {"cache_short_side": 64}}, "cache_short_side has no effect without data.cache"),
        ({"data": {"cache": "x", "cache_short_side": 40}}, "cache_short_side 40 is less than clip.short_side 48"),
        ({"evaluate": {"person_score": None, "keep_best_person": True}}, "keep_best_person has no effect without"),
    ):
        with pytest.raises(ValueError, match=message):
            config(spec, tmp_path, **changes)


@pytest.mark.parametrize(
    ("kind", "rule"), [("bce", "sigmoid"), ("cross_entropy", "softmax"), ("pose_softmax", "pose_softmax")]
)
def test_inference_scores_as_the_loss_means_it(kind: str, rule: str, spec: Path, tmp_path: Path) -> None:
    """Red and blue are poses of which a person has one; bright and never are a second question each."""
    (tmp_path / "labels.csv").write_text(
        "id,name,group\n" + "".join(f"{n},{name},{'pose' if n < 3 else 'object'}\n" for n, name in enumerate(NAMES, 1))
    )
    rows = [row for row in (spec.parent / "train.csv").read_text().splitlines() if row.split(",")[6] != "3"]
    (tmp_path / "poses.csv").write_text("".join(f"{row}\n" for row in rows))
    one_each = [f"splits.train.annotations={tmp_path / 'poses.csv'}"] if kind == "cross_entropy" else []
    wanted = config(
        spec,
        tmp_path / "run",
        data={"overrides": (f"labels={tmp_path / 'labels.csv'}", *one_each)},
        loss={"kind": kind},
        schedule={"epochs": 1},
        evaluate={"every_epochs": 1},
    )
    loaded = zoo.load(train(wanted).model)
    assert loaded.card["scores"] == rule
    evaluate = setup.build_score(wanted, read_run_data(wanted), Processes())
    logits = torch.tensor([[1.0, 3.0, 0.5, -4.0]])
    torch.testing.assert_close(loaded.scores(logits), evaluate.scorer.loaded.scores(logits))
    if kind == "pose_softmax":
        assert float(loaded.scores(logits)[0, :2].sum()) == pytest.approx(1)
    assert (float(loaded.scores(logits).sum()) == pytest.approx(1)) == (kind == "cross_entropy")


def _break(spec: Path, folder: Path, film: str) -> Path:
    """A copy of the data set in which a film is cut short."""
    shutil.copytree(spec.parent, folder)
    path = folder / "videos" / f"{film}.mp4"
    path.write_bytes(path.read_bytes()[:600])
    return folder / spec.name


def test_unreadable_clips_stop_a_run_or_are_skipped_and_listed(spec: Path, tmp_path: Path) -> None:
    """A run that stopped at one goes on without it; broken off, it comes to the same weights."""
    broken = _break(spec, tmp_path / "data", "film1")
    skipping = {"data": {"on_error": "skip", "max_skipped": 0.3}}
    with pytest.raises(
        AvadetError, match=r"cannot be read; .*\(data\.on_error=skip leaves such clips out\).*film1\.mp4"
    ):
        train(config(broken, tmp_path / "straight"))
    said: list[str] = []
    resume = (tmp_path / "straight" / "last.pt").is_file()
    straight = train(config(broken, tmp_path / "straight", **skipping), resume=resume, say=said.append)
    rows = (straight.path / "skipped.csv").read_text().splitlines()
    assert rows[0] == "split,video_id,time_s,reason"
    assert [row.split(',"')[0] for row in rows[1:]] == [f"train,film1,{second}.0" for second in (901, 902, 904)]
    assert any(line.startswith("3 of 12 keyframes of train are skipped so far, see ") for line in said)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "close_epoch", _interrupt)
        train(config(broken, tmp_path / "resumed", **skipping))
    again = train(config(broken, tmp_path / "resumed", **skipping), resume=True)
    assert again.model.read_bytes() == straight.model.read_bytes()
    assert (again.path / "skipped.csv").read_text() == (straight.path / "skipped.csv").read_text()
    with pytest.raises(AvadetError, match=r"[12] of 12 keyframes cannot be read, more than data\.max_skipped=0\.05"):
        train(config(broken, tmp_path / "few", data={"on_error": "skip"}))


def _interrupt(self: Run) -> dict[str, float]:
    raise KeyboardInterrupt


def test_a_skipped_keyframe_is_not_detected(spec: Path, tmp_path: Path) -> None:
    """One of the two films to score on cannot be read: who knows everything finds half of it."""
    broken = _break(spec, tmp_path / "data", "film4")
    skipping = {"on_error": "skip", "max_skipped": 0.6}
    wanted = config(broken, tmp_path / "run", data=skipping)
    outcome = setup.build_score(wanted, read_run_data(wanted), Processes())(Oracle(), False)
    assert outcome.metrics == {"frame_map": 50.0}
    assert [one.time_s for one in outcome.skipped] == [901.0, 902.0, 904.0]


def test_a_step_without_a_single_clip_is_taken_all_the_same(spec: Path, tmp_path: Path) -> None:
    broken = _break(spec, tmp_path / "data", "film0")
    only = tmp_path / "data" / "train.csv"
    kept = [row for row in only.read_text().splitlines() if row.startswith("film0")]
    only.write_text("\n".join(kept) + "\n")
    changes = {"data": {"on_error": "skip", "max_skipped": 1.0, "batch_size": 3}, "schedule": {"epochs": 1}}
    changes["data"]["proposals"] = None
    folder = train(config(broken, tmp_path / "run", **changes))
    assert folder.metrics()[-1]["loss"] == 0.0 and (folder.path / "skipped.csv").read_text().count("film0") >= 3


def test_keyframes_of_a_video_are_drawn_anew_each_epoch() -> None:
    video_rows = np.repeat([0, 1, 2], [5, 1, 9])
    samples = EpochSamples(video_rows, per_video=2)
    epochs = [samples.order(seed=3, epoch=epoch) for epoch in range(40)]
    assert len(samples) == 6 and all(np.bincount(video_rows[order]).tolist() == [2, 2, 2] for order in epochs)
    assert all(len({*order[video_rows[order] == 2]}) == 2 for order in epochs)  # none twice where there are more
    assert {int(keyframe) for order in epochs for keyframe in order} == set(range(15))
    assert np.array_equal(epochs[7], samples.order(seed=3, epoch=7)) and not np.array_equal(epochs[7], epochs[8])
    whole = EpochSamples(video_rows)
    assert len(whole) == 15 and sorted(whole.order(3, 0).tolist()) == list(range(15))
