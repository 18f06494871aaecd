"""From the name of a device to the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" (a CUDA GPU if there is one, else the CPU), or whatever torch takes: "cpu", "cuda", "cuda:1",
            "mps", ...

    Raises:
        ValueError: no kind of device has this name.
        RuntimeError: there is none of it here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"There is no device {name!r}; use 'auto', 'cpu', or one that PyTorch has, such as 'cuda:1' or 'mps'."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("A CUDA GPU was asked for and PyTorch sees none; use the device 'cpu' or 'auto'.")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # each backend has its own
        raise RuntimeError(f"PyTorch cannot use the device {name!r} here; use the device 'cpu' or 'auto'.") from error
    return device
