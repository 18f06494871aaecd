"""How a model's mask blurs and moves the means of its cells, found from a matte that follows the plate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .resampling import on_cpu

# Lengths in cells. A Gaussian of less than the least moves by whole cells alone.
_REACH = 4
_LEAST, _MOST, _FARTHEST = 0.35, 1.5, 1.5
# What is taken for likely before anything is seen, and what must be left over before that has a say: of a fence or a
# net a weaker blur looks like a paler thing.
_LIKELY, _STRAYS = 0.8, 0.125
_STEPS = 6


@dataclass(frozen=True)
class Spread:
    """A Gaussian blur and a shift.

    Attributes:
        sigma: standard deviation of the blur, in cells.
        down, right: the shift, in cells.
        left_over: root of the mean square of what the two do not explain of a mask.
    """

    sigma: float
    down: float
    right: float
    left_over: float


class Blur:
    """Applies a spread to each of n planes of cells, and its transpose; the border weighs nothing."""

    def __init__(self, spreads: Sequence[Spread], like: Tensor) -> None:
        """For planes such as `like`, [n,h,w]."""
        self._down, self._right = (
            torch.from_numpy(np.stack([_kernel(one.sigma, getattr(one, side)) for one in spreads])).to(like)
            for side in ("down", "right")
        )
        self._within = _filtered(torch.ones_like(like), self._down, self._right)

    def __call__(self, planes: Tensor) -> Tensor:
        return _filtered(planes, self._down, self._right).div_(self._within)

    def back(self, planes: Tensor) -> Tensor:
        """The transpose."""
        return _filtered(planes / self._within, self._down.flip(1), self._right.flip(1))


def found_spread(means: np.ndarray, mask: np.ndarray, where: np.ndarray) -> Spread:
    """The spread that makes a matte's means most like a mask, by least squares (Gauss and Newton).

    Args:
        means: float [h,w].
        mask: float [h,w].
        where: bool [h,w], the cells to be compared, of which there is at least one.
    """
    variance, down, right, left_over = _LIKELY**2, 0.0, 0.0, 0.1
    plane, seen = torch.from_numpy(means.astype(np.float64))[None], mask[where].astype(np.float64)
    for _ in range(_STEPS):
        here = Spread(variance**0.5, down, right, 0.0)
        spread = Blur([here], plane)(plane)[0].numpy()
        slopes = [_gradient(spread, axis) for axis in (0, 1)]
        bend = _gradient(slopes[0], 0) + _gradient(slopes[1], 1)
        # A mask's gain is fitted with the rest, or a thing that is not yet all there would seem blurred.
        columns = np.stack([part[where] for part in (spread, -slopes[0], -slopes[1], 0.5 * bend)], axis=1)
        normal, right_side = columns.T @ columns + 1e-6 * np.eye(4), columns.T @ seen
        unlikely = len(seen) * (left_over / _STRAYS) ** 4
        normal[3, 3] += unlikely
        right_side[3] += unlikely * (_LIKELY**2 - variance)
        steps = np.linalg.solve(normal, right_side)
        gain = max(float(steps[0]), 0.1)
        variance = float(np.clip(variance + np.clip(steps[3] / gain, -0.5, 0.5), _LEAST**2, _MOST**2))
        down, right = (
            float(np.clip(now + step / gain, -_FARTHEST, _FARTHEST))
            for now, step in ((down, steps[1]), (right, steps[2]))
        )
        left_over = float(np.sqrt(np.square(columns @ steps - seen).mean()))
    return Spread(variance**0.5, down, right, left_over)


def _gradient(plane: np.ndarray, axis: int) -> np.ndarray:
    return np.gradient(plane, axis=axis) if plane.shape[axis] > 1 else np.zeros_like(plane)


def _kernel(sigma: float, shift: float) -> np.ndarray:
    weights = np.exp(-0.5 * ((np.arange(-_REACH, _REACH + 1) - shift) / sigma) ** 2)
    return weights / weights.sum()


def _filtered(planes: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each plane [n,h,w] convolved with its kernels [n,k], 0 beyond its border."""
    if on_cpu(planes):
        each = zip(planes.numpy(), right.flip(1).numpy(), down.flip(1).numpy())
        filtered = [cv2.sepFilter2D(plane, -1, x, y, borderType=cv2.BORDER_CONSTANT) for plane, x, y in each]
        return torch.from_numpy(np.stack(filtered))
    for dim, kernels in ((1, down), (2, right)):
        size, side = planes.shape[dim], kernels.shape[1]
        framed = F.pad(planes, (_REACH, _REACH) if dim == 2 else (0, 0, _REACH, _REACH))
        planes = torch.zeros_like(planes)
        for place in range(side):
            planes.addcmul_(framed.narrow(dim, side - 1 - place, size), kernels[:, place, None, None])
    return planes
