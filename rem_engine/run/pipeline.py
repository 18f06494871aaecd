"""Frames with their plates through the matte stage, as runs do it whether masks come from a model or from disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..frames import FrameSource
from ..layers import Layer
from ..matte import Frame, MatteSettings
from ..matte.layer_settings import settings_of_layers
from ..matte.layered import matte_layers
from ..media.attributes import without_its_time
from ..media.colour import srgb_to_linear
from ..media.numbering import Numbering, counted
from ..media.plate_colour import PlateColour
from ..media.shot import Shot, ShotInfo
from ..pixels import as_16_bits, unit_values
from .delivery_settings import DeliverySettings


class PlateReader:
    """Reads of a shot what its mattes and their files need, and nothing else.

    Args:
        source: the shot.
        mattes: what the matte stage does to each layer.
        delivery: what is written of its mattes.
        shown: whether the plate is needed beside: looked at, or for the size of masks that are smaller.
    """

    def __init__(
        self,
        source: FrameSource,
        mattes: Sequence[MatteSettings],
        delivery: DeliverySettings,
        *,
        shown: bool = False,
    ) -> None:
        self._source, mattes = source, mattes if delivery.kinds else ()
        colour = source.plate_colour if isinstance(source, Shot) else PlateColour()
        light = "exr" in delivery.coloured and delivery.exr_linear
        pictures = any(kind != "exr" or not delivery.exr_linear for kind in delivery.coloured)
        self._is_light = colour.is_light
        self._needs_picture = pictures and not colour.picture_is_display
        takes_light_apart = self._is_light and any(own.decontaminate for own in mattes)
        self._needs_linear = takes_light_apart or light
        by_stage = any(own.needs_plate for own in mattes)
        self._needs_plate = shown or by_stage or "shapes" in delivery.kinds or (pictures and not self._needs_picture)
        self._needs_attributes = "exr" in delivery.kinds and isinstance(source, Shot)

    def read(self, index: int) -> dict[str, Any]:
        """Parts of a `Frame` by their names."""
        source, parts = self._source, dict[str, Any]()
        if self._needs_plate:
            parts["plate"] = _tensor(self._shown(index))
        if self._needs_linear:
            parts["linear"] = _tensor(self._light(index, parts.get("plate")))
        if isinstance(source, Shot):
            parts["plate_is_light"] = self._is_light
            if self._needs_picture:
                parts["picture"] = _tensor(source.read_picture(index, index + 1, shared=True)[0])
            if self._needs_attributes:
                parts["attributes"] = source.attributes(index)
        return parts

    def _light(self, index: int, plate: Tensor | None) -> np.ndarray:
        if isinstance(self._source, Shot):
            return self._source.read_linear(index, index + 1, shared=True)[0]
        return srgb_to_linear(unit_values(self._shown(index) if plate is None else plate.numpy()))

    def _shown(self, index: int) -> np.ndarray:
        if isinstance(self._source, Shot):
            return self._source.read(index, index + 1, shared=True)[0]
        return self._source.read(index, index + 1)[0]


def stage_settings(
    common: MatteSettings, layers: Sequence[Layer], delivery: DeliverySettings
) -> tuple[MatteSettings, ...]:
    """What the matte stage does to each layer: what is set, without colours where no file holds any.

    Raises:
        ValueError: a layer sets what there is not, or what cannot be.
    """
    mattes = settings_of_layers(common, layers)
    return mattes if delivery.coloured else tuple(replace(own, decontaminate=False) for own in mattes)


def make_mattes(
    frames: Iterable[Frame],
    settings: Sequence[MatteSettings],
    cuts: Callable[[], Collection[int]],
    device: str | torch.device = "cpu",
    numbering: Numbering | None = None,
) -> Iterator[Frame]:
    """Put frames through the matte stage.

    Masks are rounded to 16 bits first, as they are on disk, so that masks that went through files give the same mattes.

    Args:
        frames: of a shot, in order.
        settings: of each layer in the matte stage.
        cuts: gives the frames at which takes begin, known for all frames given so far.
        device: where the matte stage computes.
        numbering: of the shot. Frames that it lacks do not go through the stage: they get the matte and the picture of
            the frame before (of the next, where there is none), or are black and empty.
    """
    if numbering is not None and numbering.missing:
        there = (frame for frame in frames if not numbering.is_missing(frame.index))
        return _filled(make_mattes(there, settings, cuts, device), numbering)
    return matte_layers(map(_rounded, frames), settings, device=device, cuts=cuts)


def _rounded(frame: Frame) -> Frame:
    return replace(frame, soft=torch.from_numpy(as_16_bits(frame.soft.numpy())))


def numbering_of(source: FrameSource) -> Numbering:
    """Names and numbers of frames: a shot's own, or those of pictures in memory."""
    return source.numbering if isinstance(source, Shot) else counted("shot", source.frame_count)


def timecodes_of(source: FrameSource, info: ShotInfo) -> Callable[[int], str | None] | None:
    """What gives the timecode of each frame of a shot, at the rate of `info`; None where it is counted."""
    return partial(source.timecode_of, fps=info.fps) if isinstance(source, Shot) else None


def _filled(mattes: Iterable[Frame], numbering: Numbering) -> Iterator[Frame]:
    """Frames with those that are missing between, before the first and behind the last."""
    for frame in mattes:
        if frame.index == numbering.present[0]:
            yield from (_in_its_place(frame, index, numbering) for index in range(frame.index))
        yield frame
        index = frame.index + 1
        while index < len(numbering.numbers) and numbering.is_missing(index):
            yield _in_its_place(frame, index, numbering)
            index += 1


def _in_its_place(frame: Frame, index: int, numbering: Numbering) -> Frame:
    frame = replace(frame, attributes=without_its_time(frame.attributes or {}))
    if not numbering.is_black(index):
        return replace(frame, index=index)
    empty: dict[str, Any] = {
        name: torch.zeros_like(part) for name, part in vars(frame).items() if isinstance(part, Tensor)
    }
    return replace(frame, index=index, **empty)


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.require(pixels, None, ("C", "W")))  # torch warns of arrays that it could not write to
