"""Pictures as players show them: turned, mirrored, with square pixels, in SDR."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from each_case import each_case

from avadet.data.reencode import Encoding, Job, prepare_video
from avadet.video.colour import WHITE_NITS, ColourTags, bent_nits, rgb_of
from avadet.video.display import Orientation, pixel_aspect, stretched_hw
from avadet.video.read import VideoReader, probe

A, B, C, D = (200, 40, 40), (40, 200, 40), (40, 40, 200), (230, 230, 230)
ONE = 1 << 16


def card(size_hw: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Four colours: A B over C D."""
    height, width = size_hw
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = A, B
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = C, D
    return image


def corners(image: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """The colours of an image's quarters, each the nearest of the four."""
    height, width = image.shape[:2]
    return [
        [
            min((A, B, C, D), key=lambda one: np.abs(image[y * height // 4, x * width // 4] - np.array(one)).sum())
            for x in (1, 3)
        ]
        for y in (1, 3)
    ]


def write(path: Path, matrix: tuple[float, ...] | None = None, aspect: Fraction | None = None) -> Path:
    """Three pictures of the card; `matrix` = a, b, c, d of x' = a x + c y, y' = b x + d y."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            a, b, c, d = (round(value * ONE) for value in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(card(), "rgb24")))
        output.mux(stream.encode(None))
    return path


def first_image(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return next(iter(reader.frames())).image


@each_case(
    "matrix, quarters, mirrored",
    [
        ((1, 0, 0, 1), [[A, B], [C, D]], False),
        ((0, 1, -1, 0), [[C, A], [D, B]], False),  # a quarter clockwise: what was left below is left above
        ((-1, 0, 0, -1), [[D, C], [B, A]], False),
        ((0, -1, 1, 0), [[B, D], [A, C]], False),
        ((-1, 0, 0, 1), [[B, A], [D, C]], True),
        ((1, 0, 0, -1), [[C, D], [A, B]], True),
        ((0, 1, 1, 0), [[A, C], [B, D]], True),
        ((0, -1, -1, 0), [[D, B], [C, A]], True),
    ],
)
def test_every_display_matrix(tmp_path: Path, matrix: tuple[float, ...], quarters: list, mirrored: bool) -> None:
    image = first_image(write(tmp_path / "card.mov", matrix))
    assert corners(image) == quarters
    assert image.shape == ((96, 64, 3) if matrix[0] == 0 else (64, 96, 3))
    notes = probe(tmp_path / "card.mov").display_notes
    assert [note.split(",")[0] for note in notes] == ["pictures are mirrored"] * mirrored


def test_an_angle_that_is_not_right_is_rounded_and_said(tmp_path: Path) -> None:
    sine, cosine = np.sin(np.deg2rad(89)), np.cos(np.deg2rad(89))
    path = write(tmp_path / "card.mov", (cosine, sine, -sine, cosine))
    assert corners(first_image(path)) == [[C, A], [D, B]]
    (note,) = probe(path).display_notes
    assert "1 degrees off a right angle" in note


def test_a_matrix_of_nothing_changes_nothing(tmp_path: Path) -> None:
    assert corners(first_image(write(tmp_path / "card.mov", (0, 0, 0, 0)))) == [[A, B], [C, D]]


@each_case("degrees, turned", [(0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2), (89, 1)])
def test_degrees_alone_are_counterclockwise_as_numpy_turns(degrees: int, turned: int) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(Orientation.turned(degrees).applied(image), np.rot90(image, turned))


@pytest.mark.parametrize(
    "aspect, size_hw, matrix, shown_hw",
    [
        (Fraction(2), (64, 192), None, (64, 192)),
        (Fraction(3, 4), (85, 96), None, (85, 96)),
        (Fraction(4, 3), (64, 128), (0, 1, -1, 0), (128, 64)),  # a phone held upright with wide pixels
    ],
)
def test_pixels_are_made_square(
    tmp_path: Path, aspect: Fraction, size_hw: tuple[int, int], matrix: tuple[int, ...] | None, shown_hw: tuple
) -> None:
    path = write(tmp_path / "card.mkv", matrix, aspect)
    info = probe(path)
    assert info.size_hw == shown_hw == first_image(path).shape[:2]
    assert stretched_hw((64, 96), aspect) == size_hw
    assert f"96x64 becomes {size_hw[1]}x{size_hw[0]}" in info.display_notes[0]


@each_case(
    "said, used",
    [
        (Fraction(64, 45), Fraction(64, 45)),
        (Fraction(0), Fraction(1)),
        (Fraction(-4, 3), Fraction(1)),
        (Fraction(1, 1000), Fraction(1)),
        (Fraction(1855, 1856), Fraction(1)),
    ],
)
def test_pixel_shapes_that_cannot_be_are_square(said: Fraction, used: Fraction) -> None:
    assert pixel_aspect(said) == used


def test_an_absurd_pixel_shape_is_said(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "card.mp4", aspect=Fraction(1, 20)))
    assert info.size_hw == (64, 96)
    assert info.display_notes == ("pixels of 1:20 cannot be and are taken as square",)


def flat(codes: tuple[int, int, int], transfer: int, primaries: int) -> np.ndarray:
    """RGB that is shown of a picture of one colour, 10 bit codes as parts of 1000."""
    image = np.empty((32, 32, 3), np.uint16)
    image[:] = np.rint(np.array(codes) * 1.023)
    picture = av.VideoFrame.from_ndarray(image, format="gbrp10le")
    return rgb_of(picture, ColourTags(2, transfer, primaries), VideoReformatter())[16, 16]


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_a_grey_card_in_hdr_is_that_of_sdr(transfer: int) -> None:
    """ITU-R BT.2408: the card is at 38% in PQ and HLG alike, 26 cd/m2; 255 * (26 / 203) ** (1 / 2.4) = 108."""
    np.testing.assert_allclose(flat((380, 380, 380), transfer, 9), 108, atol=3)


def test_white_is_the_same_in_pq_and_hlg_and_light_above_it_stays_apart() -> None:
    """BT.2408: white is at 58% in PQ, 75% in HLG; 1000 cd/m2 at 75.2% and 100%."""
    pq, hlg = flat((580, 580, 580), 16, 9).astype(int), flat((750, 750, 750), 18, 9).astype(int)
    assert np.abs(pq - hlg).max() <= 2
    assert 215 <= pq.min() <= pq.max() <= 235
    assert flat((752, 752, 752), 16, 9).min() >= 254 and flat((1000, 1000, 1000), 18, 9).min() >= 254
    assert flat((1000, 1000, 1000), 16, 9).min() == 255
    assert pq.max() < flat((660, 660, 660), 16, 9).min() < 254


def test_black_stays_black() -> None:
    assert [flat((0, 0, 0), transfer, 9).max() for transfer in (1, 16, 18)] == [0, 0, 0]


def test_the_curve_is_straight_up_to_its_knee_and_ends_at_white() -> None:
    nits = np.array([0.0, 10, 50, 80, 203, 1000])
    bent = bent_nits(nits, 1000)
    np.testing.assert_allclose(bent[:4], nits[:4], rtol=1e-6)
    assert 130 < bent[4] < 170
    assert bent[5] == pytest.approx(WHITE_NITS)
    np.testing.assert_allclose(bent_nits(nits, 203), [0, 10, 50, 80, 203, 203])


def test_wide_gamut_red_of_bt709() -> None:
    """BT.2087: red of BT.709 is (0.6274, 0.0691, 0.0164) in BT.2020; codes are the 1 / 2.4th power."""
    np.testing.assert_allclose(flat((823, 329, 180), 14, 9), (255, 0, 0), atol=14)  # 12 is a light of 0.0006
    np.testing.assert_allclose(flat((823, 329, 180), 14, 1), (210, 84, 46), atol=1)


def yuv(size_hw: tuple[int, int], matrix: int, full: bool = False) -> np.ndarray:
    """RGB that is shown of Y 90, U 100, V 190."""
    picture = av.VideoFrame(size_hw[1], size_hw[0], "yuv420p")
    for plane, value in zip(picture.planes, (90, 100, 190)):
        plane.update(bytes([value]) * plane.buffer_size)
    picture.color_range = 2 if full else 1
    return rgb_of(picture, ColourTags(matrix, 2, 2), VideoReformatter())[4, 4]


SD, HD = (187, 45, 29), (197, 59, 27)


@each_case(
    "size_hw, matrix, shown",
    [
        *(((240, 320), 6, SD), ((240, 320), 1, HD), ((720, 1280), 5, SD)),
        *(((240, 320), 2, SD), ((576, 720), 2, SD), ((640, 362), 2, SD)),  # nothing is said: by the size
        *(((720, 1280), 2, HD), ((1280, 720), 2, HD), ((600, 800), 2, HD)),
    ],
)
def test_the_matrix_goes_by_the_tag_else_by_the_size(
    size_hw: tuple[int, int], matrix: int, shown: tuple[int, int, int]
) -> None:
    """E.g. red of BT.601 is 1.164 * (90 - 16) + 1.596 * (190 - 128) = 185, of BT.709 86 + 1.793 * 62 = 197."""
    np.testing.assert_allclose(yuv(size_hw, matrix), shown, atol=4)


def test_full_range_is_not_stretched() -> None:
    """Red is 90 + 1.402 * 62 = 177, blue 90 - 1.772 * 28 = 40."""
    np.testing.assert_allclose(yuv((240, 320), 6, full=True), (177, 55, 40), atol=3)


def test_white_of_ten_bits_is_white() -> None:
    picture = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, value in zip(picture.planes, (940, 512, 512)):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    assert rgb_of(picture, ColourTags(1, 1, 1), VideoReformatter()).min() == 255


def test_what_is_see_through_is_seen_over_black() -> None:
    image = np.full((32, 32, 4), 200, np.uint8)
    image[:, :16, 3], image[:, 16:, 3] = 255, 102
    rgb = rgb_of(av.VideoFrame.from_ndarray(image, format="rgba"), ColourTags(2, 2, 2), VideoReformatter())
    assert (rgb[:, :16] == 200).all() and (rgb[:, 16:] == 80).all()


@pytest.mark.shared
def test_a_mirrored_file_is_the_mirror_of_its_twin(shared: Path) -> None:
    twin, mirrored = (
        first_image(shared / "data" / "faults" / name) for name in ("tiny.mp4", "mirrored_front_camera.mp4")
    )
    np.testing.assert_array_equal(mirrored, twin[:, ::-1])


@pytest.mark.shared
@pytest.mark.parametrize("name, grey", [("anamorphic_sar2.mp4", 5.0), ("hdr_pq.mp4", 9.0)])
def test_files_of_the_same_scene_look_the_same(shared: Path, name: str, grey: float) -> None:
    """Both were made of one SDR clip; what differs is compression, and light near white."""
    whole = cv2.resize(
        first_image(shared / "data/videos/clean/sam2_bedroom.mp4"), (480, 270), interpolation=cv2.INTER_AREA
    )
    image = first_image(shared / "data" / "faults" / name)
    assert image.shape == whole.shape
    assert np.abs(image.astype(int) - whole).mean() < grey


def test_a_prepared_video_needs_nothing_done_to_it(tmp_path: Path) -> None:
    source = write(tmp_path / "card.mp4", (-1, 0, 0, 1), Fraction(2))
    job = Job("card", source, tmp_path / "out.mp4", Encoding())
    assert prepare_video(job).frames == 3
    info = probe(job.target)
    assert (info.size_hw, info.display_notes) == ((64, 192), ())
    assert corners(first_image(job.target)) == [[B, A], [D, C]]
    assert prepare_video(job).frames == 0, "it is there already"
