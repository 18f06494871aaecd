"""Seeded smooth noise for backgrounds and processes."""

from __future__ import annotations

import cv2
import numpy as np


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Fractal value noise.

    Args:
        rng: source of the lattice values.
        height, width: size in pixels.
        cell: lattice spacing of the coarsest octave in pixels; each further octave halves it.
        octaves: number of octaves, amplitudes 1, 1/2, 1/4, ...

    Returns:
        float32 [H,W], stretched to 0..1.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        spacing = max(cell / 2**octave, 1.0)
        rows, columns = int(height / spacing) + 3, int(width / spacing) + 3
        lattice = rng.random((rows, columns), dtype=np.float32)
        full = cv2.resize(lattice, None, fx=spacing, fy=spacing, interpolation=cv2.INTER_CUBIC)
        total += full[:height, :width] / 2**octave
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)
