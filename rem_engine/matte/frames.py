"""A frame on its way from the disk through the matte stage into files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A frame of a shot, which gains parts on its way; all of them on the CPU.

    Attributes:
        index: its place in the shot, from 0.
        soft: soft masks, float32 [L,H,W], one a layer; nominally 0..1, not clipped.
        plate: the picture, display-referred [H,W,3]: uint8, or float in 0..1; None where nothing needs it.
        linear: the picture in scene-linear light, float32 [H,W,3], not clipped; None where no EXR is written.
        alpha: the matte, float32 [L,H,W] in 0..1; None before the matte stage.
        foreground: straight colour without the ground, float32 [L,H,W,3] in 0..1, display-referred; None unless colours
            are decontaminated.
    """

    index: int
    soft: Tensor
    plate: Tensor | None = None
    linear: Tensor | None = None
    alpha: Tensor | None = None
    foreground: Tensor | None = None


def display_values(plate: Tensor) -> Tensor:
    """A plate, uint8 or float in 0..1 -> float32 in 0..1."""
    return plate.float() if plate.is_floating_point() else plate.float() / 255.0
