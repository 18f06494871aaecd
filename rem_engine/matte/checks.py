"""What is asked of masks and plates before the matte stage works on them."""

from __future__ import annotations

from torch import Tensor


def check_plate(mask: Tensor, plate: Tensor) -> None:
    """Raise ValueError unless the plate is a picture [H, W, 3] of the mask's size."""
    if plate.ndim != 3 or plate.shape[-1] != 3:
        raise ValueError(f"A plate of shape {list(plate.shape)} cannot be used; a picture [H,W,3] is expected.")
    if mask.shape[-2:] != plate.shape[:2]:
        raise ValueError(
            f"The mask is {mask.shape[-1]}x{mask.shape[-2]} pixels and the plate {plate.shape[1]}x{plate.shape[0]}; "
            "they must have the same size: resize one of them first."
        )


def check_finite(values: Tensor, name: str) -> None:
    """Raise ValueError where there are values that are no numbers, or infinite."""
    # A sum is finite only if every term is, and costs a third of looking at each of them.
    if not values.sum().isfinite() and not values.isfinite().all():
        raise ValueError(f"The {name} holds values that are not finite (NaN or infinite); give numbers in 0..1.")
