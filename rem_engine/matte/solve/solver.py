"""Masks at the model's own size and a plate to alpha at the plate's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from ..boxes import bounding_box
from ..settings import EdgeKind
from .blur import Blur, found_spread
from .cells import Cells, highest, widened
from .decisions import Decision, Decisions, Seen
from .grain import GRAIN_ACROSS, graininess, without_grain
from .guided import at_full_size
from .laplacian import Laplacian, SparseLaplacian, WindowLaplacian
from .noise import noisiness, share_of_noise, without_noise
from .resampling import Size, averaged, cubic, gathered, linear, size_of, spread
from .system import System
from .upscale import with_means

# Of the means of cells, against the Laplacian; 0.3 to 10 are alike.
_DATA = 3.0
# The same within a trimap: 0 loses thin things, 0.01 leaves ramps.
_LITTLE_DATA = 3e-4
# The same where a mask's blur and shift are known; it falls with the square of what these leave of the mask, from
# somewhat more on than noise leaves.
_BLURRED_DATA, _WELL = 0.1, 0.03
# How often they are estimated, and a trimap is solved with them.
_LOOKS = 2
# Pixels of the plate to one of the grid, at most so many of these across a cell, and across all cells.
_PIXELS, _ACROSS_CELL, _ACROSS = 1.5, 5, 1100
# Levels of the trimap.
_EMPTY, _FULL = 0.05, 0.9
# Cells by which what is empty keeps away from a mask that errs much: REM-mini's lacks the points of stars.
_KEPT_AWAY = 3
# Cells around those that matter that the grid takes in.
_MARGIN = 4
# Below that much, the trimap is not worth solving.
_WORTH = 0.01


class EdgeSolver:
    """Solves the edges of a take, frame by frame.

    A model states the mean of alpha over each of its cells. Closed-form matting with these means as data finds the
    alpha that has them and follows the plate. Where the plate does not contradict a soft ramp (smoke, motion blur,
    defocus), the bicubic upscale of the mask stays; where a solid thing's mask does not fit the plate's edges, a trimap
    is made of it and solved again, with hardly any data. Both are blended, so that nothing jumps.

    Args:
        kinds: of each layer: whether its thing is solid or soft, or whether that is to be found out.
        matrix_free: whether to solve without matrices, all layers at once; None does so wherever that is not the CPU.
    """

    def __init__(self, kinds: Sequence[EdgeKind], *, matrix_free: bool | None = None) -> None:
        self._kinds, self._matrix_free = tuple(kinds), matrix_free
        self._decisions = [Decisions(kind) for kind in kinds]

    def solve(self, masks: Mapping[int, np.ndarray], plate: Tensor, models: Mapping[int, Size] | None = None) -> Tensor:
        """The next frame's alpha.

        Args:
            masks: by the layer's place, float32 [h,w], at the model's own size, or along a side of it that is longer
                than the plate's at the plate's; nominally 0..1.
            plate: float32 [H,W,3], display-referred, on the device to compute on.
            models: (height, width) at which the model made them, by place; None where that is their own.

        Returns:
            float32 [len(masks),H,W] in 0..1, in the masks' order, on the plate's device.
        """
        size = size_of(plate)
        layers = {place: Cells.of(mask, models.get(place) if models else None) for place, mask in masks.items()}
        alpha: dict[int, Tensor] = {}
        for place, cells in layers.items():
            if self._kinds[place] == "soft" or not cells.steep.any():
                self._decisions[place].see(None)
                clean = 0.0 if self._kinds[place] == "soft" else cells.clean
                alpha[place] = _upscaled(_on(plate, [cells.soft]), size, [cells], [clean])[0]
        together = plate.device.type != "cpu" if self._matrix_free is None else self._matrix_free
        groups = _groups(layers, [place for place in layers if place not in alpha], together)
        noisy = noisiness(plate) if groups else 0.0
        for places in groups:
            part = _Part.of([layers[place] for place in places], plate, noisy, together)
            for place, seen in zip(places, part.seen(), strict=True):
                self._decisions[place].see(seen)
            finished = part.finished([self._decisions[place].made(part.cell) for place in places])
            alpha |= dict(zip(places, finished, strict=True))
        if len(alpha) == 1:
            return alpha.popitem()[1][None]  # a copy of a plate's size takes as much memory as all that is solved
        whole = plate.new_empty(len(masks), *size)
        for plane, place in zip(whole, masks, strict=True):
            plane.copy_(alpha.pop(place))
        return whole


def _groups(layers: Mapping[int, Cells], places: Sequence[int], together: bool) -> list[list[int]]:
    """Layers that are solved at once: those of one size, or each alone."""
    if not together:
        return [[place] for place in places]
    sizes = sorted({layers[place].mean.shape for place in places})
    return [[place for place in places if layers[place].mean.shape == size] for size in sizes]


@dataclass(frozen=True)
class _Part:
    """The part of a plate in which layers have edges, and their equations there.

    Attributes:
        layers: n of one size.
        plate: float32 [H,W,3].
        box: rows and columns of cells.
        noisy: 0..1, how much of the plate's noise is taken out before it is used.
        noise: what `picture` had of it before, as a share of its contrast.
        picture: float32 [h,w,3], the plate over the box, reduced so that a cell is `system.step` whole pixels.
        system: the equations.
        means: [n,cells], of the box, of the Laplacian's type.
        solution: [n,h,w], of the means of all cells.
    """

    layers: Sequence[Cells]
    plate: Tensor
    box: tuple[slice, slice]
    noisy: float
    noise: float
    picture: Tensor
    system: System
    means: Tensor
    solution: Tensor

    @classmethod
    def of(cls, layers: Sequence[Cells], plate: Tensor, noisy: float, matrix_free: bool) -> _Part:
        cell_count, size = layers[0].mean.shape, size_of(plate)
        box = bounding_box(torch.from_numpy(np.any([_matters(cells) for cells in layers], axis=0)), _MARGIN)
        assert box is not None  # a layer without an edge is not solved
        step = _step(cell_count, size)
        whole = averaged(plate, (cell_count[0] * step[0], cell_count[1] * step[1]))
        rows, columns = (slice(side.start * k, side.stop * k) for side, k in zip(box, step))
        shown = whole[rows, columns].contiguous()
        picture = without_noise(shown, noisy)
        laplacian: Laplacian
        laplacian = WindowLaplacian(picture) if matrix_free else _matrix(picture, layers[0].unsure[box], step, 1)
        system, unsure = System(laplacian, step), _unsure(layers, box, plate)
        means = _on(plate, [cells.mean[box] for cells in layers]).to(laplacian.dtype)
        start = linear(means, size_of(picture))
        solution = system.solve(means, torch.full_like(means, _DATA), unsure, start, means)
        return cls(layers, plate, box, noisy, share_of_noise(shown), picture, system, means, solution)

    @property
    def cell(self) -> float:
        """Side of a cell, in pixels of the plate."""
        (height, width), (rows, columns) = size_of(self.plate), self.layers[0].mean.shape
        return float(np.sqrt(height * width / (rows * columns)))

    def seen(self) -> list[Seen]:
        """What the equations say of each layer."""
        # What a ramp of a cell costs per pixel falls with the pixels across it.
        per_cell = 1000.0 * self.system.step[1] / _ACROSS_CELL
        solution = self._said(self.solution.clamp(0.0, 1.0))
        return [
            Seen.of(
                (per_cell * ramp[0], ramp[1]),
                (per_cell * solved[0], solved[1]),
                where=self._edge(layer),
                white=layer.white,
                sharpness=layer.clean * layer.sharpness,
                noise=self.noise,
            )
            for ramp, solved, layer in zip(self._ramp, solution, self.layers, strict=True)
        ]

    @cached_property
    def _ramp(self) -> np.ndarray:
        """What is said of the cubic upscale."""
        return self._said(cubic(self.means, size_of(self.picture)).to(self.means.dtype))

    def _said(self, planes: Tensor) -> np.ndarray:
        """Energy and x (1 - x) of the cells of planes [n,h,w], float64 [n,2,h/rows,w/columns]."""
        softness = gathered(planes * (1.0 - planes), self.system.step)
        return torch.stack([self.system.energies(planes), softness], dim=1).cpu().double().numpy()

    def _edge(self, layer: Cells) -> np.ndarray:
        """Cells of the box that a layer's edge goes through, bool."""
        return (layer.steep & layer.unsure)[self.box]

    def finished(self, decisions: Sequence[Decision]) -> Tensor:
        """Alpha of each layer, float32 [n,H,W]."""
        size, device = size_of(self.plate), self.plate.device
        levelled = _on(self.plate, [_levelled(*pair) for pair in zip(self.layers, decisions)])
        # Where a thing is solid, it is the solution that counts.
        clean = [cells.clean if made.solid < 1.0 else 0.0 for cells, made in zip(self.layers, decisions, strict=True)]
        plain = _upscaled(levelled, size, self.layers, clean)
        places = [place for place, decision in enumerate(decisions) if decision.solid > 0.0]
        if not places:
            return plain
        grid = self._solved(decisions, places)
        if self.system.step[1] >= GRAIN_ACROSS:
            grid = self._quieted(grid, places)
        # Cells of the box in pixels of the plate; where a cell is no whole number of them, to the nearest.
        rows, columns = (
            slice(round(side.start * length / count), round(side.stop * length / count))
            for side, length, count in zip(self.box, size, self.layers[0].mean.shape)
        )
        plate = without_noise(self.plate[rows, columns], self.noisy)
        fine = at_full_size(grid.float(), self.picture, plate)
        shares = cubic(
            _on(self.plate, [_share(self.layers[place], self.box, _reach(decisions[place])) for place in places]),
            (fine.shape[1], fine.shape[2]),
        )
        solid = torch.tensor([decisions[place].solid for place in places], device=device)[:, None, None]
        for place, solved, share in zip(places, fine, shares.mul_(solid), strict=True):
            plain[place, rows, columns].lerp_(solved, share)
        return plain

    def _quieted(self, solved: Tensor, places: Sequence[int]) -> Tensor:
        """Alpha on the grid, of layers at `places`, without its grain."""
        energies = self.system.energies(solved).cpu().double().numpy()
        grain = np.stack(
            [
                graininess(self._ramp[place, 0], energy, self._edge(self.layers[place]))
                for place, energy in zip(places, energies, strict=True)
            ]
        )
        if not grain.any():
            return solved
        shares = spread(torch.from_numpy(grain).to(solved), self.system.step)
        return torch.lerp(solved, without_grain(solved), shares)

    def _solved(self, decisions: Sequence[Decision], places: Sequence[int]) -> Tensor:
        """Alpha on the grid, of layers at `places`: of all data, of a trimap, or of both."""
        levels, solid, faithful = (
            torch.tensor([getattr(decisions[place], name) for place in places]).to(self.solution)[:, None, None]
            for name in ("white", "solid", "faithful")
        )
        solution = (self.solution[list(places)] / levels).clamp_(0.0, 1.0)
        again = [
            n for n, place in enumerate(places) if decisions[place].solid * (1 - decisions[place].faithful) > _WORTH
        ]
        if not again:
            return solution
        chosen = [places[n] for n in again]
        trimaps = [_trimap(self.layers[place], decisions[place]) for place in chosen]
        means, free = (np.stack([trimap[part][self.box] for trimap in trimaps]) for part in (0, 1))
        # What lies beyond is held.
        reach = [_reach(decisions[place]) for place in chosen]
        near = np.stack([widened(self.layers[n].unsure[self.box], cells) for n, cells in zip(chosen, reach)])
        system = self.system
        if isinstance(system.laplacian, SparseLaplacian) and reach[0] > 1:
            unsure = self.layers[0].unsure[self.box]
            system = System(_matrix(self.picture, unsure, system.step, reach[0]), system.step)
        target = torch.from_numpy(means).to(self.plate.device, self.means.dtype)
        open_ = torch.from_numpy(free & near).to(self.plate.device)
        believed = faithful[again] > 0.0
        start = torch.where(believed, solution[again], linear(target, size_of(self.picture)))
        found = system.solve(target, torch.full_like(target, _LITTLE_DATA), open_, start, target).clamp_(0.0, 1.0)
        if not all(decisions[place].errs_much for place in chosen):
            found = self._seen_through(found, target, open_, decisions, chosen)
        mixed = solution.clone()
        mixed[again] = torch.lerp(found, solution[again], faithful[again])
        return mixed

    def _seen_through(
        self, found: Tensor, held: Tensor, free: Tensor, decisions: Sequence[Decision], places: Sequence[int]
    ) -> Tensor:
        """Alpha of layers at `places`, solved again with data: masks see its means blurred and moved."""
        white = torch.tensor([decisions[place].white for place in places]).to(found)[:, None, None]
        masks = _on(self.plate, [self.layers[place].soft[self.box] for place in places]).to(found) / white
        edges = [widened(self.layers[place].steep[self.box], 1) for place in places]
        explained = torch.tensor([not decisions[place].errs_much for place in places], device=found.device)
        alpha = found
        for look in range(_LOOKS):
            means = gathered(alpha, self.system.step).cpu().numpy()
            spreads = [found_spread(*planes) for planes in zip(means, masks.cpu().numpy(), edges, strict=True)]
            # At first a trimap's faults are left over, too.
            trust = [min(1.0, (_WELL / one.left_over) ** 2) if look else 1.0 for one in spreads]
            weights = (_BLURRED_DATA * torch.tensor(trust).to(masks)).clamp_(min=_LITTLE_DATA)
            weights = weights[:, None, None].expand_as(masks)
            alpha = self.system.solve(masks, weights, free, alpha, held, Blur(spreads, masks)).clamp_(0.0, 1.0)
        return torch.where(explained[:, None, None], alpha, found)


def _upscaled(masks: Tensor, size: Size, layers: Sequence[Cells], clean: Sequence[float]) -> Tensor:
    """Masks of layers at the plate's size: bicubic, or with their own means as far as they are clean, 0..1."""
    plain = cubic(masks, size)
    for place, (cells, share) in enumerate(zip(layers, clean, strict=True)):
        if share > 0.0:
            plain[place].lerp_(with_means(masks[place], plain[place], cells.model), share)
    return plain


def _matrix(picture: Tensor, unsure: np.ndarray, step: Size, reach: int) -> SparseLaplacian:
    """The Laplacian's rows of unsure cells and those within `reach` of them."""
    rows = torch.from_numpy(widened(unsure, reach))[None]
    return SparseLaplacian(picture, spread(rows, step)[0])


def _reach(decision: Decision) -> int:
    """Cells beyond those that are unsure in which alpha may be other than the mask."""
    return 1 + _KEPT_AWAY if decision.errs_much else 1


def _matters(cells: Cells) -> np.ndarray:
    """Cells at an edge, and what is not empty around them."""
    return cells.steep | (~cells.empty & widened(cells.steep, 3))


def _step(cells: Size, size: Size) -> Size:
    """Pixels of the grid to a cell, (rows, columns): whole, and about square on the plate."""
    height, width = (length / count for length, count in zip(size, cells))
    columns = min(max(round(width / _PIXELS), 1), _ACROSS_CELL, max(1, _ACROSS // cells[1]))
    return max(1, round(height * columns / width)), columns


def _levelled(cells: Cells, decision: Decision) -> np.ndarray:
    """The mask to be scaled up, at the levels that were decided."""
    solid = np.float32(decision.solid)
    mask = ((cells.soft + solid * (cells.mean - cells.soft)) / np.float32(decision.white)).clip(0.0, 1.0)
    mask[cells.full] += solid * (1.0 - mask[cells.full])
    return mask


def _share(cells: Cells, box: tuple[slice, slice], reach: int) -> np.ndarray:
    """float32 cells of the box: where the solution replaces the scaled mask, 0..1."""
    near = widened(cells.unsure, reach) & widened(cells.steep, max(3, reach))
    return cv2.GaussianBlur(near[box].astype(np.float32), (0, 0), 0.6)


def _trimap(cells: Cells, decision: Decision) -> tuple[np.ndarray, np.ndarray]:
    """(means, whether unsure) of cells, which are held at 0 or 1 where the mask is sure enough."""
    level = cells.level / np.float32(decision.white)
    empty = highest(cells.level, _KEPT_AWAY if decision.errs_much else 0) < max(_EMPTY, 2.0 * cells.noise)
    full = level > _FULL
    mean = (cells.mean / np.float32(decision.white)).clip(0.0, 1.0)
    return np.where(full, np.float32(1.0), np.where(empty, np.float32(0.0), mean)), ~(empty | full)


def _unsure(layers: Sequence[Cells], box: tuple[slice, slice], plate: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([cells.unsure[box] for cells in layers])).to(plate.device)


def _on(plate: Tensor, planes: Sequence[np.ndarray]) -> Tensor:
    """Planes of cells where the plate is, float32 [n,h,w]."""
    return torch.from_numpy(np.stack(planes)).to(plate.device)
