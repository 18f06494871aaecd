"""Mattes of polygons that move by a known motion, drawn by OpenCV, and shapes made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from rem_engine.matte.motion import Motion
from rem_engine.shapes import ShapeMaker, ShapeSet, ShapeSettings

HEIGHT, WIDTH = 120, 160
_FINE = 8
_DEFAULTS = ShapeSettings()


def matte_of(*polygons: np.ndarray, holes: Sequence[np.ndarray] = ()) -> np.ndarray:
    """float32 [H,W] of polygons [N,2], (x, y) pixels; edges antialiased."""
    fine = np.zeros((HEIGHT * _FINE, WIDTH * _FINE), np.uint8)
    for value, drawn in ((1, polygons), (0, holes)):
        for polygon in drawn:
            cv2.fillPoly(fine, [np.round((polygon * _FINE - 0.5) * 256.0).astype(np.int32)], value, shift=8)
    return cv2.resize(fine.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def star(points: int = 5, radius: float = 45.0, inner: float = 20.0) -> np.ndarray:
    angles = np.arange(2 * points) * np.pi / points
    radii = np.where(np.arange(2 * points) % 2 == 0, radius, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def circle(centre: tuple[float, float], radius: float) -> np.ndarray:
    angles = np.linspace(0.0, 2.0 * np.pi, 400, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + np.array(centre)


def turned(own: np.ndarray, t: float, turn: float = 0.05, speed: tuple[float, float] = (0.8, 0.3)) -> np.ndarray:
    """Places of a thing's own in frame t: it turns about its middle, which moves."""
    cosine, sine = np.cos(turn * t), np.sin(turn * t)
    middle = np.array([70.0, 56.0]) + t * np.array(speed)
    return own @ np.array([[cosine, sine], [-sine, cosine]]) + middle


def unturned(places: np.ndarray, t: float, turn: float = 0.05, speed: tuple[float, float] = (0.8, 0.3)) -> np.ndarray:
    """The own places of what is at places in frame t."""
    cosine, sine = np.cos(turn * t), np.sin(turn * t)
    middle = np.array([70.0, 56.0]) + t * np.array(speed)
    return (places - middle) @ np.array([[cosine, -sine], [sine, cosine]])


def turning_motion(t: float) -> Motion:
    """From frame t - 1 to frame t of what `turned` moves."""
    places = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    flow = turned(unturned(places, t - 1), t) - places
    return Motion(flow.astype(np.float32), np.ones((HEIGHT, WIDTH), np.float32))


STILL = Motion(np.zeros((HEIGHT, WIDTH, 2), np.float32), np.ones((HEIGHT, WIDTH), np.float32))


def shapes_of(
    mattes: Sequence[np.ndarray],
    settings: ShapeSettings = _DEFAULTS,
    motion: Callable[[int], Motion | None] = lambda index: STILL,
) -> ShapeSet:
    maker = ShapeMaker("car", settings)
    for index, matte in enumerate(mattes):
        maker.add(index, matte, motion(index) if index else None)
    return maker.finish(24.0, tuple(range(1001, 1001 + len(mattes))))


def turning_star(frames: int = 24, **settings) -> tuple[list[np.ndarray], ShapeSet]:
    mattes = [matte_of(turned(star(), t)) for t in range(frames)]
    return mattes, shapes_of(mattes, ShapeSettings(**settings), turning_motion)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """J of two mattes at one half."""
    first, second = one > 0.5, other > 0.5
    return float((first & second).sum() / (first | second).sum())
