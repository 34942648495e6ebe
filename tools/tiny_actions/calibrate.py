"""Step `calibrate`: both streams put together, their scores fitted to the validation part, weights and card written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.models.detectors.person_crops import PersonCropDetector
from avadet.types import ClipSpec, Float64Array, LabelMap
from tiny_actions import appearance, motion
from tiny_actions.classes import CANNOT_TELL, LABEL_MAP, NUM_POSES, action_column, pose_column
from tiny_actions.fitting import Threshold, choose_threshold, fit_poses, fit_temperature
from tiny_actions.loop import load_finished
from tiny_actions.persons import Person, Report
from tiny_actions.targets import ACTED, motion_labels

POSES = (1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14)
ACTIONS = (
    *(15, 17, 18, 20, 27, 29, 33, 34, 35, 36, 39, 41, 45, 46, 48, 49, 50, 52, 54, 57, 58, 62, 64, 67, 68, 69, 70),
    *(72, 77),
)
SHOWN_AT = 0.3
STILLS = 150
PICTURE_WEIGHT = 0.5
LEAST_TOLD, PRESENT_FROM = 0.6, 0.35
LOWEST_POSE_THRESHOLD, LOWEST_THRESHOLD = 0.35, 0.02
FEWEST_RIGHT_POSES, FEWEST_RIGHT = 2, 3
PRECISION_OF_POSES, PRECISION = 0.75, 0.7
FEWEST_PRESENT, FEWEST_ABSENT = 3, 10
LEAST_FREQUENT = 0.004
EYE_FACTOR = 3.0
CLIP = ClipSpec(num_frames=8, stride=4, fps=30.0, short_side=256, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass
class Validation:
    """Persons kept aside, and the logits of the whole model for them.

    Attributes:
        persons: pictures, then windows of videos and figures.
        pose: logits (N, 15).
        action: logits (N, 66).
    """

    persons: list[Person]
    pose: Tensor
    action: Tensor


class Fitted(NamedTuple):
    """A class: what its logits are divided by, and from when on it is shown."""

    temperature: float
    threshold: Threshold


def read_validation(work: Path, app: appearance.AppearanceNet, moving: motion.MotionNet, report: Report) -> Validation:
    """Logits of all that is kept aside. To the actions of a picture is added what the motion stream says of a still."""
    pictures = appearance.Material(work, True)
    held = [
        index
        for index, person in enumerate(pictures.persons)
        if person.seconds is None and pictures.split.validates(person.group)
    ]
    parts = list(appearance.outputs(app, pictures, held))
    windows = motion.read_material(work, report)
    chosen = [index for index, person in enumerate(windows.persons) if pictures.split.validates(person.group)]
    index = torch.tensor(chosen, dtype=torch.long)
    of_windows = motion.logits_of(moving, windows, index, "in order")
    still_index = index[:STILLS]
    still = motion.logits_of(moving, windows, still_index, "frozen")[1] - windows.action[still_index]
    added = still.mean(dim=0) if len(still) else torch.zeros(())
    pose = torch.cat([*(part[0] for part in parts), of_windows[0]])
    action = torch.cat([*(part[1] + added for part in parts), of_windows[1]])
    persons = [pictures.persons[place] for place in held] + [windows.persons[place] for place in chosen]
    return Validation(persons, pose, action)


def pose_rows(validation: Validation) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, probabilities and weights of the poses and "cannot tell", of persons labelled by eye.

    Pictures that may show walking or running are left out: a still does not tell.
    """
    columns = [pose_column(class_id) for class_id in (*POSES, CANNOT_TELL)]
    rows, weights, truth = [], [], []
    for row, person in enumerate(validation.persons):
        in_video = person.seconds is not None
        if person.by_eye and person.pose and (in_video or not {10, 14} & set(person.pose)):
            told = torch.zeros(NUM_POSES)
            for class_id, share in person.pose.items():
                told[pose_column(class_id)] = share
            if told[columns].sum() > LEAST_TOLD:
                rows.append(row)
                truth.append(told[columns])
                weights.append(1.0 if in_video else PICTURE_WEIGHT)
    if not rows:
        raise AvadetError("nobody of the validation part has a pose labelled by eye; check the folders under --data")
    return validation.pose[rows][:, columns], torch.stack(truth), torch.tensor(weights)


def calibrate_poses(validation: Validation, report: Report) -> tuple[Tensor, list[Fitted]]:
    """Shift of the poses and "cannot tell" (13,), and each pose's temperature and threshold."""
    logits, truth, weight = pose_rows(validation)
    shift, temperature = fit_poses(logits, truth, weight)
    probability = ((logits + shift) / temperature).softmax(dim=1)
    fitted = []
    for column in range(len(POSES)):
        score = probability[:, column].double().numpy()
        right = (truth[:, column] >= PRESENT_FROM).double().numpy()
        found = choose_threshold(score, right, weight.double().numpy(), FEWEST_RIGHT_POSES, PRECISION_OF_POSES)
        score_from = max(found.score, LOWEST_POSE_THRESHOLD)
        fitted.append(Fitted(temperature, Threshold(score_from, found.precision, found.recall, found.present)))
    sure = truth[:, :-1].amax(dim=1) > 0.5
    right_poses = (probability[:, :-1].argmax(dim=1) == truth[:, :-1].argmax(dim=1))[sure]
    report(f"poses: {len(truth)} labels, {float(right_poses.float().mean()):.3f} right, temperature {temperature:.2f}")
    return shift, fitted


def evidence(validation: Validation, class_id: int) -> Iterator[tuple[float, float, float]]:
    """Logit, 1 or 0, and how much it counts among the absent, of all persons of whom it is known."""
    for row, person in enumerate(validation.persons):
        present, absent = person.present, person.absent
        if person.seconds is not None and not person.by_eye:
            if person.source not in ACTED:
                continue
            labels = motion_labels(person, 1.0)
            present, absent = labels.present, labels.absent
        if class_id in present or class_id in absent:
            logit = float(validation.action[row, action_column(class_id)])
            yield logit, float(class_id in present), EYE_FACTOR if person.by_eye else 1.0


def calibrate_action(validation: Validation, class_id: int, frequency: float) -> Fitted:
    """Temperature and threshold of an action, at the frequency that it has in films.

    Absent ones are weighted so that the class is as frequent as that, those labelled by eye three times as much.
    """
    rows = np.array(list(evidence(validation, class_id)), np.float64).reshape(-1, 3)
    logit, present, factor = (np.ascontiguousarray(column) for column in rows.T)
    count = int(present.sum())
    if count < FEWEST_PRESENT or len(rows) - count < FEWEST_ABSENT:
        return Fitted(1.0, Threshold(1.0, float("nan"), 0.0, count))
    weight = class_weights(present, factor, max(frequency, LEAST_FREQUENT))
    temperature = fit_temperature(logit, present, weight)
    score = 1 / (1 + np.exp(-logit / temperature))
    return Fitted(temperature, choose_threshold(score, present, weight * len(rows), FEWEST_RIGHT, PRECISION))


def class_weights(present: Float64Array, factor: Float64Array, frequency: float) -> Float64Array:
    """Weights to a sum of 1, `frequency` of which are those of the present; `factor` counts among the absent."""
    absent = factor * (present == 0)
    return np.asarray(
        np.where(present == 1, frequency / max(present.sum(), 1), (1 - frequency) * absent / absent.sum())
    )


def assemble(app: appearance.AppearanceNet, moving: motion.MotionNet, shift: Tensor) -> PersonCropDetector:
    """The model of both streams: the logit of "cannot tell" is taken from those of all poses, so that it becomes 0.

    Args:
        app: the appearance stream and its heads.
        moving: the motion stream and what it adds.
        shift: of poses and "cannot tell" (13,).
    """
    model = build("person_crops", len(POSES) + len(ACTIONS))
    model.appearance.load_state_dict(app.stream.state_dict())
    model.motion.load_state_dict(moving.stream.state_dict())
    poses, actions = [pose_column(one) for one in POSES], [action_column(one) for one in ACTIONS]
    untold = pose_column(CANNOT_TELL)
    out = moving.out.state_dict()
    with torch.no_grad():
        for name, zero in (("weight", 0.0), ("bias", 1.0)):
            pose, action = app.pose.state_dict()[name], app.action.state_dict()[name]
            of_shift = zero * (shift[:-1] - shift[-1]).view(-1, *[1] * (pose.ndim - 1))
            model.of_appearance.get_parameter(name).copy_(
                torch.cat([pose[poses] - pose[untold] + of_shift, action[actions]])
            )
            pose, action = out[name][:NUM_POSES], out[name][NUM_POSES:]
            model.of_motion.get_parameter(name).copy_(torch.cat([pose[poses] - pose[untold], action[actions]]))
    return model.eval()


def known_classes() -> LabelMap:
    """The classes of the model, in the order of its logits."""
    whole = read_label_map(LABEL_MAP)
    ids = (*POSES, *ACTIONS)
    rows = [whole.ids.index(class_id) for class_id in ids]
    return LabelMap(
        tuple(whole.names[row] for row in rows), ids, tuple(whole.groups[row] for row in rows), (True,) * len(ids)
    )


def card_of(labels: LabelMap, fitted: Sequence[Fitted]) -> dict[str, object]:
    """The card: classes, how scores become what is shown, and how good each class was on validation."""
    validation = {
        name: {
            "precision": None if np.isnan(one.threshold.precision) else round(one.threshold.precision, 3),
            "recall": round(one.threshold.recall, 3),
            "positives": one.threshold.present,
        }
        for name, one in zip(labels.names, fitted)
    }
    calibration = {
        "temperature": [round(one.temperature, 4) for one in fitted],
        "threshold": [round(min(max(one.threshold.score, LOWEST_THRESHOLD), 1.0), 4) for one in fitted],
        "shown_at": SHOWN_AT,
    }
    facts = {"scores": "pose_or_none", "calibration": calibration, "validation": validation}
    return make_card("tiny", "person_crops", {}, CLIP, labels, license="see WEIGHTS.md", **facts)


def run(work: Path, out: Path, report: Report) -> None:
    """Write `out` (.safetensors) and its card.

    `prior.json` of the working folder may say how frequent each action is (AVA id -> part of persons); a class that it
    does not name is taken for as frequent as 0.004.
    """
    app, moving = appearance.AppearanceNet(), motion.MotionNet()
    load_finished(app, work / appearance.WHOLE.name)
    load_finished(moving, work / motion.NAME)
    app.eval().to(memory_format=torch.channels_last)
    prior_path = work / "prior.json"
    prior = json.loads(prior_path.read_text(encoding="utf-8")) if prior_path.is_file() else {}
    validation = read_validation(work, app, moving.eval(), report)
    shift, fitted = calibrate_poses(validation, report)
    fitted += [calibrate_action(validation, class_id, prior.get(str(class_id), 0.0)) for class_id in ACTIONS]
    labels = known_classes()
    for name, one in zip(labels.names, fitted):
        shown = one.threshold
        report(
            f"{name}: temperature {one.temperature:.2f}, shown from {shown.score:.3f}, precision "
            f"{shown.precision:.2f}, recall {shown.recall:.2f} of {shown.present}"
        )
    save_model(out, assemble(app, moving, shift), card_of(labels, fitted), half=True)
    report(f"written: {out}")
