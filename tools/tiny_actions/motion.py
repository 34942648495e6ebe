"""Step `motion`: the motion stream learns what it adds to the logits of a finished appearance stream."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.models.detectors.person_crops import MotionStream
from avadet.training.logs import RunFolder
from avadet.types import Float32Array, UInt8Array
from tiny_actions.appearance import WHOLE, AppearanceNet, as_batch
from tiny_actions.augment import MOTION_PX, centre, vary_motion
from tiny_actions.classes import LOCOMOTION, NUM_ACTIONS, NUM_POSES, UPRIGHT, action_column, pose_column
from tiny_actions.crops import NET_PX
from tiny_actions.loop import Loop, load_finished
from tiny_actions.persons import Person, Report, Split, read_persons
from tiny_actions.targets import Targets, motion_targets
from tiny_actions.windows import NUM_FRAMES, Windows

NAME = "motion"
STEPS = 1300
EYE_FACTOR = 2.5
BATCH = 24
RATE = 3e-3
AVERAGE_DECAY = 0.99
WARMUP = 100
LOG_EVERY, SAVE_EVERY = 250, 500
APPEARANCE_FRAMES = (1, 4, 7)
FROZEN_PART = 0.12
APPEARANCE_NOISE = 0.5
ACTION_COST, PRESENT_FACTOR, SMALL_CHANGES = 0.5, 4.0, 1e-3
SOURCE_WEIGHT = {
    **{"jhmdb21": 1.0, "fights": 1.0, "ut_interaction": 0.4, "ucf24": 0.5, "clips": 1.0, "homes": 0.7, "figures": 0.3}
}
LOCOMOTION_FACTOR = 3.0
LOCOMOTION_COLUMNS = [pose_column(class_id) for class_id in LOCOMOTION]
SHOWN_ACTIONS = (69, 67, 34, 52, 58, 18, 36, 46, 35, 68)


class MotionNet(nn.Module):
    """The motion stream and what it adds to all logits; nothing at first."""

    def __init__(self) -> None:
        """Build it with random weights, the last layer zero."""
        super().__init__()
        self.stream = MotionStream()
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(2 * self.stream.features, NUM_POSES + NUM_ACTIONS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 8, 64, 64) 0-1 -> what is added to the logits of poses (N, 15) and of actions (N, 66)."""
        logits = self.out(self.drop(self.stream(grey)))
        return logits[:, :NUM_POSES], logits[:, NUM_POSES:]


@dataclass
class Material:
    """Windows of videos and figures, with the fixed logits of the appearance stream.

    Attributes:
        persons: N windows.
        greys: N grey windows (8, 80, 80).
        pose: logits (N, 15).
        action: logits (N, 66).
        targets: what is known.
        on_the_spot: (N,) weight of "does not walk, run or jump".
        train: indices to learn from, each with something known.
        held: indices to validate on.
    """

    persons: list[Person]
    greys: list[UInt8Array]
    pose: Tensor
    action: Tensor
    targets: Targets
    on_the_spot: Tensor
    train: Tensor
    held: Tensor


def read_material(work: Path, report: Report) -> Material:
    """Read windows, run the appearance stream over them once, derive labels and split."""
    persons: list[Person] = []
    crops: list[UInt8Array] = []
    greys: list[UInt8Array] = []
    for name in ("videos", "figures"):
        windows = Windows(work, name)
        if windows.table_path.is_file():
            found = read_persons(windows.table_path)
            stores = windows.open(len(found))
            persons, crops, greys = persons + found, crops + list(stores[0]), greys + list(stores[1])
    if not persons:
        raise AvadetError(f"{work} has no windows; run the steps windows and figures first")
    net = AppearanceNet()
    load_finished(net, work / WHOLE.name)
    features = appearance_features(net, crops, work, report)
    with torch.inference_mode():
        pose, action = net.pose(features), net.action(features)
    pose, action = pose.clone(), action.clone()
    upright = pose.softmax(dim=1)[:, [pose_column(class_id) for class_id in UPRIGHT]].sum(dim=1)
    targets, on_the_spot = motion_targets(persons, upright.tolist())
    train, held = Split([*read_persons(work / "crops.jsonl"), *persons]).divide(persons)
    known = (targets.pose_weight > 0) | (on_the_spot > 0) | (targets.action_weight.sum(dim=1) > 0)
    learnt, aside = torch.tensor(train, dtype=torch.long), torch.tensor(held, dtype=torch.long)
    return Material(persons, greys, pose, action, targets, on_the_spot, learnt[known[learnt]], aside)


def appearance_features(net: AppearanceNet, crops: Sequence[UInt8Array], work: Path, report: Report) -> Tensor:
    """Features (N, 1024) of windows, averaged over three frames; kept in a file for the next time."""
    trained, windows = RunFolder(work / WHOLE.name).model, Windows(work, "videos").table_path
    sources = [path for path in (trained, windows, Windows(work, "figures").table_path) if path.is_file()]
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    path = work / NAME / "features.pt"
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        if kept["made_of"] == made_of:
            return torch.as_tensor(kept["features"])
    net.eval().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for number, window in enumerate(crops):
            seen = [centre(np.asarray(window[frame]), NET_PX) for frame in APPEARANCE_FRAMES]
            rows.append(net.stream(as_batch(seen)).mean(dim=0))
            if number % 500 == 0:
                report(f"appearance of window {number} of {len(crops)}")
    features = torch.stack(rows)
    with whole_file(path) as partial:
        torch.save({"made_of": made_of, "features": features}, partial)
    return features


def drawing_weights(persons: Sequence[Person], targets: Targets) -> Tensor:
    """How often each window is drawn: by source, more often if labelled by eye and if it walks, runs or jumps."""
    by_source = torch.tensor([SOURCE_WEIGHT[person.source] for person in persons])
    moves = targets.pose[:, LOCOMOTION_COLUMNS].sum(dim=1) > 0
    by_eye = torch.tensor([EYE_FACTOR if person.by_eye else 1.0 for person in persons])
    return by_source * by_eye * (1 + (LOCOMOTION_FACTOR - 1) * moves.float())


def not_locomotion(pose: Tensor, weight: Tensor) -> Tensor:
    """Cost of saying walk, run or jump of who does not: -log(1 - their probability), summed.

    Args:
        pose: log probabilities (N, 15).
        weight: (N,).
    """
    log_part = pose[:, LOCOMOTION_COLUMNS].logsumexp(dim=1).clamp(max=-1e-4)
    return (-torch.log1p(-log_part.exp()) * weight).sum()


def costs(
    logits: tuple[Tensor, Tensor], added: tuple[Tensor, Tensor], targets: Targets, spot: Tensor, frozen: Tensor
) -> Tensor:
    """Cost of a batch: poses, who does not move along, actions, and what is added beyond need.

    Args:
        logits: of poses (N, 15) and actions (N, 66), with the motion stream's part.
        added: that part.
        targets: what is known.
        spot: (N,) weight of "does not walk, run or jump".
        frozen: bool (N,), windows shown as one frame eight times: nothing moves in them, and nothing else is known.
    """
    count = len(spot)
    log_pose = logits[0].log_softmax(dim=1)
    spot = torch.where(frozen, torch.ones(()), spot)
    of_pose = (-(targets.pose * log_pose).sum(dim=1) * targets.pose_weight * ~frozen).sum()
    weight = targets.action_weight * (~frozen)[:, None] * (1 + (PRESENT_FACTOR - 1) * targets.action)
    of_action = functional.binary_cross_entropy_with_logits(
        logits[1], targets.action, weight=weight, reduction="none"
    ).sum()
    small = SMALL_CHANGES * (added[0].square().mean() + added[1].square().mean())
    return (of_pose + not_locomotion(log_pose, spot) + ACTION_COST * of_action) / count + small


def draw_batch(material: Material, weights: Tensor, step: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (32,), which of them are frozen, and their varied windows (32, 8, 64, 64); equal for a step and seed."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    index = material.train[torch.multinomial(weights[material.train], BATCH, replacement=False, generator=generator)]
    rng, noise = random.Random(seed * 1_000_003 + step), np.random.default_rng([seed, step])
    frozen, windows = torch.zeros(BATCH, dtype=torch.bool), []
    for row, place in enumerate(index.tolist()):
        grey = np.asarray(material.greys[place])
        if rng.random() < FROZEN_PART:
            grey, frozen[row] = np.repeat(grey[rng.randrange(NUM_FRAMES)][None], NUM_FRAMES, axis=0), True
        windows.append(vary_motion(grey, rng, noise))
    return index, frozen, torch.from_numpy(np.stack(windows))


def run(work: Path, report: Report, seed: int = 0, resume: bool = False, most_steps: int | None = None) -> None:
    """Train into `work/motion/model.safetensors`, and report what time is worth.

    Args:
        work: with windows and a finished appearance stream.
        report: gets a line now and then.
        seed: of everything drawn.
        resume: go on from the last checkpoint.
        most_steps: a shorter run, to try the code.
    """
    cv2.setNumThreads(1)
    material = read_material(work, report)
    torch.manual_seed(seed)
    net, steps = MotionNet(), min(STEPS, most_steps or STEPS)
    settings = {"stage": NAME, "steps": steps, "seed": seed, "windows": len(material.train)}
    report(f"motion: {len(material.train):,} windows to learn from, {len(material.held):,} to validate on")
    loop = Loop(net, {"": RATE}, work / NAME, settings, WARMUP, LOG_EVERY, AVERAGE_DECAY)
    weights = drawing_weights(material.persons, material.targets)
    for step in range(loop.begin(resume), steps):
        index, frozen, windows = draw_batch(material, weights, step, seed)
        net.train()
        added = net(windows)
        blurred = material.pose[index] + torch.randn(len(index), NUM_POSES) * APPEARANCE_NOISE
        logits = blurred + added[0], material.action[index] + added[1]
        cost = costs(logits, added, material.targets.rows(index), material.on_the_spot[index], frozen)
        loop.learn(step, cost, {"loss": float(cost.detach())}, report)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            loop.save(step + 1)
    trained = loop.finish()
    for name in ("appearance only", "in order", "shuffled", "frozen"):
        loop.log({"epoch": steps, "frames": name, **scores(trained, material, name)}, report)


def as_seen(grey: UInt8Array, frames: str, place: int) -> Float32Array:
    """The middle of a window, 0-1, its frames in order, shuffled, or the middle one eight times."""
    if frames == "shuffled":
        grey = grey[np.random.RandomState(place).permutation(NUM_FRAMES)]
    elif frames == "frozen":
        grey = np.repeat(grey[NUM_FRAMES // 2][None], NUM_FRAMES, axis=0)
    return centre(grey, MOTION_PX).astype(np.float32) / np.float32(255)


def logits_of(net: MotionNet, material: Material, index: Tensor, frames: str) -> tuple[Tensor, Tensor]:
    """Logits of poses and actions of some windows; `frames` as of `as_seen`, or "appearance only"."""
    pose, action = material.pose[index], material.action[index]
    if frames == "appearance only" or not len(index):
        return pose, action
    net.eval()
    seen = [as_seen(np.asarray(material.greys[place]), frames, place) for place in index.tolist()]
    with torch.inference_mode():
        added = [net(torch.from_numpy(one)[None]) for one in seen]
    return pose + torch.cat([one[0] for one in added]), action + torch.cat([one[1] for one in added])


def scores(net: MotionNet, material: Material, frames: str) -> dict[str, float]:
    """What is right on the windows to validate on: locomotion against standing still, poses, actions."""
    index = material.held
    pose, action = logits_of(net, material, index, frames)
    probability, targets = pose.softmax(dim=1), material.targets.rows(index)
    moving = probability[:, LOCOMOTION_COLUMNS].sum(dim=1)
    moves = (targets.pose[:, LOCOMOTION_COLUMNS].sum(dim=1) > 0.6) & (targets.pose_weight > 0)
    rests = material.on_the_spot[index] >= 1
    result = {
        "locomotion_auc": area_under_roc(moving[moves], moving[rests]),
        "moves_called_so": float((moving[moves] > 0.5).float().mean()),
        "rests_called_moving": float((moving[rests] > 0.5).float().mean()),
    }
    named, right = targets.pose.argmax(dim=1), probability[:, : NUM_POSES - 1].argmax(dim=1)
    for word, class_id in (("walk", 14), ("run", 10), ("jump", 7), ("bend", 1)):
        of_class = (targets.pose.amax(dim=1) > 0.6) & (named == pose_column(class_id))
        result[word] = float((right[of_class] == pose_column(class_id)).float().mean())
    for class_id in SHOWN_ACTIONS:
        column = action_column(class_id)
        known = targets.action_weight[:, column] > 0
        if targets.action[known, column].sum() >= 3:
            result[f"ap_{class_id}"] = average_precision(action[known, column], targets.action[known, column])
    return {name: round(value, 3) for name, value in result.items() if value == value}


def area_under_roc(positive: Tensor, negative: Tensor) -> float:
    """Part of pairs in which the positive has the higher score, ties half; nan without pairs."""
    difference = positive[:, None] - negative[None]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())


def average_precision(score: Tensor, truth: Tensor) -> float:
    """Mean precision at the positives, by falling score."""
    hits = truth[torch.argsort(-score, stable=True)]
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return float((hits * precision).sum() / hits.sum())
