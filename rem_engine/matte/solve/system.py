"""Alpha from the means of cells: x'Lx + sum over cells c of weight_c |c| (mean_c(x) - s_c)^2, made least."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .laplacian import Laplacian
from .resampling import Size, gathered, spread

_TOLERANCE = 1e-2
"""Of the residual, against that at the start; a hundredth of it changes nothing that can be seen."""
_MOST_STEPS = 100
_LOOKED_AT = 16
"""Steps between looks at a residual on a device where to look is to wait."""


@dataclass(frozen=True)
class System:
    """The equations of planes [n,h,w] on a grid, a cell of which is `step` (rows, columns) of its pixels."""

    laplacian: Laplacian
    step: Size

    def solve(self, means: Tensor, weights: Tensor, free: Tensor, start: Tensor) -> Tensor:
        """By conjugate gradients with the diagonal.

        Every plane stops by itself, after at most 100 steps, so that it does not depend on those beside it.

        Args:
            means: s, float32 [n,h/rows,w/columns]; cells that are not free are held at it.
            weights: of the data, as `means`.
            free: bool, as `means`.
            start: float32 [n,h,w].

        Returns:
            float32 [n,h,w], not clipped.
        """
        step, area = self.step, self.step[0] * self.step[1]
        open_ = spread(free, step)
        inverse = open_ / (self.laplacian.diagonal + spread(weights, step) / area)

        def applied(planes: Tensor) -> Tensor:
            return self.laplacian(planes) + spread(weights * gathered(planes, step), step)

        solution = torch.where(open_, start, spread(means, step))
        residual = open_ * (spread(weights * means, step) - applied(solution))
        scaled = inverse * residual
        direction, size = scaled, _dot(residual, scaled)
        goal = _TOLERANCE**2 * size
        active = size > 0.0
        for count in range(1, _MOST_STEPS + 1):
            image = open_ * applied(direction)
            length = torch.where(active, size / _dot(direction, image).clamp(min=1e-30), 0.0)
            solution.addcmul_(length, direction)
            residual.addcmul_(length, image, value=-1.0)
            scaled = inverse * residual
            before, size = size, _dot(residual, scaled)
            active = active & (size >= goal)
            if (planes_are_near(solution) or count % _LOOKED_AT == 0) and not bool(active.any()):
                break
            direction = torch.where(active, scaled + size / before.clamp(min=1e-30) * direction, 0.0)
        return solution

    def energy(self, planes: Tensor, cells: Tensor) -> Tensor:
        """x'Lx per pixel over cells, bool [n,h/rows,w/columns]; [n], 0 where there are none."""
        where = spread(cells, self.step)
        total = torch.where(where, planes * self.laplacian(planes), 0.0).sum(dim=(1, 2))
        return total.clamp(min=0.0) / where.sum(dim=(1, 2)).clamp(min=1)


def planes_are_near(planes: Tensor) -> bool:
    """Whether to look at a value costs nothing."""
    return planes.device.type == "cpu"


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.linalg.vecdot(one.flatten(1), other.flatten(1))[:, None, None]
