"""Corrections: masks of a few frames are given, and the rest of the shot follows.

What is given is carried along the motion of the plates to the frames around it, never across a cut; where that cannot
be trusted, a small network fills in that is trained anew on the given frames of a take alone. The diffusion model is
not asked again.

>>> from rem_engine.correct import ShotMotion, corrected, suggest
>>> with ShotMotion.of(frames, cuts=[48]) as motion:         # once a shot
...     for frame in corrected(base, {12: painted}, motion):   # base: a mask by its index; frame.soft in order
...         ...
...     suggest(masks, motion, given=[12], count=3)            # where the next correction is worth most
"""

from __future__ import annotations

from typing import Any

from ..lazy import attribute_of

_HOMES = {
    "CorrectedFrame": ".correction",
    "ShotMotion": ".shot_motion",
    "corrected": ".correction",
    "corrected_take": ".correction",
    "suggest": ".suggestion",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that a command line that only asks for help does not wait for torch.
    return attribute_of(__name__, _HOMES, name)
