"""Stills of annotated frames: dashes, titles, contact sheets, PNG files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from avadet.errors import AvadetError
from avadet.video.sheet import contact_sheet, draw_dashed, enlarged, titled, write_png

GREY = np.full((80, 120, 3), 100, np.uint8)


def test_dashes_run_along_the_box_and_nowhere_else() -> None:
    drawn = draw_dashed(GREY, np.array([[20.0, 10.0, 100.0, 60.0]]))
    assert (GREY == 100).all(), "the frame itself stays"
    top = drawn[10, 22:98, 0]
    assert (top == 255).any() and (top == 100).any()
    assert (drawn[14:56, 24:96] == 100).all() and (drawn[:7] == 100).all()
    assert (draw_dashed(GREY, np.zeros((0, 4))) == GREY).all()
    assert draw_dashed(GREY, np.array([[-500.0, -10.0, 500.0, 900.0]])).shape == GREY.shape


def test_small_frames_grow_and_large_ones_stay() -> None:
    assert enlarged(GREY).shape == (480, 720, 3)
    large = np.zeros((500, 600, 3), np.uint8)
    assert enlarged(large) is large


def test_a_title_stands_above_the_frame() -> None:
    image = titled(GREY, "ü very long name of a video 12.5 s", (190, 30, 30))
    assert image.shape == (108, 120, 3)
    assert (image[28:] == GREY).all()
    assert tuple(image[0, 0]) == (190, 30, 30)
    ink = np.argwhere((image[:28] > 240).all(axis=2))
    assert len(ink) and ink[:, 1].max() < 120 - 5, "cut, not running out"


def test_a_sheet_is_a_grid() -> None:
    shades = [np.full((40, 80, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = contact_sheet([*shades[:2], np.full((80, 80, 3), 30, np.uint8)], cell_width_px=40)
    assert sheet.shape == (20 + 6 + 40, 40 + 6 + 40, 3)
    assert (sheet[:20, :40] == 10).all() and (sheet[:20, 46:] == 20).all() and (sheet[26:, :40] == 30).all()
    assert (sheet[:, 40:46] == 255).all() and (sheet[26:, 46:] == 255).all()
    with pytest.raises(AvadetError, match="at least one picture"):
        contact_sheet([])


def test_png_keeps_every_colour(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    write_png(tmp_path / "new/a.png", image)
    assert (cv2.imread(str(tmp_path / "new/a.png"))[..., ::-1] == image).all()
    (tmp_path / "file").touch()
    with pytest.raises(AvadetError, match="cannot write"):
        write_png(tmp_path / "file/a.png", image)
