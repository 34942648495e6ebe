"""CSN checkpoints of mmaction2: what their tensors are called here.

Two things set them apart from mmaction2's other nets of bottlenecks. The middle convolution of a block is a list, of
the depthwise convolution alone or of the 1x1x1 one that preserves interactions before it. And norms add 0.001 to a
variance where those here add 0.00001, so the difference is added to the variances stored: answers are the same, and
stay so as long as norms are frozen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

MMACTION_CSN_MARKER = r"^backbone\.layer1\.0\.conv2\.0\.conv\.weight$"
"""A regular expression that matches some name of every checkpoint."""

EPSILON, EPSILON_HERE = 1e-3, 1e-5

_REDUCED = ((r"\.b\.0\.conv\.", ".conv_b."), (r"\.b\.0\.bn\.", ".norm_b."))
_PRESERVED = (
    (r"\.b\.0\.conv\.", ".conv_b.0."),
    (r"\.b\.0\.bn\.", ".conv_b.1."),
    (r"\.b\.1\.conv\.", ".conv_b.2."),
    (r"\.b\.1\.bn\.", ".norm_b."),
)


def csn_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the lists of middle convolutions apart and move the variances of all norms.

    Args:
        tensors: under the names that mmaction2's rules give, middle convolutions as `....branch2.b.0.conv.weight`.
    """
    is_preserved = any(".branch2.b.1." in name for name in tensors)
    named = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _PRESERVED if is_preserved else _REDUCED:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor + (EPSILON - EPSILON_HERE) if name.endswith(".running_var") else tensor
    return named
