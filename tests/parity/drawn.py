"""Weights, frames and boxes of the stored answers, drawn anew by seed: the same bits on every machine.

Uniform numbers of `RandomState` never change (NEP 19), and nothing is computed from them but sums and products, so what
the reference implementations were given need not be stored.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Array = np.ndarray

BOXES = (
    # of which clip, in no order; x1, y1, x2, y2 as parts of the frame: a usual box, all of the frame, a tiny one, one
    # partly outside, one at the edge
    (0, 0.16, 0.11, 0.55, 0.84),
    (1, 0.0, 0.0, 0.992, 0.99),
    (0, 0.47, 0.42, 0.52, 0.49),
    (1, -0.09, 0.31, 0.35, 1.15),
    (0, 0.7, 0.05, 1.0, 1.0),
)

SCALES = (
    # of which tensors, their middle, their deviation
    (r"running_var$", 1.0, 0.3),
    (r"running_mean$", 0.0, 0.1),
    (r"(branch2\.c_bn|norm_c|conv3\.bn)\.weight$", 0.3, 0.1),  # keeps the sums of residual blocks small
    (r"nonlocal\d+\.bn\.weight$", 0.3, 0.1),
    (r"(bn|norm\w*|branch1_bn)\.weight$", 1.0, 0.2),
    (r"bias$", 0.0, 0.15),
    (r"pos_embed|cls_token|rel_pos", 0.0, 0.3),
)
FAN_SCALES = (
    # of which other tensors, the deviation times the root of the number of values that meet in one output
    (r"nonlocal\d+\.conv_(theta|phi)", 0.2),
    (r"nonlocal\d+\.conv_", 0.7),
    (r"fc_cls\.weight$", 0.5),
    (r"(projection|proj|qkv|fc\d)\.weight$", 1.0),
    (r"", math.sqrt(2)),
)


def drawn_tensor(name: str, shape: Sequence[int]) -> Array:
    """The tensor of this name: float32, uniform, of a deviation that keeps values moderate through all layers."""
    if name.endswith("num_batches_tracked"):
        return np.array(7, np.int64)
    centred = (np.random.RandomState(zlib.crc32(name.encode())).random_sample(tuple(shape)) - 0.5) * math.sqrt(12)
    for pattern, middle, deviation in SCALES:
        if re.search(pattern, name):
            return (middle + deviation * centred).astype(np.float32)
    gain = next(gain for pattern, gain in FAN_SCALES if re.search(pattern, name))
    return (gain / math.sqrt(math.prod(shape[1:])) * centred).astype(np.float32)


def drawn_weights(shapes: Mapping[str, Sequence[int]], attention: float = 1.0) -> dict[str, Array]:
    """All tensors of a model.

    Args:
        shapes: of its tensors, by their names.
        attention: factor of what the weights of non-local blocks come from; products of them in a row without a softmax
            would grow without end.
    """
    drawn = {name: drawn_tensor(name, shape) for name, shape in shapes.items()}
    for name in drawn:
        if re.search(r"nonlocal\d+\.conv_(theta|phi)\.", name):
            drawn[name] *= np.float32(attention)
    return drawn


def drawn_frames(count: int, height: int, width: int, seed: int = 0) -> Array:
    """Frames of tiles of 16 px that move to the left by 3 px each and change colour, with noise.

    Returns:
        uint8 (count, height, width, 3).
    """
    random = np.random.RandomState(seed)
    rows, columns = -(-height // 16), -(-(width + 3 * count) // 16)
    tiles = random.randint(0, 200, (rows, columns, 3))
    wide = tiles.repeat(16, axis=0).repeat(16, axis=1)[:height]
    noise = random.randint(0, 24, (count, height, width, 3))
    brighter = np.arange(count).reshape(-1, 1, 1, 1) * 32 // count
    moved = np.stack([wide[:, 3 * index : 3 * index + width] for index in range(count)])
    return (moved + noise + brighter).astype(np.uint8)


def drawn_clips(count: int, height: int, width: int) -> Array:
    """Two clips: uint8 (2, count, height, width, 3)."""
    return np.stack([drawn_frames(count, height, width, seed) for seed in (1, 2)])


def drawn_boxes(height: int, width: int) -> Array:
    """Five boxes in those clips: float32 (5, 5), the clip and x1, y1, x2, y2 in px."""
    return np.array(BOXES, np.float32) * np.array([1, width, height, width, height], np.float32)
