"""The part of a frame in which a mask can be anything, so that the rest of a large one costs nothing."""

from __future__ import annotations

import cv2
import numpy as np

Part = tuple[slice, slice]
"""Rows and columns of a picture."""

_MOST = 0.25  # of a picture that is taken out of it by itself; more is quicker whole


def whole_part(size: tuple[int, int]) -> Part:
    """All of a picture of (height, width)."""
    return slice(0, size[0]), slice(0, size[1])


def part_around(there: np.ndarray, size: tuple[int, int], margin: int = 2) -> Part | None:
    """The least part that holds all that is there; None where nothing is.

    Args:
        there: bool [h,w], of a smaller picture.
        size: (height, width) of the picture that the part is of.
        margin: pixels of the smaller one around it.
    """
    found = []
    for axis, (side, full) in enumerate(zip(there.shape, size, strict=True)):
        places = np.flatnonzero(there.any(axis=1 - axis))
        if not len(places):
            return None
        start, stop = max(places[0] - margin, 0), min(places[-1] + 1 + margin, side)
        found.append(slice(int(start * full // side), int(-(-stop * full // side))))
    return found[0], found[1]


def united(one: Part | None, other: Part | None) -> Part | None:
    """The least part that holds both."""
    if one is None or other is None:
        return one or other
    rows, columns = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns


def enlarged(values: np.ndarray, size: tuple[int, int], part: Part) -> np.ndarray:
    """A part of values [h,w] or [h,w,c], float32, brought to (height, width) by bilinear interpolation, as `cv2.resize`
    does it."""
    rows, columns = part
    if values.shape[:2] == size:
        return values[part]
    if (rows.stop - rows.start) * (columns.stop - columns.start) > _MOST * size[0] * size[1]:
        return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)[part]
    for axis, (places, full) in enumerate(zip(part, size, strict=True)):
        values = _enlarged_along(values, axis, places, full)
    return values


def _enlarged_along(values: np.ndarray, axis: int, places: slice, full: int) -> np.ndarray:
    side = values.shape[axis]
    at = ((np.arange(places.start, places.stop) + 0.5) * (side / full) - 0.5).clip(0, side - 1)
    first = at.astype(np.intp)
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    share = (at - first).astype(np.float32).reshape(shape)
    low, high = values.take(first, axis), values.take(np.minimum(first + 1, side - 1), axis)
    high -= low
    high *= share
    high += low
    return high
