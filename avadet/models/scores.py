"""What logits mean: a model's card says which classes compete and how their scores were calibrated."""

from __future__ import annotations

import torch
from torch import Tensor

from avadet.models.cards import Calibration, ScoreRule, check_poses
from avadet.types import POSE, LabelMap


def pose_classes(labels: LabelMap) -> Tensor:
    """Bool (K,), the classes of group "pose".

    Raises:
        AvadetError: if there are fewer than two.
    """
    check_poses(labels)
    return torch.tensor([group == POSE for group in labels.groups])


def to_scores(logits: Tensor, labels: LabelMap, rule: ScoreRule, calibration: Calibration | None = None) -> Tensor:
    """Scores (R, K), 0-1, in the type of the logits.

    Args:
        logits: (R, K), in the order of the label map.
        labels: the classes.
        rule: which of them compete.
        calibration: of the model's card; None = the scores are as the logits say.
    """
    if calibration is None:
        return _uncalibrated(logits, labels, rule)
    logits = logits / logits.new_tensor(calibration.temperature)
    shown = _calibrated(_uncalibrated(logits, labels, rule), calibration)
    return _one_pose(shown, labels, calibration) if rule in ("pose_softmax", "pose_or_none") else shown


def _uncalibrated(logits: Tensor, labels: LabelMap, rule: ScoreRule) -> Tensor:
    if rule == "softmax":
        return logits.softmax(dim=1)
    scores = logits.sigmoid()
    if rule == "sigmoid":
        return scores
    poses = pose_classes(labels).to(logits.device)
    of_poses = logits.masked_fill(~poses, -torch.inf)
    if rule == "pose_or_none":
        none = logits.new_zeros(len(logits), 1)
        return torch.where(poses, torch.cat([of_poses, none], dim=1).softmax(dim=1)[:, :-1], scores)
    return torch.where(poses, of_poses.softmax(dim=1), scores)


_NEVER = 0.99  # of the score that is shown: the most that a class which is not shown can have


def _calibrated(scores: Tensor, calibration: Calibration) -> Tensor:
    """Scores (R, K) whose odds are multiplied, class by class, so that the class's threshold becomes `shown_at`.

    The order within a class stays. A class whose threshold is 1 stays below `shown_at`.
    """
    threshold = scores.new_tensor(calibration.threshold)
    odds = torch.logit(scores, eps=1e-6) - torch.logit(threshold, eps=1e-6)
    shown = (odds + torch.logit(scores.new_tensor(calibration.shown_at))).sigmoid()
    return torch.where(threshold < 1, shown, scores * (_NEVER * calibration.shown_at))


def _one_pose(shown: Tensor, labels: LabelMap, calibration: Calibration) -> Tensor:
    """Calibrated scores of which each person's best pose alone may reach `shown_at`.

    Thresholds of classes differ, so that two poses of one softmax may both reach theirs.
    """
    poses = torch.where(pose_classes(labels).to(shown.device), shown, -1.0)
    others = (poses >= calibration.shown_at).scatter(1, poses.argmax(dim=1, keepdim=True), False)
    return torch.where(others, shown * (_NEVER * calibration.shown_at), shown)
