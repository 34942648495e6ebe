"""All steps of making `tiny`, on a dozen drawn pictures and a few drawn scenes; and the fitting by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import train_tiny_actions
from tiny_actions import appearance, calibrate, crops, figures, fitting, labels, motion
from tiny_actions.loop import Loop, rate_factor

from avadet.models.build import build
from avadet.models.cards import calibration_of, labels_of, read_card, scores_of
from avadet.models.checkpoints.torch_file import read_safetensors
from avadet.models.scores import to_scores
from avadet.synthetic.scene import random_scene
from avadet.types import PersonBoxes, UInt8Array


def middle_person(frame: UInt8Array) -> PersonBoxes:
    height, width = frame.shape[:2]
    box = np.array([[width * 0.3, height * 0.2, width * 0.6, height * 0.9]], np.float32)
    return PersonBoxes(box, np.array([0.9], np.float32), (height, width))


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with twelve pictures of drawn people as if they were HAR's, and labels by eye of six of them."""
    rows = []
    for number in range(12):
        name = ("running", "sitting", "drinking")[number % 3]
        path = tmp_path / "data" / "har" / "data" / "train" / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = random_scene(np.random.default_rng(number), (96, 128), 1, num_persons=1)
        cv2.imwrite(str(path), scene.frames[0][..., ::-1])
        if number < 6:
            cells = [
                "har",
                f"data/train/{name}/{number}.jpg",
                "",
                38,
                19,
                77,
                86,
                ("stand", "sit")[number % 2],
                "hold",
                "",
            ]
            rows.append(dict(zip(labels.COLUMNS, cells)))
    for file, content in (("pictures.csv", rows), ("videos.csv", [])):
        with (tmp_path / file).open("w", newline="") as table:
            writer = csv.DictWriter(table, labels.COLUMNS)
            writer.writeheader()
            writer.writerows(content)
    for module in (labels, crops):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(crops, "load_detector", lambda path: middle_person)
    monkeypatch.setattr(appearance, "BATCH", 4)
    monkeypatch.setattr(motion, "BATCH", 4)
    return tmp_path


def step(folder: Path, name: str, *more: str) -> int:
    return train_tiny_actions.main([name, "--data", str(folder / "data"), "--work", str(folder / "work"), *more])


def test_all_steps_on_twelve_pictures(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imagenet, detector = drawn / "lite0.pth", "--detector=detector.onnx"
    monkeypatch.setattr(appearance, "load_imagenet", lambda trunk, path: None)
    assert step(drawn, "pictures") == step(drawn, "crops", detector) == 0
    assert "6 of 6 labels by eye found their person" in capsys.readouterr().err
    figures.run(drawn / "work", print, scenes=3)
    assert step(drawn, "appearance-pictures", f"--imagenet={imagenet}", "--steps=1") == 0
    assert step(drawn, "appearance", "--steps=2") == 0
    assert step(drawn, "motion", "--steps=2") == 0
    monkeypatch.setattr(calibrate, "pose_rows", lambda validation: rows_to_fit())
    assert step(drawn, "calibrate") == 0
    weights = drawn / "work" / "tiny.safetensors"
    card = read_card(weights.with_suffix(".json"))
    names = labels_of(card)
    assert scores_of(card, names) == "pose_or_none" and calibration_of(card, names) is not None
    model = build("person_crops", len(names)).eval()
    model.load_state_dict(read_safetensors(weights))
    clip = torch.rand(1, 3, 8, 96, 128)
    with torch.inference_mode():
        logits = model(clip, torch.tensor([[0.0, 38, 19, 77, 86]]))
    assert logits.shape == (1, 41) and torch.isfinite(logits).all()
    assert (drawn / "work" / "appearance" / "metrics.jsonl").read_text().count("\n") >= 1
    assert not list((drawn / "work").rglob("*partial*"))


def rows_to_fit() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.one_hot(torch.randint(0, 13, (60,), generator=generator), 13).float()
    return 3 * truth + torch.randn(60, 13, generator=generator), truth, torch.ones(60)


def test_a_step_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (("crops", "--detector"), ("appearance-pictures", "--imagenet"), ("motion", "run the steps")):
        assert step(tmp_path, name) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and words in error and error.count("\n") == 1


def test_the_two_streams_are_added_and_cannot_tell_becomes_zero() -> None:
    torch.manual_seed(0)
    app, moving = appearance.AppearanceNet().eval(), motion.MotionNet().eval()
    torch.nn.init.normal_(moving.out.weight, std=0.1)
    shift = torch.randn(13)
    model = calibrate.assemble(app, moving, shift)
    features, motions = torch.randn(3, 1024), torch.randn(3, 2 * moving.stream.features)
    with torch.inference_mode():
        got = model.of_appearance(features) + model.of_motion(motions)
        added = moving.out(motions)
        pose, action = app.pose(features) + added[:, :15], app.action(features) + added[:, 15:]
    columns = [one - 1 for one in calibrate.POSES]
    own = torch.cat([pose[:, columns], pose[:, 14:]], dim=1) + shift
    torch.testing.assert_close(got[:, :12], own[:, :12] - own[:, 12:])
    torch.testing.assert_close(got[:, 12:], action[:, [one - 15 for one in calibrate.ACTIONS]])
    scores = to_scores(got, calibrate.known_classes(), "pose_or_none")
    torch.testing.assert_close(scores[:, :12], own.softmax(dim=1)[:, :12])


def test_thresholds_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    weight = np.full(5, 10.0)
    right = np.array([1.0, 1, 0, 1, 0])
    # Of four, 30.7 of 41 weights are right (0.749), less a standard error of sqrt(0.749 * 0.251 / 4) = 0.217: 0.532.
    found = fitting.choose_threshold(score, right, weight, 2, precision=0.53)
    assert (found.score, found.precision, found.recall, found.present) == (0.6, 0.75, 1.0, 3)
    assert fitting.choose_threshold(score, right, weight, 2, precision=0.535).score == 0.8
    assert fitting.choose_threshold(score, np.array([0.0, 0, 0, 0, 1]), weight, 1, 0.7).score == fitting.NEVER
    assert fitting.choose_threshold(score, np.array([1.0, 0, 0, 0, 0]), weight, 2, 0.7).score == fitting.NEVER


def test_overconfident_poses_get_a_higher_temperature_and_frequent_ones_a_shift() -> None:
    logits = torch.tensor([[8.0, 0.0], [8.0, 0.0], [0.0, 8.0], [0.0, 8.0]])
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    shift, temperature = fitting.fit_poses(logits, truth, torch.ones(4))
    assert temperature > 2
    assert shift[1] > shift[0]


def test_weights_make_a_class_as_frequent_as_in_films() -> None:
    weight = calibrate.class_weights(np.array([1.0, 1, 0, 0]), np.array([1.0, 3, 1, 3]), 0.1)
    assert weight.tolist() == pytest.approx([0.05, 0.05, 0.9 / 4, 2.7 / 4])


def test_the_learning_rate_rises_and_falls() -> None:
    assert rate_factor(0, 1000, 100) == pytest.approx(0.01)
    assert rate_factor(99, 1000, 100) == pytest.approx(0.02 + 0.49 * (1 + math.cos(math.pi * 0.099)))
    assert rate_factor(999, 1000, 100) == pytest.approx(0.02, abs=1e-4)


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    def train(folder: Path, steps: range, resume: bool) -> torch.Tensor:
        torch.manual_seed(3)
        net = torch.nn.Linear(4, 1)
        loop = Loop(net, {"": 0.1}, folder, {"steps": 6}, warmup=2, every=3)
        assert loop.begin(resume) == steps.start
        for number in steps:
            inputs = torch.full((2, 4), float(number))
            loop.learn(number, net(inputs).square().mean(), {}, lambda line: None)
        loop.save(steps.stop)
        loop.finish()
        return read_safetensors(folder / "model.safetensors")["weight"]

    whole = train(tmp_path / "a", range(6), False)
    train(tmp_path / "b", range(4), False)
    assert torch.equal(train(tmp_path / "b", range(4, 6), True), whole)
