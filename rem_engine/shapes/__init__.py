"""Roto shapes: mattes as animated Bezier outlines with few keys, which an artist can edit.

A `ShapeMaker` takes mattes frame by frame: contours are extracted (`contours`), followed along the motion of the plates
(`tracking`, `following`) and, once all have come, given vertices and keys (`vertices`, `keys`). What comes out is a
`ShapeSet` (`model`), which has a file format of its own (`json_file`) and is written for other programs (`nuke`,
`silhouette`, `blender`, `after_effects`). `rasterise` draws it again.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Shape": ".model",
    "ShapeMaker": ".maker",
    "ShapeSet": ".model",
    "ShapeSettings": ".settings",
    "rasterised": ".rasterise",
    "read_shapes": ".json_file",
    "shapes_json": ".json_file",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that a command line that only asks for the settings' defaults does not wait for OpenCV.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
