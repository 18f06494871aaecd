"""How much memory there is, how much this process took, and what does not fit."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .sizes import gigabytes

if TYPE_CHECKING:
    import torch

_UNKNOWN = 2 * 2**30
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Bytes that could be allocated on a device now without others losing theirs.

    On a GPU: what the driver reports as free, and what PyTorch holds but does not use. On a CPU: `free_bytes`; 2 GiB on
    systems that do not tell.
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    on_cpu = free_bytes()
    return _UNKNOWN if on_cpu is None else on_cpu


def free_bytes() -> int | None:
    """Bytes of the CPU's memory that could be allocated now: Linux's estimate (MemAvailable), within the limit of the
    container; None on systems that do not tell."""
    kibibytes = _kibibytes(Path("/proc/meminfo"), "MemAvailable")
    if kibibytes is None:
        return None
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is None or used is None:
        return kibibytes * 1024
    # The kernel gives up pages of files before it refuses memory.
    return min(kibibytes * 1024, max(0, limit - used + _file_pages()))


def check_fits(needed: int, what: str) -> None:
    """Refuse what asks for more memory than is free, before it is allocated.

    Args:
        needed: bytes.
        what: begins the sentence: "The 100000x100000 pixels of plate.png".

    Raises:
        ValueError: it does not fit.
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise ValueError(
            f"{what} take {gigabytes(needed)} of memory, and {gigabytes(free)} are free: give a smaller one, or make "
            "memory free."
        )


def give_back_memory() -> None:
    """Give what this process has freed back to the system; nothing where its C library is not glibc, which keeps what
    was freed in pieces of less than 32 MiB, unless it is the last."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the CPU's memory is full: Python's and NumPy's own, or that of PyTorch or OpenCV."""
    told = str(error)
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in told or "(-4:Insufficient memory)" in told


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


def _file_pages() -> int:
    """Bytes of files that a container's memory holds and can let go of."""
    file = _CGROUP / "memory.stat"
    if not file.exists():
        return 0
    counted = dict(line.split() for line in file.read_text("utf-8", "replace").splitlines())
    return int(counted.get("inactive_file", 0)) + int(counted.get("active_file", 0))


def _number(file: Path) -> int | None:
    """The number in a file of one; None where there is no file, or no number ("max")."""
    text = file.read_text("utf-8", "replace").strip() if file.exists() else ""
    return int(text) if text.isdecimal() else None


def _kibibytes(file: Path, entry: str) -> int | None:
    """A figure of Linux's /proc; None where there is none."""
    if not file.exists():
        return None
    lines = (line.split() for line in file.read_text("utf-8", "replace").splitlines())
    return next((int(words[1]) for words in lines if words and words[0] == f"{entry}:"), None)
