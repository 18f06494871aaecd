"""What can be measured of mattes frame by frame, so that a defect stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..matte.motion import Motion, Picture, motions_between, warped

_LEAST_SOFT, _MOST_SOFT = 0.05, 0.95
"""A pixel between them is of an edge, or of something that is soft all over."""
_INSIDE, _FILLED = 0.5, 0.75
"""Above the first a pixel is in a matte; above the second it was plainly in one before."""
_PIECE = 0.1
"""Of the largest piece's area: smaller pieces are islands. A thing may well have several of one size."""
_LEAST_OUTLINE = 8.0
"""Pixels; of a shorter outline nothing can be said."""


@dataclass(frozen=True)
class Measures:
    """Of one layer in one frame.

    Attributes:
        index: of the frame, from 0.
        area: mean of the matte, 0..1.
        highest: its largest value.
        bad: values that are no finite numbers.
        at_border: whether anything of it is at the frame's border.
        edge: soft pixels for each pixel of outline, the width of its edges; None where there is no outline.
        flicker: how far its outline is from where the frames before and after have it, moved along the motion of the
            plate, in pixels of the plate at up to 640 across; None where there is no motion to go by.
        holes, islands: what is enclosed by it, and apart from it, that the frame before or after does not have where
            the motion of the plate leads, in shares of the frame; None where there is no motion to go by.
    """

    index: int
    area: float
    highest: float
    bad: int
    at_border: bool
    edge: float | None
    flicker: float | None = None
    holes: float | None = None
    islands: float | None = None


class Measurer:
    """Measures the layers of a shot, frame by frame in order; of three frames something is held, reduced."""

    def __init__(self) -> None:
        self._before: _Held | None = None
        self._held: _Held | None = None

    def add(
        self, index: int, mattes: Sequence[np.ndarray | None], picture: Picture | None, *, begins: bool = False
    ) -> Iterator[tuple[Measures | None, ...]]:
        """Take the next frame.

        Args:
            index: of the frame.
            mattes: of each layer, float32 [H,W]; None where it is missing.
            picture: of the plate; None where there is none.
            begins: whether a take begins with it.

        Yields:
            measures of each layer of an earlier frame, as soon as they are known; None where it is missing.
        """
        if begins:
            yield from self.finish()
        now = _Held(
            [None if matte is None else _measured(index, matte) for matte in mattes],
            [None if matte is None else _reduced(matte, picture) for matte in mattes],
            picture,
        )
        if self._held is not None:
            if picture is not None and self._held.picture is not None:
                self._held.ahead, now.back = motions_between(self._held.picture, picture)
            yield self._finished(now)
        self._before, self._held = self._held, now

    def finish(self) -> Iterator[tuple[Measures | None, ...]]:
        """The measures of the last frame of a take."""
        if self._held is not None:
            yield tuple(self._held.measures)
        self._before = self._held = None

    def _finished(self, after: _Held) -> tuple[Measures | None, ...]:
        held, before = self._held, self._before
        assert held is not None
        found: list[Measures | None] = []
        for place, (measures, matte) in enumerate(zip(held.measures, held.mattes, strict=True)):
            sides = []
            for other, motion in ((before, held.back), (after, held.ahead)):
                if other is not None and motion is not None and (beside := other.mattes[place]) is not None:
                    sides.append((warped(beside, motion.flow), motion.trust))
            found.append(measures if measures is None or matte is None else _compared(measures, matte, sides))
        return tuple(found)


@dataclass
class _Held:
    """A frame with its motion to its neighbours of the same take."""

    measures: list[Measures | None]
    mattes: list[np.ndarray | None]
    picture: Picture | None
    back: Motion | None = None
    ahead: Motion | None = None


def _measured(index: int, matte: np.ndarray) -> Measures:
    finite = np.isfinite(matte)
    bad = matte.size - int(np.count_nonzero(finite))
    matte = (np.where(finite, matte, 0.0) if bad else matte).clip(0.0, 1.0).astype(np.float32, copy=False)
    outline = _outline(matte)
    soft = np.count_nonzero((matte > _LEAST_SOFT) & (matte < _MOST_SOFT))
    edge = soft / outline if outline > _LEAST_OUTLINE else None
    border = (matte[0], matte[-1], matte[:, 0], matte[:, -1])
    at_border = any(float(side.max()) > _INSIDE for side in border)
    return Measures(index, float(matte.mean(dtype=np.float64)), float(matte.max()), bad, at_border, edge)


def _outline(matte: np.ndarray) -> float:
    """Its length in pixels: the total variation, which is the mean length of all its contours (coarea formula)."""
    down, across = np.diff(matte, axis=0, append=matte[-1:]), np.diff(matte, axis=1, append=matte[:, -1:])
    return float(np.hypot(down, across).sum(dtype=np.float64))


def _compared(measures: Measures, matte: np.ndarray, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> Measures:
    """With what can be said of a matte from those before and after it, moved to where it is, and how far these can be
    trusted."""
    if not sides:
        return measures
    holes, islands = _holes(matte), _islands(matte)
    sudden_holes = max(float(((moved > _FILLED) * trust)[holes].sum()) for moved, trust in sides)
    sudden_islands = max(float(((moved < 1.0 - _FILLED) * trust)[islands].sum()) for moved, trust in sides)
    flicker, outline = None, _outline(matte)
    if len(sides) == 2 and outline > _LEAST_OUTLINE:
        # A second difference: what grows or fades steadily has none.
        (before, of_before), (after, of_after) = sides
        off = of_before * of_after * np.abs(matte - (before + after) / 2)
        flicker = float(off.sum(dtype=np.float64)) / outline
    return replace(measures, flicker=flicker, holes=sudden_holes / matte.size, islands=sudden_islands / matte.size)


def _holes(matte: np.ndarray) -> np.ndarray:
    """bool [H,W]: what is enclosed by a matte and not in it."""
    _, labels, found, _ = cv2.connectedComponentsWithStats((matte <= _INSIDE).astype(np.uint8), connectivity=4)
    height, width = matte.shape
    left, top = found[:, cv2.CC_STAT_LEFT], found[:, cv2.CC_STAT_TOP]
    right, bottom = left + found[:, cv2.CC_STAT_WIDTH], top + found[:, cv2.CC_STAT_HEIGHT]
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    enclosed[0] = False  # what is in the matte
    return enclosed[labels]


def _islands(matte: np.ndarray) -> np.ndarray:
    """bool [H,W]: pieces of a matte that are far smaller than its largest."""
    _, labels, found, _ = cv2.connectedComponentsWithStats((matte > _INSIDE).astype(np.uint8), connectivity=8)
    areas = found[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return (labels > 0) & (areas < _PIECE * areas.max())[labels]


def _reduced(matte: np.ndarray, picture: Picture | None) -> np.ndarray:
    matte = np.nan_to_num(matte, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0).astype(np.float32, copy=False)
    if picture is None or picture.grey.shape == matte.shape:
        return matte
    return cv2.resize(matte, picture.grey.shape[::-1], interpolation=cv2.INTER_AREA)
