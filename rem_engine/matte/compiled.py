"""Loops that numba compiles once on a machine; importing this brings numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: str) -> Callable[[Callable], Any]:
    """Compile a function for arguments of one type, and keep that on disk, where there is a place to write to.

    Args:
        signature: numba's, such as "f4[:,::1](f4[:,::1], i8)".
    """

    def of(function: Callable) -> Any:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError:  # neither beside the code nor in the user's home, as in containers that are read only
            return njit(signature, **options)(function)

    return of
