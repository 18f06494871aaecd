"""Contours followed from frame to frame: which goes on as which, and where outlines begin and end."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ..matte.motion import Motion
from .contours import Contour, area_of, contours_of, ramp_width
from .following import Samples, matched, moved, on_contour

# Pixels between samples of an outline at its first frame; where it grows, twice as far at most.
_SPACING = 2.0
_MOST_SAMPLES = 1500
# A region goes on as another if what both share is so much of what either has; else what is seen is another thing.
_ALIKE = 0.6
# Of a region's area: so much of it in a further region of the other frame splits or merges it.
_PART = 0.15
# Regions and holes of a level in a frame that get outlines, the largest: nobody edits more, and each takes its time.
_MOST_REGIONS = 64
# Pixels of the longer side of the pictures in which regions are compared.
_LONGEST_SIDE = 640


@dataclass
class Track:
    """An outline through the frames in which it is there.

    Attributes:
        level: of the matte.
        depth: outlines around it at its first frame; where they are odd, it bounds a hole.
        first: place in the shot of its first frame.
        along: float64 [M] in 0..1, ascending: where its samples stand along it.
        frames: of each frame its samples [m,2], float32, as many as it had then.
        ramps: pixels of its ramp, one a frame.
        samples: those of its last frame.
        grids: `along` as it was at each frame.
    """

    level: float
    depth: int
    first: int
    along: np.ndarray
    frames: list[np.ndarray]
    ramps: list[float]
    samples: Samples
    grids: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grids.append(self.along)

    @property
    def is_hole(self) -> bool:
        return self.depth % 2 == 1

    @property
    def last(self) -> int:
        """Place in the shot of its last frame."""
        return self.first + len(self.frames) - 1

    def positions(self) -> np.ndarray:
        """Its samples in all of its frames, float64 [T,M,2]."""
        return np.stack([_at(grid, places, self.along) for grid, places in zip(self.grids, self.frames, strict=True)])

    def go_on(self, samples: Samples, ramp: float) -> None:
        """Take up the next frame."""
        gaps = np.hypot(*(np.roll(samples.places, -1, axis=0) - samples.places).T)
        wide = gaps > 2.0 * _SPACING
        if wide.any() and len(gaps) + int(wide.sum()) <= _MOST_SAMPLES:
            ends = np.append(self.along[1:], self.along[0] + 1.0)
            new = (0.5 * (self.along + ends))[wide]
            along = np.concatenate([self.along, new])
            order = np.argsort(along)
            after = np.roll(samples.places, -1, axis=0)
            middles = 0.5 * (samples.places + after)[wide]
            inward = 0.5 * (samples.inward + np.roll(samples.inward, -1, axis=0))[wide]
            turning = 0.5 * (samples.turning + np.roll(samples.turning, -1))[wide]
            self.along = along[order]
            samples = Samples(
                np.concatenate([samples.places, middles])[order],
                np.concatenate([samples.inward, inward])[order],
                np.concatenate([samples.turning, turning])[order],
            )
        self.samples = samples
        self.grids.append(self.along)
        self.frames.append(samples.places.astype(np.float32))
        self.ramps.append(ramp)


class LevelTracker:
    """Follows the contours of one level of a layer's mattes.

    A contour goes on as the one of the next frame that it shares most of its area with, once it was moved. Where a
    region splits, or several merge, or another thing is in its place, outlines end and new ones begin.

    Attributes:
        step: of the matte around the level that it stands for, over which ramps are measured.
        left_out: regions of a frame beyond the largest, which get no outline, the most of any frame.
    """

    def __init__(self, level: float, step: float, least_area: float) -> None:
        """Of mattes at `level`; contours within which fewer than `least_area` pixels lie are left out."""
        self.step, self._level, self._least = step, level, least_area
        self.left_out = 0
        self._going: list[Track] = []
        self._before: np.ndarray | None = None  # the matte of the frame before
        self._ended: list[Track] = []

    def add(self, index: int, matte: np.ndarray, motion: Motion | None) -> None:
        """Take up the next frame.

        Args:
            index: its place in the shot.
            matte: float32 [H,W].
            motion: from the frame before to this; None where nothing goes on, as at a cut.
        """
        contours = self._largest(contours_of(matte, self._level, self._least))
        going: list[Track] = []
        left = set(range(len(contours)))
        if motion is not None and self._before is not None and self._going and contours:
            size = (matte.shape[0], matte.shape[1])
            depth = _depth_within(self._before, self._level, motion.trust.shape)
            predicted = [moved(track.samples, motion, depth, size) for track in self._going]
            for place, found in _pairs(self._going, predicted, contours, size):
                track, contour = self._going[place], contours[found]
                track.go_on(matched(track.samples, predicted[place], contour, size), self._ramp(matte, contour))
                going.append(track)
                left.discard(found)
        self._before = matte
        kept = set(map(id, going))
        self._ended += [track for track in self._going if id(track) not in kept]
        self._going = going + [self._begun(index, matte, contours, found) for found in sorted(left)]

    def finish(self) -> list[Track]:
        """All outlines, once the last frame has come: those within others after them, and by their first frames."""
        return sorted([*self._ended, *self._going], key=lambda track: (track.depth, track.first))

    def _largest(self, contours: list[Contour]) -> list[Contour]:
        if len(contours) <= _MOST_REGIONS:
            return contours
        self.left_out = max(self.left_out, len(contours) - _MOST_REGIONS)
        return sorted(contours, key=lambda contour: -area_of(contour.places))[:_MOST_REGIONS]

    def _ramp(self, matte: np.ndarray, contour: Contour) -> float:
        return ramp_width(matte, contour, self._level, self.step)

    def _begun(self, index: int, matte: np.ndarray, contours: list[Contour], place: int) -> Track:
        contour = contours[place]
        count = int(np.clip(round(contour.length / _SPACING), 16, _MOST_SAMPLES))
        along = np.arange(count) / count
        samples = on_contour(contour, along * len(contour.places))
        places, ramp = samples.places.astype(np.float32), self._ramp(matte, contour)
        return Track(self._level, _depth(contours, place), index, along, [places], [ramp], samples)


def _depth_within(matte: np.ndarray, level: float, size: tuple[int, ...]) -> np.ndarray:
    """float32 [h,w] at a smaller size: pixels of it to the next place below the level."""
    small = cv2.resize(matte, size[::-1], interpolation=cv2.INTER_AREA) if matte.shape != size else matte
    return cv2.distanceTransform((small > level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)


def _at(grid: np.ndarray, places: np.ndarray, along: np.ndarray) -> np.ndarray:
    if len(grid) == len(along):
        return places.astype(np.float64)
    extended = np.append(grid, grid[0] + 1.0)
    closed = np.concatenate([places, places[:1]])
    return np.stack([np.interp(along, extended, closed[:, axis]) for axis in (0, 1)], axis=1)


def _depth(contours: list[Contour], place: int) -> int:
    """How many contours are around one; odd for a hole."""
    at = contours[place].places[0]
    around = sum(
        cv2.pointPolygonTest(other.places.astype(np.float32), (float(at[0]), float(at[1])), False) > 0
        for other in (*contours[:place], *contours[place + 1 :])
    )
    # Those around it that are too small to count leave a gap.
    return around if (around % 2 == 1) is contours[place].is_hole else around + 1


def _pairs(
    tracks: list[Track], predicted: list[np.ndarray], contours: list[Contour], size: tuple[int, int]
) -> list[tuple[int, int]]:
    """(track, contour) of those that go on, outlines and holes apart."""
    scale = min(1.0, _LONGEST_SIDE / max(size))
    found = []
    for is_hole in (False, True):
        old = [place for place, track in enumerate(tracks) if track.is_hole is is_hole]
        new = [place for place, contour in enumerate(contours) if contour.is_hole is is_hole]
        if not old or not new:
            continue
        ones = _drawn([predicted[place] for place in old], size, scale)
        others = _drawn([contours[place].places for place in new], size, scale)
        shared = np.zeros((len(old) + 1, len(new) + 1))
        np.add.at(shared, (ones.ravel(), others.ravel()), 1.0)
        first, second = shared.sum(axis=1)[1:], shared.sum(axis=0)[1:]
        shared = shared[1:, 1:]
        for row, place in enumerate(old):
            column = int(shared[row].argmax())
            both = shared[row, column]
            if both < _ALIKE * (first[row] + second[column] - both) or int(shared[:, column].argmax()) != row:
                continue
            splits = np.delete(shared[row], column).max(initial=0.0) > _PART * first[row]
            merges = np.delete(shared[:, column], row).max(initial=0.0) > _PART * second[column]
            if both > 0.0 and not splits and not merges:
                found.append((place, new[column]))
    return found


def _drawn(polygons: list[np.ndarray], size: tuple[int, int], scale: float) -> np.ndarray:
    """int32 [h,w]: 1 and so on within the polygons, the smaller over the larger; 0 outside of them."""
    height, width = (max(1, round(side * scale)) for side in size)
    picture = np.zeros((height, width), np.int32)
    order = sorted(range(len(polygons)), key=lambda place: -area_of(polygons[place]))
    for place in order:
        corners = np.round((polygons[place] * scale - 0.5) * 16.0).astype(np.int32)
        cv2.fillPoly(picture, [corners], place + 1, shift=4)
    return picture
