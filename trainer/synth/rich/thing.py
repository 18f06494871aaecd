"""What a shot of the richer world shows, and the setting it stands in."""

from __future__ import annotations

from dataclasses import dataclass

from ..scene import Thing
from .vocabulary import HELD_OUT_MOTION, PROCESSES, THIN_KINDS, held_out

ATTACHED = ("shadow", "reflection")
"""Kinds of things that belong to an object."""


@dataclass(frozen=True)
class RichThing(Thing):
    """An object, a process, or the shadow or reflection of an object, which has neither place nor colour.

    An object has no motion where the camera moves, for then nothing but turning and growing can be told.

    Attributes:
        kind: one of `KINDS`, `PROCESSES` or `ATTACHED`.
        second, pattern: second colour and fill of a two-coloured object.
        thin: whether it is a thin make of a kind that is also thick.
        path: how far the centre moves in the whole shot, x in frame widths, y in frame heights.
        owner: of a shadow or reflection, the index of its object.
        over, touching: indices of things further back that it plainly covers a part of, or slightly.
        is_clear: whether enough of it shows in most frames to ask for it.
    """

    second: str | None = None
    pattern: str | None = None
    thin: bool = False
    path: tuple[float, float] = (0.0, 0.0)
    owner: int | None = None
    over: tuple[int, ...] = ()
    touching: tuple[int, ...] = ()
    is_clear: bool = True

    @property
    def is_process(self) -> bool:
        return self.kind in PROCESSES

    @property
    def is_object(self) -> bool:
        return self.colour is not None

    @property
    def is_thin(self) -> bool:
        """Whether its parts are a few hundredths of a frame wide."""
        return self.thin or self.kind in THIN_KINDS

    @property
    def is_unseen(self) -> bool:
        """Whether its combination or its motion is held out of training."""
        if self.is_process:
            return self.place is not None and held_out(self.kind, self.place)
        if not self.is_object:
            return False
        return self.motion == HELD_OUT_MOTION or any(held_out(self.kind, c) for c in self.colours)

    @property
    def colours(self) -> tuple[str, ...]:
        """Of an object, one or two."""
        return tuple(colour for colour in (self.colour, self.second) if colour is not None)

    def centre_at(self, progress: float) -> tuple[float, float]:
        """Where it is at a time from -0.5, the first frame, to 0.5, the last."""
        return self.centre[0] + self.path[0] * progress, self.centre[1] + self.path[1] * progress


@dataclass(frozen=True)
class Setting:
    """What the whole shot is subject to.

    Attributes:
        camera: how far the camera pans in the whole shot, in frame heights; things and background move by it.
        shadow: where shadows fall, relative to their objects, in frame heights; None without shadows.
        waterline: y in frame heights below which water mirrors what is above; None without water.
        flicker: deviation of the light's strength from frame to frame.
        grain: deviation of a pixel's noise.
    """

    camera: tuple[float, float] = (0.0, 0.0)
    shadow: tuple[float, float] | None = None
    waterline: float | None = None
    flicker: float = 0.0
    grain: float = 0.0

    @property
    def pans(self) -> bool:
        return self.camera != (0.0, 0.0)
