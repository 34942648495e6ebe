"""Find every person in a video and say what each one is doing, second by second.

    import avadet

    clip = avadet.infer("clip.mp4")
    for detections in clip:
        for person, actions in enumerate(clip.actions(detections, threshold=0.3)):
            print(detections.key.time_s, detections.boxes_norm[person], [(a.name, a.score) for a in actions])

Importing the package loads none of its heavy dependencies; they load with the first use of `avadet.infer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.inference.run import infer

__version__ = "0.1.0"
__all__ = ["AvadetError", "__version__", "infer"]


def __getattr__(name: str) -> Any:
    if name == "infer":
        from avadet.inference.run import infer

        return infer
    raise AttributeError(f"module 'avadet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
