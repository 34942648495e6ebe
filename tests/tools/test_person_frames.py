"""Labelled frames of people: labels, packs, windows, compositions. Numbers by hand, then laws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from each_case import each_case
from person_training.compose import mosaic, paste_empty, paste_patch, paste_person, side_by_side, soft_mask
from person_training.frames import FramePack, LabelledFrame, label
from person_training.samples import FrameDraw, PersonSamples, Recipe, collate, finish, plain
from person_training.sources import Teacher, read_ucf24_boxes, sure_frames
from person_training.teacher import View, careful, fuse
from person_training.windows import close_window, cut, empty_window, whole_window, zoomed_window

from avadet.errors import AvadetError
from avadet.types import PersonBoxes, UInt8Array


def frame(*boxes: tuple[float, float, float, float], size_hw: tuple[int, int] = (60, 80)) -> LabelledFrame:
    """A dark picture whose people are bright rectangles."""
    image = np.full((*size_hw, 3), 30, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[round(y1) : round(y2), round(x1) : round(x2)] = 220
    return LabelledFrame(image, np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def seen(*rows: tuple[float, float, float, float, float], size_hw: tuple[int, int] = (100, 100)) -> PersonBoxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return PersonBoxes(table[:, :4].copy(), table[:, 4].copy(), size_hw)


def test_labels_join_annotations_and_teacher() -> None:
    annotated = np.array([[0, 0, 40, 80]], np.float32)
    teacher = seen(
        (2, 0, 40, 78, 0.9),  # the same person
        (10, 10, 30, 30, 0.5),  # a part of the person
        (60, 0, 90, 80, 0.6),  # somebody else
        (60, 85, 70, 95, 0.2),  # perhaps somebody
        (80, 85, 90, 95, 0.05),  # nothing
    )
    boxes, worth = label(annotated, teacher)
    assert boxes.tolist() == [[0, 0, 40, 80], [10, 10, 30, 30], [60, 0, 90, 80], [60, 85, 70, 95]]
    np.testing.assert_array_equal(worth, [1, 0, 1, 0])


def test_a_view_goes_back_to_where_it_came_from() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[10:30, 20:40] = 200
    for view in (View(False, 0.0), View(True, 0.0), View(False, 0.2), View(True, 0.2)):
        shown = view.show(image)
        rows, columns = np.nonzero(shown[..., 0] == 200)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.5)
        people = view.back(seen(box, size_hw=shown.shape[:2]), (50, 100))
        assert people.boxes_px.tolist() == [[20, 10, 40, 30]]


def test_fusing_views_by_hand() -> None:
    views = [seen((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.4)), seen((2, 0, 12, 10, 0.3))]
    people = fuse(views, (100, 100), 0.55)
    assert people.scores.tolist() == pytest.approx([0.6, 0.2])
    assert people.boxes_px[0].tolist() == pytest.approx([0.5, 0, 10.5, 10])


def test_a_careful_look_at_nothing() -> None:
    def blind(image: UInt8Array) -> PersonBoxes:
        return PersonBoxes.empty(image.shape[:2])

    assert len(careful(blind)(np.zeros((20, 30, 3), np.uint8))) == 0


def test_a_teacher_who_doubts_more_than_it_knows_is_not_believed(tmp_path: Path) -> None:
    shades = {40: (0.9, 0.2), 90: (0.9, 0.2, 0.3), 140: (0.3,), 190: (), 240: (0.5, 0.6, 0.2)}
    for shade in shades:
        cv2.imwrite(str(tmp_path / f"{shade}.png"), np.full((60, 80, 3), shade, np.uint8))

    def look(image: UInt8Array) -> PersonBoxes:
        scores = shades[min(shades, key=lambda shade: abs(shade - int(image.mean())))]
        return seen(*((10 * i, 0, 10 * i + 9, 50, score) for i, score in enumerate(scores)), size_hw=(60, 80))

    taken = dict(sure_frames(sorted(tmp_path.iterdir()), 4, Teacher(look, 0.4, 0.12)))
    assert {name: frame.worth.tolist() for name, frame in taken.items()} == {"40": [1, 0], "240": [1, 1, 0]}
    stricter = dict(sure_frames(sorted(tmp_path.iterdir()), 4, Teacher(look, 0.55, 0.12)))
    assert {name: frame.worth.tolist() for name, frame in stricter.items()} == {"40": [1, 0]}


def test_pack_round_trip(tmp_path: Path) -> None:
    frames = [("a", frame((10, 10, 30, 50))), ("b", frame()), ("a", frame((0, 0, 5, 9), (40, 5, 70, 60)))]
    FramePack.gather(iter(frames)).save(tmp_path / "pack.npz")
    pack = FramePack.load(tmp_path / "pack.npz")
    assert len(pack) == 3
    assert [pack.clip_names[i] for i in pack.clip_of] == ["a", "b", "a"]
    for index, (_, original) in enumerate(frames):
        np.testing.assert_array_equal(pack[index].boxes_px, original.boxes_px)
        np.testing.assert_array_equal(pack[index].worth, original.worth)
        assert np.abs(pack[index].image.astype(int) - original.image).mean() < 6
    assert pack.only([2]).people(0)[0].shape == (2, 4)


@each_case("content", [None, b"", b"no pack at all"])
def test_no_pack_is_an_error_for_the_user(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pack.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AvadetError, match=r"pack\.npz"):
        FramePack.load(path)


def test_ucf24_boxes_are_of_a_320_by_240_picture(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("video,frame_1based,x1,y1,x2,y2\nv,1,32,24,160,240\nv,1,0,0,330,60\nw,7,0,0,32,24\n")
    boxes = read_ucf24_boxes(table)
    np.testing.assert_allclose(boxes["v"][0], [[0.1, 0.1, 0.5, 1], [0, 0, 1, 0.25]], rtol=1e-6)
    assert list(boxes["w"]) == [6]


def test_a_window_moves_boxes_along() -> None:
    shown = cut(frame((20, 10, 40, 50)), (10, 0, 50, 60), (120, 80))
    assert shown.boxes_px.tolist() == [[20, 20, 60, 100]]
    assert shown.image[60, 40].tolist() == [220, 220, 220]
    assert shown.image[60, 10].tolist() == [30, 30, 30]


def test_a_window_beyond_the_frame_shows_grey() -> None:
    shown = cut(frame(), (-80, -60, 80, 60), (120, 160))
    assert shown.image[10, 10].tolist() == [114, 114, 114]
    assert shown.image[100, 150].tolist() == [30, 30, 30]


def test_people_at_the_edge_become_uncertain_and_go() -> None:
    people = frame((0, 20, 20, 24), (35, 20, 55, 24), (38, 40, 58, 44))
    shown = cut(people, (0, 0, 40, 60), (60, 40))
    assert shown.boxes_px.tolist() == [[0, 20, 20, 24], [35, 20, 40, 24], [38, 40, 40, 44]]
    assert shown.certain.tolist() == [False, False, False]  # the first is only 4 px high
    shown = cut(people, (0, 0, 37, 60), (120, 74))
    assert len(shown.boxes_px) == 2
    assert shown.certain.tolist() == [True, False]


def test_close_ups_need_less_of_the_body() -> None:
    person = LabelledFrame(
        np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8),
        np.array([[0, 0, 80, 60]], np.float32),
        np.ones(1, np.float32),
    )
    for share, certain in ((0.5, True), (0.15, True), (0.05, False)):
        side = share**0.5
        shown = cut(person, (0, 0, 80 * side, 60 * side), (60, 80))
        assert shown.boxes_px.tolist() == [[0, 0, 80, 60]]
        assert shown.certain.tolist() == [certain]


def test_nobody_is_certain_in_a_picture_of_one_colour() -> None:
    shown = cut(frame((0, 0, 80, 60)), (20, 20, 60, 50), (60, 80))
    assert shown.certain.tolist() == [False]


def test_plain_pictures_hold_nobody() -> None:
    made = [plain(np.random.default_rng(seed), (64, 96)) for seed in range(20)]
    assert {each.image.shape for each in made} == {(64, 96, 3)}
    assert not any(len(each.boxes_px) for each in made)
    assert min(each.image.mean() for each in made) < 20


def test_windows_have_the_wanted_shape() -> None:
    rng = np.random.default_rng(0)
    assert whole_window(frame(), (60, 160)) == (-40, 0, 120, 60)
    person = frame((30, 0, 50, 80), size_hw=(100, 100))
    for _ in range(20):
        x1, y1, x2, y2 = zoomed_window(rng, person, (64, 96), (0.5, 2.0), 1.0)
        assert (x2 - x1) / (y2 - y1) == pytest.approx(96 / 64)
        close = close_window(rng, person, (64, 96), (0.3, 0.6))
        assert close is not None
        assert close[1] <= 0
        assert 0.3 * 80 - 16 <= close[3] <= 0.6 * 80 * 1.3
    assert close_window(rng, frame((0, 0, 10, 50)), (64, 96), (0.3, 0.6)) is None


def test_empty_windows_are_empty() -> None:
    rng = np.random.default_rng(0)
    person = frame((40, 0, 80, 60))
    windows = [empty_window(rng, person, (64, 64)) for _ in range(30)]
    assert any(windows)
    assert all(window[2] <= 40 for window in windows if window)
    assert empty_window(rng, frame((0, 0, 80, 60)), (64, 64)) is None


def test_soft_mask_is_solid_inside_and_gone_in_the_corners() -> None:
    mask = soft_mask((41, 21))
    assert mask.shape == (41, 21)
    assert mask[20, 10] == 1
    assert mask[0, 0] == mask[-1, -1] == 0


def test_pasting_a_person_adds_a_certain_box_and_its_pixels() -> None:
    rng = np.random.default_rng(1)
    base, donor = frame((50, 40, 90, 140), size_hw=(160, 200)), frame((10, 10, 50, 110), size_hw=(160, 200))
    pasted = [paste_person(rng, base, donor) for _ in range(10)]
    grown = [each for each in pasted if len(each.boxes_px) == 2]
    assert len(grown) >= 8
    for each in grown:
        x1, y1, x2, y2 = each.boxes_px[1].astype(int)
        assert each.certain[1]
        assert each.image[(y1 + y2) // 2, (x1 + x2) // 2].min() > 200
    assert base.image[:30].max() == 30, "the frame itself stays as it was"


@each_case(("left", "top"), [(-50, 10), (200, 10), (20, -60), (20, 160), (-50, -60), (200, 160)])
def test_a_patch_that_lies_outside_changes_nothing(left: int, top: int) -> None:
    base = frame((90, 70, 110, 90), size_hw=(160, 200))
    made = paste_patch(base, np.full((50, 40, 3), 200, np.uint8), left, top, 0.7)
    assert made is base


def test_hiding_somebody_makes_them_uncertain() -> None:
    base = frame((90, 70, 110, 90), size_hw=(160, 200))
    hidden = [paste_empty(np.random.default_rng(seed), base, frame(size_hw=(160, 200))) for seed in range(40)]
    assert all(len(each.boxes_px) == 1 for each in hidden)
    assert {bool(each.certain[0]) for each in hidden} == {True, False}
    gone = next(each for each in hidden if not each.certain[0])
    assert gone.image[80, 100].max() < 100


@each_case("compose", [mosaic, side_by_side])
def test_compositions_fill_the_picture_and_keep_boxes_on_people(compose) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        made = compose(rng, lambda: frame((20, 5, 60, 58)), (64, 96))
        assert made.image.shape == (64, 96, 3)
        for x1, y1, x2, y2 in made.boxes_px[made.certain].astype(int):
            assert made.image[(y1 + y2) // 2, (x1 + x2) // 2].min() > 150


def test_finish_mirrors_boxes_with_the_picture() -> None:
    turned = 0
    for seed in range(20):
        made = finish(np.random.default_rng(seed), frame((0, 0, 20, 60)))
        left, right = made.image[30, 10].astype(int).sum(), made.image[30, 70].astype(int).sum()
        expected = [[0, 0, 20, 60]] if left > right else [[60, 0, 80, 60]]
        assert made.boxes_px.tolist() == expected
        turned += left < right
    assert 4 < turned < 16


def samples(seed: int) -> PersonSamples:
    pack = FramePack.gather(iter([("a", frame((20, 5, 60, 58))), ("b", frame((2, 2, 30, 40), (40, 5, 70, 60)))]))
    recipe = Recipe(((64, 96), (96, 64)), (0.7, 2.0), 1.2, 0.3, 0.2, 0.1, 0.1, 0.3, 0.2)
    return PersonSamples(FrameDraw([pack], [1.0]), recipe, seed, steps=6, batch_size=4)


def test_pictures_follow_from_seed_and_index_alone() -> None:
    first, again, other = samples(0), samples(0), samples(1)
    for index in (3, 0, 23):
        np.testing.assert_array_equal(first[index].image, again[index].image)
        np.testing.assert_array_equal(first[index].boxes_px, again[index].boxes_px)
    assert any((first[i].image != other[i].image).any() for i in range(4))


def test_batches_take_the_sizes_in_turn() -> None:
    made = samples(0)
    assert [made[i].image.shape[:2] for i in (0, 3, 4, 7, 8)] == [(64, 96)] * 2 + [(96, 64)] * 2 + [(64, 96)]


def test_collating_pads_people() -> None:
    images, targets = collate([frame((1, 2, 30, 40)), frame(), frame((0, 0, 9, 9), (5, 5, 20, 20))])
    assert images.shape == (3, 3, 60, 80)
    assert targets.worth.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert targets.boxes_px[0].tolist() == [[1, 2, 30, 40], [0, 0, 0, 0]]
