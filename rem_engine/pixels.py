"""Values in 0..1 as the integers that pictures are made of."""

from __future__ import annotations

import numpy as np


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
