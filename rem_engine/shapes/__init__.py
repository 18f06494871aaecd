"""Roto shapes: mattes as animated Bezier outlines with few keys, which an artist can edit.

`ShapeMaker` takes mattes frame by frame: contours are extracted (`contours`), followed along the motion of the plates
(`tracking`) and, once all have come, given vertices and keys (`vertices`, `keys`). What comes out is a `ShapeSet`
(`model`), which has a file format of its own (`json_file`) and is written for other programs by `nuke`, `silhouette`,
`blender` and `after_effects`. `rasterise` draws it again.
"""

from __future__ import annotations

from .maker import ShapeMaker
from .model import Shape, ShapeSet
from .rasterise import rasterised
from .settings import ShapeSettings

__all__ = ["Shape", "ShapeMaker", "ShapeSet", "ShapeSettings", "rasterised"]
