"""From a model's name to a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backbones.base import Memory
from ..backbones.checkpoint import Paths
from ..backbones.load import load_backbone
from ..devices import split_devices
from ..setting import settings_of
from .other_device import OtherDevice
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
        model, checkpoint, strength, dtype, memory: see `backbones.load.load_backbone`.
        device: as there; or several of one kind with commas between, "cuda:0,cuda:1", which share the windows of a
            shot. Each has the whole model, in a process of its own but for the first: a program that asks for several
            keeps to Python's rules for those, `if __name__ == "__main__":` around what it does.
        settings: those of `SegmentSettings`, by name.

    Raises:
        FileNotFoundError: no such model or checkpoint.
        ValueError: weights that do not fit the model, or settings it cannot take.
        RuntimeError: a device was asked for and there is none, or its process ended.
        TypeError: there is no setting of this name.
    """
    chosen = SegmentSettings(**settings)
    common: dict[str, Any] = {
        "model": model, "checkpoint": checkpoint, "strength": strength, "dtype": dtype, "memory": memory
    }  # fmt: skip
    first, *further = split_devices(device)
    others = [OtherDevice({**common, "device": name}, chosen) for name in further]
    return Segmenter(load_backbone(**common, device=first), chosen, others)


class LoadedModels:
    """Gives segmenters for one shot after another; a model that is asked for again is not loaded again."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._segmenter: Segmenter | None = None

    def segmenter(self, **asked: Any) -> Segmenter:
        """See `load_segmenter`; of the model that was asked for before only the settings may be others."""
        own = {name: asked[name] for name in settings_of(SegmentSettings) if name in asked}
        model = {name: value for name, value in asked.items() if name not in own}
        known, segmenter = self._known, self._segmenter
        if segmenter is not None and known == asked:
            return segmenter
        if segmenter is not None and not segmenter.others and {name: known[name] for name in model} == model:
            segmenter = Segmenter(segmenter.backbone, SegmentSettings(**own))
        else:
            self._segmenter = None  # before the next is loaded: two may be more than memory holds
            segmenter = load_segmenter(**asked)
        self._known, self._segmenter = asked, segmenter
        return segmenter
