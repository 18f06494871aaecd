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

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        return f"{size} from ({self.left}, {self.top}) on" if self.left or self.top else size

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def crop(self) -> tuple[slice, slice]:
        """Its pixels of an array [H,W,...] from (0, 0) on."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, right: int, down: int) -> Box:
        """The box, so many pixels further on."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def common(self, other: Box) -> Box:
        """What both hold; its width or height is not positive where that is nothing."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )


class Windows(NamedTuple):
    """Where the frames of an EXR shot lie.

    Attributes:
        data: what is read of every frame, and written.
        display: what is meant to be seen.
    """

    data: Box
    display: Box


def whole_frame(height: int, width: int) -> Windows:
    """Those of frames that are read, written and seen whole."""
    whole = Box(0, 0, width, height)
    return Windows(whole, whole)


def placed(pixels: np.ndarray, data: Box, canvas: Box) -> np.ndarray:
    """What a canvas shows of the pixels [H,W,C] of a box: 0 where there are none; the array itself where both agree."""
    if data == canvas:
        return pixels
    shown = np.zeros((canvas.height, canvas.width, pixels.shape[2]), pixels.dtype)
    common = data.common(canvas)
    if common.width > 0 and common.height > 0:
        shown[
            common.top - canvas.top : common.bottom - canvas.top, common.left - canvas.left : common.right - canvas.left
        ] = pixels[common.top - data.top : common.bottom - data.top, common.left - data.left : common.right - data.left]
    return shown
