"""How much memory there is, and how much this process took."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_UNKNOWN = 2 * 2**30


def available_bytes(device: torch.device) -> int:
    """Bytes that could be allocated on a device now without others losing theirs.

    On a GPU: what the driver reports as free, and what PyTorch holds but does not use. On a CPU: Linux's estimate
    (MemAvailable); 2 GiB on systems that do not tell.
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    kibibytes = _kibibytes(Path("/proc/meminfo"), "MemAvailable")
    return _UNKNOWN if kibibytes is None else kibibytes * 1024


def peak_memory_mib() -> float | None:
    """The most resident memory this process had so far, MiB; None where the system does not tell (Windows)."""
    # Not getrusage: on Linux that counts the parent's peak too, from before the program started.
    kibibytes = _kibibytes(Path("/proc/self/status"), "VmHWM")
    if kibibytes is not None:
        return round(kibibytes / 1024, 1)
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    return None


def _kibibytes(file: Path, entry: str) -> int | None:
    """A figure of Linux's /proc; None where there is none."""
    if not file.exists():
        return None
    lines = (line.split() for line in file.read_text("utf-8", "replace").splitlines())
    return next((int(words[1]) for words in lines if words and words[0] == f"{entry}:"), None)
