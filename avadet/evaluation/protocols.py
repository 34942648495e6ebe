"""The rules of the reference evaluators, by name.

The references agree on the core: boxes without a positive area are dropped; within a keyframe and class each box
looks at the true box it overlaps most, matches it at IoU 0.5 or more if nobody did before, and is a false positive
otherwise; AP is the area under the falling envelope of precision; classes without ground truth stay out of the mean.
They differ in which rows count and who chooses first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.errors import unknown_name

MIN_IOU = 0.5


@dataclass(frozen=True)
class Protocol:
    """The rules of one reference evaluator.

    Attributes:
        name: what the user writes.
        reference: whose rules these are.
        cap: rows a keyframe may have over all evaluated classes, the best ones; 0 = any number.
        best_first: whether boxes match in order of falling score (else in file order).
        listed_by: which ground-truth rows make a keyframe count: "any", or one of an "evaluated" class; detections
            elsewhere are ignored. "none" = no list, they are false positives.
        score_above: rows score more than this.
        mean_over_detected: whether classes without detections stay out of the mean (else they count as 0).
    """

    name: str
    reference: str
    cap: int = 0
    best_first: bool = True
    listed_by: str = "any"
    score_above: float = -np.inf
    mean_over_detected: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("activitynet", "ActivityNet Evaluation/get_ava_performance.py", cap=50),
        Protocol("slowfast", "PySlowFast utils/ava_eval_helper.py", best_first=False, listed_by="none"),
        Protocol(
            "mmaction2",
            "mmaction2 evaluation/functional/ava_utils.py",
            listed_by="evaluated",
            score_above=0.002,
            mean_over_detected=True,
        ),
    )
}


def protocol_rules(name: str) -> Protocol:
    """The rules of this name.

    Raises:
        AvadetError: for an unknown name; says which are close.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
