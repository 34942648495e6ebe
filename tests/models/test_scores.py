"""How logits become scores: by hand, from the card, and the same in training's evaluation, inference and a graph."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CLASSES, SPEC, small_model

from avadet.errors import AvadetError
from avadet.inference.recognition import score_clips
from avadet.labels import read_label_map
from avadet.models import zoo
from avadet.models.cards import calibration_of, scores_of
from avadet.models.checkpoints.weights import save_model
from avadet.models.engines.export import export
from avadet.models.engines.probe import sample_inputs
from avadet.models.predict import final_scores, predict
from avadet.models.scores import pose_classes, to_scores
from avadet.models.zoo import LoadedModel
from avadet.training.scoring import ClipScorer
from avadet.types import Clip, LabelMap, PersonBoxes

THREE = math.log(3)


def label_map(*groups: str, exclusive: bool = False) -> LabelMap:
    count = len(groups)
    return LabelMap(tuple(map(str, range(count))), tuple(range(1, count + 1)), groups, (True,) * count, exclusive)


def test_every_rule_by_hand() -> None:
    labels = label_map("pose", "object", "pose")
    logits = torch.tensor([[THREE, THREE, 0.0], [0.0, 0.0, 0.0]])
    for rule, expected in (
        ("sigmoid", [[3 / 4, 3 / 4, 1 / 2], [1 / 2] * 3]),
        ("softmax", [[3 / 7, 3 / 7, 1 / 7], [1 / 3] * 3]),
        ("pose_softmax", [[3 / 4, 3 / 4, 1 / 4], [1 / 2] * 3]),
        ("pose_or_none", [[3 / 5, 3 / 4, 1 / 5], [1 / 3, 1 / 2, 1 / 3]]),
    ):
        torch.testing.assert_close(to_scores(logits, labels, rule), torch.tensor(expected))
    assert to_scores(torch.zeros(0, 3), labels, "pose_softmax").shape == (0, 3)


def calibrated(temperature: list[float], threshold: list[float], shown_at: float = 0.3) -> dict[str, object]:
    return {"name": "m", "calibration": {"temperature": temperature, "threshold": threshold, "shown_at": shown_at}}


def test_a_calibration_divides_logits_and_puts_every_threshold_at_one_score() -> None:
    labels = label_map("pose", "object", "pose")
    calibration = calibration_of(calibrated([2, 1, 2], [3 / 5, 3 / 4, 1.0]), labels)
    scores = to_scores(torch.tensor([[2 * THREE, THREE, 0.0]]), labels, "pose_or_none", calibration)
    torch.testing.assert_close(scores[0, :2], torch.tensor([0.3, 0.3]))
    assert scores[0, 2] == pytest.approx(0.2 * 0.99 * 0.3)  # never right often enough, so never shown
    never = calibration_of(calibrated([1], [1.0]), label_map("object"))
    assert to_scores(torch.tensor([[50.0]]), label_map("object"), "sigmoid", never).item() < 0.3
    # odds 3 over a threshold of odds 1, where the shown score has odds 3 / 7: 9 / 7 over 1
    one = calibration_of(calibrated([1], [0.5]), label_map("object"))
    torch.testing.assert_close(
        to_scores(torch.tensor([[THREE]]), label_map("object"), "sigmoid", one), torch.tensor([[9 / 16]])
    )
    assert calibration_of({"name": "m"}, labels) is None


def test_of_two_poses_over_their_thresholds_the_better_is_shown() -> None:
    labels = label_map("pose", "pose", "object", "object")
    calibration = calibration_of(calibrated([1, 1, 1, 1], [0.5, 0.2, 0.5, 0.5]), labels)
    logits = torch.tensor([[THREE, THREE / 2, 1.0, 1.0], [0.0, THREE, 0.0, 0.0], [-9.0, -9.0, -9.0, -9.0]])
    scores = to_scores(logits, labels, "pose_or_none", calibration)
    assert (scores >= 0.3).tolist() == [[False, True, True, True], [False, True, True, True], [False] * 4]
    alone = to_scores(logits, labels, "sigmoid", calibration)  # classes that do not compete are left alone
    assert (alone[0] >= 0.3).all()


def test_a_calibration_that_does_not_fit_is_refused() -> None:
    labels = label_map("pose", "pose")
    for card, message in (
        (calibrated([1], [0.5, 0.5]), "needs 2 temperatures and thresholds, one a class, got 1 and 2"),
        (calibrated([1, 0], [0.5, 0.5]), "temperatures must be positive"),
        (calibrated([1, 1], [0.5, 1.5]), "thresholds over 0 and up to 1"),
        (calibrated([1, 1], [0.5, 0.5], 1.0), "shown_at must lie between 0 and 1"),
        ({"name": "m", "calibration": {"temperature": [1, 1]}}, "needs temperature, threshold and shown_at"),
        ({"name": "m", "calibration": {"temperature": 1, "threshold": 1, "shown_at": 0.3}}, "lists of numbers"),
    ):
        with pytest.raises(AvadetError, match=message):
            calibration_of(card, labels)


def test_poses_of_ava_are_its_first_fourteen() -> None:
    assert pose_classes(read_label_map("ava_v2.2")).nonzero().flatten().tolist() == list(range(14))


def test_the_card_decides_and_without_it_the_label_map() -> None:
    poses = label_map("pose", "pose", "person")
    assert scores_of({}, poses) == "sigmoid"
    assert scores_of({}, label_map("action", exclusive=True)) == "softmax"
    for rule in ("sigmoid", "softmax", "pose_softmax"):
        assert scores_of({"scores": rule}, poses) == rule
    with pytest.raises(AvadetError, match="unknown scores of a model card 'softmx'; did you mean softmax"):
        scores_of({"scores": "softmx"}, poses)
    with pytest.raises(AvadetError, match="two classes of group 'pose' at least, got 1"):
        scores_of({"scores": "pose_softmax"}, label_map("pose", "action"))


def posed() -> LoadedModel:
    """A model whose first half of the classes are poses, as its card says."""
    loaded = small_model("slow_r50")
    groups = tuple("pose" if index < CLASSES // 2 else "object" for index in range(CLASSES))
    labels = dataclasses.replace(loaded.labels, groups=groups)
    card = {**loaded.card, "labels": dataclasses.asdict(labels), "scores": "pose_softmax"}
    return dataclasses.replace(loaded, labels=labels, card=card)


def test_inference_scores_as_training_s_evaluation_does(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", posed().model, posed().card)
    loaded = zoo.load(tmp_path / "model.safetensors")
    clips, rois = sample_inputs(SPEC.num_frames, (64, 80), 1, 3)
    expected = ClipScorer(loaded).predict(clips, rois).numpy()
    with torch.inference_mode():
        by_hand = to_scores(loaded.model(clips, rois), loaded.labels, "pose_softmax").numpy()
    np.testing.assert_array_equal(expected, by_hand)
    people = PersonBoxes(rois[:, 1:].numpy(), np.ones(3, np.float32), (64, 80))
    clip = Clip(clips[0].permute(1, 2, 3, 0).numpy(), np.arange(SPEC.num_frames, dtype=np.float64), 0)
    (scores,) = score_clips(loaded, [(clip, people)])
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_allclose(scores[:, : CLASSES // 2].sum(axis=1), 1, atol=1e-6)
    assert (abs(scores.sum(axis=1) - 1) > 0.1).all()


def test_a_card_that_cannot_be_followed_is_refused_when_the_model_is_loaded(tmp_path: Path) -> None:
    loaded = small_model("slow_r50")
    save_model(tmp_path / "model.safetensors", loaded.model, {**loaded.card, "scores": "pose_softmax"})
    with pytest.raises(AvadetError, match="two classes of group 'pose' at least, got 0"):
        zoo.load(tmp_path / "model.safetensors")


def test_a_graph_keeps_the_rule(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    loaded = posed()
    export(loaded, tmp_path / "model.onnx")
    graph = zoo.load(tmp_path / "model.onnx")
    clips, rois = sample_inputs(SPEC.num_frames, (64, 96), 1, 2)
    with torch.inference_mode():
        expected = loaded.scores(loaded.model(clips, rois))
        torch.testing.assert_close(graph.scores(graph.model(clips, rois)), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(expected[:, : CLASSES // 2].sum(dim=1), torch.ones(2))


def test_the_mirrored_clip_is_asked_for_mirrored_boxes() -> None:
    loaded = posed()
    clips, rois = sample_inputs(SPEC.num_frames, (64, 80), 1, 3)
    mirrored = rois.clone()
    mirrored[:, [1, 3]] = 80 - rois[:, [3, 1]]
    mean = (predict(loaded, clips, rois) + predict(loaded, clips.flip(-1), mirrored)) / 2
    torch.testing.assert_close(predict(loaded, clips, rois, flip=True), mean)
    assert (predict(loaded, clips, rois) - mean).abs().max() > 1e-4


def test_persons_weigh_in_only_when_asked() -> None:
    scores, persons = np.array([[0.5, 1.0], [0.5, 0.25]], np.float32), np.array([0.5, 1], np.float32)
    assert final_scores(scores, persons, times_person=False) is scores
    assert final_scores(scores, persons, times_person=True).tolist() == [[0.25, 0.5], [0.5, 0.25]]
