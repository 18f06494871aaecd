"""Boxes of pixels: an EXR's data window and display window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """Pixels from (left, top) up to (right, bottom), which it does not hold any more."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def common(self, other: Box) -> Box:
        """What both hold; its size is not positive where that is nothing."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )


def placed(pixels: np.ndarray, data: Box, canvas: Box) -> np.ndarray:
    """What a canvas shows of the pixels [H,W,C] of a box: 0 where there are none; the array itself where both agree."""
    if data == canvas:
        return pixels
    shown = np.zeros((*canvas.size, pixels.shape[2]), pixels.dtype)
    common = data.common(canvas)
    if min(common.size) > 0:
        shown[
            common.top - canvas.top : common.bottom - canvas.top, common.left - canvas.left : common.right - canvas.left
        ] = pixels[common.top - data.top : common.bottom - data.top, common.left - data.left : common.right - data.left]
    return shown
