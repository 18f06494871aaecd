"""Drawing shapes: scanlines through polygons, with edges that are antialiased or feathered."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .model import Shape, ShapeSet, outline

# Scanlines a pixel; along them coverage is exact.
_LINES = 8
# Of the polygon that stands for a segment.
_STEPS = 16


def rasterised(shapes: ShapeSet, index: int) -> np.ndarray:
    """The matte that shapes make in a frame.

    Args:
        shapes: of one layer.
        index: place of the frame in the shot.

    Returns:
        float32 [H,W] in 0..1.
    """
    matte = np.zeros((shapes.height, shapes.width), np.float32)
    for shape in shapes.shapes:
        drawn = drawn_shape(shape, index, (shapes.height, shapes.width))
        if drawn is None:
            continue
        if shape.operation == "add":
            matte += (1.0 - matte) * drawn
        else:
            matte *= 1.0 - drawn
    return matte


def drawn_shape(shape: Shape, index: int, size: tuple[int, int]) -> np.ndarray | None:
    """One shape by itself in a frame of (height, width), float32 in 0..1; None where it is not."""
    points = shape.at(index)
    if points is None:
        return None
    inside = coverage(outline(points, _STEPS), size)
    if shape.feather > 0.0:
        inside = _feathered(inside, shape.feather)
    return inside * np.float32(shape.opacity)


def coverage(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How much of each pixel lies within a closed polygon, by the non-zero winding rule.

    Args:
        polygon: [N,2], (x, y) pixels; it may lie beyond the frame.
        size: (height, width) of the frame.

    Returns:
        float32 [H,W] in 0..1: exact along x, of eight lines a pixel along y.
    """
    height, width = size
    lines = (np.arange(height * _LINES) + 0.5) / _LINES
    start, end = polygon, np.roll(polygon, -1, axis=0)
    spans = np.zeros((height * _LINES, width + 1))
    down = end[:, 1] > start[:, 1]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first, last = np.searchsorted(lines, low), np.searchsorted(lines, high)
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(polygon)), counts)
    line = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    share = (lines[line] - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + share * (end[edge, 0] - start[edge, 0])
    order = np.lexsort((x, line))
    line, x, turn = line[order], x[order], np.where(down[edge], 1, -1)[order]
    winding = turn.cumsum()  # 0 at the end of each line, since the polygon is closed
    enters, leaves = (winding != 0) & (winding - turn == 0), winding == 0
    for sign, crossing in ((1.0, enters), (-1.0, leaves)):
        _add_from(spans, line[crossing], x[crossing].clip(0.0, width), sign)
    rows = spans.cumsum(axis=1)[:, :width]
    return rows.reshape(height, _LINES, width).mean(axis=1).clip(0.0, 1.0).astype(np.float32)


def _add_from(spans: np.ndarray, line: np.ndarray, x: np.ndarray, sign: float) -> None:
    """Cover lines from x on, as differences from one pixel to the next."""
    pixel = np.floor(x).astype(int)
    part = 1.0 - (x - pixel)  # of that pixel, which is covered
    width = spans.shape[1]
    np.add.at(spans, (line, np.minimum(pixel, width - 1)), sign * part)
    inside = pixel + 1 < width
    np.add.at(spans, (line[inside], pixel[inside] + 1), sign * (1.0 - part[inside]))


def _feathered(inside: np.ndarray, feather: float) -> np.ndarray:
    """A ramp of `feather` pixels across the outline, half to either side."""
    within = (inside >= 0.5).astype(np.uint8)
    if not within.any():
        return inside
    measure: Any = cv2.distanceTransform
    far = int(np.ceil(feather)) + 2
    padded = cv2.copyMakeBorder(within, far, far, far, far, cv2.BORDER_REPLICATE)
    there, away = (measure(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for mask in (padded, 1 - padded))
    signed = np.where(padded > 0, there - 0.5, 0.5 - away)[far:-far, far:-far]
    # Next to the outline its coverage is where it runs, to a part of a pixel.
    signed = np.where(np.abs(signed) <= 0.5, inside - 0.5, signed)
    return np.clip(signed / feather + 0.5, 0.0, 1.0).astype(np.float32)
