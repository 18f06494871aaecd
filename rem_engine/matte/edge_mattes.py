"""What is made of a finished matte's edge: a blur that stays at it, and its core and edge as mattes of their own.

Widths are in pixels of a plate whose longer side has `BASE` of them, so that a shot looks alike at every size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..setting import check_values
from .edges import feather, grow
from .settings import MatteSettings

BASE = 1920
"""Pixels of the longer side of the plate in whose pixels widths are given."""

_REACH = 1.5
"""Widths from an edge at which its blur, a Gaussian of half a width, has ended: three of its sigmas."""


def plate_pixels(width: float, mask: Tensor) -> float:
    """A width, in pixels of a plate of 1920, in those of a mask [..., H, W]."""
    return width * max(mask.shape[-2:]) / BASE


def edge_blur(mask: Tensor, width: float) -> Tensor:
    """Soften a matte over about `width` pixels to either side of its edges, and leave the rest of it.

    What lies between the largest and the smallest value nearby (Beucher's gradient) is edge, and as far as a pixel is,
    it takes the blurred value (`feather`): all of it at the edge of a solid thing, little in the body of smoke, whose
    texture stays.

    Args:
        mask: [..., H, W] in 0..1.
        width: pixels of a plate of 1920; see `plate_pixels`. 0 leaves the mask as it is.

    Raises:
        ValueError: `width` is out of range.
    """
    check_values(MatteSettings, edge_blur=width)
    if width == 0:
        return mask
    pixels = plate_pixels(width, mask)
    _, edge = _core_and_edge(mask, math.ceil(_REACH * pixels))
    return torch.lerp(mask, feather(mask, pixels), edge)


def core_and_edge(alpha: Tensor, width: float) -> Tensor:
    """The core and the edge of mattes, each a matte of its own.

    The core is the smallest alpha within `width`: what lies deeper inside than that. The edge is what the largest one
    within `width` is above it: 1 along the outline of a solid thing, `width` to either side, and 0 in its core and
    beyond. Core and edge together are the matte grown by `width`.

    Args:
        alpha: [L,H,W] in 0..1.
        width: pixels of a plate of 1920, of which at least one of the alpha's own is taken.

    Returns:
        [2L,H,W]: core and edge of the first layer, of the second, ...

    Raises:
        ValueError: `width` is out of range, or 0.
    """
    check_values(MatteSettings, edge_mattes=width)
    if width == 0:
        raise ValueError("A core and an edge need a width: give edge_mattes more than 0 pixels.")
    core, edge = _core_and_edge(alpha, max(1, round(plate_pixels(width, alpha))))
    return torch.stack([core, edge], dim=1).flatten(0, 1)


def _core_and_edge(alpha: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    core = grow(alpha, -radius)
    return core, grow(alpha, radius) - core
