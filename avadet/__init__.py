"""Find every person in a video and say what each one is doing, second by second.

    import avadet

    clip = avadet.infer("clip.mp4")
    for detections in clip:
        for person, actions in enumerate(clip.actions(detections, threshold=0.3)):
            print(detections.key.time_s, detections.boxes_norm[person], [(a.name, a.score) for a in actions])

Importing the package loads none of its heavy dependencies; they load with the first use of `avadet.infer`.

It sets one variable of the environment, OMP_WAIT_POLICY=PASSIVE, unless torch is loaded already or the variable is
set: threads that wait for each other then sleep instead of spinning. Beside other work spinning costs a hundred times
the time of a small step, and results are the same to the bit.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.inference.run import infer

if "torch" not in sys.modules:  # OpenMP reads it when it loads, with torch
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["AvadetError", "__version__", "infer"]


def __getattr__(name: str) -> Any:
    if name == "infer":
        from avadet.inference.run import infer

        return infer
    raise AttributeError(f"module 'avadet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
