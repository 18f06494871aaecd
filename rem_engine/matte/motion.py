"""Where what one plate shows has moved to in another, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..pixels import to_uint8

# Pixels of a plate's longer side; motion is found on plates no larger than that. Finer ones take time and gain little.
_LONGEST_SIDE = 640
# Pixels; the search takes no less than 12.
_SHORTEST_SIDE = 16
# Pixels from which a motion may be taken over, coarse to fine: as far as optical flow smears across an outline.
_STEPS = (10, 5)
# Pixels; the neighbourhood in which two pictures are compared for that.
_PATCH = 3
# Forward and backward flow cancel where both are right: their sum may have a length, squared, of 0.01 times theirs and
# 0.5 pixels (Sundaram, Brox and Keutzer, 2010). Trust ends at twice that.
_CONSISTENT_SHARE, _CONSISTENT_PIXELS = 0.01, 0.5
# Levels of 0..255 by which a picture may differ from what the motion makes of the other, and where trust ends: grain
# and changing light lie below, another surface above.
_ALIKE, _ANOTHER = 12.0, 36.0


@dataclass(frozen=True)
class Picture:
    """A plate reduced for the search of motion.

    Attributes:
        colours: uint8 [h,w,3].
        grey: uint8 [h,w].
    """

    colours: np.ndarray
    grey: np.ndarray

    @classmethod
    def of(cls, plate: np.ndarray) -> Picture:
        """From a plate, float32 [H,W,3] in 0..1."""
        sides = plate.shape[:2]
        scale = max(min(1.0, _LONGEST_SIDE / max(sides)), _SHORTEST_SIDE / min(sides))
        if scale != 1.0:
            size = [round(side * scale) for side in sides[::-1]]
            plate = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
        colours = to_uint8(plate)
        return cls(colours, cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


@dataclass(frozen=True)
class Motion:
    """From one picture to another.

    Attributes:
        flow: float32 [h,w,2], (x, y): what is at p in the one is at p + flow[p] in the other; pixels of the picture.
        trust: float32 [h,w] in 0..1: 0 where it cannot be found there, since it is hidden, gone, or outside.
    """

    flow: np.ndarray
    trust: np.ndarray

    def scaled(self, size: tuple[int, int]) -> Motion:
        """The motion of pictures of (height, width)."""
        height, width = self.trust.shape
        if size == (height, width):
            return self
        flow = self.flow * np.array([size[1] / width, size[0] / height], np.float32)
        return Motion(cv2.resize(flow, size[::-1]), cv2.resize(self.trust, size[::-1]))


def motions_between(one: Picture, other: Picture) -> tuple[Motion, Motion]:
    """The motion from one picture to the next and that back."""
    there, back = _flow(one, other), _flow(other, one)
    return (
        Motion(there, _consistency(there, back) * _likeness(one, other, there)),
        Motion(back, _consistency(back, there) * _likeness(other, one, back)),
    )


def chained(start: Picture, first: Motion, second: Motion, end: Picture) -> Motion:
    """The motion from `start` to `end` by way of a picture between: its errors are those of small steps, whereas a
    search over a large step often fails."""
    flow = first.flow + warped(second.flow, first.flow)
    trust = first.trust * warped(second.trust, first.flow) * _likeness(start, end, flow)
    return Motion(flow, trust)


def warped(values: np.ndarray, flow: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Values [h,w] or [h,w,c] of the other picture, where this one shows the same; bilinear, replicated outside.

    Args:
        values: of all of that picture.
        flow: of this one, or of a part of it.
        origin: (row, column) at which that part begins.
    """
    remap: Any = cv2.remap  # its stubs leave out that the second map may be None
    return remap(values, _reached(flow, origin), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _reached(flow: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Where each pixel goes, (x, y)."""
    height, width = flow.shape[:2]
    places = flow.copy()
    places[..., 0] += np.arange(origin[1], origin[1] + width, dtype=np.float32)
    places[..., 1] += np.arange(origin[0], origin[0] + height, dtype=np.float32)[:, None]
    return places


def _flow(one: Picture, other: Picture) -> np.ndarray:
    """Dense inverse search (Kroeger et al., 2016), then outlines made sharp.

    Optical flow is smooth across outlines, where two motions meet and masks have their edges. So each pixel also tries
    the motions found some way off in each direction and takes the one under which the pictures agree best, as
    PatchMatch does (Barnes et al., 2009).
    """
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # whose flow to begin with may be None
    flow = search.calc(one.grey, other.grey, None)
    least, size = _difference(one, other, flow), flow.shape[1::-1]
    for step in _STEPS:
        found = flow.copy()
        for x, y in ((step, 0), (-step, 0), (0, step), (0, -step)):
            move = np.array([[1, 0, x], [0, 1, y]], np.float32)
            tried = cv2.warpAffine(found, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            difference = _difference(one, other, tried)
            better = cv2.compare(difference, least, cv2.CMP_LT)
            cv2.copyTo(tried, better, flow)
            cv2.copyTo(difference, better, least)
    return flow


def _difference(one: Picture, other: Picture, flow: np.ndarray) -> np.ndarray:
    """float32 [h,w]: levels by which the channels differ the most, over a neighbourhood."""
    levels = cv2.absdiff(one.colours, warped(other.colours, flow))
    red, green, blue = cv2.split(levels)
    most = cv2.max(cv2.max(red, green), blue)
    return cv2.boxFilter(most, cv2.CV_32F, (_PATCH, _PATCH))


def _consistency(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    returned = warped(back, flow)
    gap = flow + returned
    squares = [cv2.magnitude(*cv2.split(vectors)) ** 2 for vectors in (gap, flow, returned)]
    allowed = _CONSISTENT_SHARE * (squares[1] + squares[2]) + _CONSISTENT_PIXELS
    return (2.0 - squares[0] / allowed).clip(0.0, 1.0)


def _likeness(here: Picture, away: Picture, flow: np.ndarray) -> np.ndarray:
    """Whether both pictures look the same along the motion, and whether it stays within the picture; 0..1."""
    likeness = ((_ANOTHER - _difference(here, away, flow)) / (_ANOTHER - _ALIKE)).clip(0.0, 1.0)
    x, y = cv2.split(_reached(flow))
    height, width = x.shape
    likeness[(x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)] = 0.0
    return likeness
