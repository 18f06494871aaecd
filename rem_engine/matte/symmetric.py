"""Equations of three colours for every pixel, by the adjugate over the determinant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Places of the six numbers of a symmetric matrix of 3x3."""


def solved(matrix: Iterable[Any], right: Iterable[Any], floor: float) -> list[Any]:
    """x of (A + floor I) x = b.

    Args:
        matrix: the six numbers of A in the order of `PAIRS`, each an array or a tensor of one size.
        right: the three of b, alike.
        floor: what holds x back where A is next to nothing.

    Returns:
        the three of x, alike.
    """
    a, b, c, d, e, f = matrix
    a, d, f = a + floor, d + floor, f + floor
    x, y, z = right
    p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
    s, t, u = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * p + b * q + c * r
    return [row / determinant for row in (p * x + q * y + r * z, q * x + s * y + t * z, r * x + t * y + u * z)]
