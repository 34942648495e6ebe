"""A ground truth and detections of a thousand rows and more, drawn by seed, on which the evaluators disagree."""

from __future__ import annotations

import math

import numpy as np

CLASSES = (1, 3, 4, 8, 11, 12, 14, 17, 24, 48, 59, 74, 79, 80)  # evaluated in AVA
NOT_EVALUATED = (2, 16, 18)
UNSEEN = 80
"""A class that nothing detects: its AP is 0, or it stays out of the mean."""


def drawn_rows(seed: int = 7) -> tuple[str, str, str]:
    """Three CSV files of AVA, as text.

    Detections stand in no order of score; some keyframes have far more than 50 of them, some are in no row of the
    ground truth, some in rows of classes only that are not evaluated, some are excluded. No two scores are equal.

    Returns:
        ground truth, detections, excluded keyframes.
    """
    random = np.random.RandomState(seed)
    true: list[str] = []
    found: list[tuple[str, np.ndarray, int, float]] = []
    keyframes = [(f"drawn_{video}", 902 + second) for video in range(4) for second in range(12)]
    excluded = [f"{video},{second:04d}" for video, second in keyframes[5::11]]
    scores = iter(random.permutation(99_999)[:8000] + 1)
    for number, (video, second) in enumerate(keyframes):
        keyframe = f"{video},{second:04d}"
        boxes = random.random_sample((1 + number % 4, 2)) * 0.6
        sizes = 0.15 + random.random_sample(boxes.shape) * 0.25
        boxes = np.concatenate([boxes, boxes + sizes], axis=1)
        for person, box in enumerate(boxes):
            classes = random.choice(CLASSES[:-1], 1 + random.randint(3), replace=False).tolist()
            if number % 9 == 2:
                classes = [NOT_EVALUATED[person % 3]]
            elif number % 7 == 3:
                classes.append(UNSEEN)
            if number % 8 != 6:
                true += [_row(keyframe, box, f"{class_id},{person}") for class_id in classes]
            for copy in range(3):  # the second and third are false positives, unless they come first in the file
                moved = box + (random.random_sample(4) - 0.5) * 0.06 * (copy + 1)
                guesses = [*classes, *random.choice(CLASSES, 12 if number % 6 else 30).tolist()]
                for class_id in dict.fromkeys(guesses):
                    if class_id != UNSEEN:
                        part = next(scores) / 100_000
                        score = part if class_id in classes else part**3
                        found.append((keyframe, moved, class_id, score))
    return "".join(true), _scored_rows(found), "".join(f"{keyframe}\n" for keyframe in excluded)


def _scored_rows(found: list[tuple[str, np.ndarray, int, float]]) -> str:
    """Rows of detections; a score that was there before is raised by millionths until it was not."""
    taken: set[int] = set()
    rows = []
    for keyframe, box, class_id, score in found:
        millionths = max(1, math.floor(score * 1e6))
        while millionths in taken:
            millionths += 1
        taken.add(millionths)
        rows.append(_row(keyframe, box, f"{class_id},{millionths / 1e6:.6f}"))
    return "".join(rows)


def _row(keyframe: str, box: np.ndarray, rest: str) -> str:
    return f"{keyframe},{','.join(f'{value:.3f}' for value in box)},{rest}\n"
