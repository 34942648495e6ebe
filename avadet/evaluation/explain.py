"""Why the number is what it is: everything that can be said of an evaluation, gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.evaluation.bootstrap import Intervals, bootstrap
from avadet.evaluation.bounds import Bounds, upper_bounds
from avadet.evaluation.curves import Curve, curves
from avadet.evaluation.frame_map import result_of
from avadet.evaluation.losses import PARTS, Losses, split_losses
from avadet.evaluation.matching import Matches
from avadet.evaluation.result import FrameMapResult, or_none, percent
from avadet.evaluation.slices import Slice, slices

RESAMPLES = 1000
_MOST_CONFUSED = 3


@dataclass(frozen=True)
class Explanation:
    """An evaluation and its reasons.

    Attributes:
        result: AP and counts.
        losses: where the points were lost.
        bounds: what perfect actions or perfect boxes would give.
        slices: by group, by how common classes are, by size of the box, by people in the frame.
        curves: precision over recall, of the classes with ground truth.
        intervals: 95% intervals by bootstrap over videos, None if none were asked for.
    """

    result: FrameMapResult
    losses: Losses
    bounds: Bounds
    slices: Mapping[str, tuple[Slice, ...]]
    curves: tuple[Curve, ...]
    intervals: Intervals | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong in the detections, one line each."""
        return self.result.warnings

    def mean(self, values: NDArray[np.float64]) -> float:
        """Mean of a column, float64 (K,), over the classes that the mAP is over."""
        chosen = values[self.result.in_mean]
        return float(chosen.mean()) if len(chosen) else float("nan")

    def confused_with(self, class_index: int, count: int = _MOST_CONFUSED) -> list[tuple[int, float]]:
        """The classes whose people cost this class most, and what they cost, 0-1; the most expensive first."""
        costs = np.nan_to_num(self.losses.confusions[class_index])
        order = np.argsort(-costs, kind="stable")[:count]
        return [(int(index), float(costs[index])) for index in order if costs[index] > 0]

    def table(self) -> str:
        """The table of the result, then the reasons as text, in percent."""
        parts = [self.result.table(), self._interval_line(), self._loss_table(), self._slice_table()]
        return "\n".join(part for part in parts if part)

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN, keys of the classes are their ids."""
        labels = self.result.labels
        shown = [index for index, evaluated in enumerate(labels.evaluated) if evaluated]
        ids = {index: str(labels.ids[index]) for index in shown}
        mean = self.losses.mean(self.result.in_mean)
        return {
            **self.result.json(),
            "losses": {
                "all": _named(PARTS, mean),
                "by_class": {ids[row]: _named(PARTS, self.losses.parts[row]) for row in shown},
                "other_action": {
                    ids[row]: {str(labels.ids[other]): cost for other, cost in self.confused_with(row, len(labels))}
                    for row in shown
                },
            },
            "bounds": {
                "perfect_actions": self._column(self.bounds.perfect_actions, ids),
                "true_boxes": self._column(self.bounds.true_boxes, ids),
            },
            "slices": {kind: {one.name: _slice_json(one) for one in members} for kind, members in self.slices.items()},
            "intervals": None if self.intervals is None else self.intervals.json(labels),
        }

    def _column(self, values: NDArray[np.float64], ids: Mapping[int, str]) -> dict[str, object]:
        by_class = {name: or_none(float(values[row])) for row, name in ids.items()}
        return {"mAP": or_none(self.mean(values)), "ap": by_class}

    def _interval_line(self) -> str:
        if self.intervals is None:
            return ""
        low, high = self.intervals.mAP
        line = (
            f"95% of {self.intervals.resamples} resamples of the {self.intervals.num_videos} videos: "
            f"{percent(low).strip()} to {percent(high).strip()}"
        )
        return "\n".join(part for part in (line, self.intervals.note) if part)

    def _loss_table(self) -> str:
        mean = self.losses.mean(self.result.in_mean)
        rows = {"reached": self.result.mAP, **dict(zip(PARTS, mean.tolist()))}
        bounds = {
            "with the same boxes and perfect actions": self.mean(self.bounds.perfect_actions),
            "with the same scores on true boxes": self.mean(self.bounds.true_boxes),
        }
        lines = ["", "where the points are (percent of the mean AP, sum 100)"]
        lines += [f"  {name:<40}  {percent(value)}" for name, value in rows.items()]
        lines += ["mean AP at best", *(f"  {name:<40}  {percent(value)}" for name, value in bounds.items())]
        return "\n".join(lines)

    def _slice_table(self) -> str:
        lines = ["", f"{'':<42}  {'num_gt':>8}  {'recall':>6}  {'AP':>6}"]
        for kind, members in self.slices.items():
            lines.append(kind)
            lines += [_slice_line(one) for one in members]
        return "\n".join(lines)


def explain(matches: Matches, resamples: int = RESAMPLES, seed: int = 0) -> Explanation:
    """Gather everything.

    Args:
        matches: who found whom.
        resamples: of the bootstrap over videos; 0 = no intervals.
        seed: of the bootstrap.
    """
    result = result_of(matches)
    return Explanation(
        result,
        split_losses(matches),
        upper_bounds(matches),
        slices(matches, result),
        curves(matches),
        bootstrap(matches, resamples, seed) if resamples else None,
    )


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, Any]:
    return {name: or_none(value) for name, value in zip(names, values.tolist())}


def _slice_json(one: Slice) -> dict[str, object]:
    return {"num_gt": one.num_gt, "recall": or_none(one.recall), "mAP": or_none(one.mAP)}


def _slice_line(one: Slice) -> str:
    return f"  {one.name:<40}  {one.num_gt:>8}  {percent(one.recall)}  {percent(one.mAP)}"
