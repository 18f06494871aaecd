"""What the matte stage does to a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MatteSettings:
    """How soft masks become mattes. Every field at its neutral value leaves the mask as it is, to the bit.

    The defaults keep soft processes soft: levels that cut off the noise of an empty frame (below 0.02) and what a solid
    object lacks of 1, and refinement for masks upscaled by up to about 8.

    Attributes:
        black, white: levels: mask values that become 0 and 1; `black` lies below `white`. Neutral: 0 and 1.
        gamma: bends the half-transparent part; above 1 it becomes more opaque. Positive; neutral: 1.
        threshold: the mask value, between 0 and 1, at which the edge is put; None keeps the mask's own softness.
        knee: half the width of the ramp around the threshold, in mask values, 0..1; 0 cuts hard.
        fill_holes: holes of fewer pixels than this are filled; 0 is off.
        remove_islands: islands of fewer pixels than this are removed; 0 is off.
        grow: moves the edge outwards by so many pixels, inwards below 0; 0 is off.
        feather: softens the edge over about so many pixels to either side; 0 is off.
        refine: radius, pixels, within which edges are brought to those of the plate; 0 is off.
        refine_detail: contrast of the plate, in display values 0..1, below which it is grain and no edge; positive.
        smooth: frames to either side that smoothing along the motion looks at; 0 is off.
        decontaminate: estimate the colour the foreground has without the ground that shows through.
        invert: keep the rest of the picture instead.

    Raises:
        ValueError: a value out of range.
    """

    black: float = 0.02
    white: float = 0.97
    gamma: float = 1.0
    threshold: float | None = None
    knee: float = 0.1
    fill_holes: int = 0
    remove_islands: int = 0
    grow: int = 0
    feather: float = 0.0
    refine: int = 12
    refine_detail: float = 0.03
    smooth: int = 0
    decontaminate: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        for name in ("black", "white", "gamma", "knee", "feather", "refine_detail"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"The matte's {name} is {getattr(self, name)}; a finite number is expected.")
        check_levels(self.black, self.white, self.gamma)
        check_threshold(0.5 if self.threshold is None else self.threshold, self.knee)
        check_area(self.fill_holes, "Holes")
        check_area(self.remove_islands, "Islands")
        check_feather(self.feather)
        check_refine(self.refine, self.refine_detail)
        if self.smooth < 0:
            raise ValueError(f"Smoothing over {self.smooth} frames to either side is not possible; use 0 or more.")

    @property
    def needs_plate(self) -> bool:
        """Whether masks must come with the frames they were made of."""
        return bool(self.smooth or self.refine or self.decontaminate)


def check_levels(black: float, white: float, gamma: float) -> None:
    """Raise ValueError for levels that cannot be."""
    if not white > black:
        raise ValueError(f"The white level ({white:g}) must lie above the black level ({black:g}).")
    if not gamma > 0.0:
        raise ValueError(f"Gamma must be positive, not {gamma:g}; 1 leaves the mask as it is.")


def check_threshold(at: float, knee: float) -> None:
    """Raise ValueError for a threshold that cannot be."""
    if not 0.0 < at < 1.0:
        raise ValueError(f"A threshold of {at:g} is not possible; give a mask value between 0 and 1, for example 0.5.")
    if not 0.0 <= knee <= 1.0:
        raise ValueError(f"A knee of {knee:g} is not possible; give 0 (a hard cut) to 1, for example 0.1.")


def check_feather(width: float) -> None:
    """Raise ValueError for a feather that cannot be."""
    if not width >= 0.0:
        raise ValueError(f"A feather of {width:g} pixels is not possible; use 0 or more.")


def check_area(area: int, name: str) -> None:
    """Raise ValueError for an area that cannot be."""
    if area < 0:
        raise ValueError(f"{name} of fewer than {area} pixels cannot be; give an area of 0 (off) or more.")


def check_refine(radius: int, detail: float) -> None:
    """Raise ValueError for a refinement that cannot be."""
    if radius < 0:
        raise ValueError(f"A refinement within {radius} pixels is not possible; use 0 (off) or more, for example 12.")
    if not detail > 0.0:
        raise ValueError(f"A refinement's detail must be a positive contrast, for example 0.03, not {detail:g}.")
