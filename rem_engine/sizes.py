"""Sizes as people read them."""

from __future__ import annotations


def gigabytes(size: float) -> str:
    """Bytes in GB (1e9 bytes, as disks are sold), in MB below one, in bytes below a million; never 0.0 of anything."""
    if size < 10**9:
        return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size:.0f} bytes"
    return f"{size / 1e9:.1f} GB"
