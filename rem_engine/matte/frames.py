"""A frame on its way from the disk through the matte stage into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A frame of a shot, which gains parts on its way; all of them on the CPU.

    Attributes:
        index: its place in the shot, from 0.
        soft: soft masks, float32 [L,H,W], one a layer; nominally 0..1, not clipped. Of the plate's size, or of the
            model's, before they were scaled up.
        plate: the picture, display-referred [H,W,3]: uint8, or float in 0..1; None where nothing needs it.
        linear: the picture in scene-linear light, float32 [H,W,3], not clipped; None where nothing needs it.
        alpha: the matte, float32 [L,H,W] in 0..1; None before the matte stage.
        foreground: straight colour without the ground, float32 [L,H,W,3]: display-referred in 0..1, or, of a plate that
            is light, light as `linear`; None unless colours are decontaminated.
        picture: what PNG and videos show, [H,W,3]: uint8, or float in 0..1; None where that is the plate.
        attributes: what the header of the plate's frame says that an EXR of it says too, by name; None for nothing.
        given: mattes that bound the layers' own, by mode, float32 [L,H,W] or [1,H,W]; see `given.with_given`.
        derived: core and edge of each layer that is to have them, float32 [2K,H,W] in 0..1, in the order of the layers;
            None where none is.
        plate_is_light: whether the plate's own values are scene-linear light, in which foreground and ground mix.
        cells: (height, width) at which the model made each layer's mask, where that is known and `soft` has been scaled
            up since; None for layers of which it is not, () where it is not of any.
    """

    index: int
    soft: Tensor
    plate: Tensor | None = None
    linear: Tensor | None = None
    alpha: Tensor | None = None
    foreground: Tensor | None = None
    picture: Tensor | None = None
    attributes: Mapping[str, Any] | None = None
    given: Mapping[str, Tensor] | None = None
    derived: Tensor | None = None
    plate_is_light: bool = False
    cells: tuple[tuple[int, int] | None, ...] = ()


def plate_of(frame: Frame) -> Tensor:
    """A frame's plate, for an operation that needs one.

    Raises:
        ValueError: it comes without.
    """
    if frame.plate is None:
        raise ValueError(
            f"Frame {frame.index} comes without its plate, which smoothing, refinement and decontamination need: "
            "give the plate, or turn them off (smooth=0, refine=0, decontaminate=False)."
        )
    return frame.plate


def mixed_colours_of(frame: Frame) -> Tensor:
    """What a frame's foreground is taken out of: light where the plate is light, else the plate.

    Raises:
        ValueError: it comes without.
    """
    if not frame.plate_is_light:
        return plate_of(frame)
    if frame.linear is None:
        raise ValueError(f"Frame {frame.index} comes without its light, which decontamination needs: give it.")
    return frame.linear


def alpha_of(frame: Frame) -> Tensor:
    """The matte of a frame that has been through the matte stage.

    Raises:
        ValueError: it has not.
    """
    if frame.alpha is None:
        raise ValueError(f"Frame {frame.index} comes without its alpha: put it through the matte stage.")
    return frame.alpha


def display_values(plate: Tensor) -> Tensor:
    """A plate, uint8 or float in 0..1 -> float32 in 0..1."""
    return plate.float() if plate.is_floating_point() else plate.float() / 255.0
