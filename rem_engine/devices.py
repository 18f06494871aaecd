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

    if name.lower() == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = _parse(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("A CUDA GPU was asked for and PyTorch sees none; use the device 'cpu' or 'auto'.")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # each backend has its own
        raise RuntimeError(f"PyTorch cannot use the device {name!r} here; use the device 'cpu' or 'auto'.") from error
    return device


def split_devices(names: str) -> list[str]:
    """The devices that "cuda:0,cuda:1" names; a single one is one.

    Raises:
        ValueError: no kind of device has one of the names, one is "auto", or they are of several kinds, which compute
            to other digits and at other speeds.
        RuntimeError: there are fewer GPUs here.
    """
    import torch

    split = [name.strip().lower() for name in names.split(",")]
    if len(split) == 1:
        return split
    if "auto" in split:
        raise ValueError(f"The devices {names!r} are to be named each, as in 'cuda:0,cuda:1'; 'auto' stands alone.")
    devices = [_parse(name) for name in split]
    if len({device.type for device in devices}) > 1:
        raise ValueError(f"The devices {names!r} are of several kinds; those that share a shot are to be of one.")
    count = torch.cuda.device_count()
    if devices[0].type == "cuda" and any((device.index or 0) >= count for device in devices):
        raise RuntimeError(f"The devices {names!r} were asked for, and PyTorch sees {count} CUDA GPUs; name fewer.")
    return split


def _parse(name: str) -> torch.device:
    import torch

    try:
        return torch.device(name.lower())
    except RuntimeError as error:
        raise ValueError(
            f"There is no device {name!r}; use 'auto', 'cpu', or one that PyTorch has, such as 'cuda:1' or 'mps'."
        ) from error
