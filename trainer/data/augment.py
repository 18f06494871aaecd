"""Variants of samples, for few shots: parts of the picture, mirrored, in other colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .sample import Sample, Source

if TYPE_CHECKING:
    from ..settings import AugmentSettings

_SIDES = re.compile(r"\b(left|right)(?=\b|most|wards?)", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


class Varied:
    """A source in variants: every sample comes as it is and mirrored, or in as many variants as are asked for.

    Variant v of sample i is sample v * n + i. Odd ones are mirrored where that is asked for, so that the sentence of
    each is known beforehand; "left" and "right" change places in it. What else varies is drawn by `rng`, or, of a fixed
    number of variants, belongs to the variant: it can then be kept encoded. The first of those is the sample unchanged.

    Args:
        source: of samples.
        settings: what varies.
    """

    def __init__(self, source: Source[Sample], settings: AugmentSettings) -> None:
        self.name = source.name
        self._source, self._settings = source, settings
        self._variants = settings.variants or (2 if settings.flip else 1)

    def __len__(self) -> int:
        return self._variants * len(self._source)

    def text(self, index: int) -> str:
        text = self._source.text(index % len(self._source))
        return mirrored_words(text) if self._is_mirrored(index) else text

    def files(self, index: int) -> list[Path]:
        return self._source.files(index % len(self._source))

    def is_fixed(self, frames: int) -> bool:
        return self._settings.variants is not None

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        if self._settings.variants is not None:
            rng = np.random.default_rng((self._settings.seed, index))
        sample = self._source.read(index % len(self._source), frames, rng)
        if self._settings.variants is not None and index < len(self._source):
            return sample
        pictures, masks = sample.frames, sample.masks
        if self._settings.crop < 1:
            pictures, masks = _cropped(pictures, masks, self._settings.crop, rng)
        if self._is_mirrored(index):
            pictures, masks = pictures[:, :, ::-1], masks[:, :, ::-1]
        if self._settings.colour > 0:
            pictures = recoloured(pictures, self._settings.colour, rng)
        return Sample(np.ascontiguousarray(pictures), np.ascontiguousarray(masks), self.text(index))

    def _is_mirrored(self, index: int) -> bool:
        return self._settings.flip and index // len(self._source) % 2 == 1


def mirrored_words(text: str) -> str:
    """A sentence about the mirrored picture: "left" for "right" and the other way round."""
    return _SIDES.sub(lambda side: _OTHER.get(side[0], side[0]), text)


def recoloured(pictures: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A clip uint8 [T,H,W,3] brighter or darker, of more or less contrast and saturation, the same in all frames.

    Each changes by a factor of 1 - share to 1 + share. Hue stays, since sentences name colours.
    """
    brightness, contrast, saturation = 1 + rng.uniform(-share, share, 3)
    values = pictures.astype(np.float32)
    grey = values @ np.array([0.299, 0.587, 0.114], np.float32)
    values = grey[..., None] + (values - grey[..., None]) * np.float32(saturation)
    middle = np.float32(grey.mean())
    values = (middle + (values - middle) * np.float32(contrast)) * np.float32(brightness)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _cropped(
    pictures: np.ndarray, masks: np.ndarray, least: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of the picture, the same in all frames, of at least a share of its sides, at the picture's own size."""
    height, width = masks.shape[1:]
    share = rng.uniform(least, 1.0)
    part_height, part_width = max(1, round(share * height)), max(1, round(share * width))
    top, left = int(rng.integers(height - part_height + 1)), int(rng.integers(width - part_width + 1))
    part = (slice(top, top + part_height), slice(left, left + part_width))
    size = (width, height)
    return (
        np.stack([cv2.resize(each[part], size, interpolation=cv2.INTER_LINEAR) for each in pictures]),
        np.stack([cv2.resize(each[part].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for each in masks])
        > 0,
    )
