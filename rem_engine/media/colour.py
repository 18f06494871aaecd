"""Colour of shots: the sRGB curve, and the tags by which files say what their numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LARGEST_HALF = 65504.0
"""The largest finite value of a 16-bit float (IEEE 754 binary16)."""

REC_709 = 1
"""Code of Rec. 709 primaries, transfer and matrix in ITU-T H.273."""

UNSPECIFIED = 2
"""Code of H.273 for what is not said."""

# x, y of red, green, blue and white by H.273's code of primaries (its table 2): Rec. 709, NTSC, 601 (625 and 525
# lines), film, Rec. 2020, P3 with cinema's white and with a D65 white, EBU 3213.
_CHROMATICITIES = {
    REC_709: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.31, 0.316),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, 0.3127, 0.329),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, 0.3127, 0.329),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.31, 0.316),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
    22: (0.63, 0.34, 0.295, 0.605, 0.155, 0.077, 0.3127, 0.329),
}

LUMA = {REC_709: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma by the matrix' code in H.273 (its table 4): Rec. 709, 601, SMPTE 240M, Rec. 2020 with
non-constant luminance."""

_TOGETHER = 1 << 15  # values


@dataclass(frozen=True)
class ColourTags:
    """What a file says of its colours.

    Attributes:
        primaries, transfer, matrix: codes of ITU-T H.273 (1 is Rec. 709 in each), None where the file is silent.
        chromaticities: an EXR's own x, y of red, green, blue and white, None where it is silent.
    """

    primaries: int | None = None
    transfer: int | None = None
    matrix: int | None = None
    chromaticities: tuple[float, ...] | None = None

    def xy(self) -> tuple[float, ...]:
        """x, y of red, green, blue and white; Rec. 709 where nothing is said."""
        return self.chromaticities or _CHROMATICITIES.get(self.primaries or REC_709, _CHROMATICITIES[REC_709])


GAMUTS = {
    "rec709": _CHROMATICITIES[REC_709],
    "rec2020": _CHROMATICITIES[9],
    "p3d65": _CHROMATICITIES[12],
    "ap0": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "ap1": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "adobergb": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329),
    "awg3": (0.684, 0.313, 0.221, 0.848, 0.0861, -0.102, 0.3127, 0.329),
    "awg4": (0.7347, 0.2653, 0.1424, 0.8576, 0.0991, -0.0308, 0.3127, 0.329),
    "sgamut3": (0.73, 0.28, 0.14, 0.855, 0.1, -0.05, 0.3127, 0.329),
    "sgamut3cine": (0.766, 0.275, 0.225, 0.8, 0.089, -0.087, 0.3127, 0.329),
}
"""x, y of red, green, blue and white by the name that OpenColorIO's configurations give the gamut: Rec. 709, Rec. 2020,
P3 with a D65 white, ACES AP0 and AP1 (SMPTE ST 2065-1, S-2014-004), Adobe RGB, and those of ARRI and Sony."""

# Of x and y: headers are written with three decimals, and as 16-bit or 32-bit floats.
_SAME_XY = 2e-3
# Cones' response to X, Y, Z (Bradford; Lam 1985), in which whites are brought to one another.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def gamut_name(xy: tuple[float, ...]) -> str | None:
    """The name of `GAMUTS` that primaries and white have within rounding, or None."""
    return next((name for name, known in GAMUTS.items() if np.abs(np.subtract(xy, known)).max() <= _SAME_XY), None)


def to_rec709(xy: tuple[float, ...]) -> np.ndarray:
    """The matrix, float64 [3,3], from light of these primaries and white to that of Rec. 709 (SMPTE RP 177; white goes
    to white, by Bradford's cones)."""
    return np.linalg.solve(to_xyz(GAMUTS["rec709"]), _adapted(xy, GAMUTS["rec709"]) @ to_xyz(xy))


def to_xyz(xy: tuple[float, ...]) -> np.ndarray:
    """The matrix, float64 [3,3], from light of these primaries and white to X, Y, Z (SMPTE RP 177)."""
    x, y = np.array(xy[0::2]), np.array(xy[1::2])
    tristimulus = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return tristimulus[:, :3] * np.linalg.solve(tristimulus[:, :3], tristimulus[:, 3])


def _adapted(xy: tuple[float, ...], other: tuple[float, ...]) -> np.ndarray:
    white, wanted = (_BRADFORD @ np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in (xy[6:8], other[6:8]))
    return np.linalg.solve(_BRADFORD, (wanted / white)[:, None] * _BRADFORD)


def video_tags(primaries: int, transfer: int, matrix: int) -> ColourTags:
    """Tags from a video's codes of ITU-T H.273."""
    stated = [None if code == UNSPECIFIED else int(code) for code in (primaries, transfer, matrix)]
    return ColourTags(stated[0], stated[1], stated[2])


def default_matrix(height: int, primaries: int | None = None) -> int:
    """H.273's code of the matrix of Y'CbCr that does not say which, read or written: Rec. 709's from 720 lines on,
    601's below; Rec. 2020's beside its primaries.

    Args:
        height: lines, as stored.
        primaries: their code, None where they are not said.
    """
    return 9 if primaries == 9 else REC_709 if height >= 720 else 6


def luma_weights(matrix: int) -> tuple[float, float, float]:
    """Weights of red, green and blue in luma by a matrix' code that `LUMA` has."""
    red, blue = LUMA[matrix]
    return red, 1.0 - red - blue, blue


def luminance_weights(xy: tuple[float, ...]) -> tuple[float, float, float]:
    """Parts of red, green and blue in luminance, by their and white's x, y (SMPTE RP 177)."""
    red, green, blue = to_xyz(xy)[1].tolist()
    return red, green, blue


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Scene-linear values -> display sRGB in 0..1 (IEC 61966-2-1); clipped, NaN is 0. float32, any shape."""
    return _bent(linear, _srgb_of_light)


def srgb_to_linear(display: np.ndarray) -> np.ndarray:
    """Display sRGB -> scene-linear values, the inverse of `linear_to_srgb` (IEC 61966-2-1). float32, any shape.

    Not clipped: the curve goes on above 1, and its straight part below 0.
    """
    return _bent(display, _light_of_srgb)


def _bent(values: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A curve over float32 of any shape, so much at a time that what is made on the way fits into the cache."""
    given = np.ascontiguousarray(values, np.float32).reshape(-1)
    bent = np.empty(given.shape, np.float32)
    for start in range(0, given.size, _TOGETHER):
        bent[start : start + _TOGETHER] = curve(given[start : start + _TOGETHER])
    return bent.reshape(values.shape)


def _srgb_of_light(light: np.ndarray) -> np.ndarray:
    light = np.fmin(np.fmax(light, np.float32(0.0)), np.float32(1.0))  # of NaN and a number they give the number
    shown = _power(light, 1 / 2.4)
    shown *= np.float32(1.055)
    shown -= np.float32(0.055)
    np.multiply(light, np.float32(12.92), out=shown, where=light <= np.float32(0.0031308))
    return shown


def _light_of_srgb(display: np.ndarray) -> np.ndarray:
    light = np.maximum(display, np.float32(0.0))
    light += np.float32(0.055)
    light *= np.float32(1 / 1.055)
    light = _power(light, 2.4)
    np.multiply(display, np.float32(1 / 12.92), out=light, where=display <= np.float32(0.04045))
    return light


def _power(values: np.ndarray, exponent: float) -> np.ndarray:
    """Numbers from 0 on to a power, float32 [N]."""
    import cv2  # here, since settings import this file; on most processors several times as quick as NumPy

    return cv2.pow(values, exponent).reshape(-1)
