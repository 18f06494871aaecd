"""Sizes as people read them."""

from __future__ import annotations

from .catalogue import KnownModel

_SIGNS = {"published": "", "computed": "~", "at least": ">"}


def gigabytes(size: int) -> str:
    """Bytes in GB (1e9 bytes, as disks are sold), or MB below one."""
    if size < 10**9:
        return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size} bytes"
    return f"{size / 1e9:.1f} GB"


def size_of(model: KnownModel) -> str:
    """A model's size, marked where it is not published: "~" computed from its parameters, ">" at least."""
    return _SIGNS[model.size_source] + gigabytes(model.size)
