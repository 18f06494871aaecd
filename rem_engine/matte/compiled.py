"""Loops that numba compiles once on a machine; importing this brings numba."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: str) -> Callable[[Callable], Any]:
    """Compile a function for arguments of one type, and keep that on disk, where there is a place to write to.

    Args:
        signature: numba's, such as "f4[:,::1](f4[:,::1], i8)".
    """

    def of(function: Callable) -> Any:
        # What numba keeps can be read under the module's name alone that it was compiled under, and a ComfyUI gives
        # this file a name of its own; kept files are told apart by the function's name.
        module = hashlib.sha256(function.__module__.encode()).hexdigest()[:8]
        function.__qualname__ = f"{function.__qualname__}_{module}"
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError:  # neither beside the code nor in the user's home, as in containers that are read only
            return njit(signature, **options)(function)

    return of
