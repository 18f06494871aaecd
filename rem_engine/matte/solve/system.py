"""Alpha from the means of cells: x'Lx + sum over cells c of weight_c |c| (mean_c(x) - s_c)^2, made least.

Of a mask that errs it is (B mean(x))_c - s_c, with its blur B.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .blur import Blur
from .laplacian import Laplacian
from .resampling import Size, gathered, spread

_TOLERANCE = 1e-2
"""Of the residual, against that at the start; a hundredth of it changes nothing that can be seen."""
_MOST_STEPS = 100
_TINY = 1e-30
_LOOKED_AT = 16
"""Steps between looks at a residual on a device where to look is to wait."""


@dataclass(frozen=True)
class System:
    """The equations of planes [n,h,w] on a grid, a cell of which is `step` (rows, columns) of its pixels."""

    laplacian: Laplacian
    step: Size

    def solve(
        self, means: Tensor, weights: Tensor, free: Tensor, start: Tensor, held: Tensor, blur: Blur | None = None
    ) -> Tensor:
        """By conjugate gradients with the diagonal.

        Every plane stops by itself, after at most 100 steps, so that it does not depend on those beside it.

        Args:
            means: s, [n,h/rows,w/columns] of the Laplacian's type.
            weights: of the data, as `means`.
            free: bool, as `means`.
            start: [n,h,w].
            held: at what cells are held that are not free, as `means`.
            blur: through which s sees the means of cells; None where it sees them as they are.

        Returns:
            [n,h,w], not clipped.
        """
        free = spread(free, self.step)
        # What is held is most of a trimap.
        laplacian, open_ = self.laplacian.within(free), free.to(means.dtype)
        inverse = open_ / (self.laplacian.diagonal + spread(weights, self.step) / (self.step[0] * self.step[1]))
        solution = torch.where(free, start.to(means.dtype), spread(held, self.step))
        data = blur.back(weights * means) if blur else weights * means
        residual = (spread(data, self.step) - self._applied(laplacian, solution, weights, blur)).mul_(open_)
        scaled = inverse * residual
        direction, size = scaled.clone(), _dot(residual, scaled)
        goal = _TOLERANCE**2 * size
        active = size > 0.0
        # In place: where memory is slow to come by, new planes would take most of the time.
        for count in range(1, _MOST_STEPS + 1):
            image = self._applied(laplacian, direction, weights, blur).mul_(open_)
            length = torch.where(active, size / _dot(direction, image).clamp(min=_TINY), 0.0)
            solution.addcmul_(length, direction)
            residual.addcmul_(length, image, value=-1.0)
            torch.mul(inverse, residual, out=scaled)
            before, size = size, _dot(residual, scaled)
            active = active & (size >= goal)
            if (means.device.type == "cpu" or count % _LOOKED_AT == 0) and not bool(active.any()):
                break
            direction.mul_(torch.where(active, size / before.clamp(min=_TINY), 0.0)).addcmul_(active.to(size), scaled)
        return solution

    def _applied(self, laplacian: Laplacian, planes: Tensor, weights: Tensor, blur: Blur | None) -> Tensor:
        """What the equations make of planes."""
        image = laplacian(planes)
        means = gathered(planes, self.step)
        shares = blur.back(weights * blur(means)) if blur else weights * means
        count, height, width = shares.shape
        image.view(count, height, self.step[0], width, self.step[1]).add_(shares[:, :, None, :, None])
        return image

    def energies(self, planes: Tensor) -> Tensor:
        """x'Lx per pixel of every cell, [n,h/rows,w/columns]; of single cells it may be below 0."""
        return gathered(planes * self.laplacian(planes), self.step)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.linalg.vecdot(one.flatten(1), other.flatten(1))[:, None, None]
