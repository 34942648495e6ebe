"""What `backbones.py` found: a table for people, the same for programs, and a plot of accuracy against cost."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avadet.files import whole_file
from avadet.types import UInt8Array

Row = Mapping[str, Any]

SIZE_HW = (860, 1240)
LEFT, RIGHT, TOP, BOTTOM = 90, 40, 60, 80
INK, PALE, GUESS = (50, 50, 50), (228, 228, 228), (150, 150, 150)
COLOURS = {
    "frames": (31, 119, 180),
    "3-D CNN": (210, 105, 30),
    "two speeds": (44, 140, 60),
    "transformer": (150, 50, 150),
}
FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTERS = 0.42


def averaged(results: Sequence[Row]) -> list[dict[str, Any]]:
    """One row an architecture, in the order of the results: numbers that depend on the seed are means over seeds."""
    rows = []
    for name in dict.fromkeys(one["name"] for one in results if one["name"] != "chance"):
        seeds = list({one["seed"]: one for one in results if one["name"] == name}.values())
        row = dict(seeds[0])
        for key in ("loss_before", "loss_after", "frame_map", "accuracy", "memory_mb", "cpu_s"):
            row[key] = statistics.mean(one[key] for one in seeds)
        row["seeds"] = [one["seed"] for one in seeds]
        row["frame_maps"] = [one["frame_map"] for one in seeds]
        rows.append(row)
    return rows


def write_report(path: Path, results: Sequence[Row]) -> None:
    """Write the table between its two marks in a page, or as a new one, and the same numbers as .json beside it."""
    guess = next((one for one in results if one["name"] == "chance"), None)
    rows = averaged(results)
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [BEGIN, "", *table(rows, guess), "", END]
    with whole_file(path) as partial:
        partial.write_text(before + "\n".join(lines) + after, encoding="utf-8")
    with whole_file(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps({"chance": guess, "architectures": rows}, indent=1) + "\n", encoding="utf-8")


def write_plot(path: Path, results: Sequence[Row]) -> None:
    """Write the plot as a PNG."""
    guess = next((one for one in results if one["name"] == "chance"), None)
    with whole_file(path) as partial:
        cv2.imwrite(str(partial), plot(averaged(results), guess)[..., ::-1])


BEGIN, END = "<!-- table: benchmarks/backbones.py -->", "<!-- end of table -->"
HEADER = (
    *("architecture", "parameters (M)", "GFLOPs", "clips/s fp32", "clips/s bf16", "step memory (MB)"),
    *("loss before", "loss after", "frame-mAP", "stands for", "its parameters (M)", "its GFLOPs"),
)


def table(rows: Sequence[Row], guess: Row | None) -> list[str]:
    """Markdown, the architectures by kind in the order they have."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for kind in COLOURS:
        for row in rows:
            if row["kind"] == kind:
                lines.append(f"| {' | '.join(cells(row))} |")
    if guess is not None:
        lines.append(f"| chance | | | | | | {math.log(21):.2f} | {math.log(21):.2f} | {guess['frame_map']:.1f} | | | |")
    return lines


def cells(row: Row) -> list[str]:
    """One line of the table."""
    full, speeds = row["full"], row["clips_a_second"]
    clip = "x".join(str(size) for size in full["clip"])
    scores = f"{row['frame_map']:.1f}"
    if len(row["frame_maps"]) > 1:
        scores += f" ({', '.join(f'{one:.1f}' for one in row['frame_maps'])})"
    bf16 = f"{speeds['bf16']:.0f}" if "bf16" in speeds else "-"
    return [
        *(row["name"], f"{row['parameters'] / 1e6:.3f}", f"{row['gflops']:.3f}", f"{speeds['fp32']:.0f}", bf16),
        *(f"{row['memory_mb']:.0f}", f"{row['loss_before']:.2f}", f"{row['loss_after']:.2f}", scores),
        *(f"{full['builder']}, {clip}", f"{full['parameters'] / 1e6:.1f}", f"{full['gflops']:.1f}"),
    ]


def plot(rows: Sequence[Row], guess: Row | None) -> UInt8Array:
    """Frame-mAP over GFLOPs, the latter on a logarithmic axis; a point and a name for each architecture, RGB."""
    image = np.full((*SIZE_HW, 3), 255, np.uint8)
    costs = [math.log10(row["gflops"]) for row in rows]
    low, high = math.floor(min(costs) * 5) / 5, math.ceil(max(costs) * 5) / 5
    top = 5 * math.ceil(max(row["frame_map"] for row in rows) / 5)

    def place(cost: float, score: float) -> tuple[int, int]:
        x = LEFT + (cost - low) / (high - low) * (SIZE_HW[1] - LEFT - RIGHT)
        return round(x), round(SIZE_HW[0] - BOTTOM - score / top * (SIZE_HW[0] - TOP - BOTTOM))

    for score in range(0, top + 1, 5):
        left, right = place(low, score), place(high, score)
        cv2.line(image, left, right, PALE, 1)
        _write(image, f"{score}", (left[0] - 28, left[1] + 5), INK)
    for cost in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0):
        if low <= math.log10(cost) <= high:
            foot = place(math.log10(cost), 0)
            cv2.line(image, foot, place(math.log10(cost), top), PALE, 1)
            _write(image, f"{cost:g}", (foot[0] - 12, foot[1] + 20), INK)
    if guess is not None:
        cv2.line(image, place(low, guess["frame_map"]), place(high, guess["frame_map"]), GUESS, 1, cv2.LINE_AA)
        at = place(high, guess["frame_map"])
        _write(image, f"chance {guess['frame_map']:.1f}", (at[0] - 90, at[1] - 6), GUESS)
    _write(image, "frame-mAP@0.5 (%), JHMDB-21 split 1, annotated boxes", (LEFT, TOP - 30), INK, 0.5)
    _write(image, "GFLOPs of one clip (multiply-adds, logarithmic)", (SIZE_HW[1] // 2 - 190, SIZE_HW[0] - 22), INK, 0.5)
    for number, (kind, colour) in enumerate(COLOURS.items()):
        spot = (LEFT + 560 + 140 * number, TOP - 34)
        cv2.circle(image, spot, 5, colour, -1, cv2.LINE_AA)
        _write(image, kind, (spot[0] + 10, spot[1] + 5), INK)
    points = [place(cost, row["frame_map"]) for cost, row in zip(costs, rows)]
    for point, row in zip(points, rows):
        cv2.circle(image, point, 5, COLOURS[row["kind"]], -1, cv2.LINE_AA)
    for where, row in zip(label_places(points, [row["name"] for row in rows]), rows):
        _write(image, row["name"], where, COLOURS[row["kind"]])
    return image


def label_places(points: Sequence[tuple[int, int]], names: Sequence[str]) -> list[tuple[int, int]]:
    """Where each name begins (its lower left corner): beside its point, over no other name and no other point."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    places = []
    for (x, y), name in zip(points, names):
        (width, height), _ = cv2.getTextSize(name, FONT, LETTERS, 1)
        ring = [
            (x + dx, y + dy + height // 2)
            for reach in (9, 16, 26, 38, 52, 70)
            for dx, dy in (
                *((reach, 0), (-reach - width, 0), (-width // 2, -reach), (-width // 2, reach)),
                *((reach, -reach), (reach, reach), (-reach - width, -reach), (-reach - width, reach)),
            )
        ]
        boxes = [(left, bottom - height - 2, left + width, bottom + 3) for left, bottom in ring]
        free = [number for number, box in enumerate(boxes) if _is_free(box, taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        places.append(ring[best])
    return places


def _is_free(box: tuple[int, int, int, int], taken: Sequence[tuple[int, int, int, int]]) -> bool:
    """Whether a rectangle (left, top, right, bottom) lies on the plot and meets none of the others."""
    left, top, right, bottom = box
    if left < LEFT or right > SIZE_HW[1] - 2 or top < TOP or bottom > SIZE_HW[0] - BOTTOM:
        return False
    return all(right <= other[0] or left >= other[2] or bottom <= other[1] or top >= other[3] for other in taken)


def _write(
    image: UInt8Array, text: str, where: tuple[int, int], ink: tuple[int, int, int], size: float = LETTERS
) -> None:
    cv2.putText(image, text, where, FONT, size, ink, 1, cv2.LINE_AA)
