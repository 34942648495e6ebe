"""Which cell answers for which person, and what a wrong answer costs.

Assignment is task-aligned (Feng et al., "TOOD", ICCV 2021): a person's cells are those inside the box whose present
answer is best, judged by score and overlap together. Scores learn the overlap that their box reaches (varifocal loss,
Zhang et al., "VarifocalNet", CVPR 2021), boxes learn by generalised IoU (Rezatofighi et al., CVPR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, generalized_box_iou_loss

from avadet.persons.person_net import RawPersons

CELLS_PER_PERSON = 10
OVERLAP_POWER = 6.0
IGNORE_IOU = 0.4
NEGATIVE_WEIGHT = 0.75
NEGATIVE_POWER = 2.0
BOX_WEIGHT = 2.0


@dataclass(frozen=True)
class Targets:
    """The people of a batch, padded to the largest count M.

    Attributes:
        boxes_px: float (N, M, 4) xyxy, pixels of the network's input; rows without a person are 0.
        worth: float (N, M) 0-1: the score a person is to get at most; 0 = no person, or a doubtful one.
        doubtful: bool (N, M): perhaps a person; cells that say so are not punished.
    """

    boxes_px: Tensor
    worth: Tensor
    doubtful: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        return Targets(*(x.to(device, non_blocking=True) for x in (self.boxes_px, self.worth, self.doubtful)))


@dataclass(frozen=True)
class Assignment:
    """What every cell ought to say.

    Attributes:
        quality: float (N, A) 0-1, the wanted score; 0 where no person is assigned.
        person: int64 (N, A), row of the person in `Targets`; only where `quality` > 0.
        counts: bool (N, A), False where the score is neither rewarded nor punished.
    """

    quality: Tensor
    person: Tensor
    counts: Tensor


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (N, M, 4) with boxes (N, A, 4), xyxy -> (N, M, A)."""
    return torch.stack([box_iou(one, other) for one, other in zip(first, second)]).nan_to_num()  # of two empty boxes


@torch.no_grad()
def assign(raw: RawPersons, targets: Targets) -> Assignment:
    """Give every person the cells that already answer best for it.

    A cell may answer for a person if its centre lies in the box (or within half a stride of the box's centre, so that
    tiny people have a cell too). Of these the `CELLS_PER_PERSON` with the highest score * IoU^6 are taken. A cell
    taken twice goes to the person it overlaps most. The wanted score is that measure, scaled person by person so
    that the best cell is asked for its IoU, times what the person is worth.
    """
    overlap = pairwise_iou(targets.boxes_px, raw.boxes_px)
    scores = raw.logits.sigmoid()
    allowed = _within_reach(raw, targets.boxes_px) & (targets.worth > 0)[:, :, None]
    alignment = scores[:, None, :] * overlap.pow(OVERLAP_POWER) * allowed
    taken = _best_cells(alignment) & allowed
    owner = torch.where(taken, overlap, -1.0).argmax(dim=1)
    taken &= F.one_hot(owner, overlap.shape[1]).transpose(1, 2).bool()
    alignment = alignment * taken
    best_overlap = (overlap * taken).amax(dim=2, keepdim=True)
    scaled = alignment / alignment.amax(dim=2, keepdim=True).clamp(min=1e-9) * best_overlap * targets.worth[:, :, None]
    quality = scaled.amax(dim=1)
    near_doubtful = (overlap * targets.doubtful[:, :, None]).amax(dim=1) >= IGNORE_IOU
    return Assignment(quality, owner, (quality > 0) | ~near_doubtful)


def _within_reach(raw: RawPersons, boxes_px: Tensor) -> Tensor:
    """Which cells may answer for which person; (N, M, A)."""
    middle = (boxes_px[..., :2] + boxes_px[..., 2:])[:, :, None] / 2
    half = (boxes_px[..., 2:] - boxes_px[..., :2])[:, :, None] / 2
    reach = torch.maximum(half, raw.strides_px[None, None, :, None] / 2)
    return ((raw.centres_px[None, None] - middle).abs() <= reach).all(dim=-1)


def _best_cells(alignment: Tensor) -> Tensor:
    """Mark the `CELLS_PER_PERSON` largest positive values of each person; (N, M, A) -> bool."""
    values, cells = alignment.topk(min(CELLS_PER_PERSON, alignment.shape[2]), dim=2)
    return torch.zeros_like(alignment, dtype=torch.bool).scatter_(2, cells, values > 0)


@dataclass(frozen=True)
class PersonLoss:
    """The cost of a batch, scalars; `total` is what is minimised."""

    total: Tensor
    score: Tensor
    box: Tensor


def person_loss(raw: RawPersons, targets: Targets) -> PersonLoss:
    """Varifocal cost of the scores plus `BOX_WEIGHT` times the overlap cost of the boxes, per person found so far."""
    wanted = assign(raw, targets)
    norm = wanted.quality.sum().clamp(min=1.0)
    score = (varifocal(raw.logits, wanted.quality) * wanted.counts).sum() / norm
    rows, cells = (wanted.quality > 0).nonzero(as_tuple=True)
    goal = targets.boxes_px[rows, wanted.person[rows, cells]]
    cost = generalized_box_iou_loss(raw.boxes_px[rows, cells], goal)
    box = (cost * wanted.quality[rows, cells]).sum() / norm
    return PersonLoss(score + BOX_WEIGHT * box, score.detach(), box.detach())


def varifocal(logits: Tensor, quality: Tensor) -> Tensor:
    """Binary cross-entropy towards `quality`, elementwise.

    Cells with a person weigh as much as their quality, empty ones 0.75 * score^2: sure mistakes count, the many that
    are right already hardly do.
    """
    empty_weight = NEGATIVE_WEIGHT * logits.detach().sigmoid().pow(NEGATIVE_POWER)
    weight = torch.where(quality > 0, quality, empty_weight)
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight
