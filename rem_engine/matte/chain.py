"""The matte stage as a stream: frames with soft masks in, the same frames with their mattes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

import torch

from .checks import check_finite, check_plate
from .colour import decontaminate
from .edge_mattes import core_and_edge, edge_blur
from .edges import feather, grow, levels, threshold
from .frames import Frame, display_values, mixed_colours_of, plate_of
from .given import with_given
from .refinement import refine
from .regions import fill_holes, remove_islands
from .settings import MatteSettings
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

    1. `smooth`, while the mask still holds all that the model said; what flickers around a threshold flickers more
       behind it.
    2. levels or threshold (levels first), which say what is solid and what is empty,
    3. so that holes and islands are such,
    4. and so that refinement knows what is sure. It needs the edge where the plate has it, so it comes before
    5. grow, 6. feather and 7. edge_blur, which move and soften it on purpose.
    8. `invert`; 9. the colour of what the alpha keeps.
    10. the mattes that were given with the frame, which bound whatever was made; 11. core and edge of the result.

    A frame depends on those up to `smooth` frames to either side of it in the same take, and on nothing else: a run
    that is fed from frame n - `smooth` on gives the same mattes from n on as an uninterrupted one. As many are in
    memory.

    Args:
        frames: in order; all of one size.
        settings: what to do.
        device: where to compute; regions, smoothing and decontamination use the CPU wherever that is.
        cuts: frames at which a take begins, or a function that gives those known so far, for shots whose cuts are found
            while they are read; smoothing does not cross them.

    Yields:
        Each frame with its `alpha`, with its `foreground` and `derived` mattes where the settings ask for them, and its
        plate in float32; its soft masks are the smoothed ones.

    Raises:
        ValueError: a plate that is missing or of another size, or masks that are not finite.
    """
    frames = _checked(frames, settings)
    if settings.smooth:
        frames = FlowSmoother(settings.smooth).stream(frames, cuts)
    for frame in frames:
        yield _matte(frame, settings, torch.device(device))


def _checked(frames: Iterable[Frame], settings: MatteSettings) -> Iterator[Frame]:
    for frame in frames:
        if frame.soft.ndim != 3:
            raise ValueError(
                f"Masks of shape {list(frame.soft.shape)} cannot be used; [L,H,W], one mask a layer, is expected."
            )
        check_finite(frame.soft, f"mask of frame {frame.index}")
        if frame.plate is not None or settings.needs_plate:
            plate = plate_of(frame)
            check_plate(frame.soft, plate)
            plate = display_values(plate)
            check_finite(plate, f"plate of frame {frame.index}")
            frame = replace(frame, plate=plate)
        yield frame


def _matte(frame: Frame, settings: MatteSettings, device: torch.device) -> Frame:
    mask = frame.soft.to(device, torch.float32)
    mask = levels(mask, settings.black, settings.white, settings.gamma)
    if settings.threshold is not None:
        mask = threshold(mask, settings.threshold, settings.knee)
    mask = remove_islands(fill_holes(mask, settings.fill_holes), settings.remove_islands)
    if settings.refine:
        mask = refine(mask, plate_of(frame).to(device), settings.refine, settings.refine_detail)
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
