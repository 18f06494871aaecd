"""Colour beside an alpha: joining, premultiplying, compositing, and taking the ground's spill out of an edge."""

from __future__ import annotations

import torch
from torch import Tensor

from .boxes import bounding_box
from .checks import check_same_size

# Pixels around a mask that are looked at for the colours of its edge.
_MARGIN = 16


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
    check_same_size("picture", rgb.shape[-3:-1], "alpha", alpha.shape[-2:])
    alpha = alpha.unsqueeze(-1)
    return torch.cat([rgb * alpha if premultiplied else rgb, alpha], dim=-1)


def composite(foreground: Tensor, alpha: Tensor, background: Tensor, premultiplied: bool = False) -> Tensor:
    """The foreground over a background (Porter and Duff, 1984).

    Straight: ``alpha * foreground + (1 - alpha) * background``.
    Premultiplied: ``foreground + (1 - alpha) * background``.

    Args:
        foreground: [..., H, W, 3].
        alpha: [..., H, W] in 0..1.
        background: [..., H, W, 3].
        premultiplied: whether the foreground's colour is multiplied by the alpha already.

    Raises:
        ValueError: the sizes differ.
    """
    check_same_size("foreground", foreground.shape[-3:-1], "alpha", alpha.shape[-2:])
    check_same_size("background", background.shape[-3:-1], "alpha", alpha.shape[-2:])
    alpha = alpha.unsqueeze(-1)
    return (foreground if premultiplied else foreground * alpha) + (1.0 - alpha) * background


def decontaminate(plate: Tensor, alpha: Tensor) -> Tensor:
    """The straight colour of the foreground, without the ground that shows through its edge and its thin parts.

    Multi-level foreground estimation (Germer, Uelwer, Conrad and Harmeling 2020) on the CPU. Opaque pixels and those
    outside of the mask keep the plate's colour.

    Args:
        plate: [H, W, 3], display-referred in 0..1, or light of any range.
        alpha: [..., H, W] in 0..1.

    Returns:
        [..., H, W, 3], within 0..1 or the range of the plate, whichever is the larger.

    Raises:
        ValueError: the sizes differ.
    """
    check_same_size("plate", plate.shape[-3:-1], "alpha", alpha.shape[-2:])
    picture = plate.detach().cpu().float()
    layers = alpha.detach().cpu().float().reshape(-1, *alpha.shape[-2:])
    return torch.stack([_foreground(picture, layer) for layer in layers]).reshape(*alpha.shape, 3).to(plate)


def _foreground(plate: Tensor, alpha: Tensor) -> Tensor:
    partial = (alpha > 0.0) & (alpha < 1.0)
    box = bounding_box(partial, _MARGIN)
    if box is None:
        return plate
    result = plate.clone()
    estimated = _estimated(plate[box].contiguous(), alpha[box].contiguous())
    result[box] = torch.where(partial[box].unsqueeze(-1), estimated, plate[box])
    return result


def _estimated(plate: Tensor, alpha: Tensor) -> Tensor:
    from .foreground import estimated_foreground  # here, since it brings a compiler, which takes a second

    # It estimates within 0..1. Weights of foreground and ground add up to 1, so that light may be moved there and back.
    low, high = min(0.0, float(plate.min())), max(1.0, float(plate.max()))
    if (low, high) == (0.0, 1.0):
        return torch.from_numpy(estimated_foreground(plate.numpy(), alpha.numpy()))
    within = (plate - low) / (high - low)
    return torch.from_numpy(estimated_foreground(within.numpy(), alpha.numpy())).mul_(high - low).add_(low)
