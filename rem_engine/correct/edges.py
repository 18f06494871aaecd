"""Edges of masks that hands made, found in the plate before such masks are carried to other frames."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..matte.motion import Picture
from ..matte.solve.laplacian import WindowLaplacian
from ..matte.solve.system import System

_OFF = 2.5  # pixels by which an edge may be off
_AROUND = 6  # pixels beyond, which show what both sides look like
_HOLE = 16  # pixels of the largest one that is filled
_MOST_PIXELS = 2**14
"""Of the part around a thing: of more it takes seconds, and two pixels matter less at larger ones."""


def is_hard(mask: np.ndarray) -> bool:
    """Whether a mask is black and white, and has both."""
    return bool((mask.min() == 0.0) and (mask.max() == 1.0) and not ((mask > 0.0) & (mask < 1.0)).any())


def with_edges_of(picture: Picture, mask: np.ndarray) -> np.ndarray:
    """A hard mask with its edges where the plate has some: closed-form matting (Levin, Lischinski and Weiss, 2008) of
    what lies within 2.5 pixels of an edge, which also fills small holes where the plate shows none.

    Things and gaps of which nothing is farther from an edge stay as they were; so do soft masks, and those of large
    things.

    Args:
        picture: of the frame.
        mask: float32 [h,w] of the picture's size.
    """
    if not is_hard(mask):
        return mask
    inside = mask.astype(np.uint8)
    away = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    unknown = (away <= _OFF) & ~_thin(inside, away)
    if not unknown.any():
        return mask
    part = tuple(
        slice(max(int(places[0]) - _AROUND, 0), int(places[-1]) + 1 + _AROUND)
        for places in (np.flatnonzero(unknown.any(axis=1 - axis)) for axis in range(2))
    )
    here = np.ascontiguousarray(mask[part])
    if here.size > _MOST_PIXELS or min(here.shape) < 3:
        return mask
    laplacian = WindowLaplacian(torch.from_numpy(picture.colours[part].astype(np.float32) / np.float32(255.0)))
    held = torch.from_numpy(here).to(laplacian.dtype)[None]
    free = torch.from_numpy(np.ascontiguousarray(unknown[part]))[None]
    solved = System(laplacian, (1, 1)).solve(held, torch.zeros_like(held), free, held, held)
    found = mask.copy()
    found[part] = solved[0].clamp(0.0, 1.0).float().numpy()
    return found


def _thin(inside: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Where nothing is certain that a solution could begin from, and what lies around: wires, and gaps but holes."""
    thin = np.zeros(inside.shape, np.uint8)
    for side, largest_hole in ((inside, 0), (1 - inside, _HOLE)):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(side, connectivity=4)
        certain = np.unique(labels[(side > 0) & (away > _OFF)])
        small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] <= largest_hole)
        thin |= (~np.isin(labels, [*certain, *small]) & (side > 0)).astype(np.uint8)
    reach = 2 * int(np.ceil(_OFF)) + 1
    return cv2.dilate(thin, np.ones((reach, reach), np.uint8)) > 0
