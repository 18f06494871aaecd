"""From a model's name to a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backbones.base import Memory
from ..backbones.checkpoint import Paths
from ..backbones.load import load_backbone
from .segmenter import Segmenter
from .settings import SegmentSettings


def load_segmenter(
    model: str | Path = "mini",
    *,
    checkpoint: Paths = None,
    strength: float | Sequence[float] = 1.0,
    device: str = "auto",
    dtype: str = "auto",
    memory: Memory = "auto",
    **settings: Any,
) -> Segmenter:
    """Load a model from disk, never from the network, ready to segment shots.

    Args:
        model, checkpoint, strength, device, dtype, memory: see `backbones.load.load_backbone`.
        settings: those of `SegmentSettings`, by name.

    Raises:
        FileNotFoundError: no such model or checkpoint.
        ValueError: weights that do not fit the model, or settings it cannot take.
        RuntimeError: a device was asked for and there is none.
        TypeError: there is no setting of this name.
    """
    chosen = SegmentSettings(**settings)
    backbone = load_backbone(model, checkpoint=checkpoint, strength=strength, device=device, dtype=dtype, memory=memory)
    return Segmenter(backbone, chosen)
