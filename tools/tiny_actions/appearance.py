"""Steps `appearance-pictures` and `appearance`: EfficientNet-Lite0 learns poses and actions from crops of persons.

First from pictures with the labels of their captions and classes, then, from there, with labels by eye and with
windows of video as well. What is unknown of a person costs nothing, see `targets`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.models.backbones.efficientnet_lite import load_imagenet
from avadet.models.detectors.person_crops import AppearanceStream
from avadet.types import Float32Array, Float64Array, UInt8Array
from tiny_actions.augment import centre, head_and_shoulders, vary
from tiny_actions.classes import FIRST_ACTION, NUM_ACTIONS, NUM_POSES, action_column, pose_column
from tiny_actions.crops import open_crops
from tiny_actions.loop import Loop, load_finished
from tiny_actions.persons import Person, Report, Split, read_persons
from tiny_actions.targets import Targets, acted, to_targets, weight_of
from tiny_actions.windows import NUM_FRAMES, Windows

BATCH = 32
BACKBONE_RATE = 0.35
WARMUP = 150
ACTION_COST = 0.5
UNTOLD_PART, UNTOLD_WEIGHT = 0.06, 0.5
LIE = 8
LOG_EVERY, SAVE_EVERY = 100, 500
FROZEN_STAGES = 2


@dataclass(frozen=True)
class Stage:
    """One of the two trainings.

    Attributes:
        name: folder of the run.
        epochs: how many times as many persons as there are to learn from are drawn.
        rate: peak learning rate of neck and heads.
        begins: the run whose weights it starts from; "" = ImageNet.
        with_eye_and_video: whether labels by eye and windows of video are learnt from.
    """

    name: str
    epochs: float
    rate: float
    begins: str = ""
    with_eye_and_video: bool = False


PICTURES = Stage("appearance-pictures", 1.2, 1.5e-3)
WHOLE = Stage("appearance", 2.4, 1.2e-3, PICTURES.name, with_eye_and_video=True)
STAGES = {stage.name: stage for stage in (PICTURES, WHOLE)}


class AppearanceNet(nn.Module):
    """The appearance stream with a head for the pose and one for all other actions."""

    def __init__(self) -> None:
        """Build it with random weights."""
        super().__init__()
        self.stream = AppearanceStream()
        self.drop = nn.Dropout(0.3)
        self.pose = nn.Linear(self.stream.features, NUM_POSES)
        self.action = nn.Linear(self.stream.features, NUM_ACTIONS)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) 0-1 -> logits of poses (N, 15) and of actions (N, 66)."""
        features = self.drop(self.stream(crops))
        return self.pose(features), self.action(features)

    def frozen(self) -> list[nn.Module]:
        """The beginning of the backbone, which stays as it is."""
        return [self.stream.backbone.stem, *self.stream.backbone.stages[:FROZEN_STAGES]]

    def train(self, mode: bool = True) -> AppearanceNet:
        """Switch all but the frozen beginning."""
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self


class Material:
    """Persons with labels, and where their pixels lie."""

    def __init__(self, work: Path, with_eye_and_video: bool) -> None:
        """Read the tables of earlier steps; figures and videos are optional.

        Without labels by eye, the persons who have them are left out.
        """
        pictures = read_persons(work / "crops.jsonl")
        self._crops = open_crops(work, len(pictures))
        everybody = list(pictures)
        chosen = [(self._crops, place, person) for place, person in enumerate(pictures) if person.known]
        for name in ("videos", "figures"):
            windows = Windows(work, name)
            if windows.table_path.is_file():
                persons = read_persons(windows.table_path)
                everybody += persons
                crops = windows.open(len(persons))[0]
                chosen += [(crops, place, person) for place, person in acted(persons)]
        if not with_eye_and_video:
            chosen = [row for row in chosen if row[2].seconds is None and not row[2].by_eye]
        self.split = Split(everybody)
        self.persons = [person for _, _, person in chosen]
        self._places = [(store, place) for store, place, _ in chosen]

    def pixels(self, index: int, rng: random.Random | None = None) -> UInt8Array:
        """Stored crop of a person; of a window, a frame drawn by chance, or the middle one without `rng`."""
        store, place = self._places[index]
        if self.persons[index].seconds is None:
            return np.asarray(store[place])
        return np.asarray(store[place][rng.randrange(NUM_FRAMES) if rng else NUM_FRAMES // 2])


def drawing_weights(persons: Sequence[Person]) -> Float64Array:
    """How often each is drawn, to a sum of 1: by source; less where only absence is known; more for rarer poses."""
    counts: dict[int, float] = {}
    for person in persons:
        for class_id, share in person.pose.items():
            counts[class_id] = counts.get(class_id, 0.0) + share
    weights = []
    for person in persons:
        weight = weight_of(person) * (1.0 if person.pose or person.present else 0.3)
        if person.pose:
            likeliest = max(person.pose, key=lambda class_id: person.pose[class_id])
            weight *= float(np.clip((600 / max(counts[likeliest], 1)) ** 0.4, 0.7, 3))
        weights.append(weight)
    table = np.array(weights, np.float64)
    return np.asarray(table / table.sum())


def present_factors(persons: Sequence[Person]) -> Tensor:
    """What the cost of a present action counts against that of an absent one: float32 (66,), more for rarer ones."""
    present, absent = np.zeros(NUM_ACTIONS), np.zeros(NUM_ACTIONS)
    for person in persons:
        weight = weight_of(person)
        for ids, counts, part in (
            (person.present, present, person.present_weight),
            (person.absent, absent, person.absent_weight),
        ):
            for class_id in ids:
                if class_id >= FIRST_ACTION:
                    counts[action_column(class_id)] += weight * part
    return torch.from_numpy(np.clip(absent / np.maximum(present, 1), 0.3, 6) ** 0.5).float()


def costs(pose: Tensor, action: Tensor, targets: Targets, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of poses, and of every action by itself; the unknown costs nothing.

    Args:
        pose: logits (N, 15).
        action: logits (N, 66).
        targets: of the N persons.
        factors: of `present_factors`.
    """
    each = -(targets.pose * functional.log_softmax(pose, dim=1)).sum(dim=1) * targets.pose_weight
    weight = targets.action_weight * torch.where(targets.action > 0, factors, torch.ones(()))
    of_actions = functional.binary_cross_entropy_with_logits(action, targets.action, weight=weight, reduction="none")
    return each.sum() / targets.pose_weight.sum().clamp(min=1), of_actions.sum() / len(targets)


class Draws(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Persons in the order in which they are drawn, varied; item i is the same in every run of a seed."""

    def __init__(self, material: Material, order: Sequence[int], seed: int) -> None:
        """Keep what is needed."""
        self.material, self.order, self._seed = material, order, seed
        self.targets = to_targets(material.persons)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> tuple[Tensor, ...]:
        """Pixels (3, 160, 160) 0-1, probabilities of poses, their weight, actions, their weights."""
        rng = random.Random(place * 7919 + 13 + self._seed * 1_000_003)
        index = self.order[place]
        crop = self.material.pixels(index, rng)
        pixels: Float32Array = vary(crop, rng, np.random.default_rng([self._seed, place]))
        one = self.targets.rows(torch.tensor(index))
        if shows_more_than_the_head(self.material.persons[index]) and rng.random() < UNTOLD_PART:
            pixels = head_and_shoulders(crop, rng)
            untold = functional.one_hot(torch.tensor(pose_column(0)), NUM_POSES).float()
            one = Targets(untold, torch.tensor(UNTOLD_WEIGHT), one.action, torch.zeros(NUM_ACTIONS))
        picture = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1) / 255
        return picture, one.pose, one.pose_weight, one.action, one.action_weight


def shows_more_than_the_head(person: Person) -> bool:
    """Whether the upper end of a picture's box is head and shoulders of somebody who is seen in full."""
    return person.seconds is None and person.height_px() > 1.2 * person.width_px() and LIE not in person.pose


def pose_accuracy(net: AppearanceNet, material: Material, indices: Sequence[int]) -> dict[str, float]:
    """Part of sure poses that are right, by source, of the middles of the crops."""
    hits: dict[str, list[bool]] = {}
    net.eval()
    for first in range(0, len(indices), 64):
        part = indices[first : first + 64]
        with torch.inference_mode():
            pose = net(as_batch([centre(material.pixels(index)) for index in part]))[0][:, : NUM_POSES - 1]
        for index, column in zip(part, pose.argmax(dim=1).tolist()):
            person = material.persons[index]
            if person.pose and max(person.pose.values()) >= 0.6 and person.pose_weight >= 0.3:
                likeliest = max(person.pose, key=lambda class_id: person.pose[class_id])
                name = person.source + (" by eye" if person.by_eye else "")
                hits.setdefault(name, []).append(column == pose_column(likeliest))
    return {name: round(sum(right) / len(right), 3) for name, right in sorted(hits.items())}


def as_batch(crops: Sequence[UInt8Array]) -> Tensor:
    """uint8 (S, S, 3) pictures -> float32 (N, 3, S, S) 0-1."""
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    return pixels.contiguous(memory_format=torch.channels_last)


def start_net(work: Path, stage: Stage, imagenet: Path | None, seed: int) -> AppearanceNet:
    """The net as a stage begins: from ImageNet, or from an earlier stage; the beginning of its backbone is frozen."""
    torch.manual_seed(seed)
    net = AppearanceNet()
    if stage.begins:
        load_finished(net, work / stage.begins)
    elif imagenet is not None:
        load_imagenet(net.stream.backbone, imagenet)
    for module in net.frozen():
        module.requires_grad_(False)
    return net.to(memory_format=torch.channels_last)


def run(
    work: Path,
    stage: Stage,
    report: Report,
    imagenet: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    workers: int = 0,
    most_steps: int | None = None,
) -> None:
    """Train one stage into `work/STAGE/model.safetensors`.

    Args:
        work: with the crops of earlier steps.
        stage: which.
        report: gets a line now and then.
        imagenet: state dict of an ImageNet EfficientNet-Lite0, for the first stage; None = random weights.
        seed: of everything drawn.
        resume: go on from the last checkpoint.
        workers: processes that vary pictures.
        most_steps: a shorter run, to try the code.
    """
    cv2.setNumThreads(1)
    material = Material(work, stage.with_eye_and_video)
    train, held = material.split.divide(material.persons)
    learnt = [material.persons[index] for index in train]
    steps = min(int(stage.epochs * len(train) / BATCH), most_steps or 10**9)
    settings = {"stage": stage.name, "steps": steps, "seed": seed, "persons": len(train)}
    report(f"{stage.name}: {len(train):,} persons to learn from, {len(held):,} to validate on, {steps} steps")
    net = start_net(work, stage, imagenet, seed)
    rates = {"": stage.rate, "stream.backbone": stage.rate * BACKBONE_RATE}
    loop = Loop(net, rates, work / stage.name, settings, WARMUP, LOG_EVERY)
    done = loop.begin(resume)
    drawn = np.random.RandomState(seed).choice(len(train), size=steps * BATCH, p=drawing_weights(learnt))
    draws = Draws(material, np.array(train)[drawn].tolist(), seed)
    rest = torch.utils.data.Subset(draws, range(done * BATCH, steps * BATCH))
    factors = present_factors(learnt)
    for step, (pixels, *tables) in enumerate(torch.utils.data.DataLoader(rest, BATCH, num_workers=workers), done):
        net.train()
        pose, action = net(pixels.contiguous(memory_format=torch.channels_last))
        of_pose, of_action = costs(pose, action, Targets(*tables), factors)
        parts = {"pose": float(of_pose.detach()), "action": float(of_action.detach())}
        loop.learn(step, of_pose + ACTION_COST * of_action, parts, report)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            loop.save(step + 1)
            loop.log({"epoch": step + 1, **pose_accuracy(loop.average.model, material, held)}, report)
    loop.finish()


def outputs(net: AppearanceNet, material: Material, indices: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of persons, 64 at a time."""
    net.eval()
    for first in range(0, len(indices), 64):
        with torch.inference_mode():
            yield net(as_batch([centre(material.pixels(index)) for index in indices[first : first + 64]]))
