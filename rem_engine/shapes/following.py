"""A contour of one frame found again in the next, place by place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ..matte.motion import Motion
from .contours import Contour

# Pixels of the reduced picture, inside an outline, at which the motion of what it bounds is read: optical flow is
# smooth across outlines, where two motions meet, and is some tenths of a pixel off next to them.
_DEPTHS = (2.0, 5.0, 9.0, 14.0, 20.0, 27.0)
_DEEPEST = 24.0
# Such pixels at which what an affine motion leaves counts half.
_SURE_DEPTH = 8.0
# Samples to either side of which motion is looked at, and how much less that counts half-way.
_SPREAD = 24
# Squared pixels: what is smaller does not tell how motion changes from place to place.
_LEAST_SPREAD = 10.0
# Below that it is not known at all.
_LEAST_TRUST = 0.05
# Pixels beyond the frame.
_BEYOND = 0.5
# What it costs, in squared pixels, that normals point to opposite sides, and that a radian more is turned.
_NORMAL_COST, _TURN_COST = 40.0, 64.0
# How firmly a sample is held where it was matched, against its neighbours, which it would move alike with: along what
# is straight hardly, since flow is all that tells where it goes, and where an outline turns by a radian so much more.
_HELD, _HELD_BY_TURN = 0.005, 0.5
# Samples by which an outline is lengthened at either end, so that both ends know of each other.
_WRAP = 128


@dataclass(frozen=True)
class Samples:
    """Places along an outline that stand for the same of what it bounds in every frame.

    Attributes:
        places, inward, turning: [M,2], [M,2] and [M]; see `Contour`.
    """

    places: np.ndarray
    inward: np.ndarray
    turning: np.ndarray


def moved(samples: Samples, motion: Motion, depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where samples of an outline are in the next frame [M,2], by the motion of what lies inside.

    An affine motion is fitted to what is seen inside the outline, where it is trusted and far from any outline. To it
    comes, around each sample, what that leaves, as far as it is known there.

    Args:
        samples: in this frame.
        motion: from this frame to the next, of its reduced picture.
        depth: float32 [h,w], of that picture: pixels to the next place where the matte is not solid.
        size: (height, width) of the frame.
    """
    scale = np.array([motion.trust.shape[1] / size[1], motion.trust.shape[0] / size[0]])
    outline = samples.places * scale
    inside = outline[:, None] + np.array(_DEPTHS)[None, :, None] * samples.inward[:, None]
    at = (inside - 0.5).astype(np.float32)
    remap: Any = cv2.remap
    flow = remap(motion.flow, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    trust, deep = (
        remap(values, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
        for values in (motion.trust, depth)
    )
    if trust.max() < _LEAST_TRUST:  # nothing can be followed: it stays where it is
        return samples.places
    weight = (trust * np.power(deep.clip(0.1, _DEEPEST), 3))[..., None].astype(np.float64)
    ones = np.ones((*inside.shape[:2], 1))
    known = np.concatenate([inside - inside.mean(axis=(0, 1)), ones], axis=2)
    weighted = (weight * known).reshape(-1, 3)
    normal = weighted.T @ known.reshape(-1, 3) + np.diag([_LEAST_SPREAD, _LEAST_SPREAD, 1e-9]) * weight.sum()
    whole = np.linalg.solve(normal, weighted.T @ flow.reshape(-1, 2))
    left = _spread((weight * (flow - known @ whole)).sum(axis=1))
    sure = _spread(weight.sum(axis=1))
    kernel = _spread(np.ones((len(outline), 1))) * len(_DEPTHS) * _SURE_DEPTH**3
    there = np.concatenate([outline - inside.mean(axis=(0, 1)), np.ones((len(outline), 1))], axis=1)
    return samples.places + (there @ whole + left / (sure + kernel)) / scale


def matched(samples: Samples, predicted: np.ndarray, contour: Contour, size: tuple[int, int]) -> Samples:
    """Samples of an outline, on the contour of the next frame, in their order around it.

    Each goes where motion has it, as far as outlines run alike there: a corner to a corner. The order is kept by
    dynamic programming; by how much it moves them apart is evened out along the outline. Beyond the frame, where a
    contour runs along the border, samples go on as motion has them.

    Args:
        samples: in the frame they come from.
        predicted: [M,2], where motion has them in the next.
        contour: there.
        size: (height, width) of the frame.
    """
    targets, count = contour.places, len(contour.places)
    beyond = is_beyond(predicted, size)
    given, predicted = predicted, predicted.clip(0.0, [size[1], size[0]])
    cost = np.square(predicted[:, None, 0] - targets[None, :, 0])
    cost += np.square(predicted[:, None, 1] - targets[None, :, 1])
    cost += _NORMAL_COST * (1.0 - samples.inward @ contour.inward.T)
    cost += _TURN_COST * np.square(samples.turning[:, None] - contour.turning[None])
    # The walk begins at the sample of which it is clearest where it goes: a turned one that fits well.
    first = int(np.argmin(cost.min(axis=1) - _TURN_COST * np.minimum(np.abs(samples.turning), 1.5)))
    start = int(cost[first].argmin())
    steps = _monotone(np.roll(np.roll(cost, -first, axis=0), -start, axis=1)).astype(np.float64)
    gaps = np.roll(np.hypot(*(np.roll(samples.places, -1, axis=0) - samples.places).T), -first)
    before = np.concatenate([[0.0], gaps.cumsum()])
    expected = before[:-1] * (count / max(before[-1], 1e-9))
    held = _HELD + _HELD_BY_TURN * np.square(np.roll(samples.turning, -first).clip(-2.0, 2.0))
    along = expected + _smoothed(steps - expected, held) + start
    found = on_contour(contour, np.roll(along, first))
    return replace(found, places=np.where(beyond[:, None], given, found.places))


def is_beyond(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which of places [...,2] lie beyond a frame of (height, width), where nothing is seen of an outline."""
    x, y = places[..., 0], places[..., 1]
    return (x < -_BEYOND) | (y < -_BEYOND) | (x > size[1] + _BEYOND) | (y > size[0] + _BEYOND)


def on_contour(contour: Contour, along: np.ndarray) -> Samples:
    """Samples of a contour at places [M] along it, counted in its own, of which every round is the same."""
    count = len(contour.places)
    values = np.concatenate([contour.places, contour.inward, contour.turning[:, None]], axis=1)
    closed = np.concatenate([values, values[:1]])
    at = [np.interp(along % count, np.arange(count + 1), column) for column in closed.T]
    return Samples(np.stack(at[:2], axis=1), np.stack(at[2:4], axis=1), at[4])


def _spread(values: np.ndarray) -> np.ndarray:
    """Values [M,c] blurred around a closed outline."""
    count = len(values)
    reach = min(_SPREAD, count // 2)
    wrapped = np.concatenate([values[count - reach :], values, values[:reach]])
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(reach / 2.5, 1e-6)))
    return np.stack([np.convolve(column, kernel, "valid") for column in wrapped.T], axis=1)


def _monotone(cost: np.ndarray) -> np.ndarray:
    """For each row the column of the cheapest walk that never steps back; the first row is at column 0."""
    rows, columns = cost.shape
    came = np.empty((rows, columns), np.int32)
    total = np.full(columns, np.inf)
    total[0] = cost[0, 0]
    places = np.arange(columns)
    came[0] = 0
    for row in range(1, rows):
        least = np.minimum.accumulate(total)
        # Where the running minimum was reached, for each column.
        new = total <= least
        came[row] = np.maximum.accumulate(np.where(new, places, 0))
        total = least + cost[row]
    walk = np.empty(rows, np.int64)
    walk[-1] = int(total.argmin())
    for row in range(rows - 1, 0, -1):
        walk[row - 1] = came[row, walk[row]]
    return walk


def _smoothed(offsets: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Values [M] around an outline, neighbours brought nearer to each other, the less the firmer they are `held`."""
    from scipy.linalg import solveh_banded

    wrap = min(_WRAP, len(offsets))
    extended, weight = (np.concatenate([values[-wrap:], values, values[:wrap]]) for values in (offsets, held))
    diagonal = weight + 2.0
    diagonal[[0, -1]] -= 1.0
    beside = np.full(len(extended), -1.0)
    return solveh_banded(np.stack([beside, diagonal]), weight * extended)[wrap : wrap + len(offsets)]
