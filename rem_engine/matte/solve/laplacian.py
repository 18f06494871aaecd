"""The matting Laplacian of a plate (Levin, Lischinski and Weiss 2008), as something that is applied to alpha.

Over every window of 3x3 pixels alpha is a linear function of the plate's colours, up to what the Laplacian L measures:
x'Lx is the sum of squares by which an alpha x misses that, least over all linear functions, with their slopes held back
by `EPSILON`.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6
"""Ten times as much halves nothing and doubles the error of thin things."""
_SIDE, _AREA = 3, 9
_LEAST = 1e-3
"""Of the diagonal, which divides."""


class Laplacian(Protocol):
    """Applies L to planes [n,h,w].

    Attributes:
        diagonal: of L, [n,h,w] or [1,h,w], at least 0.001.
        dtype: of planes.
    """

    diagonal: Tensor
    dtype: torch.dtype

    def __call__(self, planes: Tensor) -> Tensor: ...

    def within(self, where: Tensor) -> Laplacian:
        """The same where that is all that is asked for, bool [n,h,w]; anything elsewhere."""


class SparseLaplacian:
    """Its rows of pixels that are unknown, for one plane on the CPU."""

    dtype = torch.float64

    def __init__(self, picture: Tensor, unknown: Tensor) -> None:
        """From a picture float32 [h,w,3], and the pixels that matter, bool [h,w]."""
        from .stencil import OWN, laplacian_rows, times  # here: it brings a compiler

        self._pixels = np.flatnonzero(unknown.numpy()).astype(np.int32)
        places = np.full(unknown.shape, -1, np.int32)
        places.ravel()[self._pixels] = np.arange(len(self._pixels), dtype=np.int32)
        self._rows = laplacian_rows(picture.contiguous().numpy(), places, len(self._pixels), EPSILON)
        self._times = times
        diagonal = np.full(unknown.shape, _LEAST)
        diagonal.ravel()[self._pixels] = self._rows[:, OWN].clip(min=_LEAST)
        self.diagonal = torch.from_numpy(diagonal)[None]

    def __call__(self, planes: Tensor) -> Tensor:
        return torch.from_numpy(self._times(self._rows, self._pixels, planes[0].contiguous().numpy()))[None]

    def within(self, where: Tensor) -> SparseLaplacian:
        own = where[0].contiguous().numpy().ravel()[self._pixels]
        part = copy(self)
        part._rows, part._pixels = self._rows[own], self._pixels[own]
        return part


class WindowLaplacian:
    """The same without a matrix, for many planes on any device.

    A window's part of L is G = I - 11'/9 - UU', where U are its colours, centred and whitened. They are made
    orthonormal with sqrt(EPSILON) I below them, window by window, which holds in float32 too; covariances do not. But
    within a trimap, where data hardly hold alpha, what float32 rounds away of steps makes another solution of them, up
    to 0.006 from this one; Apple's GPUs know nothing longer.
    """

    def __init__(self, picture: Tensor) -> None:
        """From a picture float32 [h,w,3]."""
        self.dtype = torch.float32 if picture.device.type == "mps" else torch.float64
        self._size = picture.shape[:2]
        self._colours, _ = whitened(picture.to(self.dtype), 1, EPSILON)
        own = (1.0 - 1.0 / _AREA) - self._colours.square().sum(dim=0)
        self.diagonal = self._folded(own[None]).clamp_(min=_LEAST)

    def __call__(self, planes: Tensor) -> Tensor:
        values = F.unfold(planes[:, None], _SIDE)
        values = values - values.mean(dim=1, keepdim=True)
        shares = torch.einsum("ckw,nkw->ncw", self._colours, values)
        return self._folded(values - torch.einsum("ckw,ncw->nkw", self._colours, shares))

    def within(self, where: Tensor) -> WindowLaplacian:
        return self

    def _folded(self, windows: Tensor) -> Tensor:
        return F.fold(windows, tuple(self._size), _SIDE)[:, 0]


def whitened(picture: Tensor, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Colours of every window, centred and made orthonormal: Q and R of [C; sqrt(epsilon) I] = QR, by Gram and Schmidt.

    Args:
        picture: [h,w,3], of the type to compute with.
        radius: of the windows, which lie within the picture.
        epsilon: what is added to the colours' scatter matrix C'C.

    Returns:
        Q without its last three rows, [3,k,n] for n windows of k pixels, and R, [3,3,n].
    """
    side = 2 * radius + 1
    windows = F.unfold(picture.permute(2, 0, 1)[:, None], side)
    windows = windows - windows.mean(dim=1, keepdim=True)
    below = (epsilon**0.5) * torch.eye(3).to(picture)[:, :, None].expand(3, 3, windows.shape[-1])
    columns = list(torch.cat([windows, below], dim=1))
    upper = windows.new_zeros(3, 3, windows.shape[-1])
    for place in range(3):
        for before in range(place):
            upper[before, place] = (columns[before] * columns[place]).sum(dim=0)
            columns[place] = columns[place] - upper[before, place] * columns[before]
        upper[place, place] = columns[place].square().sum(dim=0).sqrt()
        columns[place] = columns[place] / upper[place, place]
    return torch.stack(columns)[:, : side * side], upper
