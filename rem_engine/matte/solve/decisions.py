"""What is decided of a layer: whether its thing is solid, and whether its mask fits the plate's edges.

What tells it are means over the frames of a take that came last, so that a matte does not flicker between two answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields

import numpy as np

from ..settings import EDGE_FRAMES, EdgeKind

# Energy of the cubic upscale, per pixel of unsure cells, times 1000: rendered solid things have 1.5 and more; smoke,
# fire, rain, motion blur and defocus at most 1.27. Of a mask that errs as REM-mini's do, what it has too much or too
# little adds to that: fire's has up to 1.9, and the half of either answer comes nearer than one of them.
_RAMP, _SOLID, _SOLID_OF_BAD_MASKS = 1.3, 2.0, 2.6
# Half transparent part of the solution as a share of the cubic upscale's: with exact masks, glass has up to 0.92, and
# what is soft in the plate 0.97 and more, even before a ground of firm edges, which contradict any ramp.
_FIRMER, _AS_SOFT = 0.93, 0.97
# Energy of the solution as a share of that: exact masks have up to 0.14, masks that err 0.14 to 0.33, REM-mini's 0.46
# to 0.49.
_FITS, _ERRS = 0.10, 0.17
_ERRS_MUCH = 0.4
_BAD, _WORSE = 0.33, 0.45
# Pixels of the plate to a cell up to which an exact mask has all that the plate shows, and from which it has not.
_FINE, _COARSE = 1.5, 2.0
# Of masks that fine: those that are blurred by 0.8 cells have edges of up to 0.45, exact ones of 0.8 and more, though
# the solution of a net has as much energy with either.
_BLURRED, _SHARP = 0.55, 0.7
# Noise as a share of the plate's contrast up to which its edges are found, and from which they are not: a rendered disk
# in the dark has 0.78 of the cubic upscale's error at 0.82, 0.91 at 0.92, and 5.6 times as much at 1.03.
_NOISY, _DROWNED = 0.85, 1.0
# A body this white was meant to be 1; that of a mask that errs much may be darker. What is half transparent for certain
# (rendered glass of 0.85) has a mask that errs less.
_WHITE, _WHITE_OF_BAD_MASKS = 0.9, 0.8


@dataclass(frozen=True)
class Seen:
    """What a frame's equations say of a layer.

    Attributes:
        energy: of the cubic upscale, per pixel of unsure cells, times 1000: how much the plate contradicts a ramp.
        misfit: energy of the solution as a share of it: how little the mask fits the plate's edges.
        softness: how much of the cubic upscale's half transparent part the solution has.
        white: the level of the thing's body.
        sharpness: of the mask's sharpest edges, where it has no grain: the difference of neighbouring cells.
        noise: of the plate, as a share of its contrast, at the size at which edges are solved.
    """

    energy: float
    misfit: float
    softness: float
    white: float
    sharpness: float = 0.0
    noise: float = 0.0

    @classmethod
    def of(
        cls,
        ramp: tuple[np.ndarray, np.ndarray],
        solution: tuple[np.ndarray, np.ndarray],
        *,
        where: np.ndarray,
        white: float,
        sharpness: float,
        noise: float,
    ) -> Seen:
        """From what is said of cells.

        Args:
            ramp: energy and x (1 - x) of the cubic upscale, [h,w] each.
            solution: the same of the solution.
            where: bool [h,w], the cells that count.
            white, sharpness, noise: as the attributes.
        """
        if not where.any():
            return cls(0.0, 0.0, 1.0, white, sharpness, noise)
        plain, plain_soft, solved, solved_soft = (float(plane[where].mean()) for plane in (*ramp, *solution))
        plain, solved = max(plain, 0.0), max(solved, 0.0)
        return cls(plain, solved / (plain + 1e-6), solved_soft / (plain_soft + 1e-6), white, sharpness, noise)


@dataclass(frozen=True)
class Decision:
    """How a layer is finished.

    Attributes:
        solid: 0..1; how far edges are solved rather than left as soft as the model gave them.
        faithful: 0..1; how far the solution of the mask's own means is believed, rather than a trimap's.
        white: the mask's value that becomes 1.
        errs_much: whether the mask errs by more than half a cell.
    """

    solid: float
    faithful: float
    white: float
    errs_much: bool


class Decisions:
    """Those of a layer along a take."""

    def __init__(self, kind: EdgeKind) -> None:
        self._kind = kind
        self._seen: deque[Seen | None] = deque(maxlen=EDGE_FRAMES + 1)

    def see(self, seen: Seen | None) -> None:
        """Take in the next frame; None for one without an edge."""
        self._seen.append(seen)

    def made(self, cell: float) -> Decision:
        """For the frame that was seen last, which has an edge.

        Args:
            cell: side of a cell, in pixels of the plate.
        """
        known = [one for one in self._seen if one is not None]
        energy, misfit, softness, white, sharpness, noise = (
            float(np.mean([getattr(one, field.name) for one in known])) for field in fields(Seen)
        )
        sure = _SOLID + (_SOLID_OF_BAD_MASKS - _SOLID) * smoothstep(misfit, _BAD, _WORSE)
        solid = {"solid": 1.0, "soft": 0.0, "auto": smoothstep(energy, _RAMP, sure)}[self._kind]
        faithful = 1.0 - smoothstep(misfit, _FITS, _ERRS)
        if self._kind == "auto":
            exact = max(faithful, smoothstep(sharpness, _BLURRED, _SHARP))
            solid *= 1.0 - exact * (1.0 - smoothstep(cell, _FINE, _COARSE))
            solid *= 1.0 - faithful * smoothstep(softness, _FIRMER, _AS_SOFT)
        solid *= 1.0 - smoothstep(noise, _NOISY, _DROWNED)
        errs_much = misfit > _ERRS_MUCH
        is_white = white > (_WHITE_OF_BAD_MASKS if errs_much else _WHITE)
        level = 1.0 + solid * ((white if is_white else 1.0) - 1.0)
        return Decision(solid, faithful, level, errs_much)


def smoothstep(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, and smooth between."""
    place = min(max((value - low) / (high - low), 0.0), 1.0)
    return place * place * (3.0 - 2.0 * place)
