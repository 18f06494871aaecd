"""Rendered objects: polygons with exact coverage."""

from __future__ import annotations

import cv2
import numpy as np

SUPERSAMPLING = 8
"""Samples along each side of a pixel; coverage comes in steps of 1/64."""


def outline(kind: str) -> list[np.ndarray]:
    """Closed outlines [N,2] of a shape of about unit radius, x right and y down; a second outline is a hole."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    round_ = np.stack([np.sin(turn), -np.cos(turn)], axis=1)
    if kind == "circle":
        return [round_ * 0.95]
    if kind == "ring":
        return [round_, round_[::-1] * 0.52]
    if kind == "square":
        return [np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.82]
    if kind == "triangle":
        return [np.array([[0, -1.05], [1.05, 0.8], [-1.05, 0.8]])]
    if kind == "diamond":
        return [np.array([[0, -1.2], [0.72, 0], [0, 1.2], [-0.72, 0]])]
    if kind == "star":
        radii = np.where(np.arange(10) % 2 == 0, 1.2, 0.52)
        angles = np.arange(10) * np.pi / 5
        return [np.stack([np.sin(angles) * radii, -np.cos(angles) * radii], axis=1)]
    if kind == "cross":
        return [cross(1.05, 0.38)]
    if kind == "heart":
        x = np.sin(turn) ** 3
        y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)) / 15
        return [np.stack([x * 1.05, y], axis=1)]
    raise ValueError(f"no shape is called {kind!r}")


def cross(reach: float, half: float) -> np.ndarray:
    """Outline [12,2] of a cross whose bars reach so far from its centre, and are so wide to each side."""
    a, b = reach, half
    corners = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)]
    return np.array(corners + [(-x, -y) for x, y in corners])


def coverage(outlines: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """Area of each pixel that outlines cover, even-odd rule.

    Args:
        outlines: polygons [N,2] in pixels (x, y), pixel centres at half-integers.
        height, width: size of the frame in pixels.

    Returns:
        float32 [H,W] in 0..1.
    """
    canvas = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    shift = 4
    # cv2 puts pixel centres at integers
    points = [np.round((o * SUPERSAMPLING - 0.5) * (1 << shift)).astype(np.int32) for o in outlines]
    cv2.fillPoly(canvas, points, 255, lineType=cv2.LINE_8, shift=shift)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def placed(outlines: list[np.ndarray], centre: tuple[float, float], radius: float, angle: float) -> list[np.ndarray]:
    """Turn by `angle` (radians, clockwise on screen), scale to `radius` and move to `centre` (x, y), both in pixels."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    return [o @ turn * radius + np.asarray(centre) for o in outlines]


def shading(
    colour: tuple[float, float, float] | np.ndarray,
    height: int,
    width: int,
    centre: tuple[float, float],
    radius: float,
    light: float,
) -> np.ndarray:
    """A coloured surface lit from direction `light` (radians): float32 [H,W,3] in 0..1."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    slope = ((x - centre[0]) * np.cos(light) + (y - centre[1]) * np.sin(light)) / max(radius, 1.0)
    gain = 1.0 + 0.18 * np.clip(slope, -1, 1)
    return np.clip(np.asarray(colour, np.float32) * gain[..., None], 0, 1)
