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
    frames = _resize(sample.frames, size, Image.Resampling.BILINEAR)
    masks = _resize(sample.masks.astype(np.uint8), size, Image.Resampling.NEAREST)
    return replace(sample, frames=frames, masks=masks.astype(bool))


def _resize(pictures: np.ndarray, size: tuple[int, int], filter_: Image.Resampling) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(each).resize(size[::-1], filter_)) for each in pictures])
