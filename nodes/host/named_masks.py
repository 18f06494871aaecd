"""Names of layers that travel with their masks, and layers as the host's own LAYERS."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...rem_engine.frames import ReopenableFrames
from ...rem_engine.matte.frames import display_values
from ...rem_engine.names import unused_name
from .layers import layer_names
from .schema import growing_input

_NAMES = "refereverything_layers"
# The host's compositor takes no more; further frames would stop it.
_MOST_ITEMS = 50
_FIRST_GROWN, _MOST_GROWN = 5, 96  # after the sockets mask to mask_4


def with_names(masks: Tensor, names: Sequence[str]) -> Tensor:
    """Masks that know the names of their layers, which follow one another; every node of another kind makes new masks
    of them, without names."""
    setattr(masks, _NAMES, tuple(names))
    return masks


def names_of_masks(masks: Sequence[Tensor], count: int) -> tuple[str, ...]:
    """Names of the `count` layers of several sockets' masks: those they know, where they know all, or made ones. Where
    masks of two sockets have one name, the later is numbered."""
    known = [name for mask in masks for name in getattr(mask, _NAMES, ())]
    if len(known) != count or any(not hasattr(mask, _NAMES) for mask in masks):
        return layer_names("", count)
    names: list[str] = []
    for name in known:
        names.append(unused_name(name, names))
    return tuple(names)


def growing_masks() -> io.Input:
    """Sockets for further masks, of which there is always one more than are connected."""
    return growing_input(
        "masks",
        io.Mask.Input("mask", tooltip="A further layer, after those above."),
        range(_FIRST_GROWN, _FIRST_GROWN + _MOST_GROWN),
        tooltip="Further layers, as many as there are.",
    )


def layers_outputs() -> list[io.Output]:
    """The output LAYERS, where the host knows it: from ComfyUI 0.33 on."""
    if not hasattr(io, "Layers"):
        return []
    return [
        io.Layers.Output(
            display_name="layers",
            tooltip=f"Each layer's picture with its name and its alpha, for Image Compositor: up to {_MOST_ITEMS} "
            "frames in all, the first ones of each layer.",
        )
    ]


def layers_documents(
    shot: ReopenableFrames, alphas: Tensor, names: Sequence[str], rgba: Tensor | None = None
) -> list[dict[str, Any]]:
    """Values of `layers_outputs`: layers as the host's LAYERS has them, the first one at the bottom.

    Args:
        shot: T frames.
        alphas: [L,T,H,W]; the host's masks are 1 where nothing is seen.
        names: of the layers.
        rgba: straight colours of the layers, [L,T,H,W,4], whose alpha is left aside; None for the shot's.
    """
    if not layers_outputs():
        return []
    height, width = alphas.shape[-2:]
    count = min(shot.frame_count, max(1, _MOST_ITEMS // len(names)))
    plates = None
    if rgba is None:
        with closing(shot.reopen()) as frames:
            plates = display_values(torch.from_numpy(frames.read(0, count).copy()))
    items = [
        {
            "image": plates if rgba is None else rgba[place, :count, ..., :3],
            "mask": 1.0 - alphas[place, :count],
            "type": "raster",
            "name": name,
            "z_index": place,
        }
        for place, name in enumerate(names)
    ]
    return [{"version": 1, "canvas": (width, height), "layers": items}]
