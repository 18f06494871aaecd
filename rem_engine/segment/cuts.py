"""Where one take of a shot ends and the next begins: hard cuts, found while the frames are read."""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import Any

import cv2
import numpy as np

from ..frames import View
from ..pixels import to_uint8

LOOKAHEAD = 3
"""Frames after a frame that must have been seen before it is known whether a take begins there."""

# Frames on either side of a possible cut that are compared across it.
_NEIGHBOURS = LOOKAHEAD + 1
# Pixels; enough for motion to be followed, little enough for two milliseconds a frame.
_HEIGHT, _WIDTH = 64, 96
# Pixels; the neighbourhood within which two pictures are correlated.
_PATCH = 13
# Grey levels squared: a neighbourhood of less variance is flat and has nothing to correlate.
_FLAT = 16.0
_CORRELATED = 0.5
# Levels of 0..255, for pictures that are flat nearly everywhere.
_CHANGED_COLOUR = 24.0
# Of the picture: less than that proves nothing, since an object that appears at once is no cut.
_LEAST_AREA = 0.2

# Shares of the picture not found again. In footage (docs/protocols.md) it was 0.91 to 1.0 at cuts, and up to 0.54
# within takes, where a handheld camera turned fast.
_CUT = 0.7
_ALIKE = 0.5
# A cut stands out from the frames around it in that share by so much, or in its colours by so many times.
_STANDS_OUT = 0.3
_COLOURS_STAND_OUT = 3.0
_LEAST_COLOURS = 0.05


class CutFinder:
    """Finds hard cuts in frames that are given in order; memory and time do not grow with the shot.

    At a cut most of the picture cannot be found again in the frame before. What has only moved is found by optical
    flow, what has only become brighter or darker by correlation, so that pans, fades and lights are no cuts. Neither
    is what differs from frame to frame all the time (water, fire, noise, a shaken camera), nor an interruption of up
    to three frames after which the picture before comes back (a flash, a dropped frame). A dissolve is no hard cut.

    Attributes:
        cuts: frames, counted from 0, at which a take begins, in order; never frame 0.
        known: whether a take begins is decided for all frames below this.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.known = 0
        self._count = 0
        self._recent: deque[_Small] = deque(maxlen=2 * _NEIGHBOURS)

    def add(self, frame: np.ndarray, view: View | None = None) -> None:
        """Take the next frame, [H,W,3], uint8 or float in 0..1; `view` brings it to display values where it is none."""
        small = _Small(frame, view)
        if self._recent:
            small.compare(self._recent[-1])
        self._recent.append(small)
        self._count += 1
        if self._count > LOOKAHEAD:
            self._decide(self._count - 1 - LOOKAHEAD)

    def finish(self) -> None:
        """Decide on the last frames; no more follow."""
        for index in range(self.known, self._count):
            self._decide(index)

    def _decide(self, index: int) -> None:
        recent = list(self._recent)
        place = index - (self._count - len(recent))
        if place > 0 and _is_cut(recent[max(place - _NEIGHBOURS, 0) : place], recent[place : place + _NEIGHBOURS]):
            self.cuts.append(index)
        self.known = index + 1


class _Small:
    """A frame reduced for comparison, and how it differs from the one before.

    Attributes:
        unmatched: share of the picture not found in the frame before, 0..1.
        recoloured: Hellinger distance (squared) of the colour histograms, 0..1.
    """

    def __init__(self, frame: np.ndarray, view: View | None) -> None:
        small = cv2.resize(np.ascontiguousarray(frame), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        self.colours = to_uint8(view(small) if view else small)
        self.grey = cv2.cvtColor(self.colours, cv2.COLOR_RGB2GRAY)
        self.histogram = _histogram(self.colours)
        self.plain = _blurred(self.colours.astype(np.float32))
        self.detail = self.colours - self.plain
        self.variance = _blurred((self.detail**2).mean(axis=-1))
        self.unmatched = self.recoloured = 0.0

    def compare(self, before: _Small) -> None:
        self.unmatched = _unmatched(before, self)
        self.recoloured = 1.0 - float(before.histogram @ self.histogram)


def _is_cut(before: list[_Small], after: list[_Small]) -> bool:
    frame = after[0]
    if frame.unmatched < _CUT:
        return False
    # The first of `before` was compared with a frame outside, or with none.
    sides = [side for side in (before[1:], after[1:]) if side]
    # One frame says little of what is usual; it may itself be a take.
    sides = [side for side in sides if len(side) > 1] or sides
    unmatched = max((median_low(small.unmatched for small in side) for side in sides), default=0.0)
    recoloured = max((median_low(small.recoloured for small in side) for side in sides), default=0.0)
    in_share = frame.unmatched >= unmatched + _STANDS_OUT
    in_colours = frame.recoloured >= max(_COLOURS_STAND_OUT * recoloured, _LEAST_COLOURS)
    if not (in_share or in_colours):
        return False
    return all(_unmatched(one, other) >= _ALIKE for one in before for other in after)


def _unmatched(before: _Small, after: _Small) -> float:
    """Share of what two pictures show that is not the same, wherever it has moved to between them, 0..1."""
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = search.calc(after.grey, before.grey, None)
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)

    def followed(picture: np.ndarray) -> np.ndarray:
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    covariance = _blurred((followed(before.detail) * after.detail).mean(axis=-1))
    variance = followed(before.variance)
    shown = np.maximum(variance, after.variance) > _FLAT
    differs = shown & (covariance < _CORRELATED * np.sqrt((variance + 1.0) * (after.variance + 1.0)))
    if np.count_nonzero(shown) < _LEAST_AREA * shown.size:
        recoloured = ~shown & (np.abs(after.plain - before.plain).max(axis=-1) > _CHANGED_COLOUR)
        shown, differs = shown | recoloured, differs | recoloured
    if np.count_nonzero(differs) < _LEAST_AREA * shown.size:
        return 0.0
    return np.count_nonzero(differs) / np.count_nonzero(shown)


def _blurred(values: np.ndarray) -> np.ndarray:
    return cv2.blur(values, (_PATCH, _PATCH))


def _histogram(colours: np.ndarray) -> np.ndarray:
    """Square roots of the shares of 256 colours (hue, saturation, value), as the Hellinger distance takes them."""
    picture = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([picture], [0, 1, 2], None, [8, 4, 8], [0, 180, 0, 256, 0, 256])
    return np.sqrt(counts.ravel() / counts.sum())
