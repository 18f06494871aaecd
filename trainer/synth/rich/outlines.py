"""Outlines of the richer world's objects, and their coverage with and without motion blur."""

from __future__ import annotations

import numpy as np

from ..shapes import coverage, cross, outline, placed

THIN_RING_HOLE = 0.80
"""Radius of a thin ring's hole, in radii."""
THIN_CROSS_HALF, WIRE_HALF = 0.15, 0.10
"""Half the width of a thin cross's bars, and of a wire, in radii."""
GRID_BAR = 0.18
"""Width of a grid's bars, in radii."""


def rich_outline(kind: str, thin: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """Closed outlines [N,2] of a shape of about unit radius, x right and y down, to be filled by the even-odd rule.

    Args:
        kind: one of the richer world's `KINDS`.
        thin: whether to give the thin make of a ring or a cross.
        rng: decides the bends of a wire and how many cells a grid has.
    """
    if kind == "arrow":
        shaft, barb = 0.26, 0.72
        half = [(-1.0, shaft), (0.05, shaft), (0.05, barb), (1.1, 0.0)]
        return [np.array(half + [(x, -y) for x, y in half[-2::-1]])]
    if kind == "moon":
        outer = np.linspace(0.25, 1.75, 40) * np.pi
        horn = np.array([np.cos(outer[0]), np.sin(outer[0])])
        middle = np.array([0.45, 0.0])  # of the bite, a circle through both horns
        reach, angle = np.hypot(*(horn - middle)), np.arctan2(*(horn - middle)[::-1])
        inner = np.linspace(2 * np.pi - angle, angle, 40)[1:-1]
        around, bite = (np.stack([np.cos(turn), np.sin(turn)], axis=1) for turn in (outer, inner))
        return [np.concatenate([around, bite * reach + middle]) * 1.05 + (0.15, 0)]
    if kind == "wire":
        return [_wire(rng)]
    if kind == "grid":
        return _grid(int(rng.integers(2, 4)))
    if kind == "ring" and thin:
        rim = outline("ring")[0]
        return [rim, rim[::-1] * THIN_RING_HOLE]
    if kind == "cross" and thin:
        return [cross(1.1, THIN_CROSS_HALF)]
    return outline(kind)


def _wire(rng: np.random.Generator) -> np.ndarray:
    along = np.linspace(-1.2, 1.2, 60)
    bends, sway, phase = rng.uniform(2.2, 4.0), rng.uniform(0.22, 0.42), rng.uniform(0, 2 * np.pi)
    across = sway * np.sin(bends * along + phase)
    slope = sway * bends * np.cos(bends * along + phase)
    normal = np.stack([-slope, np.ones_like(slope)], axis=1) / np.hypot(slope, 1)[:, None] * WIRE_HALF
    middle = np.stack([along, across], axis=1)
    return np.concatenate([middle + normal, (middle - normal)[::-1]])


def _grid(cells: int) -> list[np.ndarray]:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    pitch = (2 - GRID_BAR) / cells
    hole = (pitch - GRID_BAR) / 2
    middles = -1 + GRID_BAR / 2 + pitch * (np.arange(cells) + 0.5)
    return [square, *(square[::-1] * hole + (x, y) for x in middles for y in middles)]


def cover(
    outlines: list[np.ndarray], centre: tuple[float, float], radius: float, angle: float, height: int, width: int
) -> np.ndarray:
    """As `coverage` of the placed outlines, at the cost of the pixels they reach; centre and radius in pixels."""
    polygons = placed(outlines, centre, radius, angle)
    points = np.concatenate(polygons)
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, (width, height))
    right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 0, (width, height))
    out = np.zeros((height, width), np.float32)
    if left < right and top < bottom:
        local = [polygon - (left, top) for polygon in polygons]
        out[top:bottom, left:right] = coverage(local, bottom - top, right - left)
    return out
