"""Clips and boxes to scores: the one predictor of training's evaluation, `avadet test`, inference and the engines.

A score is the action's alone, 0-1, made of logits as the model's card says (`cards.scores_of`, `cards.calibration_of`).
Multiplying it by the detector's score of the person is another rule: whoever wants it asks for it by name
(`final_scores(..., times_person=True)`) and says so beside the numbers (`SCORE_NAMES`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from avadet.models.devices import device_of
from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel
from avadet.types import Float32Array

SCORE_NAMES = {False: "action", True: "action x person"}
"""What a score is called in reports, by `times_person`."""


@torch.inference_mode()
def predict(
    loaded: LoadedModel,
    clips: Tensor,
    rois: Tensor,
    window: BankWindow | None = None,
    *,
    flip: bool = False,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Score every box of every clip.

    Args:
        loaded: the model; left in eval mode.
        clips: (B, 3, T, H, W) RGB, uint8 0-255 or float 0-1, on any device.
        rois: float (R, 5), batch index + xyxy px of the clip, in any order; R may be 0.
        window: what the clips may look up in their videos' feature banks, on any device; None = nothing.
        flip: average with the scores of the mirrored clips.
        autocast: type to run under autocast; None = the model's own.

    Returns:
        float32 (R, K), 0-1, in the order of `rois`, on the model's device.

    Raises:
        AvadetError: as `ActionDetector.forward`.
    """
    model, device = loaded.model.eval(), device_of(loaded.model)
    clips, rois = clips.to(device, non_blocking=True), rois.to(device, non_blocking=True)
    more = () if window is None else (window.to(device),)

    def scores(clips: Tensor, rois: Tensor) -> Tensor:
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            logits = model(clips, rois, *more)
        return loaded.scores(logits.float()).clamp(0, 1)

    found = scores(clips, rois)
    return (found + scores(clips.flip(-1), _mirrored(rois, clips.shape[-1]))) / 2 if flip else found


def _mirrored(rois: Tensor, width: int) -> Tensor:
    """Boxes (R, 5) in clips of `width` px that are mirrored left to right."""
    batch_index, left, top, right, bottom = rois.unbind(dim=1)
    return torch.stack([batch_index, width - right, top, width - left, bottom], dim=1)


def final_scores(scores: Float32Array, person_scores: Float32Array, times_person: bool) -> Float32Array:
    """Scores (R, K) as they are ranked and written; with `times_person` times those of the persons (R,), all 0-1."""
    return scores * person_scores[:, None] if times_person else scores
