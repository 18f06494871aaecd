"""Colour of shots: the sRGB curve, and the tags by which files say what their numbers mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_HALF = 65504.0
"""The largest finite value of a 16-bit float (IEEE 754 binary16)."""

REC_709 = 1
"""Code of Rec. 709 primaries, transfer and matrix in ITU-T H.273; 2 there says "unspecified"."""

_UNSPECIFIED = 2
# x, y of red, green, blue and white by H.273's code of primaries (its table 2): Rec. 709, 601 (625 and 525 lines),
# Rec. 2020, P3 with a D65 white.
_CHROMATICITIES = {
    REC_709: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, 0.3127, 0.329),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, 0.3127, 0.329),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
}


@dataclass(frozen=True)
class ColourTags:
    """What a file says of its colours; pixel values go through the engine as they are, and so do their tags.

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


def video_tags(primaries: int, transfer: int, matrix: int) -> ColourTags:
    """Tags from a video's codes of ITU-T H.273."""
    stated = [None if code == _UNSPECIFIED else int(code) for code in (primaries, transfer, matrix)]
    return ColourTags(stated[0], stated[1], stated[2])


def luminance_weights(xy: tuple[float, ...]) -> tuple[float, float, float]:
    """Parts of red, green and blue in luminance, by their and white's x, y (SMPTE RP 177)."""
    x, y = np.array(xy[0::2]), np.array(xy[1::2])
    tristimulus = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    red, green, blue = np.linalg.solve(tristimulus[:, :3], tristimulus[:, 3])
    return float(red), float(green), float(blue)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Scene-linear values -> display sRGB in 0..1 (IEC 61966-2-1); clipped, NaN is 0. float32, any shape."""
    clipped = np.nan_to_num(linear.astype(np.float32), nan=0.0).clip(0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def srgb_to_linear(display: np.ndarray) -> np.ndarray:
    """Display sRGB -> scene-linear values, the inverse of `linear_to_srgb` (IEC 61966-2-1). float32, any shape.

    Not clipped: the curve goes on above 1, and its straight part below 0.
    """
    display = display.astype(np.float32, copy=False)
    curve = ((np.maximum(display, 0.0) + np.float32(0.055)) * np.float32(1 / 1.055)) ** np.float32(2.4)
    return np.where(display <= 0.04045, display * np.float32(1 / 12.92), curve)
