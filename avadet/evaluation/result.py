"""The outcome of a frame-mAP evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.types import BoolArray, Float64Array, IntArray, LabelMap


@dataclass(frozen=True)
class FrameMapResult:
    """AP at IoU 0.5 by class, and what it was computed from.

    Attributes:
        labels: the classes; the arrays below have one entry for each.
        protocol: whose rules: "activitynet", "slowfast" or "mmaction2".
        reference: the script that has these rules.
        ap: float64 (K,) 0-1: area under the precision-recall curve; NaN for classes that are not evaluated or have no
            ground truth.
        num_gt: int64 (K,), true boxes.
        num_det: int64 (K,), detections that counted.
        num_tp: int64 (K,), those that matched a true box.
        ap_tie_lo: float64 (K,), the lowest AP that another order of detections with equal scores could give.
        ap_tie_hi: float64 (K,), the highest.
        mean_over_detected: whether the mean leaves out classes without detections (mmaction2) or counts them as 0.
        warnings: what looks wrong in the detections, one line each.
    """

    labels: LabelMap
    protocol: str
    reference: str
    ap: Float64Array
    num_gt: IntArray
    num_det: IntArray
    num_tp: IntArray
    ap_tie_lo: Float64Array
    ap_tie_hi: Float64Array
    mean_over_detected: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def in_mean(self) -> BoolArray:
        """Which classes the mean is over; bool (K,)."""
        counted = ~np.isnan(self.ap)
        return counted & (self.num_det > 0) if self.mean_over_detected else counted

    @property
    def mAP(self) -> float:
        """Mean AP, 0-1; NaN if no class has ground truth."""
        return self._mean(self.ap, self.in_mean)

    @property
    def tie_range(self) -> tuple[float, float]:
        """The lowest and highest mAP that another order of detections with equal scores could give."""
        return self._mean(self.ap_tie_lo, self.in_mean), self._mean(self.ap_tie_hi, self.in_mean)

    def group_map(self) -> dict[str, float]:
        """Mean AP of each group of classes that counts, in the order of the label map."""
        groups = np.array(self.labels.groups)
        present = dict.fromkeys(group for group, counts in zip(self.labels.groups, self.in_mean) if counts)
        return {group: self._mean(self.ap, self.in_mean & (groups == group)) for group in present}

    def _mean(self, values: Float64Array, classes: BoolArray) -> float:
        return float(values[classes].mean()) if classes.any() else float("nan")

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN, keys of the classes are their ids.

        `ap`, its tie range, `num_gt`, `num_det` and `num_tp` hold every evaluated class.
        """
        rows = [index for index, evaluated in enumerate(self.labels.evaluated) if evaluated]
        ids = [str(self.labels.ids[index]) for index in rows]
        shares = {name: getattr(self, name) for name in ("ap", "ap_tie_lo", "ap_tie_hi")}
        counts = {name: getattr(self, name) for name in ("num_gt", "num_det", "num_tp")}
        lowest, highest = self.tie_range
        return {
            "protocol": self.protocol,
            "mAP": or_none(self.mAP),
            "mAP_tie_lo": or_none(lowest),
            "mAP_tie_hi": or_none(highest),
            **{name: {i: or_none(float(values[row])) for i, row in zip(ids, rows)} for name, values in shares.items()},
            **{name: {i: int(values[row]) for i, row in zip(ids, rows)} for name, values in counts.items()},
            "group_mAP": self.group_map(),
            "names": {i: self.labels.names[row] for i, row in zip(ids, rows)},
            "groups": {i: self.labels.groups[row] for i, row in zip(ids, rows)},
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """A text table: one line a class that is evaluated, then the groups and the mean, in percent."""
        width = max([len(name) for name in self.labels.names] + [len("frame-mAP@0.5")])
        lines = [f"{'id':>4}  {'class':<{width}}  {'group':<7} {'num_gt':>8} {'num_det':>9} {'num_tp':>8}  {'AP':>6}"]
        for row, (class_id, name, group) in enumerate(zip(self.labels.ids, self.labels.names, self.labels.groups)):
            if self.labels.evaluated[row]:
                counts = f"{self.num_gt[row]:>8} {self.num_det[row]:>9} {self.num_tp[row]:>8}"
                lines.append(f"{class_id:>4}  {name:<{width}}  {group:<7} {counts}  {percent(self.ap[row])}")
        means = {f"mean of {group}": value for group, value in self.group_map().items()} | {"frame-mAP@0.5": self.mAP}
        lines += [f"{'':>4}  {name:<{width}}  {'':<34}  {percent(value)}" for name, value in means.items()]
        lowest, highest = self.tie_range
        if highest > lowest:
            lines.append(f"equal scores: in another order the mean could be {100 * lowest:.5f} to {100 * highest:.5f}")
        lines.append(f"protocol {self.protocol} ({self.reference}), {self.in_mean.sum()} classes in the mean")
        return "\n".join(lines)


def or_none(value: float) -> float | None:
    """NaN as JSON knows it."""
    return None if np.isnan(value) else value


def percent(value: float) -> str:
    """A share as a right-aligned percentage of 6 characters, "-" for NaN."""
    return f"{'-':>6}" if np.isnan(value) else f"{100 * value:6.2f}"
