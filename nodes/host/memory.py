"""Memory that was freed, back to the system.

What a run and its models took is let go of by the host's own rules, but glibc keeps what was freed in small pieces for
itself: the host's "free memory" then changes nothing that the system can see.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from typing import Any

_SECONDS = 3.0  # what the host drops together is collected within that, on a busy machine too


def give_back_memory() -> None:
    """Give what this process has freed back to the system; nothing where its C library is not glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def give_back_memory_after(model: Any) -> None:
    """Do so once `model` is gone; the host drops all that a graph held together, which a moment later is freed."""
    weakref.finalize(model, _soon).atexit = False


def _soon() -> None:
    timer = threading.Timer(_SECONDS, give_back_memory)
    timer.daemon = True
    timer.start()
