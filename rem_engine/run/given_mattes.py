"""Mattes that a run is given beside its layers' own: pictures, sequences and videos of them, and boxes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..layers import check_layer_is_there
from ..matte.given import joined
from ..media.masks import open_masks
from ..media.numbering import Numbering
from ..media.shot import Shot
from ..media.windows import Box, whole_frame
from ..names import GIVEN_MODES
from .given_masks import masks_at
from .mask_pairs import pair

_BOX_FORM = "left,top,width,height"
_EXPECTED = f"a picture, a sequence, a video, or a box {_BOX_FORM}"
_CHANGES_NOTHING = {"include": 1.0, "hold_out": 0.0, "add": 0.0}


@dataclass(frozen=True)
class GivenMatte:
    """A matte for one layer, or for all.

    Attributes:
        mode: one of `GIVEN_MODES`.
        layer: its place among the layers; None for all of them.
        frames: gives that of each frame of the shot, from the first on, float32 [H,W] in 0..1.
        files: what it is made of.
        notes: what there is to say of it, a sentence each.
        name: what files that were made with it call it.
    """

    mode: str
    layer: int | None
    frames: Callable[[], Iterator[np.ndarray]]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "a connected matte"


@dataclass(frozen=True)
class GivenMattes:
    """All that a run is given.

    Attributes:
        mattes: in the order in which they were given.
        layers: how many layers there are.
    """

    mattes: tuple[GivenMatte, ...]
    layers: int

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for matte in self.mattes for file in matte.files)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for matte in self.mattes for note in matte.notes)

    def told_of(self, layer: int | None) -> dict[str, list[str]]:
        """Names of what a layer is given, by mode; None for all of them together."""
        of_it = [matte for matte in self.mattes if layer is None or matte.layer in (None, layer)]
        told = {mode: [matte.name for matte in of_it if matte.mode == mode] for mode in GIVEN_MODES}
        return {mode: list(dict.fromkeys(names)) for mode, names in told.items() if names}

    def frames(self, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """What a frame is given from frame `start` on, as `Frame.given` has it; {} for each where nothing is."""
        if not self.mattes:
            yield from repeat({})
        for planes in zip(*(islice(matte.frames(), start, None) for matte in self.mattes), strict=True):
            yield {mode: matte for mode in GIVEN_MODES if (matte := self._of_mode(mode, planes)) is not None}

    def _of_mode(self, mode: str, planes: Sequence[np.ndarray]) -> Tensor | None:
        found = [
            (matte.layer, torch.from_numpy(plane).clamp(0.0, 1.0))
            for matte, plane in zip(self.mattes, planes, strict=True)
            if matte.mode == mode
        ]
        if not found:
            return None
        for_all = [plane[None] for layer, plane in found if layer is None]
        if len(for_all) == len(found):
            return joined(mode, for_all)
        whole = torch.full((self.layers, *found[0][1].shape), _CHANGES_NOTHING[mode])
        for layer, plane in found:
            places = slice(None) if layer is None else slice(layer, layer + 1)
            whole[places] = joined(mode, [whole[places], plane.expand_as(whole[places])])
        return whole


def open_given(
    given: Mapping[str, Sequence[str]], layers: Sequence[str], shot: Shot, delivered: Numbering
) -> GivenMattes:
    """Open what was asked for by mode.

    Args:
        given: by mode texts `[LAYER=]MATTE[:CHANNEL]`, where MATTE is a picture (for all frames), a folder or a pattern
            of a sequence, a video, or a box `left,top,width,height` in pixels; without LAYER it is for all of them.
        layers: their names.
        shot: of which the mattes have the size, and the numbers.
        delivered: its numbering as it is delivered.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no layer of such a name, another size, or what cannot be read.
    """
    return GivenMattes(
        tuple(_opened(mode, text, layers, shot, delivered) for mode in GIVEN_MODES for text in given.get(mode, ())),
        len(layers),
    )


def box_matte(box: Box, height: int, width: int, form: str = _BOX_FORM) -> np.ndarray:
    """A box as a matte, float32 [H,W]: 1 within; `form` is how a box is given, for a sentence.

    Raises:
        ValueError: no pixel of the frame lies within.
    """
    matte = np.zeros((height, width), np.float32)
    matte[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)] = 1.0
    if not matte.any():
        told = f"{box.left},{box.top},{box.width},{box.height}"
        raise ValueError(f"The box {told} holds no pixel of a frame of {width}x{height}: give {form} in its pixels.")
    return matte


def _opened(mode: str, text: str, layers: Sequence[str], shot: Shot, delivered: Numbering) -> GivenMatte:
    layer, rest = _layer_and_rest(text, layers)
    if not rest:
        raise ValueError(f"The matte {text!r} has no path: give a picture, a sequence, a video, or a box.")
    if (box := as_box(rest)) is not None:
        matte = box_matte(box, shot.height, shot.width)
        return GivenMatte(mode, layer, lambda: repeat(matte, shot.frame_count), name=rest)
    at, windows = masks_at(rest), shot.windows or whole_frame(shot.height, shot.width)
    masks = open_masks(at.path, at.channel, windows=windows, expected=_EXPECTED)
    if (masks.height, masks.width) != (shot.height, shot.width):
        raise ValueError(
            f"The matte {at.path} is {masks.width}x{masks.height} and the frames of {shot.name} {shot.width}x"
            f"{shot.height}: give one of the shot's size."
        )
    name = ":".join(filter(None, (Path(os.path.abspath(at.path)).name, at.channel)))
    if masks.frame_count == 1:  # a picture, for all frames
        only = next(masks.frames())
        return GivenMatte(mode, layer, lambda: repeat(only, shot.frame_count), masks.files, _told(masks.note()), name)
    # Where a number is missing the matte before holds on: empty, it would take everything, or nothing.
    paired = replace(pair(masks, replace(shot.numbering, gaps="hold"), delivered, every=False), held=True)
    return GivenMatte(mode, layer, paired.frames, masks.files, (*_told(masks.note()), *paired.notes), name)


def _told(note: str) -> tuple[str, ...]:
    return (note,) if note else ()


def _layer_and_rest(text: str, layers: Sequence[str]) -> tuple[int | None, str]:
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        return None, text
    check_layer_is_there(name, layers, f"for the matte {rest}")
    return [*layers].index(name), rest


def as_box(text: str) -> Box | None:
    """The box that is given by such a text, as left,top,width,height in pixels; None for the path of a matte.

    Raises:
        ValueError: numbers that are no box.
    """
    parts = text.split(",")
    try:
        left, top, width, height = map(int, parts)
    except ValueError:
        if len(parts) > 1 and all(map(_is_number, parts)) and not Path(text).exists():
            raise ValueError(f"The box {text} is no box: give {_BOX_FORM} in whole pixels.") from None
        return None
    if width < 1 or height < 1:
        raise ValueError(f"The box {text} has no pixels: give {_BOX_FORM}, the last two more than 0.")
    return Box(left, top, left + width, top + height)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
