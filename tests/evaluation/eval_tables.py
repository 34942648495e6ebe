"""Small evaluation problems, written row by row or drawn at random."""

from __future__ import annotations

import numpy as np

from avadet.annotations.ava import AvaTable
from avadet.types import LabelMap

LABELS = LabelMap(
    ("stand", "sit", "talk", "crawl"), (12, 11, 79, 2), ("pose", "pose", "person", "pose"), (True,) * 3 + (False,)
)
HERE = (0.1, 0.1, 0.5, 0.9)
NEAR = (0.12, 0.11, 0.51, 0.89)
LOOSE = (0.1, 0.1, 0.5, 0.4)  # IoU 3/8 with HERE
AWAY = (0.55, 0.1, 0.95, 0.9)
Box = tuple[float, float, float, float]
Row = tuple[str, float, Box, int, float]


def table(*rows: Row) -> AvaTable:
    """Rows of (video, seconds, box, class id, score)."""
    return AvaTable(
        np.array([row[0] for row in rows], dtype=object),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.int64),
        np.array([row[4] for row in rows], np.float64),
    )


def rows_of(source: AvaTable) -> list[Row]:
    scores = np.ones(len(source)) if source.scores is None else source.scores
    columns = (source.video_ids, source.times_s, map(tuple, source.boxes_norm), source.class_ids, scores)
    return [(str(v), float(t), b, int(c), float(s)) for v, t, b, c, s in zip(*columns)]


def random_problem(seed: int, size: int = 400) -> tuple[list[Row], list[Row]]:
    """True boxes, and detections near some of them; all scores differ."""
    rng = np.random.default_rng(seed)
    true: list[Row] = []
    for _ in range(size // 4):
        low = rng.uniform(0, 0.6, 2)
        box = (*low, *(low + rng.uniform(0.1, 0.4, 2)))
        true.append((f"v{rng.integers(3)}", float(rng.integers(5)), box, int(rng.choice(LABELS.ids)), 1.0))
    scores = rng.permutation(size) / size
    found = []
    for score in scores.tolist():
        video, time_s, box, class_id, _ = true[rng.integers(len(true))]
        moved = np.array(box) + rng.normal(0, 0.03, 4)
        if rng.random() < 0.2:
            time_s, class_id = float(rng.integers(8)), int(rng.choice(LABELS.ids))
        found.append((video, time_s, tuple(moved.tolist()), class_id, score))
    return true, found
