"""Where an artist says that things are, and are not: hints, read frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..layers import Layer
from ..names import CombineMode
from .given_mattes import GivenMattes


class FrameHints:
    """What is hinted of each frame of a shot; asked for by rising numbers it is read once.

    Args:
        given: mattes for the layers that are asked for; None for no hints. Those of the mode `add` bound no masks, and
            raise mattes.
        layers: these.
    """

    def __init__(self, given: GivenMattes | None, layers: Sequence[Layer]) -> None:
        self._given, self._layers = given, tuple(layers)
        self._frames: Iterator[dict[str, Tensor]] = iter(())
        self._index: int | None = None
        self._frame: dict[str, Tensor] = {}

    def within(self, index: int) -> Tensor | None:
        """How far each layer may be there, [L,H,W] or, for all, [1,H,W], in 0..1; None for anywhere."""
        given = self._at(index)
        include, hold_out = given.get("include"), given.get("hold_out")
        if hold_out is None:
            return include
        return 1.0 - hold_out if include is None else include * (1.0 - hold_out)

    def _at(self, index: int) -> dict[str, Tensor]:
        if self._given is None or not self._given.mattes:
            return {}
        if self._index is None or index < self._index:
            self._frames, self._index = self._given.frames(index), index - 1
        while self._index < index:
            self._frame, self._index = next(self._frames), self._index + 1
        return self._frame

    def within_all(self, indices: Sequence[int]) -> Tensor | None:
        """The same of several frames, [L or 1,n,H,W]."""
        parts = [self.within(index) for index in indices]
        return None if parts[0] is None else torch.stack([part for part in parts if part is not None], dim=1)

    def of_texts(self, texts: Sequence[str], index: int) -> Tensor | None:
        """How far what each text asks for may be there, [P,H,W]: as far as any layer of that text; what is only left
        out may be anywhere."""
        within = self.within(index)
        if within is None:
            return None
        of_layers = within.expand(len(self._layers), -1, -1)
        free = torch.ones_like(of_layers[0])
        asked = [
            [part for layer, part in zip(self._layers, of_layers, strict=True) if layer.text == text] for text in texts
        ]
        return torch.stack([torch.stack(parts).amax(dim=0) if parts else free for parts in asked])

    def bounds(self, index: int, combine: CombineMode) -> dict[str, Any]:
        """`given` for a `Frame` of masks that were bounded already: nothing that the matte stage makes of an edge
        reaches to where nothing may be, and no matte is less than what is added."""
        within, added = self.within(index), self._at(index).get("add")
        bounds = {} if within is None else {"include": (within > 0.0).float()}
        if added is not None:
            bounds["add"] = added
        if combine == "union":
            bounds = {mode: matte.amax(dim=0, keepdim=True) for mode, matte in bounds.items()}
        return {"given": bounds} if bounds else {}
