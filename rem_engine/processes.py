"""Which processes of this machine are alive."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path


def host_name() -> str:
    """This machine's name, in letters that a file's name can have."""
    return re.sub(r"[^\w-]", "-", socket.gethostname())[:20]


def is_running(process: int) -> bool:
    """Whether a process of this machine is alive; where that cannot be told, it is."""
    if sys.platform == "win32":
        return _is_running_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's is alive too
        return True
    return _stat(process)[:1] != ["Z"]  # one that has ended, and nobody has asked how


def birth(process: int) -> str:
    """When a process was started, as Linux counts it: a later one of the same number is another. "" elsewhere."""
    fields, boot = _stat(process), Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text('ascii').strip()}-{fields[19]}" if fields and boot.is_file() else ""


def _stat(process: int) -> list[str]:
    """What Linux says of a process, from its state on; [] where it says nothing."""
    try:
        # The name, in parentheses, may hold spaces and parentheses itself.
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def _is_running_on_windows(process: int) -> bool:
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return kernel.GetLastError() == 5  # ERROR_ACCESS_DENIED: another user's
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
