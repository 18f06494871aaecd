"""Where a mask's edge lies and how soft it is: levels, threshold, grow, feather."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from kornia.filters import gaussian_blur2d
from torch import Tensor

from ..setting import check_values
from .boxes import bounding_box
from .settings import MatteSettings, check_levels


def levels(mask: Tensor, black: float = 0.0, white: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Stretch `black`..`white` to 0..1, clip, then bend: ``((m - black) / (white - black)) ** (1 / gamma)``.

    A gamma above 1 lightens the half-transparent part, below 1 darkens it, as the levels of compositing software do.

    Raises:
        ValueError: `white` is not above `black`, or `gamma` is not positive.
    """
    check_values(MatteSettings, black=black, white=white, gamma=gamma)
    check_levels(black, white)
    if (black, white) != (0.0, 1.0):
        mask = (mask - black).div_(white - black)
    mask = mask.clamp(0.0, 1.0)
    return mask if gamma == 1.0 else mask.pow_(1.0 / gamma)


def threshold(mask: Tensor, at: float, knee: float = 0.0) -> Tensor:
    """Put the edge where the mask passes `at`: 0 below ``at - knee``, 1 above ``at + knee``, smoothstep between.

    Smoothstep is ``t * t * (3 - 2 * t)`` of the place t between the two, 0..1. With a knee of 0 the cut is hard: 1
    where the mask is above `at`, as everywhere in the engine.

    Raises:
        ValueError: `at` is not between 0 and 1, or `knee` is not in 0..1.
    """
    check_values(MatteSettings, threshold=at, knee=knee)
    if knee == 0.0:
        return (mask > at).to(mask.dtype)
    place = ((mask - (at - knee)) / (2.0 * knee)).clamp(0.0, 1.0)
    return place * place * (3.0 - 2.0 * place)


def grow(mask: Tensor, radius: int) -> Tensor:
    """Move the edge outwards by `radius` pixels (inwards if negative), keeping its softness.

    Grey-scale dilation (erosion) with a disk: each pixel takes the largest (smallest) value within `radius` of it.
    Beyond the frame nothing is assumed, so an object cut by the border neither grows from it nor shrinks from it.
    """
    if radius < 0:
        return -grow(-mask, -radius)
    box = _changing(mask, radius)
    if radius == 0 or box is None:
        return mask
    result = mask.clone()
    result[(..., *box)] = _dilated(mask[(..., *box)], radius)
    return result


def feather(mask: Tensor, width: float) -> Tensor:
    """Soften the edge over about `width` pixels to either side: a Gaussian blur of sigma = width / 2.

    Beyond the frame the border's values go on, so an object cut by the border stays solid there.

    Raises:
        ValueError: `width` is negative.
    """
    check_values(MatteSettings, feather=width)
    if width == 0:
        return mask
    sigma = width / 2.0
    radius = math.ceil(3.0 * sigma)
    box = _changing(mask, radius)
    if box is None:
        return mask
    result = mask.clone()
    changing = mask[(..., *box)]
    # One plane at a time, or rounding would depend on how many come together.
    planes = rearrange(changing, "... h w -> (...) 1 1 h w").contiguous()
    side = 2 * radius + 1
    blurred = [gaussian_blur2d(plane, (side, side), (sigma, sigma), border_type="replicate") for plane in planes]
    result[(..., *box)] = torch.cat(blurred).reshape(changing.shape)
    return result


def _changing(mask: Tensor, margin: int) -> tuple[slice, slice] | None:
    """The box outside of which a mask holds one value only, and `margin` around it; None for a constant mask."""
    return bounding_box(mask != mask[..., :1, :1], margin)


def _dilated(mask: Tensor, radius: int) -> Tensor:
    """The largest value within `radius` of every pixel."""
    result = mask.clone()
    row = mask.clone()  # largest value within `reach` pixels to the left and right
    reach = 0
    # The disk, row by row from its poles to its equator: rows only get longer, so each needs one step from the last.
    for height in range(radius, -1, -1):
        width = math.isqrt(radius * radius - height * height)
        while reach < width:
            reach += 1
            _raise(row, mask, reach, -1)
        _raise(result, row, height, -2)
    return result


def _raise(values: Tensor, other: Tensor, offset: int, dim: int) -> None:
    """Raise `values`, in place, to those of `other` `offset` pixels to either side along `dim`, within the frame."""
    size = values.shape[dim] - offset
    if size <= 0:
        return
    for to, source in ((0, offset), (offset, 0)):
        raised = values.narrow(dim, to, size)
        torch.maximum(raised, other.narrow(dim, source, size), out=raised)
