"""The model's own cells: out of masks that were scaled up, and what a mask is sure of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

# Of what a model says of empty cells: its standard deviation is _SPREAD times the median distance to the 3x3 median
# (1.4826 for normal noise, and what the median of nine takes away), and where that is below _QUIET there is no noise.
_EMPTYISH, _SPREAD, _QUIET, _MOST_NOISE = 0.15, 1.7, 0.004, 0.05
# Cells this close to 0 and 1, with their neighbours, are sure; three deviations of the noise where that is more.
_NOTHING, _ALL = 0.006, 0.02
# Difference of neighbouring cells from which a mask has an edge there.
_STEEP = 0.1
# The body of a thing: cells whose neighbours within two cells are all above it.
_BODY = 0.6
# A ramp of bilinear upscaling bends at its knots alone: so much of all bending may be found elsewhere.
_ELSEWHERE = 0.02
# The largest difference between a mask and one scaled up from cells that were found in it: twice a step of 8 bits.
_SAME = 2.0 / 255.0
_FEWEST_CELLS = 16
# Lines of a mask that are scaled down at once: in float64 a whole one would take most of the memory of its edges.
_LINES = 128


@dataclass(frozen=True)
class Cells:
    """A mask at the model's own size, cleaned of its grain.

    Attributes:
        soft: float32 [h,w] in 0..1, the mean of alpha over each cell.
        mean: the same; 0 where it is empty.
        level: the same, smoother where there is grain: for decisions.
        empty, full: bool [h,w]; cells that are 0 or 1 beyond doubt, together with their neighbours.
        steep: bool [h,w]; cells near an edge.
        noise: standard deviation of the grain.
        white: the level of the thing's body.
        sharpness: difference of neighbouring cells that one in twenty of those at an edge have; 0 where there are none.
        model: (height, width) at which the model made the mask; where a side is longer than the plate's, the mask has
            that of the plate.
    """

    soft: np.ndarray
    mean: np.ndarray
    level: np.ndarray
    empty: np.ndarray
    full: np.ndarray
    steep: np.ndarray
    noise: float
    white: float
    sharpness: float
    model: tuple[int, int]

    @property
    def clean(self) -> float:
        """0..1; how sure it is that there is no grain, so that each cell's value is a mean to be found again."""
        return min(max(2.0 - 2.0 * self.noise / _QUIET, 0.0), 1.0)

    @property
    def unsure(self) -> np.ndarray:
        """bool [h,w]."""
        return ~(self.empty | self.full)

    @classmethod
    def of(cls, mask: np.ndarray, model: tuple[int, int] | None = None) -> Cells:
        """From a mask, float32 [h,w], and the (height, width) at which it was made; None where that is its own."""
        model = model or (mask.shape[0], mask.shape[1])
        mask = mask.clip(0.0, 1.0)
        floor, noise = _grain(mask)
        mask = ((mask - floor) / (1.0 - floor)).clip(0.0, 1.0)
        noisy = noise >= _QUIET
        level = cv2.GaussianBlur(mask, (0, 0), 0.7) if noisy else mask
        empty = highest(level, 1) < max(_NOTHING, 3.0 * noise)
        full = lowest(level, 1) > 1.0 - max(_ALL, 3.0 * noise)
        mean = cv2.bilateralFilter(mask, 5, 3.0 * noise, 1.2) if noisy else mask.copy()
        soft = mean if noisy else mask  # without grain, what is next to nothing is a halo
        mean[empty] = 0.0
        slope = _slope(level)
        at_edge = (slope > _STEEP) & ~empty
        steep = widened(at_edge, 2)
        sharpness = float(np.percentile(slope[at_edge], 95)) if at_edge.any() else 0.0
        body = level[lowest(level, 2) > _BODY]
        white = float(np.median(body)) if body.size > 10 else float(level.max())
        return cls(soft, mean, level, empty, full, steep, noise, white, sharpness, model)


def highest(values: np.ndarray, radius: int) -> np.ndarray:
    """The greatest value within a square of `radius` around each cell."""
    return cv2.dilate(values, _square(radius)) if radius else values


def lowest(values: np.ndarray, radius: int) -> np.ndarray:
    """The least value within a square of `radius` around each cell."""
    return cv2.erode(values, _square(radius)) if radius else values


def widened(where: np.ndarray, radius: int) -> np.ndarray:
    """bool [h,w] grown by `radius` cells."""
    return cv2.dilate(where.astype(np.uint8), _square(radius)).astype(bool)


def to_cells(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What a mask was before it was scaled up, bilinear: the cells whose upscaled mask comes nearest, by least squares.

    Args:
        mask: float32 [H,W].
        size: (h, w) of the cells; a side that is longer than the mask's is taken as that.

    Returns:
        float32 [h,w]
    """
    for axis, count in enumerate(size):
        if count < mask.shape[axis]:
            mask = np.moveaxis(_unscaled(np.moveaxis(mask, axis, 0), count), 0, axis)
    return np.ascontiguousarray(mask, np.float32)


def find_size(mask: np.ndarray) -> tuple[int, int] | None:
    """(h, w) from which a mask [H,W] was scaled up, bilinear, by more than 2; None where it was not, or has too little
    of an edge to tell."""
    height, width = (_count_of(mask, axis) for axis in (0, 1))
    if height is None or width is None:
        return None
    return (height, width) if upscaling_error(mask, (height, width)) < _SAME else None


def upscaling_error(mask: np.ndarray, size: tuple[int, int]) -> float:
    """The largest difference of a mask [H,W] to the nearest of those of (h, w) that were scaled up, bilinear."""
    again = cv2.resize(to_cells(mask, size), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return float(np.abs(again - mask).max())


def _grain(mask: np.ndarray) -> tuple[float, float]:
    """(floor, standard deviation) of what the model says of empty cells; a faint halo is neither."""
    low = mask < _EMPTYISH
    if np.count_nonzero(low) < 20:
        return 0.0, 0.0
    noise = min(_MOST_NOISE, _SPREAD * float(np.median(np.abs(mask - cv2.medianBlur(mask, 3))[low])))
    if noise < _QUIET:
        return 0.0, noise
    return min(_MOST_NOISE, float(np.percentile(mask[low], 20)) + 0.5 * noise), noise


def _slope(values: np.ndarray) -> np.ndarray:
    """The greatest difference of each cell to its four neighbours."""
    framed = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    beside = (framed[1:-1, 2:], framed[1:-1, :-2], framed[2:, 1:-1], framed[:-2, 1:-1])
    return np.max([np.abs(other - values) for other in beside], axis=0)


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


@lru_cache(maxsize=8)
def _scaling(count: int, length: int) -> tuple[Any, np.ndarray]:
    """Bilinear scaling of `count` cells to `length` pixels: its transposed weights, sparse [count,length], and the
    upper form of the tridiagonal matrix of its normal equations, [2,count]."""
    from scipy.sparse import csr_matrix  # here: it takes a fraction of a second, and only solved edges need it

    place = ((np.arange(length) + 0.5) * count / length - 0.5).clip(0.0, count - 1.0)
    left = np.minimum(place.astype(np.int64), count - 2)
    share = place - left
    columns = np.arange(length)
    transposed = csr_matrix(
        (
            np.concatenate([1.0 - share, share]),
            (np.concatenate([left, left + 1]), np.concatenate([columns, columns])),
        ),
        shape=(count, length),
    )
    normal = transposed @ transposed.T
    banded = np.zeros((2, count))
    banded[1] = normal.diagonal() + 1e-6  # a cell that hardly any pixel saw stays finite
    banded[0, 1:] = normal.diagonal(1)
    return transposed, banded


def _unscaled(values: np.ndarray, count: int) -> np.ndarray:
    """[length,n] -> [count,n] along the first axis."""
    from scipy.linalg import solveh_banded

    if count < 2:
        return values.mean(axis=0, keepdims=True)
    transposed, banded = _scaling(count, len(values))
    cells = np.empty((count, values.shape[1]), np.float32)
    for first in range(0, values.shape[1], _LINES):
        lines = slice(first, first + _LINES)
        cells[:, lines] = solveh_banded(banded, transposed @ values[:, lines])
    return cells


def _count_of(mask: np.ndarray, axis: int) -> int | None:
    """Cells along an axis from which a mask was scaled up; None where it was not."""
    length = mask.shape[axis]
    bend = np.abs(np.diff(mask, 2, axis=axis)).mean(axis=1 - axis)  # of pixels 1 to length - 2
    total = float(bend.sum())
    if total < 1e-3:
        return None
    for count in range(_FEWEST_CELLS, int(length / 2.05) + 1):
        knots = (np.arange(count) + 0.5) * length / count - 0.5
        at_knots = np.zeros(length, bool)
        for pixels in (np.floor(knots), np.ceil(knots)):
            at_knots[pixels.astype(np.int64).clip(0, length - 1)] = True
        share = np.count_nonzero(~at_knots[1:-1]) / max(length - 2, 1)
        if float(bend[~at_knots[1:-1]].sum()) < _ELSEWHERE * share * total:
            return count
    return None
