"""Alpha from the grid it was solved on to the plate: as a linear function of the plate's colours (He and Sun 2015)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..symmetric import PAIRS, solved
from .laplacian import whitened
from .resampling import linear, on_cpu, size_of

_RADIUS, _EPSILON = 2, 1e-6
_AREA = (2 * _RADIUS + 1) ** 2
_BAND = 64
"""Rows that are worked on at once: whole pictures in float64 would take most of the memory that a frame's edges do."""


def at_full_size(alpha: Tensor, picture: Tensor, plate: Tensor) -> Tensor:
    """Alpha of a plate from that of the plate reduced.

    Args:
        alpha: float32 [n,h,w] in 0..1.
        picture: float32 [h,w,3], the plate reduced.
        plate: float32 [H,W,3].

    Returns:
        float32 [n,H,W] in 0..1.
    """
    if on_cpu(alpha):
        lines = [torch.from_numpy(_lines(plane, picture.numpy())) for plane in alpha.numpy()]
    else:
        lines = list(_lines_by_windows(alpha, picture))
    return torch.stack([_applied(line, plate) for line in lines])


def _applied(line: Tensor, plate: Tensor) -> Tensor:
    """Slopes and offset [4,h,w], and a plate [H,W,3] -> [H,W]."""
    alpha = linear(line[3:], size_of(plate))[0]
    for slope, channel in zip(line[:3], plate.unbind(dim=-1), strict=True):
        alpha.addcmul_(linear(slope[None], size_of(plate))[0], channel)  # a plane of the plate's size at a time
    return alpha.clamp_(0.0, 1.0)


def _lines(alpha: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Slopes and offset, float32 [4,h,w], averaged over the windows that a pixel lies in; in float64 by box filters."""
    height, margin = len(alpha), 2 * _RADIUS  # what a band knows of its neighbours: windows, and these averaged
    lines = np.empty((4, *alpha.shape), np.float32)
    for top in range(0, height, _BAND):
        bottom, first = min(top + _BAND, height), max(top - margin, 0)
        with_margin = slice(first, bottom + margin)
        lines[:, top:bottom] = _band_of_lines(alpha[with_margin], picture[with_margin])[:, top - first : bottom - first]
    return lines


def _band_of_lines(alpha: np.ndarray, picture: np.ndarray) -> np.ndarray:
    colours = picture.astype(np.float64)
    mean = _box(colours)
    products = _box(np.dstack([colours[..., i] * colours[..., j] for i, j in PAIRS]))
    covariance = [products[..., place] - mean[..., i] * mean[..., j] for place, (i, j) in enumerate(PAIRS)]
    level = _box(alpha.astype(np.float64))
    together = np.moveaxis(_box(colours * alpha[..., None]) - mean * level[..., None], -1, 0)
    slopes = solved(covariance, together, _EPSILON)
    offset = level - sum(slope * mean[..., channel] for channel, slope in enumerate(slopes))
    return np.stack([_box(part.astype(np.float32)) for part in (*slopes, offset)])


def _box(values: np.ndarray) -> np.ndarray:
    side = 2 * _RADIUS + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)


def _lines_by_windows(alpha: Tensor, picture: Tensor) -> Tensor:
    """The same as [n,4,h,w], from whitened windows, which hold in float32."""
    height, width = picture.shape[:2]
    border = (_RADIUS,) * 4
    framed = F.pad(picture.permute(2, 0, 1)[None], border, mode="reflect")[0].permute(1, 2, 0)
    levels = F.unfold(F.pad(alpha[:, None], border, mode="reflect"), 2 * _RADIUS + 1)
    colours, upper = whitened(framed, _RADIUS, _AREA * _EPSILON)
    shares = torch.einsum("ckw,nkw->ncw", colours, levels)
    blue = shares[:, 2] / upper[2, 2]
    green = (shares[:, 1] - upper[1, 2] * blue) / upper[1, 1]
    red = (shares[:, 0] - upper[0, 1] * green - upper[0, 2] * blue) / upper[0, 0]
    slopes = torch.stack([red, green, blue], dim=1)
    mean = F.unfold(framed.permute(2, 0, 1)[:, None], 2 * _RADIUS + 1).mean(dim=1)
    offset = levels.mean(dim=1) - (slopes * mean).sum(dim=1)
    lines = torch.cat([slopes, offset[:, None]], dim=1).reshape(len(alpha), 4, height, width)
    return F.avg_pool2d(F.pad(lines, border, mode="reflect"), 2 * _RADIUS + 1, stride=1)
