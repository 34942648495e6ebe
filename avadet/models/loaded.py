"""A model ready to run, with all that is needed to feed it and to read its answers. No torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avadet.models.cards import calibration_of, scores_of
from avadet.types import ClipSpec, LabelMap

if TYPE_CHECKING:
    import torch

    from avadet.models.checkpoints.weights import LoadReport
    from avadet.models.detectors.two_stage import ActionModel


@dataclass(frozen=True)
class LoadedModel:
    """A model and what belongs to it, as `zoo.load` gives it.

    Attributes:
        model: in eval mode, on its device.
        spec: the clips it wants.
        labels: its classes, in the order of its logits.
        name: its name in the zoo, or the stem of its file.
        card: see `cards`.
        report: what became of every tensor of the checkpoint.
        running: what runs it and how exactly, in words, once it is made ready for inference (see `engines.backends`).
        bank: the model whose features fill the banks that it reads (see `lfb`); None = it is run without.
        bank_window_s: seconds of a bank that each clip sees.
    """

    model: ActionModel
    spec: ClipSpec
    labels: LabelMap
    name: str
    card: dict[str, Any]
    report: LoadReport
    running: str = ""
    bank: LoadedModel | None = None
    bank_window_s: float = 60.0

    def __post_init__(self) -> None:
        """Check that the card says how to read the logits; raises AvadetError if not."""
        scores_of(self.card, self.labels)
        calibration_of(self.card, self.labels)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores (R, K), 0-1, that logits (R, K) mean."""
        from avadet.models.scores import to_scores

        rule, calibration = scores_of(self.card, self.labels), calibration_of(self.card, self.labels)
        return to_scores(logits, self.labels, rule, calibration)
