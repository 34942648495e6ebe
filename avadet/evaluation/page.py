"""The page that explains a result: one HTML file, readable without a server, a network or scripts.

The template stands beside this module: page.html, with page.css and page.js put inside. Whatever comes from the user
(names of classes, groups and files) goes through Jinja2's autoescape, and the policy in the page's head allows no
script but ours, named by its hash, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import avadet
from avadet.evaluation.curves import Curve
from avadet.evaluation.explain import Explanation
from avadet.evaluation.losses import LOOSE_IOU, PARTS
from avadet.evaluation.protocols import MIN_IOU
from avadet.evaluation.result import FrameMapResult
from avadet.evaluation.slices import SIZES, Slice
from avadet.types import Float64Array

NO_NUMBER = "-"
REACHED = "AP reached"
CURVE_UNITS = 1000
"""Width and height of a curve's coordinates: fine enough for a curve 1000 pixels wide."""

_FOLDER = Path(__file__).resolve().parent
_MEANINGS = (
    "What these detections score.",
    f"The person was missed: no box of any class overlaps them by IoU {LOOSE_IOU} or more.",
    f"There is a box near the person, but it overlaps them by less than IoU {MIN_IOU}. Missed people and wrong rows "
    "both count here.",
    "A box fits the person, but has no row for this action, or one that went to a neighbour.",
    "The action was predicted for people who do something else. An action that is scored too low shows up here too: "
    "its people were found, but wrong rows rank above them.",
    "The action was predicted more than once for the same person.",
    "The action was predicted for a box that fits no person.",
)
_SLICE_NOTES = {
    "group": "Classes by kind of action.",
    "ground truth": "Thirds of the classes, by number of true boxes.",
    "box size": "By share of the frame's area: "
    + ", ".join(f"{name} from {100 * low:.0f}%" for name, (low, _) in SIZES.items() if low)
    + ". Recall only: false positives belong to no size.",
    "people in the frame": "True people in the keyframe; AP from those keyframes alone.",
}


@dataclass(frozen=True)
class Segment:
    """A piece of a bar from 0 to 1.

    Attributes:
        number: 0 for what was reached, then the position in `PARTS` from 1.
        name: what it is.
        share: its length, 0-1.
        meaning: in plain words.
    """

    number: int
    name: str
    share: float
    meaning: str


@dataclass(frozen=True)
class ClassRow:
    """One evaluated class; shares are 0-1, NaN where the class has no ground truth.

    Attributes:
        class_id: its number in the label map.
        name: its name.
        group: its group.
        in_mean: whether the mAP counts it.
        ap: what it reached.
        low: lower end of the interval of `ap`, NaN without intervals.
        high: upper end.
        num_gt: true boxes.
        num_det: detections that counted.
        num_tp: those that found a true box.
        recall: share of the true boxes that were found.
        segments: `ap` and the parts of 1 - `ap`; empty without ground truth.
        confused: what the class lost to others: name and share, the most expensive first, three at most.
        path: its precision over recall as an SVG path in a square of `CURVE_UNITS`; "" if nothing was found.
        with_perfect_actions: upper bound of `ap`.
        with_true_boxes: upper bound of `ap`.
    """

    class_id: int
    name: str
    group: str
    in_mean: bool
    ap: float
    low: float
    high: float
    num_gt: int
    num_det: int
    num_tp: int
    recall: float
    segments: tuple[Segment, ...]
    confused: tuple[tuple[str, float], ...]
    path: str
    with_perfect_actions: float
    with_true_boxes: float

    @property
    def largest_loss(self) -> Segment | None:
        """The most expensive part, None where nothing was lost or nothing is known."""
        worst = max(self.segments[1:], key=lambda segment: segment.share, default=None)
        return worst if worst is not None and worst.share > 0 else None

    @property
    def lost_to_others(self) -> float:
        """What rows on people who do something else cost, 0-1."""
        return self.segments[1 + PARTS.index("other action")].share if self.segments else float("nan")


@dataclass(frozen=True)
class SliceTable:
    """Slices of one kind.

    Attributes:
        kind: its name.
        note: what it means.
        rows: each slice and the interval of its mAP, None where there is none.
        has_ap: whether any of them has an mAP.
    """

    kind: str
    note: str
    rows: tuple[tuple[Slice, tuple[float, float] | None], ...]
    has_ap: bool


def render_page(
    explanation: Explanation, title: str, files: Mapping[str, str], counts: Mapping[str, int] | None = None
) -> str:
    """Write the page.

    Args:
        explanation: the result and its reasons.
        title: the heading, such as the name of the file of detections.
        files: role -> file name, for the head.
        counts: what -> how many, for the head, beside true boxes and detections: the result does not know how many
            videos and keyframes it is of.

    Returns:
        HTML, one whole document.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=points, count=_count, width=_width)
    rows = class_rows(explanation)
    with_truth = [row for row in rows if row.segments]
    return environment.get_template("page.html").render(
        title=title,
        files=files,
        counts=_counts(explanation, counts or {}),
        result=explanation.result,
        intervals=explanation.intervals,
        has_interval=explanation.intervals is not None and not np.isnan(explanation.intervals.mAP[0]),
        level="" if explanation.intervals is None else f"{100 * explanation.intervals.level:g}%",
        ties=_ties(explanation.result),
        whole=_segments(explanation.result.mAP, explanation.losses.mean(explanation.result.in_mean)),
        perfect_actions=explanation.mean(explanation.bounds.perfect_actions),
        true_boxes=explanation.mean(explanation.bounds.true_boxes),
        rows=rows,
        by_loss=sorted(with_truth, key=lambda row: row.ap),
        shown_first=max(with_truth, key=lambda row: row.num_gt, default=None),
        groups=list(dict.fromkeys(row.group for row in rows)),
        slices=_slice_tables(explanation),
        parts=(REACHED, *PARTS),
        curve_units=CURVE_UNITS,
        no_number=NO_NUMBER,
        min_iou=MIN_IOU,
        script_hash=_script_hash(),
        version=avadet.__version__,
    )


def class_rows(explanation: Explanation) -> list[ClassRow]:
    """Everything the page says of each evaluated class, in the order of the label map."""
    labels = explanation.result.labels
    paths = {curve.class_index: curve_path(curve) for curve in explanation.curves}
    return [_class_row(explanation, index, paths.get(index, "")) for index in np.flatnonzero(labels.evaluated).tolist()]


def _class_row(explanation: Explanation, index: int, path: str) -> ClassRow:
    result, bounds, intervals = explanation.result, explanation.bounds, explanation.intervals
    low, high = (np.nan, np.nan) if intervals is None else intervals.ap[index].tolist()
    num_gt, num_tp = int(result.num_gt[index]), int(result.num_tp[index])
    confused = tuple((result.labels.names[other], cost) for other, cost in explanation.confused_with(index))
    return ClassRow(
        class_id=result.labels.ids[index],
        name=result.labels.names[index],
        group=result.labels.groups[index],
        in_mean=bool(result.in_mean[index]),
        ap=float(result.ap[index]),
        low=low,
        high=high,
        num_gt=num_gt,
        num_det=int(result.num_det[index]),
        num_tp=num_tp,
        recall=num_tp / num_gt if num_gt else np.nan,
        segments=_segments(float(result.ap[index]), explanation.losses.parts[index]),
        confused=confused,
        path=path,
        with_perfect_actions=float(bounds.perfect_actions[index]),
        with_true_boxes=float(bounds.true_boxes[index]),
    )


def _segments(reached: float, parts: Float64Array) -> tuple[Segment, ...]:
    """The bar from 0 to 1; empty if there is no AP to speak of."""
    if np.isnan(reached):
        return ()
    shares = [reached, *parts.tolist()]
    return tuple(Segment(*fields) for fields in zip(range(len(shares)), (REACHED, *PARTS), shares, _MEANINGS))


def curve_path(curve: Curve) -> str:
    """A curve as an SVG path of integers: steps, from the corner of 0 recall and 0 precision back to the base line."""
    right = np.rint(CURVE_UNITS * curve.recall).astype(np.int64)
    down = CURVE_UNITS - np.rint(CURVE_UNITS * curve.precision).astype(np.int64)
    if not len(right):
        return ""
    last = np.append(np.diff(down) != 0, True)  # of points at one height only the last one is a corner
    steps = "".join(f"V{y}H{x}" for x, y in zip(right[last].tolist(), down[last].tolist()))
    return f"M0 {CURVE_UNITS}{steps}V{CURVE_UNITS}"


def _counts(explanation: Explanation, given: Mapping[str, int]) -> dict[str, int]:
    result, intervals = explanation.result, explanation.intervals
    videos = {} if intervals is None else {"videos": intervals.num_videos}
    return {
        **videos,
        **given,
        "true boxes": int(result.num_gt.sum()),
        "detections that counted": int(result.num_det.sum()),
        "classes in the mean": int(result.in_mean.sum()),
    }


def _ties(result: FrameMapResult) -> tuple[str, str] | None:
    """The range of mAP that other orders of equal scores could give, in points; None if there is none."""
    lowest, highest = result.tie_range
    return (points(lowest, 5), points(highest, 5)) if highest > lowest else None


def _slice_tables(explanation: Explanation) -> list[SliceTable]:
    intervals = {} if explanation.intervals is None else explanation.intervals.groups
    return [
        SliceTable(
            kind,
            _SLICE_NOTES.get(kind, ""),
            tuple((one, intervals.get(one.name) if kind == "group" else None) for one in members),
            not all(np.isnan(one.mAP) for one in members),
        )
        for kind, members in explanation.slices.items()
    ]


def points(share: float, decimals: int = 2) -> str:
    """A share, 0-1, in points of 100; a dash for NaN."""
    return NO_NUMBER if np.isnan(share) else f"{100 * share:.{decimals}f}"


def _count(number: int) -> str:
    return f"{number:,}"


def _width(share: float) -> str:
    """A share as a CSS width; nothing for NaN."""
    return "0" if np.isnan(share) else f"{100 * share:.4f}%"


def _script_hash() -> str:
    """How the policy in the page's head names our script."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8").removesuffix("\n")  # as Jinja2 includes it
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
