"""From a layer's mattes, frame by frame, to its shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..matte.motion import Motion
from ..progress import SILENT, Progress
from .contours import contours_of, softness
from .following import is_beyond
from .keys import keyed
from .model import Shape, ShapeSet
from .settings import ShapeSettings
from .tracking import LevelTracker, Track
from .vertices import chosen_segments, no_more_than

# Of a matte that has an edge, and of one that has none: each level stands for an equal part of it.
_HARD_LEVELS = (0.5,)
_SOFT_LEVELS = (1 / 6, 0.5, 5 / 6)
# Frames that show anything, by which it is told whether a layer has an edge.
_VOTES = 12
# Pixels of a ramp, on the mean, and of what is solid, that tell of one without.
_SOFT_RAMP, _SOFT_SHARE = 8.0, 0.5
# Pixels over which the matte of a sharp edge ramps by antialiasing alone, as `ramp_width` measures it.
_SHARP = 2.2
# Of the tolerance: what vertices alone may miss; the rest is left to keys.
_VERTEX_SHARE = 0.5
# Of a feather, in a layer without an edge: an outline that is off by so much changes the matte by a twentieth.
_FEATHER_SHARE = 0.05 * len(_SOFT_LEVELS)
# Samples of an outline by which keys are found; more tell no more of forty vertices.
_ENOUGH_SAMPLES = 500


class ShapeMaker:
    """Makes shapes of one layer.

    Of each frame its contours are kept, and nothing of its pixels: memory grows with the length of outlines, some 8
    bytes a pixel and frame at most, and not with the frame's size.
    """

    def __init__(self, layer: str, settings: ShapeSettings) -> None:
        self._layer, self._settings = layer, settings
        levels = {"hard": _HARD_LEVELS, "soft": _SOFT_LEVELS, "auto": _SOFT_LEVELS}[settings.shape_edges]
        step = 1.0 / len(_SOFT_LEVELS)
        # Of a layer that may turn out to have an edge, the whole ramp is looked at where that would be.
        whole = _HARD_LEVELS if settings.shape_edges != "soft" else ()
        self._trackers = {
            level: LevelTracker(level, 1.0 if level in whole else step, settings.shape_area) for level in levels
        }
        self._decided = settings.shape_edges != "auto"
        self._votes: list[bool] = []
        self._size = (0, 0)

    def add(self, index: int, matte: np.ndarray, motion: Motion | None) -> None:
        """Take up the next frame.

        Args:
            index: its place in the shot.
            matte: float32 [H,W] in 0..1.
            motion: from the frame before to this one; None for the first of a take.
        """
        self._size = (matte.shape[0], matte.shape[1])
        for tracker in self._trackers.values():
            tracker.add(index, matte, motion)
        if not self._decided:
            self._vote(matte)

    @property
    def left_out(self) -> int:
        """Regions beyond the largest, which get no shapes, the most of any frame and level."""
        return max(tracker.left_out for tracker in self._trackers.values())

    def finish(self, fps: float | None, numbers: tuple[int, ...], progress: Progress = SILENT) -> ShapeSet:
        """The shapes, once all frames have come.

        Args:
            fps: frames per second; None where there is no rate.
            numbers: the number of each frame.
            progress: told "shapes", several times of each.
        """
        if not self._decided:
            self._decide()
        uneven = _uneven(numbers)
        levels = enumerate(tracker for _, tracker in sorted(self._trackers.items()))
        tracks = [(track, place, tracker.step) for place, tracker in levels for track in tracker.finish()]
        shapes: list[Shape] = []
        for done, (track, place, step) in enumerate(tracks):
            alive = partial(progress.update, "shapes", done, len(tracks))
            alive()
            shapes.append(self._shape(track, f"{self._layer}_{done + 1:03}", place, step, uneven, alive))
        if tracks:
            progress.update("shapes", len(tracks), len(tracks))
        height, width = self._size
        return ShapeSet(self._layer, width, height, fps, numbers, len(self._trackers) > 1, tuple(shapes))

    def _vote(self, matte: np.ndarray) -> None:
        between, solid = softness(matte)
        if between + solid < self._settings.shape_area:
            return
        edges = sum(contour.length for contour in contours_of(matte, 0.5, self._settings.shape_area))
        wide = edges == 0.0 or between / edges > _SOFT_RAMP
        self._votes.append(wide and between > _SOFT_SHARE * solid)
        if len(self._votes) == _VOTES:
            self._decide()

    def _decide(self) -> None:
        self._decided = True
        if 2 * sum(self._votes) <= len(self._votes):
            self._trackers = {level: self._trackers[level] for level in _HARD_LEVELS}

    def _shape(
        self, track: Track, name: str, place: int, measured: float, keys: set[int], alive: Callable[[], None]
    ) -> Shape:
        """Of the level at `place` from the lowest; its ramps are those of `measured` of the matte; `keys` it has."""
        settings, samples, count = self._settings, track.positions(), len(self._trackers)
        ramp = float(np.median(track.ramps)) / (measured * count)
        feather = ramp if count > 1 else float(np.sqrt(max(ramp**2 - _SHARP**2, 0.0)))
        tolerance = settings.shape_tolerance
        if count > 1:
            tolerance = max(tolerance, _FEATHER_SHARE * feather)
        seen = ~is_beyond(samples, self._size)
        segments = chosen_segments(samples, seen, _VERTEX_SHARE * tolerance, settings.shape_vertices)
        kept, segments = no_more_than(_ENOUGH_SAMPLES, segments)
        given = {key - track.first for key in keys if track.first <= key <= track.last}
        every = settings.shape_keys == "every"
        found = keyed(samples[:, kept], seen[:, kept], segments, tolerance, every=every, given=given, alive=alive)
        # Laid over those below, a level brings the matte from place / count up to (place + 1) / count, and its holes
        # take it back.
        opacity = 1.0 / (place + 1) if track.is_hole else 1.0 / (count - place)
        return Shape(
            name,
            "subtract" if track.is_hole else "add",
            track.level,
            opacity,
            round(feather, 2),
            track.first,
            track.last,
            tuple(track.first + key for key in found.keys),
            found.points.reshape(len(found.keys), -1, 3, 2),
            found.miss,
        )


def _uneven(numbers: tuple[int, ...]) -> set[int]:
    """Frames to either side of where numbers step otherwise than elsewhere, as over frames that were left out. Programs
    go from key to key by numbers: there keys stand."""
    steps = np.diff(numbers)
    return (
        {int(at) + one for at in np.flatnonzero(steps != np.median(steps)) for one in (0, 1)} if len(steps) else set()
    )
