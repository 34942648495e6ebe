"""From what is known of persons to what a net is taught: probabilities of poses, actions, and a weight for each.

A weight of 0 says unknown: neither present nor absent, it costs nothing whatever the net says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tiny_actions.classes import (
    FIRST_ACTION,
    LOCOMOTION,
    NUM_ACTIONS,
    NUM_POSES,
    action_column,
    pose_column,
)
from tiny_actions.persons import Person
from tiny_actions.weak_labels import JHMDB_ON_THE_SPOT, jhmdb_labels

SOURCE_WEIGHT = {
    **{"flickr8k": 1.0, "har": 0.55, "sports": 0.35, "falls": 1.0, "classroom": 0.5, "homes": 0.6, "fallen": 0.5},
    **{
        "capston2": 1.5,
        "jhmdb21": 0.5,
        "figures": 0.3,
        "fights": 0.4,
        "ut_interaction": 0.3,
        "ucf24": 0.3,
        "clips": 0.4,
    },
}
EYE_WEIGHT, EYE_WEIGHT_IN_VIDEO = 2.0, 1.5
ACTED = ("jhmdb21", "figures")
"""Sources of windows whose class says what is done."""

WALKING_SPEED, RUNNING_SPEED, RESTING_SPEED, RESTING_GROWTH = 0.35, 1.3, 0.08, 0.1
"""Body heights a second against the background: from the first on an upright person walks, from the second most likely
runs; below the third, if the box hardly grows, nobody walks, runs or jumps."""

TALL = 1.5
SURELY_UPRIGHT = 0.5
NOT_IN_SURVEILLANCE = (34, 52, 58, 69, 18, 67)
SHAKES_HANDS, POINTS = "0", "3"


@dataclass
class Targets:
    """What N persons do.

    Attributes:
        pose: float32 (N, 15), probabilities of the poses and of "cannot tell".
        pose_weight: float32 (N,).
        action: float32 (N, 66), 1 = present.
        action_weight: float32 (N, 66), 0 = unknown.
    """

    pose: Tensor
    pose_weight: Tensor
    action: Tensor
    action_weight: Tensor

    def __len__(self) -> int:
        return len(self.pose)

    def rows(self, index: Tensor) -> Targets:
        """Those of some persons."""
        return Targets(self.pose[index], self.pose_weight[index], self.action[index], self.action_weight[index])


def weight_of(person: Person) -> float:
    """How much the labels of a person count, by where they come from."""
    if person.by_eye:
        return EYE_WEIGHT if person.seconds is None else EYE_WEIGHT_IN_VIDEO
    return SOURCE_WEIGHT[person.source]


def to_targets(persons: Sequence[Person]) -> Targets:
    """Tables for the appearance stream."""
    table = empty_targets(len(persons))
    for row, person in enumerate(persons):
        weight = weight_of(person)
        for class_id, share in person.pose.items():
            table.pose[row, pose_column(class_id)] = share
        table.pose_weight[row] = weight * person.pose_weight if person.pose else 0.0
        set_actions(
            table, row, person.present, person.absent, weight * person.present_weight, weight * person.absent_weight
        )
    return table


def empty_targets(count: int) -> Targets:
    """Nothing is known of anybody."""
    return Targets(
        torch.zeros(count, NUM_POSES),
        torch.zeros(count),
        torch.zeros(count, NUM_ACTIONS),
        torch.zeros(count, NUM_ACTIONS),
    )


def set_actions(
    table: Targets,
    row: int,
    present: Sequence[int],
    absent: Sequence[int],
    present_weight: float,
    absent_weight: float,
) -> None:
    """Enter actions by their AVA ids; poses among them are passed over."""
    for class_id in present:
        if class_id >= FIRST_ACTION:
            table.action[row, action_column(class_id)] = 1
            table.action_weight[row, action_column(class_id)] = present_weight
    for class_id in absent:
        if class_id >= FIRST_ACTION:
            table.action_weight[row, action_column(class_id)] = absent_weight


@dataclass
class MotionLabels:
    """What the movement of a window, or the class of its video, says.

    Attributes:
        pose: AVA id -> probability.
        pose_weight: of them.
        on_the_spot: weight of "does not walk, run or jump".
        present: AVA ids of actions.
        absent: AVA ids of actions.
    """

    pose: dict[int, float]
    pose_weight: float
    on_the_spot: float
    present: list[int]
    absent: list[int]


def motion_labels(person: Person, upright: float) -> MotionLabels:
    """Labels of a window that nobody labelled by eye.

    Args:
        person: the window.
        upright: probability, 0-1, that the person stands, walks or runs, of the appearance stream.
    """
    if person.source in ACTED:
        pose, present, absent = jhmdb_labels(person.label)
        spot = 1.0 if person.label in JHMDB_ON_THE_SPOT else 0.0
        return MotionLabels(dict(pose), 1.0 if pose else 0.0, spot, present, absent)
    labels = MotionLabels({}, 0.0, 0.0, [], [])
    if person.displacement is None:
        return labels
    tall = person.height_px() / person.width_px() > TALL
    if person.displacement > WALKING_SPEED and tall and upright > SURELY_UPRIGHT:
        labels.pose = {14: 0.9, 10: 0.1} if person.displacement < RUNNING_SPEED else {10: 0.7, 14: 0.3}
        labels.pose_weight = 0.7
    elif person.displacement < RESTING_SPEED and abs(person.growth or 0.0) < RESTING_GROWTH:
        labels.on_the_spot = 1.0
    if person.source == "ut_interaction":
        labels.present = [68] if person.label == SHAKES_HANDS else []
        if person.label in (SHAKES_HANDS, POINTS):
            labels.on_the_spot = max(labels.on_the_spot, 0.3)
    if person.source in ("fights", "ut_interaction"):
        labels.absent = list(NOT_IN_SURVEILLANCE)
    return labels


def acted(persons: Sequence[Person]) -> list[tuple[int, Person]]:
    """Windows that the appearance stream learns from, with labels: by eye, or of a class that says what is done.

    Test parts and windows of no use are left out.

    Returns:
        (place among `persons`, the window).
    """
    chosen = []
    for place, person in enumerate(persons):
        if not person.by_eye and person.source in ACTED and not person.official_test:
            labels = motion_labels(person, 1.0)
            person = replace(
                person,
                pose=labels.pose,
                pose_weight=labels.pose_weight,
                present=labels.present,
                absent=labels.absent,
                absent_weight=0.5,
            )
        if person.pose or person.present:
            chosen.append((place, person))
    return chosen


def motion_targets(persons: Sequence[Person], upright: Sequence[float]) -> tuple[Targets, Tensor]:
    """Tables for the motion stream, and the weight of "does not walk, run or jump" (N,)."""
    table, on_the_spot = empty_targets(len(persons)), torch.zeros(len(persons))
    for row, person in enumerate(persons):
        labels = by_eye(person) if person.by_eye else motion_labels(person, upright[row])
        for class_id, share in labels.pose.items():
            table.pose[row, pose_column(class_id)] = share
        table.pose_weight[row], on_the_spot[row] = labels.pose_weight, labels.on_the_spot
        set_actions(table, row, labels.present, labels.absent, 1.0, 0.5)
    return table, on_the_spot


def by_eye(person: Person) -> MotionLabels:
    """What eyes said of a window: any other pose than walk, run and jump means on the spot."""
    still = bool(person.pose) and not set(person.pose) & set(LOCOMOTION)
    return MotionLabels(person.pose, 2.0 if person.pose else 0.0, float(still), person.present, person.absent)
