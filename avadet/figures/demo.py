"""The demo clip: three people, each doing one thing, before a calm wall; always the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet.figures.backdrop import clouds, ramp
from avadet.figures.camera import Camera
from avadet.figures.clips import write_video
from avadet.figures.scene import FigureClip, make_person, render
from avadet.figures.view import View
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array

SIZE_HW = (480, 640)
FPS = 30.0
NUM_FRAMES = 180
HORIZON_PX = (320.0, 60.0)
WALL_FOOT = 150


@dataclass(frozen=True)
class DemoTruth:
    """What can be seen in the demo clip.

    Attributes:
        path: the video.
        labels: N JHMDB-21 class names.
        times_s: float64 (T,), time of each frame.
        boxes_norm: float32 (T, N, 4) xyxy, 0-1.
        visible: bool (T, N), whether enough of the person is inside the frame to count.
    """

    path: Path
    labels: tuple[str, ...]
    times_s: Float64Array
    boxes_norm: Float32Array
    visible: BoolArray


def _stage() -> UInt8Array:
    """A light wall over a grey floor, faintly uneven."""
    height, width = SIZE_HW
    image = ramp(SIZE_HW, (198, 204, 206), (216, 216, 210))
    image[WALL_FOOT:] = ramp((height - WALL_FOOT, width), (150, 148, 142), (178, 174, 166))
    image[WALL_FOOT - 5 : WALL_FOOT] = (120, 116, 110)
    noise = clouds(np.random.default_rng(1), SIZE_HW, 6, 5)
    return np.asarray(np.clip(image + 5 * noise, 0, 255), np.uint8)


def _still_camera(num_frames: int) -> Camera:
    """A camera on a tripod with a faint lens blur."""
    warps = np.repeat(np.eye(2, 3)[None], num_frames, axis=0)
    grain = np.zeros((0, *SIZE_HW, 3), np.int16)
    return Camera(warps, np.ones((num_frames, 3)), 0.6, grain, 0)


def demo_clip(num_frames: int = NUM_FRAMES) -> FigureClip:
    """Render the demo clip, or its first frames: somebody walks past, somebody waves, somebody jumps."""
    t = np.arange(num_frames) / FPS
    cast = (
        ("walk", 25, View(0.5 * np.pi, 155.0, (36.0, 218.0), HORIZON_PX, 12.0)),
        ("wave", 1, View(0.1, 200.0, (165.0, 468.0), HORIZON_PX, 9.0)),
        ("jump", 12, View(-0.7, 175.0, (480.0, 462.0), HORIZON_PX, 9.0)),
    )
    people = [make_person(np.random.default_rng(seed), action, t, view) for action, seed, view in cast]
    camera = _still_camera(num_frames)
    stage = _stage()
    backdrop = np.pad(stage, [((n - m) // 2, (n - m + 1) // 2) for n, m in zip(camera.backdrop_hw(SIZE_HW), SIZE_HW)]
                      + [(0, 0)], mode="edge")  # fmt: skip
    return render(people, backdrop, camera, SIZE_HW, FPS)


def render_demo(path: str | Path) -> DemoTruth:
    """Write the demo clip (640x480, 30 fps, 6 s, H.264) and say what is in it.

    Raises:
        AvadetError: if the file cannot be written.
    """
    clip = demo_clip()
    write_video(path, clip)
    return DemoTruth(Path(path), clip.labels, clip.times_s, clip.boxes_norm, clip.visible)
