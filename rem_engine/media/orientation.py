"""How stored pictures are turned and mirrored to stand as they are meant to be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a rectangle on itself; the default leaves it as it is.

    Attributes:
        transposed: rows become columns; this comes first.
        mirrored: left and right change places.
        flipped: top and bottom change places.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """A stored picture [H,W,C] as it is seen: [W,H,C] where it is transposed."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return np.ascontiguousarray(pixels[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1])


def from_exif(number: int) -> Orientation:
    """The orientation that EXIF has under a number, of which 1 is upright (EXIF 2.3, tag 274)."""
    return Orientation(number in (5, 6, 7, 8), number in (2, 3, 6, 7), number in (3, 4, 7, 8))


def from_matrix(matrix: Sequence[int]) -> Orientation:
    """The orientation nearest to a display matrix.

    Args:
        matrix: nine numbers {a b u, c d v, x y w} that take a stored place (p, q), p to the right and q downwards, to
            (a p + c q + x, b p + d q + y) as it is seen (ISO/IEC 14496-12, 8.3.2); only signs and proportions of
            a, b, c and d count.
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def turned_clockwise(degrees: float) -> Orientation:
    """The orientation of a picture that is to be turned clockwise, by the quarter turn nearest to so many degrees."""
    angle = math.radians(round(degrees / 90) * 90)
    cosine, sine = round(math.cos(angle)), round(math.sin(angle))
    return from_matrix((cosine, sine, 0, -sine, cosine))
