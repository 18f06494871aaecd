"""Referring video segmentation with a whole video-diffusion model (REM, "ReferEverything").

>>> from rem_engine import load_segmenter
>>> segmenter = load_segmenter("mini")
>>> result = segmenter.segment(frames, ["the smoke"])    # frames uint8 or float [T,H,W,3]
>>> result.soft                                          # float32 [P,T,H,W]
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Result", "SegmentSettings", "Segmenter", "__version__", "load_segmenter"]

_HOMES = {
    "Result": ".segment.segmenter",
    "SegmentSettings": ".segment.settings",
    "Segmenter": ".segment.segmenter",
    "load_segmenter": ".segment.load",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package (which a host does at start) costs nothing.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
