"""Values in 0..1 as the integers that pictures are made of, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .finite import all_finite

OVERSHOOT = 0.25
"""How far beyond 0..1 floating-point values may lie, and are clipped: resizing and sharpening go so far, other ranges
farther."""


def check_unit_range(low: float, high: float, name: str) -> None:
    """Refuse values that are not meant to lie in 0..1, such as 0..255 and -1..1.

    Args:
        low, high: the least and the greatest of them.
        name: begins the sentence: "The mask".

    Raises:
        ValueError: one lies outside 0..1 by more than `OVERSHOOT`.
    """
    if low < -OVERSHOOT or high > 1.0 + OVERSHOOT:
        raise ValueError(
            f"{name} must lie in 0..1, but values {low:g} to {high:g} were found: divide 8-bit values by 255, make "
            "(x + 1) / 2 of -1..1, and bring linear light to display values first."
        )


def to_uint8(values: np.ndarray) -> np.ndarray:
    """float, nominally 0..1, any shape -> uint8: round(clip(values, 0, 1) * 255), halves to even; uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    scaled = values * 255.0
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0.0, 255.0, out=scaled).astype(np.uint8)


def to_uint16(values: np.ndarray) -> np.ndarray:
    """float, nominally 0..1, any shape -> uint16: round(clip(values, 0, 1) * 65535), halves to even."""
    import cv2  # here, since commands that only tell their options import this file

    # One pass, to the bit what double precision gives: product, rounding and clipping are made in registers.
    flat = np.ascontiguousarray(values).reshape(-1, 1)
    return cv2.multiply(flat, np.array(65535.0), dtype=cv2.CV_16U).reshape(values.shape)


def as_16_bits(values: np.ndarray) -> np.ndarray:
    """float, nominally 0..1, any shape -> float32: what is read back of them once `to_uint16` was stored."""
    read = to_uint16(values).astype(np.float32)
    return np.divide(read, np.float32(65535.0), out=read)


def unit_values(stored: np.ndarray) -> np.ndarray:
    """Stored values, uint8 or float32 -> float32: of 8 bits 0..1, others as they are."""
    if stored.dtype != np.uint8:
        return stored
    values = stored.astype(np.float32)
    return np.divide(values, np.float32(255.0), out=values)


def check_finite_pixels(pixels: np.ndarray, file: Path) -> None:
    """Raise ValueError where a picture [H,W,...] that was read from a file has values that are NaN or infinite."""
    if not all_finite(pixels):
        wrong = ~np.isfinite(pixels)
        row, column = np.argwhere(wrong)[0][:2]
        raise ValueError(
            f"{file.name} holds {np.count_nonzero(wrong)} values that are not finite (NaN or infinite), the first at "
            f"row {row}, column {column}: write that frame anew, with such pixels filled."
        )
