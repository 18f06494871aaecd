"""Masks as COCO stores them: polygons and run lengths."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from .files import quoted
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
    if isinstance(segmentation, dict) and segmentation.get("size") != [*size]:
        found = quoted(segmentation.get("size"))
        raise BrokenSample(path, f"the mask of {where} is {found} pixels, its picture {[*size]}.")
    try:
        if isinstance(segmentation, list):
            return _of_polygons(segmentation, size)
        counts = segmentation["counts"]
        return _of_runs(_uncompressed(counts) if isinstance(counts, str) else _whole(counts), *size)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise BrokenSample(path, f"the segmentation of {where} is neither polygons nor run lengths.") from error


def _of_polygons(polygons: list[Any], size: tuple[int, ...]) -> np.ndarray:
    from pycocotools import mask as coco

    # pycocotools checks nothing: wrong numbers make it read and write where it may not, and drawing takes memory for
    # each pixel of a line.
    reach = _BEYOND * max(size)
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2 or not all(_is_number(value, reach) for value in polygon):
            raise ValueError("no polygon")
    if not polygons:
        raise ValueError("no polygons")
    return coco.decode(coco.merge(coco.frPyObjects(polygons, *size))).astype(bool)


def _of_runs(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H,W] of run lengths, column by column, the first of zeros."""
    pixels = height * width
    if (counts < 0).any() or (counts > pixels).any() or counts.sum() != pixels:
        raise ValueError("runs of another size")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _whole(counts: Any) -> np.ndarray:
    if not (isinstance(counts, list) and all(type(count) is int for count in counts)):
        raise ValueError("no run lengths")
    return np.array(counts, np.int64)


def _uncompressed(text: str) -> np.ndarray:
    """Run lengths out of COCO's string: letters of 5 bits each, the lowest first, and from the fourth number on the
    difference to the last but one (pycocotools, rleFrString)."""
    letters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if len(letters) == 0 or (letters < 0).any() or (letters >= 64).any() or letters[-1] & 32:
        raise ValueError("no such letters")
    ends = np.flatnonzero(letters & 32 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("a number too large")
    places = np.arange(len(letters)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((letters & 31) << (5 * places), starts)
    numbers -= np.where(letters[ends] & 16, 1 << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _is_number(value: Any, reach: int) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and -reach <= value <= reach
