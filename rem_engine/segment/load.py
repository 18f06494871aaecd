"""From a model's name to a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..backbones.checkpoint import Paths
from ..backbones.load import load_backbone
from .segmenter import Segmenter
from .settings import SegmentSettings


def load_segmenter(
    model: str | Path = "mini",
    *,
    checkpoint: Paths = None,
    strength: float | Sequence[float] = 1.0,
    protocol: Literal["shot", "paper"] = "shot",
    size: tuple[int, int] | None = None,
    window: int | None = None,
    overlap: int | None = None,
    cuts: Literal["auto"] | tuple[int, ...] = "auto",
    keep_aspect: bool = False,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
) -> Segmenter:
    """Load a model from disk, never from the network, ready to segment shots.

    Args:
        model, checkpoint, strength, device, dtype: see `backbones.load.load_backbone`.
        protocol, size, window, overlap, cuts, keep_aspect, seed: see `SegmentSettings`.

    Raises:
        FileNotFoundError: no such model or checkpoint.
        ValueError: weights that do not fit the model, or settings it cannot take.
        RuntimeError: a device was asked for and there is none.
    """
    settings = SegmentSettings(protocol, size, window, overlap, cuts, keep_aspect, seed)
    backbone = load_backbone(model, checkpoint=checkpoint, strength=strength, device=device, dtype=dtype)
    return Segmenter(backbone, settings)
