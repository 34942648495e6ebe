"""From a model's logits to scores 0-1: training's evaluation and inference both come here, so that a model runs as it
was scored. Which classes of a person compete is a fact of its card, see `cards.scores_of`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avadet.models.cards import ScoreRule, check_poses
from avadet.types import POSE, LabelMap


def pose_classes(labels: LabelMap) -> Tensor:
    """Bool (K,), the classes of group "pose".

    Raises:
        AvadetError: if there are fewer than two.
    """
    check_poses(labels)
    return torch.tensor([group == POSE for group in labels.groups])


def to_scores(logits: Tensor, labels: LabelMap, rule: ScoreRule) -> Tensor:
    """Scores (R, K), 0-1, in the type of the logits.

    Args:
        logits: (R, K), in the order of the label map.
        labels: the classes.
        rule: which of them compete.
    """
    if rule == "softmax":
        return logits.softmax(dim=1)
    scores = logits.sigmoid()
    if rule == "sigmoid":
        return scores
    poses = pose_classes(labels).to(logits.device)
    return torch.where(poses, logits.masked_fill(~poses, -torch.inf).softmax(dim=1), scores)
