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

    Multi-level foreground estimation (Germer, Uelwer, Conrad and Harmeling 2020) by pymatting, on the CPU. Opaque
    pixels and those outside of the mask keep the plate's colour. The first call of all compiles the method, which takes
    a minute.

    Args:
        plate: [H, W, 3], display-referred, 0..1.
        alpha: [..., H, W] in 0..1.

    Returns:
        [..., H, W, 3] in 0..1.

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
    estimated = _estimated(plate[box].contiguous(), alpha[box].contiguous()).clamp_(0.0, 1.0)
    result[box] = torch.where(partial[box].unsqueeze(-1), estimated, plate[box])
    return result


def _estimated(plate: Tensor, alpha: Tensor) -> Tensor:
    threads = torch.get_num_threads()
    try:
        from pymatting import estimate_foreground_ml  # here, since it brings a compiler, which takes seconds

        return torch.from_numpy(estimate_foreground_ml(plate.numpy(), alpha.numpy()))
    finally:
        torch.set_num_threads(threads)  # numba raises the number, which it shares with torch, to that of all cores
