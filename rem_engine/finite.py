"""Whether values are finite numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_EXPONENTS = {"f2": 0x7C00, "f4": 0x7F80_0000, "f8": 0x7FF0_0000_0000_0000}


def all_finite(values: np.ndarray | Tensor) -> bool:
    """Whether none of the values, floats of any shape (no fp8), is NaN or infinite."""
    if isinstance(values, np.ndarray):
        kind = values.dtype.str[1:]
        return bits_are_finite(values.view(f"{values.dtype.byteorder}u{kind[1:]}"), _EXPONENTS[kind])
    # A sum is finite only if every term is, and costs a third of looking at each of them.
    return math.isfinite(values.sum()) or bool(values.isfinite().all())


def bits_are_finite(bits: np.ndarray, exponent: int) -> bool:
    """Whether numbers, given as whole ones without sign that have the same bits, are all finite.

    Args:
        bits: of any shape.
        exponent: of the bits below the sign those that all are set in what is NaN or infinite, and in nothing else.
    """
    if bits.size == 0:
        return True
    # What is not finite has the largest bits of all positive numbers, or of all negative ones; both maxima together
    # take a third of the time of one comparison.
    size = bits.dtype.itemsize
    signed = bits.view(f"{bits.dtype.byteorder}i{size}")
    return int(signed.max()) < exponent and int(bits.max()) < exponent + (1 << (8 * size - 1))
