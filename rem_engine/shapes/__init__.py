"""Roto shapes: mattes as animated Bezier outlines with few keys, which an artist can edit.

A `ShapeMaker` takes mattes frame by frame: contours are extracted (`contours`), followed along the motion of the plates
(`tracking`, `following`) and, once all have come, given vertices and keys (`vertices`, `keys`). What comes out is a
`ShapeSet` (`model`), which has a file format of its own (`json_file`) and is written for other programs (`nuke`,
`silhouette`, `blender`, `after_effects`). `rasterise` draws it again.
"""

from __future__ import annotations

from typing import Any

from ..lazy import attribute_of

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
    return attribute_of(__name__, _HOMES, name)
