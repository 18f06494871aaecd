"""Suffixes of files that are pictures; what is in them is told by their contents."""

from __future__ import annotations

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dpx", ".exr", ".webp", ".jxl")
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf"),
    *(".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
)
"""Of cameras' raw files."""
FOREIGN_SUFFIXES = (".heic", ".heif", ".avif", *RAW_SUFFIXES)
"""Of pictures that only some builds of OpenImageIO read."""
