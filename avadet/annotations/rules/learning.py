"""Whether labels and loss go together; asked when a run begins."""

from __future__ import annotations

import numpy as np

from avadet.annotations.rules.rows import TELLS_NOTHING
from avadet.errors import AvadetError
from avadet.types import BoolArray


def refuse_loss(kind: str, flags: BoolArray) -> None:
    """Raise AvadetError for a loss that cannot learn from such labels.

    Args:
        kind: of the loss; only "cross_entropy" asks for exactly one action a person, all others take any labels.
        flags: bool (persons, classes), what each does.
    """
    if kind != "cross_entropy":
        return
    if flags.shape[1] == 1:
        raise AvadetError(
            "loss.kind=cross_entropy asks which class a person does, and there is one class: its loss is 0 for every "
            f"person; {TELLS_NOTHING}. Set loss.kind=bce and annotate persons without the action (a blank class id), "
            "or add classes"
        )
    several = int(np.count_nonzero(flags.sum(axis=1) > 1))
    if several:
        raise AvadetError(
            f"loss.kind=cross_entropy is for one action a person, but {several:,} of {len(flags):,} persons to train "
            "on have several; set loss.kind=bce (or focal, asymmetric)"
        )
