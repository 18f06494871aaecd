"""From a soft mask to a production matte: levels, edges, regions, refinement, smoothing in time, colour.

Masks are float tensors [..., H, W] in 0..1, on any device; results have the same shape, type and device. Lengths are in
pixels of the mask. Colours are [..., H, W, 3], display-referred, 0..1.

>>> from rem_engine import matte
>>> alpha = matte.feather(matte.grow(matte.levels(mask, 0.1, 0.9), -2), 4.0)
>>> frames = (matte.Frame(index, soft, plate) for index, (soft, plate) in enumerate(shot))
>>> for frame in matte.matte_frames(frames, matte.MatteSettings(fill_holes=400)):    # a whole shot, as a stream
...     frame.alpha
"""

from __future__ import annotations

from typing import Any

from ..lazy import attribute_of

_HOMES = {
    "FlowSmoother": ".temporal",
    "Frame": ".frames",
    "MatteSettings": ".settings",
    "composite": ".colour",
    "core_and_edge": ".edge_mattes",
    "decontaminate": ".colour",
    "edge_blur": ".edge_mattes",
    "feather": ".edges",
    "fill_holes": ".regions",
    "flicker": ".temporal",
    "grow": ".edges",
    "levels": ".edges",
    "matte_frames": ".chain",
    "matte_layers": ".layered",
    "merge_alpha": ".colour",
    "refine": ".refinement",
    "remove_islands": ".regions",
    "threshold": ".edges",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that a command line that only asks for the settings' defaults does not wait for torch.
    return attribute_of(__name__, _HOMES, name)
