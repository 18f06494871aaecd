"""The matte stage as a stream: frames with soft masks in, the same frames with their mattes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .checks import check_finite, check_model_size, check_plate, fits_as_cells
from .colour import decontaminate
from .edge_mattes import core_and_edge, edge_blur
from .edges import feather, grow, levels, threshold
from .frames import Frame, display_values, mixed_colours_of, plate_of
from .given import with_given
from .refinement import refine
from .regions import fill_holes, remove_islands
from .settings import MatteSettings
from .solve.cells import find_size, to_cells
from .solve.resampling import Size, cubic, linear, size_of
from .solve.solver import EdgeSolver
from .temporal import FlowSmoother


def matte_frames(
    frames: Iterable[Frame],
    settings: MatteSettings,
    *,
    device: str | torch.device = "cpu",
    cuts: Collection[int] | Callable[[], Collection[int]] = (),
) -> Iterator[Frame]:
    """Make mattes of a shot's soft masks, frame by frame, in the order they come.

    The order of the operations, each of which its neutral value leaves out:

    1. `smooth`, while the mask still holds all that the model said, and at the size at which the model said it, where
       that is known; what flickers around a threshold flickers more behind it.
    2. `refine` None: the edges are solved from the means of the model's cells, which levels would make others. Masks
       that are of the plate's size and show no other stay as they are; without solving, smaller ones are scaled up,
       bicubic.
    3. levels or threshold (levels first), which say what is solid and what is empty,
    4. so that holes and islands are such,
    5. and so that `refine` by a radius knows what is sure. It needs the edge where the plate has it, so it comes before
    6. grow, 7. feather and 8. edge_blur, which move and soften it on purpose.
    9. `invert`; 10. the colour of what the alpha keeps.
    11. the mattes that were given with the frame, which bound whatever was made; 12. core and edge of the result.

    A frame depends on those up to `smooth` frames behind it and up to `settings.frames_before` before it in the same
    take, and on nothing else: a run that is fed from frame n - `frames_before` on gives the same mattes from n on as an
    uninterrupted one. As many as `smooth` looks at are in memory.

    Args:
        frames: in order; plates all of one size, masks of that or of the model's.
        settings: what to do.
        device: where to compute; regions, smoothing and decontamination use the CPU wherever that is.
        cuts: frames at which a take begins, or a function that gives those known so far, for shots whose cuts are found
            while they are read; neither smoothing nor what is decided of edges crosses them.

    Yields:
        Each frame with its `alpha`, with its `foreground` and `derived` mattes where the settings ask for them, and its
        plate in float32; its soft masks are those that were smoothed or solved.

    Raises:
        ValueError: a plate that is missing or of another size, masks that are not finite, or whose model's size is
            known to be another than the settings say.
    """
    # By `map`, which holds no frame while the next is made: at 4096x2160 one takes 400 MB.
    frames = map(partial(_checked, settings=settings), frames)
    if settings.refine is None:
        frames = map(partial(_in_cells, settings=settings), frames)
    if settings.smooth:
        frames = FlowSmoother(settings.smooth).stream(frames, cuts)
    return map(_Stage(settings, torch.device(device), cuts), frames)


class _Stage:
    """What is done to one frame after another, smoothing aside; the solver decides along a take."""

    def __init__(
        self, settings: MatteSettings, device: torch.device, cuts: Collection[int] | Callable[[], Collection[int]]
    ) -> None:
        self._settings, self._device, self._cuts = settings, device, cuts
        self._solver: EdgeSolver | None = None

    def __call__(self, frame: Frame) -> Frame:
        if self._settings.refine is not None:
            mask = at_plate_size(frame.soft.to(torch.float32), frame.plate).to(self._device)
            return _matte(frame, mask, self._settings)
        begins = frame.index in (self._cuts() if callable(self._cuts) else self._cuts)
        if self._solver is None or begins:
            self._solver = EdgeSolver([self._settings.edges] * len(frame.soft))
        return _matte(frame, _solved(frame, self._solver, self._device), self._settings)


def at_plate_size(soft: Tensor, plate: Tensor | None) -> Tensor:
    """Masks [L,h,w] at the size of a plate [H,W,3]: bicubic where they are of the model's, else as they are."""
    if plate is None or soft.shape[1:] == plate.shape[:2]:
        return soft
    return cubic(soft.cpu(), size_of(plate))


def _checked(frame: Frame, settings: MatteSettings) -> Frame:
    if frame.soft.ndim != 3:
        raise ValueError(
            f"Masks of shape {list(frame.soft.shape)} cannot be used; [L,H,W], one mask a layer, is expected."
        )
    check_finite(frame.soft, f"mask of frame {frame.index}")
    if frame.plate is None and not settings.needs_plate:
        return frame
    plate = plate_of(frame)
    if not (plate.ndim == 3 and fits_as_cells(frame.soft.shape[1:], size_of(plate), settings.model_size)):
        check_plate(frame.soft, plate)
    plate = display_values(plate)
    check_finite(plate, f"plate of frame {frame.index}")
    return replace(frame, plate=plate)


def _in_cells(frame: Frame, settings: MatteSettings) -> Frame:
    """With what is known of the size at which the model made its masks, and with masks of that size where it is one."""
    size, layers = size_of(plate_of(frame)), len(frame.soft)
    own = size_of(frame.soft[0])
    for known in (own,) if own != size else frame.cells:
        check_model_size(settings.model_size, known, f"The masks of frame {frame.index}")
    if own != size:
        soft, fitting = frame.soft, (min(own[0], size[0]), min(own[1], size[1]))
        if fitting != own:
            soft = linear(soft.detach().cpu().float(), fitting)  # as the engine scales them
        return replace(frame, soft=soft, cells=(own,) * layers)
    masks = frame.soft.detach().cpu().float().numpy()
    if settings.model_size:
        cells: tuple[Size | None, ...] = ((settings.model_size, settings.model_size),) * layers
    else:
        cells = frame.cells or (None,) * layers
    told = None not in cells
    cells = tuple(find_size(mask) if one is None else one for mask, one in zip(masks, cells, strict=True))
    # What is found in a mask another frame's may not show, and frames are smoothed at one size.
    if cells[0] is None or len(set(cells)) > 1 or (settings.smooth and not told):
        return replace(frame, cells=cells)
    soft = torch.from_numpy(np.stack([to_cells(mask, cells[0]) for mask in masks]))
    return replace(frame, soft=soft, cells=cells)


def _solved(frame: Frame, solver: EdgeSolver, device: torch.device) -> Tensor:
    """Masks at the plate's size, [L,H,W] in 0..1, edges solved; as they are where the model's size is not known."""
    plate, soft = plate_of(frame), frame.soft.detach().cpu().float()
    models = {place: size for place, size in enumerate(frame.cells) if size is not None}
    if not models:
        return soft.to(device).clamp(0.0, 1.0)
    masks = {place: to_cells(soft[place].numpy(), size) for place, size in models.items()}
    solved = solver.solve(masks, plate.to(device), models)
    if len(models) == len(soft):
        return solved
    alpha = soft.to(device).clamp(0.0, 1.0)
    alpha[list(models)] = solved
    return alpha


def _matte(frame: Frame, mask: Tensor, settings: MatteSettings) -> Frame:
    # Solved masks are in 0..1 already: without levels, a plane of the plate's size less.
    if settings.refine is not None or (settings.black, settings.white, settings.gamma) != (0.0, 1.0, 1.0):
        mask = levels(mask, settings.black, settings.white, settings.gamma)
    if settings.threshold is not None:
        mask = threshold(mask, settings.threshold, settings.knee)
    mask = remove_islands(fill_holes(mask, settings.fill_holes), settings.remove_islands)
    if settings.refine:
        mask = refine(mask, plate_of(frame).to(mask.device), settings.refine, settings.refine_detail)
    mask = feather(grow(mask, settings.grow), settings.feather)
    if settings.edge_blur:
        mask = edge_blur(mask, settings.edge_blur)
    if settings.invert:
        mask = 1.0 - mask
    foreground = decontaminate(mixed_colours_of(frame), mask) if settings.decontaminate else None
    if frame.given:
        mask = with_given(mask, frame.given)
    derived = core_and_edge(mask, settings.edge_mattes).cpu() if settings.edge_mattes else None
    return replace(frame, alpha=mask.cpu(), foreground=foreground, derived=derived)
