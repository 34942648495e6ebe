"""Colours of a decoded picture as an ordinary screen shows them: tags, wide gamuts, and HDR mapped to SDR.

Everything here is about light on the screen, as players have it. PQ (SMPTE ST 2084) states it in cd/m2; HLG (ARIB
STD-B67) comes to it by the system gamma of a screen of 1000 cd/m2 (ITU-R BT.2100). White of SDR is 203 cd/m2 (BT.2408).
What is brighter is bent down by the curve of BT.2390, applied to the largest of R, G, B so that hues stay; what is
darker than about half of white stays as it is. Codes of SDR are light to the power of 1/2.4 (BT.1886).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from avadet.types import Float64Array, UInt8Array

WHITE_NITS = 203.0
"""Brightness of SDR white in an HDR picture, cd/m2."""

PEAK_NITS = 1000.0
"""Brightest light of an HDR video that does not say it, cd/m2."""

_GAMMA = 2.4
_HLG_SYSTEM_GAMMA = 1.2  # of a screen of 1000 cd/m2
_PQ_NITS = 10000.0
_WHITE_CODE = 1020  # of a 10 bit picture as swscale makes it, from 8, 10 and 12 bits alike: 255 * 4
_CURVE_STEPS = 4096
_STRIP_PX = 16384  # pixels that are worked on at a time, so that they stay in the cache

_PQ, _HLG = 16, 18  # transfer characteristics, numbers as in ITU-T H.273
_BT2020, _P3 = 9, 12  # colour primaries, likewise
_SWS_709, _SWS_601, _SWS_2020 = 1, 5, 9  # matrices as swscale counts them; not every PyAV has names for all
_MATRICES = {1: _SWS_709, 4: 4, 5: _SWS_601, 6: _SWS_601, 7: 7, 9: _SWS_2020, 10: _SWS_2020}
_HD_LONG, _SD_SHORT = 1280, 576  # px; untagged pictures of this long side, or a longer short side, are BT.709

_LUMA_2020 = (0.2627, 0.6780, 0.0593)
_WHITE_XY = (0.3127, 0.3290)
_XY: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


class ColourTags(NamedTuple):
    """What a picture says of its colours, numbers as in ITU-T H.273; 2 = nothing.

    Attributes:
        matrix: between YUV and RGB.
        transfer: between codes and light.
        primaries: what red, green and blue are.
    """

    matrix: int
    transfer: int
    primaries: int

    @classmethod
    def of(cls, picture: VideoFrame, codec: Any = None) -> ColourTags:
        """Tags of a picture, or of its codec context where this PyAV does not give those of pictures."""
        transfer = getattr(picture, "color_trc", getattr(codec, "color_trc", 2))
        primaries = getattr(picture, "color_primaries", getattr(codec, "color_primaries", 2))
        return cls(int(picture.colorspace), int(transfer), int(primaries))

    @property
    def is_plain(self) -> bool:
        """Whether the picture is SDR with colours of about BT.709: RGB is then what the matrix gives."""
        return self.transfer not in (_PQ, _HLG) and self.primaries not in (_BT2020, _P3)

    def notes(self) -> list[str]:
        """What is done to the colours beyond the matrix, in words."""
        hdr = {_PQ: "PQ", _HLG: "HLG"}.get(self.transfer)
        if hdr:
            return [f"HDR ({hdr}) is tone-mapped to SDR"]
        gamut = {_BT2020: "BT.2020", _P3: "Display P3"}.get(self.primaries)
        return [f"colours of {gamut} are converted to BT.709"] if gamut else []


def rgb_of(picture: VideoFrame, tags: ColourTags, reformatter: VideoReformatter) -> UInt8Array:
    """RGB of a picture as coded, neither turned nor stretched, uint8 (H, W, 3), full range, BT.709, over black."""
    if not tags.is_plain:
        codes = _decoded(picture, tags, reformatter, "gbrp10le")
        peak_nits = _peak_nits(picture) if tags.transfer == _PQ else PEAK_NITS
        rgb = np.empty(codes.shape, np.uint8)
        rows = max(_STRIP_PX // codes.shape[1], 1)
        for top in range(0, len(codes), rows):
            rgb[top : top + rows] = _sdr(codes[top : top + rows], tags, peak_nits)
        return rgb
    if _has_alpha(picture):
        return _over_black(np.asarray(_decoded(picture, tags, reformatter, "rgba"), np.uint8))
    is_deep = any(component.bits > 8 for component in picture.format.components)
    planes = "gbrp" if is_deep else "rgb24"  # white of deep pictures is 253 in swscale's rgb24
    return np.asarray(_decoded(picture, tags, reformatter, planes), np.uint8)


def _over_black(rgba: UInt8Array) -> UInt8Array:
    alpha = rgba[..., 3]
    rgb = np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
    if alpha.min() == 255:
        return rgb
    return np.asarray(cv2.multiply(rgb, cv2.merge([alpha] * 3), scale=1 / 255), np.uint8)


def _sdr(codes: np.ndarray[Any, np.dtype[np.uint16]], tags: ColourTags, peak_nits: float) -> UInt8Array:
    """SDR codes of BT.709, uint8 (H, W, 3), of 10 bit codes that are HDR or of a wide gamut."""
    light = np.take(_light_of_code(tags.transfer), codes, mode="clip")
    if tags.transfer == _HLG:
        scene = np.asarray(cv2.transform(light, np.array([_LUMA_2020], np.float32)))
        factor = cv2.pow(scene, _HLG_SYSTEM_GAMMA - 1) * (PEAK_NITS / WHITE_NITS)
        light = np.asarray(cv2.multiply(light, cv2.merge([factor] * 3)), np.float32)
    primaries = tags.primaries if tags.primaries in _XY else _BT2020
    light = np.maximum(cv2.transform(light, _to_bt709(primaries)), 0)
    if tags.transfer in (_PQ, _HLG):
        light = _bent(light, peak_nits)
    steps = (np.minimum(light, 1) * 65535).astype(np.uint16)
    return np.asarray(np.take(_codes_of_light(), steps, mode="clip"), np.uint8)


def side_data(picture: VideoFrame, kind: Type) -> bytes:
    """What is attached to a picture, as FFmpeg holds it; nothing where there is none."""
    try:
        found = picture.side_data.get(kind)  # type: ignore[call-overload]
    except ValueError:  # something else is attached that this PyAV has no name for
        return b""
    return b"" if found is None else bytes(found)


def _decoded(picture: VideoFrame, tags: ColourTags, reformatter: VideoReformatter, to: str) -> Any:
    """The picture in another pixel format of RGB, full range; uint8 or uint16 (H, W, C)."""
    shown = reformatter.reformat(
        picture, format=to, src_colorspace=_matrix(picture, tags), dst_color_range=ColorRange.JPEG
    )
    return shown.to_ndarray()


def _matrix(picture: VideoFrame, tags: ColourTags) -> int:
    """Where nothing is said, players go by the size."""
    if tags.matrix in _MATRICES:
        return _MATRICES[tags.matrix]
    if tags.primaries == _BT2020:
        return _SWS_2020
    short, long = sorted((picture.width, picture.height))
    is_hd = long >= _HD_LONG or short > _SD_SHORT
    return _SWS_709 if is_hd else _SWS_601


def _has_alpha(picture: VideoFrame) -> bool:
    return any(component.is_alpha for component in picture.format.components)


@lru_cache(maxsize=8)
def _light_of_code(transfer: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Light of every 10 bit code, float32 (1024,), 1 = SDR white; of HLG that of the scene, 1 = the brightest."""
    codes = np.minimum(np.arange(1024) / _WHITE_CODE, 1)
    if transfer == _PQ:
        return (_nits_of_pq(codes) / WHITE_NITS).astype(np.float32)
    if transfer == _HLG:
        return _scene_of_hlg(codes).astype(np.float32)
    return (codes**_GAMMA).astype(np.float32)


def _nits_of_pq(codes: Float64Array) -> Float64Array:
    """SMPTE ST 2084: light in cd/m2 of codes 0-1."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = codes ** (1 / m2)
    light: Float64Array = _PQ_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light


def _pq_of_nits(nits: Float64Array) -> Float64Array:
    """SMPTE ST 2084: codes 0-1 of light in cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = (nits / _PQ_NITS) ** m1
    codes: Float64Array = ((c1 + c2 * root) / (1 + c3 * root)) ** m2
    return codes


def _scene_of_hlg(codes: Float64Array) -> Float64Array:
    """ARIB STD-B67: light of the scene 0-1 of codes 0-1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


@lru_cache(maxsize=1)
def _codes_of_light() -> UInt8Array:
    """SDR codes 0-255 of light in 65536 steps, uint8."""
    return np.asarray(np.rint(255 * (np.arange(65536) / 65535) ** (1 / _GAMMA)), np.uint8)


def _bent(light: Any, peak_nits: float) -> Any:
    """Light of up to `peak_nits` brought into 0-1; float32 (H, W, 3), 1 = SDR white."""
    largest = cv2.max(cv2.max(light[..., 0], light[..., 1]), light[..., 2])
    steps = np.sqrt(largest * np.float32(WHITE_NITS / peak_nits)) * (_CURVE_STEPS - 1)
    factor = np.take(_factors(peak_nits), steps.astype(np.uint16), mode="clip")
    return cv2.multiply(light, cv2.merge([factor] * 3))


@lru_cache(maxsize=16)
def _factors(peak_nits: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What light is multiplied by, for 4096 steps of the square root of its brightness as a part of the peak."""
    nits = np.linspace(0, 1, _CURVE_STEPS) ** 2 * peak_nits
    nits[0] = nits[1]
    return (bent_nits(nits, peak_nits) / nits).astype(np.float32)


def bent_nits(nits: Float64Array, peak_nits: float) -> Float64Array:
    """Brightness on a screen whose white is 203 cd/m2 of light meant for one of `peak_nits`.

    The curve of ITU-R BT.2390 without its black part: a straight line, then a Hermite spline, both in PQ codes.

    Args:
        nits: float64 (n,), cd/m2, 0 to `peak_nits`.
        peak_nits: cd/m2; at 203 or less there is nothing to bend.

    Returns:
        float64 (n,), cd/m2, 0 to 203.
    """
    if peak_nits <= WHITE_NITS:
        return np.minimum(nits, WHITE_NITS)
    peak, white = _pq_of_nits(np.array([peak_nits, WHITE_NITS]))
    codes, top = _pq_of_nits(nits) / peak, white / peak
    knee = 1.5 * top - 0.5
    t = np.clip((codes - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return _nits_of_pq(np.where(codes < knee, codes, spline) * peak)


def _peak_nits(picture: VideoFrame) -> float:
    """The brightest light of the video by its own word, cd/m2; 1000 where it says nothing believable."""
    peaks = []
    light_level = side_data(picture, Type.CONTENT_LIGHT_LEVEL)
    if len(light_level) >= 4:
        peaks.append(float(struct.unpack_from("=I", light_level)[0]))
    mastering = side_data(picture, Type.MASTERING_DISPLAY_METADATA)
    if len(mastering) >= 88:
        numerator, denominator, _, has_light = struct.unpack_from("=4i", mastering, 72)
        peaks.append(numerator / denominator if has_light and denominator else 0.0)
    believable = [peak for peak in peaks if WHITE_NITS <= peak <= _PQ_NITS]
    return believable[0] if believable else PEAK_NITS


@lru_cache(maxsize=4)
def _to_bt709(primaries: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Matrix from linear RGB of these primaries to that of BT.709, float32 (3, 3)."""
    return (np.linalg.inv(_to_xyz(1)) @ _to_xyz(primaries)).astype(np.float32)


def _to_xyz(primaries: int) -> Float64Array:
    """Matrix from linear RGB to CIE XYZ: columns of the primaries, scaled so that they add up to white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _XY[primaries]]).T
    x, y = _WHITE_XY
    return np.asarray(columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y])), np.float64)
