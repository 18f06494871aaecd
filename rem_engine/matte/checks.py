"""What is asked of masks and plates before the matte stage works on them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..finite import all_finite

_SMALLEST_CELL = 1.5
"""Pixels of the plate. Masks of nearly its size were made for another plate."""


def check_same_size(what: str, size: Sequence[int], other: str, other_size: Sequence[int]) -> None:
    """Raise ValueError, a sentence about `what` and `other`, unless they have the same (height, width)."""
    if tuple(size) != tuple(other_size):
        raise ValueError(
            f"The {what} is {size[1]}x{size[0]} pixels and the {other} {other_size[1]}x{other_size[0]}; "
            "they must have the same size: resize one of them first."
        )


def fits_as_cells(size: Sequence[int], plate_size: Sequence[int], model_size: int = 0) -> bool:
    """Whether masks of (height, width) can be a model's, before they were scaled up to a plate's: a cell is half as
    large again as a pixel, and no shorter; or they are of the model's size that was told, where that is not 0."""
    if model_size and tuple(size) == (model_size, model_size):
        return True
    height, width = (whole / count for whole, count in zip(plate_size, size, strict=True))
    return height >= 1.0 and width >= 1.0 and height * width >= _SMALLEST_CELL


def check_model_size(told: int, known: Sequence[int] | None, masks: str) -> None:
    """Raise ValueError, a sentence about `masks`, where a model's size that was told is not the (height, width) that is
    known; 0 and None are neither."""
    if told and known is not None and tuple(known) != (told, told):
        raise ValueError(
            f"{masks} come from {known[1]}x{known[0]} pixels of a model, and the model size says {told}x{told}: leave "
            "the model size out."
        )


def check_plate(mask: Tensor, plate: Tensor) -> None:
    """Raise ValueError unless the plate is a picture [H, W, 3] of the mask's size."""
    if plate.ndim != 3 or plate.shape[-1] != 3:
        raise ValueError(f"A plate of shape {list(plate.shape)} cannot be used; a picture [H,W,3] is expected.")
    check_same_size("mask", mask.shape[-2:], "plate", plate.shape[:2])


def check_finite(values: Tensor, name: str) -> None:
    """Raise ValueError where there are values that are no numbers, or infinite."""
    if not all_finite(values):
        raise ValueError(f"The {name} holds values that are not finite (NaN or infinite); give numbers in 0..1.")
