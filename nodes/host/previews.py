"""Pictures that nodes show of their result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...rem_engine.media import preview_strip
from ...rem_engine.pixels import to_uint8

_KEPT = 8  # small frames at most; a strip shows half as many
_CHECKER = 16  # pixels of a square in the background


class PreviewFrames:
    """A few small frames of a shot, evenly spread over it, however long it turns out to be."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []
        self._step = 1

    def add(self, index: int, draw: Callable[[], np.ndarray]) -> None:
        """Take frame `index` of a shot, in order; `draw` gives it as uint8 [H,W,3] if it is wanted."""
        if index % self._step:
            return
        if len(self._frames) == _KEPT:
            self._frames, self._step = self._frames[::2], 2 * self._step
            if index % self._step:
                return
        self._frames.append(preview_strip(draw()[None]))

    def frames(self) -> np.ndarray:
        """What was kept, uint8 [n,h,w,3]."""
        return np.stack(self._frames)


def over_checker(picture: Tensor, alphas: Tensor) -> np.ndarray:
    """Straight colours [H,W,3] with the alphas of all layers [L,H,W], both 0..1, over the usual checkerboard, uint8
    [H,W,3]."""
    alpha = alphas.amax(dim=0)
    rows, columns = (torch.arange(size) // _CHECKER % 2 for size in alpha.shape)
    checker = 0.35 + 0.15 * (rows[:, None] ^ columns[None]).float()
    seen = torch.lerp(checker[..., None].expand(-1, -1, 3), picture, alpha[..., None])
    return to_uint8(seen.numpy())
