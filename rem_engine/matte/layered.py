"""The matte stage over layers of which each may have settings of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee

import torch
from torch import Tensor

from .chain import at_plate_size, matte_frames
from .frames import Frame, alpha_of, display_values, mixed_colours_of
from .settings import MatteSettings


def matte_layers(
    frames: Iterable[Frame],
    settings: Sequence[MatteSettings],
    *,
    device: str | torch.device = "cpu",
    cuts: Collection[int] | Callable[[], Collection[int]] = (),
) -> Iterator[Frame]:
    """Make mattes of a shot's soft masks; see `matte_frames`.

    Layers of equal settings go through the stage together, so that layers which all have the same take no more time
    than they would without settings of their own. As many frames are in memory as the longest smoothing looks at.

    Args:
        frames: in order; masks [L,H,W].
        settings: of each of the L layers.
        device, cuts: as there.

    Yields:
        The frames as `matte_frames` gives them. Where some layers are decontaminated, the foreground of the others is
        the plate.
    """
    groups: dict[MatteSettings, list[int]] = {}
    for layer, own in enumerate(settings):
        groups.setdefault(own, []).append(layer)
    if len(groups) == 1:
        return matte_frames(frames, settings[0], device=device, cuts=cuts)
    streams = [
        matte_frames(_of_layers(copy, layers), own, device=device, cuts=cuts)
        for copy, (own, layers) in zip(tee(frames, len(groups)), groups.items(), strict=True)
    ]
    return (_joined(parts, groups) for parts in zip(*streams, strict=True))


def _of_layers(frames: Iterable[Frame], layers: Sequence[int]) -> Iterator[Frame]:
    for frame in frames:
        given = frame.given and {
            mode: matte if len(matte) == 1 else matte[layers] for mode, matte in frame.given.items()
        }
        cells = tuple(frame.cells[layer] for layer in layers) if frame.cells else ()
        yield replace(frame, soft=frame.soft[layers], given=given, cells=cells)


def _joined(parts: Sequence[Frame], groups: dict[MatteSettings, list[int]]) -> Frame:
    """One frame of those of the groups, its layers in their order."""
    order = [layer for layers in groups.values() for layer in layers]
    back = torch.tensor(order).argsort()
    foreground = None
    if any(part.foreground is not None for part in parts):
        colours = [_plates(part, len(alpha_of(part))) if part.foreground is None else part.foreground for part in parts]
        foreground = torch.cat(colours)[back]
    derived: dict[int, Tensor] = {}
    for part, layers in zip(parts, groups.values(), strict=True):
        if part.derived is not None:
            derived |= dict(zip(layers, part.derived.unflatten(0, (-1, 2)), strict=True))
    return replace(
        next((part for part in parts if part.plate is not None), parts[0]),
        soft=torch.cat([at_plate_size(part.soft, part.plate) for part in parts])[back],
        alpha=torch.cat([alpha_of(part) for part in parts])[back],
        foreground=foreground,
        derived=torch.cat([derived[layer] for layer in sorted(derived)]) if derived else None,
        given=None,
    )


def _plates(frame: Frame, layers: int) -> Tensor:
    return display_values(mixed_colours_of(frame)).expand(layers, -1, -1, -1)
