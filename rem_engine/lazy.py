"""Packages whose names are there at once, and whose modules are imported when one of them is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def attribute_of(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a package's `__getattr__` (PEP 562) gives.

    Args:
        package: its `__name__`.
        homes: the module, relative to the package, of every name that it offers.
        name: that was asked for.

    Raises:
        AttributeError: it offers none of that name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(homes[name], package), name)
