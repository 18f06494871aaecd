"""Grain of solved edges: where a thing and its ground have the same colours, their texture becomes alpha's."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .resampling import on_cpu

# Energy of what was solved as a share of the cubic upscale's, around a place: strands of hair have up to 0.04, a pane
# whose texture is the ground's has 0.2 to 0.5.
_FITS, _GRAINY = 0.05, 0.12
GRAIN_ACROSS = 4
"""Pixels of the grid to a cell from which what is narrower than grain is narrower than a cell, too; else thin things
would go with it."""
_AROUND = 2.0
"""Cells; the deviation of a Gaussian."""
_SIDE = 5


def graininess(plain: np.ndarray, solved: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How little the plate explains a solution, 0..1.

    Args:
        plain, solved: energy of cells, float [h,w], of the cubic upscale and of the solution.
        where: bool [h,w], the cells that count.
    """
    around = [cv2.GaussianBlur(energy * where, (0, 0), _AROUND) for energy in (plain, solved)]
    return ((around[1].clip(min=0.0) / (around[0].clip(min=0.0) + 1e-3) - _FITS) / (_GRAINY - _FITS)).clip(0.0, 1.0)


def without_grain(planes: Tensor) -> Tensor:
    """Planes [n,h,w] without what is narrower than two pixels: the median of 5x5 of the median of 5x5."""
    for _ in range(2):
        if on_cpu(planes):
            quiet = [cv2.medianBlur(plane.float().numpy(), _SIDE) for plane in planes]
            planes = torch.from_numpy(np.stack(quiet)).to(planes)
        else:
            framed = F.pad(planes[:, None], (_SIDE // 2,) * 4, mode="replicate")
            planes = F.unfold(framed, _SIDE).median(dim=1).values.view_as(planes)
    return planes
