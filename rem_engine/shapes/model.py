"""Roto shapes as data: outlines of Bezier segments, with keys in time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np

Operation = Literal["add", "subtract"]

_NEARBY = 5  # parts of a segment, of which the first and the last tell how an outline runs at a vertex


@dataclass(frozen=True)
class Shape:
    """A closed outline that is there in frames `first` to `last`.

    Places are pixels from the top left corner of the frame, x to the right and y down; the middle of the first pixel is
    at (0.5, 0.5).

    Attributes:
        name: unlike any other in its set.
        operation: "add" lays the shape over what the shapes before it made, "subtract" takes it away (a hole).
        level: of the matte, 0..1, whose outline it is.
        opacity: 0..1, of the whole shape.
        feather: pixels over which the edge ramps, half of them to either side of the outline; 0 is a sharp edge.
        first, last: places in the shot of the first and the last frame it is in, from 0.
        keys: places in the shot of its K keys, ascending, `first` and `last` among them.
        points: float64 [K,V,3,2]: at each key and for each of the V vertices (x, y) of the handle that comes in, of the
            vertex, and of the handle that goes out; between keys linear in time.
        miss: pixels by which the outline misses the matte's, at 19 of 20 points of the worst frame.
    """

    name: str
    operation: Operation
    level: float
    opacity: float
    feather: float
    first: int
    last: int
    keys: tuple[int, ...]
    points: np.ndarray
    miss: float = 0.0

    @property
    def vertices(self) -> int:
        """How many it has, at every key."""
        return self.points.shape[1]

    def at(self, index: int) -> np.ndarray | None:
        """Its points [V,3,2] in a frame; None where it is not."""
        if not self.first <= index <= self.last:
            return None
        after = bisect_right(self.keys, index)
        if after == len(self.keys):
            return self.points[-1]
        before = after - 1
        share = (index - self.keys[before]) / (self.keys[after] - self.keys[before])
        return (1.0 - share) * self.points[before] + share * self.points[after]


@dataclass(frozen=True)
class ShapeSet:
    """The shapes of one layer of a shot.

    Attributes:
        layer: its name.
        width, height: of the frame, pixels.
        fps: frames per second; None where the shot has no rate.
        numbers: the number of each frame, ascending.
        soft: whether the layer has no edge, so that shapes are outlines at several levels of its matte.
        shapes: in the order in which they are laid over each other.
    """

    layer: str
    width: int
    height: int
    fps: float | None
    numbers: tuple[int, ...]
    soft: bool
    shapes: tuple[Shape, ...]

    @property
    def key_count(self) -> int:
        """Keys of all shapes together."""
        return sum(len(shape.keys) for shape in self.shapes)


def outline(points: np.ndarray, steps: int = 16) -> np.ndarray:
    """The polygon [V*steps,2] of a closed outline [V,3,2] of cubic Bezier segments."""
    start, leaving = points[:, 1], points[:, 2]
    end, arriving = np.roll(points[:, 1], -1, axis=0), np.roll(points[:, 0], -1, axis=0)
    t = (np.arange(steps) / steps)[None, :, None]
    curve = (
        (1 - t) ** 3 * start[:, None]
        + 3 * (1 - t) ** 2 * t * leaving[:, None]
        + 3 * (1 - t) * t**2 * arriving[:, None]
        + t**3 * end[:, None]
    )
    return curve.reshape(-1, 2)


def inset(points: np.ndarray, distance: float) -> np.ndarray:
    """An outline [V,3,2] moved towards its inside by a distance in pixels, as far as its vertices can say it."""
    if not distance:
        return points.copy()
    polygon = outline(points, _NEARBY)
    x, y = polygon.T
    turn = np.sign(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    # A fifth of a segment away: handles may be short, and point anywhere.
    vertices = polygon[::_NEARBY]
    before, after = _unit(vertices - np.roll(polygon, 1, axis=0)[::_NEARBY]), _unit(polygon[1::_NEARBY] - vertices)
    normals = _unit(np.stack([-(before + after)[:, 1], (before + after)[:, 0]], axis=1)) * turn
    # At a corner the same distance from both sides is farther from the vertex, though not without end.
    lean = np.maximum((normals * np.stack([-after[:, 1], after[:, 0]], axis=1)).sum(axis=1) * turn, 0.3)
    return points + (distance * normals / lean[:, None])[:, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
