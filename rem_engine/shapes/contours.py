"""Contours of a matte, and how soft it is along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# A contour is resampled to a place a pixel, and to no more places than these.
_MOST_PLACES = 1500
# Pixels along a contour, to either side, over which it is told how much it turns.
_TURN_REACH = 5.0
# Pixels to either side of a contour where its ramp is looked for.
_RAMP_REACH = 48


@dataclass(frozen=True)
class Contour:
    """A closed contour; the matte is higher to one and the same side of it.

    Attributes:
        places: float64 [N,2], (x, y), evenly spaced, the last followed by the first; see `Shape` for the coordinates.
        is_hole: whether the matte is lower inside.
        inward: float64 [N,2], unit vectors towards where the matte is higher.
        turning: float64 [N], radians by which the contour turns around each place.
    """

    places: np.ndarray
    is_hole: bool
    inward: np.ndarray
    turning: np.ndarray

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(*(np.roll(self.places, -1, axis=0) - self.places).T).sum())


def contours_of(matte: np.ndarray, level: float, least_area: float) -> list[Contour]:
    """The contours of a matte at a level, by marching squares, which places them between pixels.

    Args:
        matte: float32 [H,W]; beyond the frame it counts as 0, so that what is cut off closes along the border.
        level: between 0 and 1.
        least_area: pixels within a contour, less than which have none.
    """
    import contourpy  # here, so that what writes no shapes does without it

    padded = np.pad(matte, 1)
    lines: Any = contourpy.contour_generator(z=padded).lines(level)
    found = []
    for line in lines:
        line = line[:-1] - 0.5  # a pixel's middle is at 0.5, and the frame was padded by one
        if len(line) < 4:
            continue
        area = _signed_area(line)
        if abs(area) >= least_area:
            found.append(_contour(line, area < 0.0))
    return found


def area_of(polygon: np.ndarray) -> float:
    """Pixels within a closed polygon [N,2]."""
    return abs(_signed_area(polygon))


def resampled(line: np.ndarray, count: int) -> np.ndarray:
    """A closed polygon [N,2] at `count` places, evenly spaced from its first on."""
    closed = np.concatenate([line, line[:1]])
    along = np.concatenate([[0.0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
    wanted = np.linspace(0.0, along[-1], count, endpoint=False)
    return np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def softness(matte: np.ndarray) -> tuple[float, float]:
    """Pixels (in between, solid) of a matte: between 0.1 and 0.9, and above."""
    solid = int(np.count_nonzero(matte >= 0.9))
    return float(np.count_nonzero(matte > 0.1) - solid), float(solid)


def ramp_width(matte: np.ndarray, contour: Contour, level: float, step: float) -> float:
    """Pixels over which the matte goes from `level` - `step` / 2 to `level` + `step` / 2 across a contour: their median
    along it, as the slope of the middle four fifths has it, which rounding at either end does not reach."""
    every = max(1, len(contour.places) // 128)
    places, inward = contour.places[::every], contour.inward[::every]
    reach = np.arange(-_RAMP_REACH, _RAMP_REACH + 1, dtype=np.float64)
    across = places[:, None] + reach[None, :, None] * inward[:, None] - 0.5
    remap: Any = cv2.remap
    profile = remap(
        matte, across.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0
    )
    low, high = level - 0.4 * step, level + 0.4 * step
    ends = [
        _crossing(profile[:, _RAMP_REACH::-1], low, falling=True),
        _crossing(profile[:, _RAMP_REACH:], high, falling=False),
    ]
    return float(np.median(ends[0] + ends[1]) / 0.8)


def _crossing(profile: np.ndarray, value: float, *, falling: bool) -> np.ndarray:
    """Pixels from the start of each row at which it passes a value; where it does not, its whole length."""
    past = profile <= value if falling else profile >= value
    first = past.argmax(axis=1)
    rows = np.arange(len(profile))
    before = profile[rows, np.maximum(first - 1, 0)]
    after = profile[rows, first]
    change = after - before
    share = np.where(np.abs(change) > 1e-9, (value - before) / np.where(change == 0.0, 1.0, change), 0.0)
    found = np.where(first > 0, first - 1 + share.clip(0.0, 1.0), 0.0)
    return np.where(past.any(axis=1), found, profile.shape[1] - 1.0)


def _contour(line: np.ndarray, is_hole: bool) -> Contour:
    length = np.hypot(*(np.roll(line, -1, axis=0) - line).T).sum()
    count = int(np.clip(round(length), 16, _MOST_PLACES))
    places = resampled(line, count)
    ahead = np.roll(places, -1, axis=0) - np.roll(places, 1, axis=0)
    tangent = ahead / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    # The matte is higher to the same hand of every contour, holes included.
    inward = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    reach = max(1, round(_TURN_REACH * count / length))
    before, after = places - np.roll(places, reach, axis=0), np.roll(places, -reach, axis=0) - places
    turning = np.arctan2(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], (before * after).sum(axis=1))
    return Contour(places, is_hole, inward, turning)


def _signed_area(line: np.ndarray) -> float:
    x, y = line.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
