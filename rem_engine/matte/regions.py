"""Holes and islands of a mask, by area.

Both run on the CPU, through OpenCV's connected components; tensors elsewhere are brought there and back.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from ..setting import check_values
from .settings import MatteSettings

_INSIDE = 0.5
# Of the frame's shorter side: how far around a hole or an island its soft rim is looked for. Two pixels of a mask made
# at 48 lines, the coarsest worth refining.
_RIM = 1 / 24
# Pixels; OpenCV's opening takes time by the square's side, which may be thousands.
_SIDE_FOR_OPENCV = 150
# Looks at all pixels of a region together, of which so many take as long as going from pixel to pixel.
_STEPS = 64


def fill_holes(mask: Tensor, area: int) -> Tensor:
    """Fill holes of fewer than `area` pixels: regions of at most 0.5 that are enclosed by more.

    Grey-scale hole filling (Soille, Morphological Image Analysis, 2003): a hole and its soft rim rise to the lowest
    level over which they could be left, which is 1 in a solid object and the smoke's own opacity in smoke, so no seam
    is seen. Diagonal neighbours do not join holes, a region at the frame's border is none, and all other pixels stay to
    the bit.

    Args:
        mask: [..., H, W] in 0..1.
        area: pixels; 0 fills nothing.

    Raises:
        ValueError: `area` is negative.
    """
    check_values(MatteSettings, fill_holes=area)
    return _on_frames(mask, _without_holes, area)


def remove_islands(mask: Tensor, area: int) -> Tensor:
    """Remove islands of fewer than `area` pixels: regions above 0.5 that touch no larger one.

    The counterpart of `fill_holes`, morphological reconstruction (Vincent 1993): an island and its soft rim sink to the
    highest level at which something around them that stays is connected to them, which is 0 on an empty ground and the
    haze's own opacity in haze. Diagonal neighbours join islands, and all other pixels, the soft rims of what stays
    among them, stay to the bit.

    Args:
        mask: [..., H, W] in 0..1.
        area: pixels; 0 removes nothing.

    Raises:
        ValueError: `area` is negative.
    """
    check_values(MatteSettings, remove_islands=area)
    return _on_frames(mask, _without_islands, area)


def _on_frames(mask: Tensor, operation: Callable[[np.ndarray, int], np.ndarray], area: int) -> Tensor:
    if area == 0:
        return mask
    on_cpu = mask.detach().cpu()
    if on_cpu.dtype != torch.float64:
        on_cpu = on_cpu.float()  # OpenCV knows no half
    frames = on_cpu.reshape(-1, *mask.shape[-2:]).numpy()
    return torch.stack([torch.from_numpy(operation(frame, area)) for frame in frames]).reshape(mask.shape).to(mask)


def _without_islands(frame: np.ndarray, area: int) -> np.ndarray:
    inside = frame > _INSIDE
    labels, small = _small_regions(inside, area, connectivity=8)
    return _levelled(frame, small[labels], inside, area) if small.any() else frame


def _without_holes(frame: np.ndarray, area: int) -> np.ndarray:
    outside = frame <= _INSIDE
    labels, small = _small_regions(outside, area, connectivity=4)
    small[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False  # open to the frame's border
    return -_levelled(-frame, small[labels], outside, area) if small.any() else frame


def _small_regions(inside: np.ndarray, area: int, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels [H,W] of the connected regions of `inside` (0 is the rest), and which labels have fewer than `area`."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=connectivity)
    small = stats[:, cv2.CC_STAT_AREA] < area
    small[0] = False
    return labels, small


def _levelled(values: np.ndarray, peaks: np.ndarray, inside: np.ndarray, area: int) -> np.ndarray:
    """Bring regions `peaks` of `inside`, each of fewer than `area` pixels, down to the level around them."""
    rim = max(2, round(_RIM * min(values.shape)))
    near = cv2.dilate(peaks.view(np.uint8), _square(2 * rim + 1))
    # What stays as it is: everything further away, and the other regions nearby. Between them what is too wide to be a
    # peak with its rim stays at least, so that haze is not lost where it is full of specks.
    wide = _opened(values, 2 * rim + 1 + math.isqrt(area))
    start = np.where(near.astype(bool) & ~(inside & ~peaks), wide, values)
    result = values.copy()
    groups, _, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    for left, top, width, height, _ in boxes[1:groups]:
        box = (slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1))
        result[box] = _reconstructed(start[box], result[box])
    return result


def _opened(values: np.ndarray, side: int) -> np.ndarray:
    """Morphological opening by a square."""
    if side <= _SIDE_FOR_OPENCV:
        return cv2.morphologyEx(values, cv2.MORPH_OPEN, _square(side))
    side = min(side, 2 * max(values.shape) + 1)  # a larger one holds the whole frame wherever it lies
    return -_lowest(-_lowest(values, side), side)


def _lowest(values: np.ndarray, side: int) -> np.ndarray:
    """The least value within a square around each pixel, as far as that lies in the frame."""
    before = side // 2
    values = cv2.copyMakeBorder(values, before, side - 1 - before, 0, 0, cv2.BORDER_CONSTANT, value=np.inf)
    for step in _doubling(side):
        values = np.minimum(values[:-step], values[step:])
    values = cv2.copyMakeBorder(values, 0, 0, before, side - 1 - before, cv2.BORDER_CONSTANT, value=np.inf)
    for step in _doubling(side):
        values = np.minimum(values[:, :-step], values[:, step:])
    return values


def _doubling(side: int) -> Iterator[int]:
    """By what to move what reaches over 1, 2, 4, ... pixels, so that both together reach over `side` in the end."""
    reached = 1
    while reached < side:
        step = min(reached, side - reached)
        yield step
        reached += step


def _reconstructed(start: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Let `start` spread as far and as high as it can without climbing over `under`."""
    for _ in range(_STEPS):
        grown = np.minimum(cv2.dilate(start, _square(3)), under)
        if np.array_equal(grown, start):
            return start
        start = grown
    # A way that winds through the whole frame would take as many steps as it has pixels.
    _compiled_spread()(start, np.ascontiguousarray(under))
    return start


def _spread(level: np.ndarray, under: np.ndarray) -> None:
    """`_reconstructed` in place, from the highest pixel down, so that each is settled once."""
    height, width = level.shape
    waiting = [(-level[0, 0], 0)]
    for place in range(1, height * width):
        waiting.append((-level[place // width, place % width], place))
    heapq.heapify(waiting)
    while waiting:
        negative, place = heapq.heappop(waiting)
        y, x = place // width, place % width
        if -negative < level[y, x]:  # it has risen since, and waits once more
            continue
        for row in range(max(y - 1, 0), min(y + 2, height)):
            for column in range(max(x - 1, 0), min(x + 2, width)):
                risen = min(level[y, x], under[row, column])
                if risen > level[row, column]:
                    level[row, column] = risen
                    heapq.heappush(waiting, (-risen, row * width + column))


@lru_cache(maxsize=1)
def _compiled_spread() -> Callable[[np.ndarray, np.ndarray], None]:
    from numba import njit  # here, since it takes a second, and hardly a mask needs it

    return njit(_spread)


def _square(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)
