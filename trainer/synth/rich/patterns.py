"""Two-colour fills of objects, fixed to the object: they move, turn and grow with it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..noise import value_noise

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Object coordinates x, y in radii, float32 [H,W] -> share of the second colour, float32 [H,W] in 0..1."""

_NOISE_SIDE = 96
_NOISE_REACH = 1.5
"""Marbling is drawn once, over a square of this half side in radii."""


def fill(pattern: str, rng: np.random.Generator, pixel: float) -> Fill:
    """The fill of one of `PATTERNS`.

    Args:
        pattern: its name.
        rng: decides direction and spacing.
        pixel: size of a pixel in radii, over which an edge is softened.
    """
    if pattern == "striped":
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(0.45, 0.65)
        return lambda x, y: _edge(np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / pitch), pixel / pitch)
    if pattern == "checked":
        pitch = rng.uniform(0.8, 1.1)
        return lambda x, y: _edge(np.sin(2 * np.pi * x / pitch) * np.sin(2 * np.pi * y / pitch), pixel / pitch)
    if pattern == "spotted":
        pitch = rng.uniform(0.5, 0.65)
        return lambda x, y: _edge(0.30 - np.hypot(_beside(x, pitch), _beside(y, pitch)), pixel / pitch)
    if pattern == "marbled":
        texture = value_noise(rng, _NOISE_SIDE, _NOISE_SIDE, cell=rng.uniform(20, 30))
        texture = (texture > np.median(texture)).astype(np.float32)
        texture = cv2.GaussianBlur(texture, (0, 0), 1.0)
        scale = _NOISE_SIDE / (2 * _NOISE_REACH)

        def marbling(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            columns, rows = (x + _NOISE_REACH) * scale - 0.5, (y + _NOISE_REACH) * scale - 0.5
            return cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

        return marbling
    raise ValueError(f"no pattern is called {pattern!r}")


def _edge(value: np.ndarray, softness: float) -> np.ndarray:
    return np.clip(value / max(6 * softness, 1e-3) + 0.5, 0, 1).astype(np.float32)


def _beside(along: np.ndarray, pitch: float) -> np.ndarray:
    """Distance to the nearest spot's middle along one axis, in pitches."""
    return along / pitch - np.round(along / pitch)
