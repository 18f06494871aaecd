"""Masks as COCO stores them: polygons and run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .sample import BrokenSample


def decode_mask(path: Path, segmentation: Any, size: tuple[int, ...], where: str) -> np.ndarray:
    """A mask as bool [H,W].

    Args:
        path: the file it came from, for messages.
        segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, or run lengths {size, counts}, whose counts
            are a list or compressed to a string.
        size: (height, width) polygons are drawn at; run lengths have their own.
        where: whose mask it is, in words.

    Raises:
        BrokenSample: neither of those forms.
    """
    from pycocotools import mask as coco

    try:
        if isinstance(segmentation, list):
            runs = coco.merge(coco.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            runs = coco.frPyObjects(segmentation, *segmentation["size"])
        else:
            runs = segmentation
        return coco.decode(runs).astype(bool)
    except Exception as error:  # pycocotools raises bare Exceptions too
        raise BrokenSample(path, f"the segmentation of {where} is neither polygons nor run lengths.") from error
