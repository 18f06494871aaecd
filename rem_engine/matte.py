"""From a soft mask to a production alpha: levels, edge position, feather, premultiplication.

Masks are float tensors [..., H, W] in 0..1, on any device; results have the same shape, type and device. All lengths
are in pixels of the mask.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def levels(mask: Tensor, black: float = 0.0, white: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Stretch `black`..`white` to 0..1, clip, then bend: ``((m - black) / (white - black)) ** (1 / gamma)``.

    A gamma above 1 lightens the half-transparent part, below 1 darkens it, as the levels of compositing software do.

    Raises:
        ValueError: `white` is not above `black`, or `gamma` is not positive.
    """
    if not white > black:
        raise ValueError(f"The white level ({white:g}) must lie above the black level ({black:g}).")
    if not gamma > 0.0:
        raise ValueError(f"Gamma must be positive, not {gamma:g}; 1 leaves the mask as it is.")
    return ((mask - black) / (white - black)).clamp(0.0, 1.0).pow(1.0 / gamma)


def grow(mask: Tensor, radius: int) -> Tensor:
    """Move the edge outwards by `radius` pixels (inwards if negative), keeping its softness.

    Grey-scale dilation (erosion) with a disk: each pixel takes the largest (smallest) value within `radius` of it.
    Beyond the frame nothing is assumed, so an object cut by the border neither grows from it nor shrinks from it.
    """
    if radius < 0:
        return -grow(-mask, -radius)
    result = mask
    row = mask  # largest value within `reach` pixels to the left and right
    reach = 0
    # The disk, row by row from its poles to its equator: rows only get longer, so each needs one step from the last.
    for height in range(radius, -1, -1):
        width = math.isqrt(radius * radius - height * height)
        while reach < width:
            reach += 1
            row = torch.maximum(row, _largest_shifted(mask, reach, -1))
        result = torch.maximum(result, _largest_shifted(row, height, -2))
    return result


def feather(mask: Tensor, width: float) -> Tensor:
    """Soften the edge over about `width` pixels to either side: a Gaussian blur of sigma = width / 2.

    Beyond the frame the border's values go on, so an object cut by the border stays solid there.

    Raises:
        ValueError: `width` is negative.
    """
    if width < 0:
        raise ValueError(f"A feather of {width:g} pixels is not possible; use 0 or more.")
    if width == 0:
        return mask
    sigma = width / 2.0
    radius = math.ceil(3.0 * sigma)
    distance = torch.arange(-radius, radius + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = mask.reshape(-1, 1, *mask.shape[-2:])
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return planes.reshape(mask.shape)


def merge_alpha(rgb: Tensor, alpha: Tensor, premultiplied: bool = False) -> Tensor:
    """Put an alpha beside a picture.

    Args:
        rgb: [..., H, W, 3].
        alpha: [..., H, W] in 0..1.
        premultiplied: multiply the colour by the alpha (Porter and Duff, 1984) instead of leaving it straight.

    Returns:
        RGBA [..., H, W, 4].

    Raises:
        ValueError: the sizes differ.
    """
    if rgb.shape[:-1] != alpha.shape:
        raise ValueError(
            f"The picture is {rgb.shape[-2]}x{rgb.shape[-3]} and its alpha {alpha.shape[-1]}x{alpha.shape[-2]}; "
            "they must have the same size."
        )
    alpha = alpha.unsqueeze(-1)
    return torch.cat([rgb * alpha if premultiplied else rgb, alpha], dim=-1)


def _largest_shifted(values: Tensor, offset: int, dim: int) -> Tensor:
    """Larger of the two values `offset` pixels to either side along `dim`; beyond the frame is ignored."""
    if offset == 0:
        return values
    size = values.shape[dim]
    result = torch.full_like(values, -math.inf)
    if offset < size:
        inner = size - offset
        result.narrow(dim, 0, inner).copy_(values.narrow(dim, offset, inner))
        later = result.narrow(dim, offset, inner)
        torch.maximum(later, values.narrow(dim, 0, inner), out=later)
    return result
