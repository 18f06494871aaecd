"""Mattes and boxes that a node is given beside its prompts or masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ...rem_engine.frames import FrameSource
from ...rem_engine.media.windows import Box
from ...rem_engine.names import GIVEN_MODES
from ...rem_engine.run.given_mattes import GivenMatte, GivenMattes, box_matte
from ...rem_engine.wording import number_of, there_are
from .inputs import as_painted_masks

_BOX = "box"
_BOX_FORM = "x, y, width and height"
_TOLD = {
    "include": "Where things may be, 1 inside; nothing is left outside. A mask for all frames, or one a frame: the "
    "mask editor of Load Image, or a Painter, gives one.",
    "hold_out": "Where nothing may be, 1 inside. A mask for all frames, or one a frame.",
    "add": "The least that the alpha is: a core matte, for example. A mask for all frames, or one a frame.",
}


def given_inputs(*modes: str, box: bool = False) -> list[io.Input]:
    """Sockets for mattes of some of `GIVEN_MODES`, and where the host knows boxes, for one."""
    inputs: list[io.Input] = [io.Mask.Input(mode, optional=True, tooltip=_TOLD[mode]) for mode in modes]
    if box and hasattr(io, "BoundingBox"):  # from ComfyUI 0.28 on
        inputs.append(
            io.BoundingBox.Input(
                _BOX,
                optional=True,
                force_input=True,
                tooltip="Where things may be, as a box, or several, for all frames or for each; nothing is left "
                "outside.",
            )
        )
    return inputs


def given_mattes(values: Mapping[str, Any], frames: FrameSource, layers: int) -> GivenMattes:
    """What is connected at `given_inputs`, by name; other inputs are left aside.

    Args:
        values: masks [1,H,W] for all frames, [T,H,W], or [layers*T,H,W]; boxes as the host has them.
        frames: T of the shot.
        layers: how many there are.

    Raises:
        ValueError: another size or number; a box that holds no pixel, or that is none; nothing may be anywhere.
    """
    mattes = [
        matte
        for mode in GIVEN_MODES
        if values.get(mode) is not None
        for matte in _mattes(mode, values[mode], frames, layers)
    ]
    if values.get(_BOX) is not None:
        mattes.append(_of_boxes(values[_BOX], frames))
    return GivenMattes(tuple(mattes), layers)


def _mattes(mode: str, mask: Tensor, frames: FrameSource, layers: int) -> Iterator[GivenMatte]:
    masks, count = as_painted_masks(mask, frames, mode), frames.frame_count
    if mode == "include" and not masks.any():
        raise ValueError("The mask at include is empty, so that nothing could be anywhere: paint it, or disconnect it.")
    if len(masks) == 1:
        yield GivenMatte(mode, None, lambda: repeat(_plane(masks[0]), count))
    elif len(masks) == count:
        yield GivenMatte(mode, None, lambda: map(_plane, masks))
    elif len(masks) == layers * count:
        for layer, own in enumerate(masks.split(count)):
            yield GivenMatte(mode, layer, lambda own=own: map(_plane, own))  # type: ignore[misc]
    else:
        raise ValueError(
            f"{there_are(count, 'image')} and {number_of(len(masks), 'mask')} at {mode}; one for all, one for each, or "
            "as many for each layer are needed."
        )


def _plane(mask: Tensor) -> np.ndarray:
    return mask.float().numpy()


def _of_boxes(boxes: Any, frames: FrameSource) -> GivenMatte:
    """The host has one box, several for all frames, or several for each."""
    of_frames = [[boxes]] if isinstance(boxes, dict) else boxes
    if isinstance(of_frames, list) and of_frames and isinstance(of_frames[0], dict):
        of_frames = [of_frames]
    count, size = frames.frame_count, (frames.height, frames.width)
    if not isinstance(of_frames, list) or len(of_frames) not in (1, count) or not any(of_frames):
        raise ValueError(f"The box is none, or not one a frame of {count}: connect a box, or several for each frame.")
    if len(of_frames) == 1:
        matte = _union(of_frames[0], *size)
        return GivenMatte("include", None, lambda: repeat(matte, count))
    return GivenMatte("include", None, lambda: (_union(of_frame, *size) for of_frame in of_frames))


def _union(boxes: list[Any], height: int, width: int) -> np.ndarray:
    matte = np.zeros((height, width), np.float32)
    for box in boxes:
        try:
            left, top = round(box["x"]), round(box["y"])
            right, bottom = round(box["x"] + box["width"]), round(box["y"] + box["height"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"The box {box!r} is none: {_BOX_FORM} in pixels are expected.") from error
        np.maximum(matte, box_matte(Box(left, top, right, bottom), height, width, _BOX_FORM), out=matte)
    return matte
