"""Samples at the model's size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from .sample import Sample


def at_size(sample: Sample, size: tuple[int, int]) -> Sample:
    """A sample resized to (height, width); the aspect is not kept.

    Frames go through PIL's antialiased bilinear filter at 8 bits, as in `rem_engine.segment.resize.frames_to_model`,
    which leaves frames of the right size as they are; masks take the nearest pixel (REM's released code).
    """
    return replace(sample, frames=pictures_at_size(sample.frames, size), masks=masks_at_size(sample.masks, size))


def pictures_at_size(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures uint8 [T,H,W,3] as `at_size` has them."""
    return _resize(pictures, size, Image.Resampling.BILINEAR)


def masks_at_size(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Masks bool [T,H,W] as `at_size` has them."""
    return _resize(masks.astype(np.uint8), size, Image.Resampling.NEAREST).astype(bool)


def _resize(pictures: np.ndarray, size: tuple[int, int], filter_: Image.Resampling) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(each).resize(size[::-1], filter_)) for each in pictures])
