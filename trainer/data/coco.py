"""Masks as COCO stores them: polygons and run lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .sample import BrokenSample

_BEYOND = 4  # sides of the picture that a polygon may reach beyond it


def decode_mask(path: Path, segmentation: Any, size: tuple[int, ...], where: str) -> np.ndarray:
    """A mask as bool [H,W].

    Args:
        path: the file it came from, for messages.
        segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, or run lengths {size, counts}, whose counts
            are a list or compressed to a string.
        size: (height, width) of the picture it lies on.
        where: whose mask it is, in words.

    Raises:
        BrokenSample: neither of those forms, or of another size.
    """
    from pycocotools import mask as coco

    if isinstance(segmentation, dict) and segmentation.get("size") != [*size]:
        raise BrokenSample(
            path, f"the mask of {where} is {json.dumps(segmentation.get('size'))[:60]} pixels, its picture {[*size]}."
        )
    try:
        if isinstance(segmentation, list):
            _check_polygons(segmentation, size)
            runs = coco.merge(coco.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            if sum(segmentation["counts"]) != size[0] * size[1] or min(segmentation["counts"]) < 0:
                raise ValueError("the runs do not add up to the picture")
            runs = coco.frPyObjects(segmentation, *segmentation["size"])
        else:
            runs = segmentation
        return coco.decode(runs).astype(bool)
    except Exception as error:  # pycocotools raises bare Exceptions too
        raise BrokenSample(path, f"the segmentation of {where} is neither polygons nor run lengths.") from error


def _check_polygons(polygons: list[Any], size: tuple[int, ...]) -> None:
    """Raise ValueError for lines far beyond the picture: drawing takes memory for each of their pixels."""
    farthest = _BEYOND * max(size)
    if any(not -farthest <= value <= farthest for polygon in polygons for value in polygon):
        raise ValueError("a corner lies far outside of the picture")
