"""Masks scaled up so that each of their cells has its own mean again.

A bicubic upscale runs through the cells' values, so that its means over them are blurred once more. Where a mask has no
grain, these are most of what it misses of smoke, motion blur and defocus, and nearly all where cells are hardly larger
than the plate's pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .resampling import Size, cubic, linear, means

_FINE = 4.0
"""Pixels of the plate to a cell up to which its mean is hardly other than what they are."""
_ROUNDS = 3
"""Of so fine a mask; a fourth takes away a fiftieth of what is left."""
_OF_COARSE = 0.8
"""Share that is made good, once, of others: their cells say less of what is within, and rain would flicker."""


def with_means(mask: Tensor, scaled: Tensor, model: Size) -> Tensor:
    """A mask scaled up, bicubic, from cells that were moved until their means are the mask's.

    Args:
        mask: float32 [h,w] in 0..1.
        scaled: the same at the plate's size, float32 [height,width], bicubic.
        model: (height, width) at which a model made the mask; where a side of it is longer than the plate's, the mask
            has the plate's, as the engine scales it.

    Returns:
        float32 [height,width] in 0..1.
    """
    cells, planes, size = mask[None], scaled[None], (scaled.shape[0], scaled.shape[1])
    if scaled.numel() < _FINE * mask.numel():
        for _ in range(_ROUNDS):
            cells = cells + mask - _seen(planes, model)
            planes = cubic(cells, size)
        return planes[0]
    least, most = -_highest(-cells), _highest(cells)
    moved = cells + _OF_COARSE * (cells - _seen(planes, model))
    return cubic(torch.minimum(torch.maximum(moved, least), most), size)[0]  # or what is small would become a peak


def _highest(cells: Tensor) -> Tensor:
    """The greatest value of each cell and those around it."""
    return F.max_pool2d(cells, 3, stride=1, padding=1)


def _seen(planes: Tensor, model: Size) -> Tensor:
    """Planes of the plate's size as a mask has them."""
    size = (planes.shape[1], planes.shape[2])
    for axis in (0, 1):
        finer = (model[0], size[1]) if axis == 0 else (size[0], model[1])
        if finer[axis] > size[axis]:
            planes = linear(means(planes, finer), size)
    return means(planes, (min(model[0], size[0]), min(model[1], size[1])))
