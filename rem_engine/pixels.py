"""Values in 0..1 as the integers that pictures are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .finite import all_finite


def to_uint8(values: np.ndarray) -> np.ndarray:
    """float, nominally 0..1, any shape -> uint8: round(clip(values, 0, 1) * 255), halves to even; uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    scaled = values * 255.0
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0.0, 255.0, out=scaled).astype(np.uint8)


def to_uint16(values: np.ndarray) -> np.ndarray:
    """float, nominally 0..1, any shape -> uint16: round(clip(values, 0, 1) * 65535), halves to even."""
    scaled = np.multiply(values, 65535.0, dtype=np.float64)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0.0, 65535.0, out=scaled).astype(np.uint16)


def check_finite_pixels(pixels: np.ndarray, file: Path) -> None:
    """Raise ValueError where a picture [H,W,...] that was read from a file has values that are NaN or infinite."""
    if not all_finite(pixels):
        wrong = ~np.isfinite(pixels)
        row, column = np.argwhere(wrong)[0][:2]
        raise ValueError(
            f"{file.name} holds {np.count_nonzero(wrong)} values that are not finite (NaN or infinite), the first at "
            f"row {row}, column {column}: write that frame anew, with such pixels filled."
        )
