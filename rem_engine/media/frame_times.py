"""When the frames of a video are shown, by their time stamps."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from .timecode import exact_rate


@dataclass(frozen=True)
class FrameTimes:
    """When each frame of a shot is shown, counted from the first: eight bytes a frame.

    `times[5]` are the seconds, exact, at which frame 5 is shown.

    Attributes:
        tick: seconds of a tick.
        ticks: of each frame, rising from 0, and then of the moment at which the last one ends.
    """

    tick: Fraction
    ticks: array[int]

    def __len__(self) -> int:
        return len(self.ticks) - 1

    def __getitem__(self, index: int) -> Fraction:
        return self.ticks[range(len(self))[index]] * self.tick

    def duration(self, index: int) -> Fraction:
        """How long a frame is shown, seconds."""
        return (self.ticks[index + 1] - self.ticks[index]) * self.tick

    @property
    def rates(self) -> tuple[Fraction, Fraction]:
        """The lowest and the highest rate at which two frames follow each other, frames per second."""
        steps = np.diff(np.array(self.ticks))
        return 1 / (int(steps.max()) * self.tick), 1 / (int(steps.min()) * self.tick)

    def of_frames(self, indices: Sequence[int]) -> FrameTimes:
        """Those of some frames alone, counted from the first of them: each stays until the next one comes."""
        first, last = indices[0], indices[-1]
        ticks = [*(self.ticks[index] for index in indices), self.ticks[last + 1]]
        return FrameTimes(self.tick, array("q", (tick - self.ticks[first] for tick in ticks)))


@dataclass(frozen=True)
class Timing:
    """What the time stamps of a video come to.

    Attributes:
        fps: frames per second; of a variable rate that at which most of it runs; None where nothing says it.
        times: of frames at a variable rate; None where the rate is constant.
        mended: frames whose stamp was missing or did not rise.
    """

    fps: Fraction | None
    times: FrameTimes | None = None
    mended: int = 0


def read_timing(
    stamps: Sequence[int | None], last_duration: int, tick: Fraction, stated: Sequence[Fraction | None]
) -> Timing:
    """Find the rate of frames, or the time of each where no rate fits.

    A rate fits where every frame stands where it would put it, to a tick: containers round to their clock. Stamps that
    are missing or do not rise are set evenly between those that do.

    Args:
        stamps: of the frames in the order in which they are shown, in ticks; None where there is none.
        last_duration: of the last frame, in ticks; 0 where it is not known.
        tick: in seconds.
        stated: rates that the file states or that were guessed, the most trusted first.
    """
    known = [rate for rate in stated if rate]
    places = [index for index, stamp in enumerate(stamps) if stamp is not None]
    if len(places) < 2 or 2 * len(places) < len(stamps):
        return Timing(next(iter(known), None))
    # Sorted: an AVI gives stamps of B-frames in the order of decoding.
    rate = _rate_of(places, sorted(stamp for stamp in stamps if stamp is not None), tick, known)
    if rate is not None:
        return Timing(rate)
    kept = _longest_rise(stamps)
    mended = len(stamps) - len(kept)
    if len(kept) < 2 or 2 * len(kept) < len(stamps):
        return Timing(next(iter(known), None), None, mended)
    filled, parts = _filled(stamps, kept)
    tick /= parts
    rate = _rate_of(range(len(filled)), filled, tick, known)
    if rate is not None:
        return Timing(rate, None, mended)
    last = last_duration * parts or filled[-1] - filled[-2]
    times = FrameTimes(tick, array("q", (stamp - filled[0] for stamp in (*filled, filled[-1] + last))))
    return Timing(_usual_rate(times), times, mended)


def _rate_of(
    places: Sequence[int], stamps: Sequence[int], tick: Fraction, stated: Sequence[Fraction]
) -> Fraction | None:
    """The constant rate at which frames of these numbers have these stamps."""
    seconds = (np.array(stamps) - stamps[0]) * float(tick)
    if seconds[-1] <= 0.0:
        return None
    frames = np.array(places) - places[0]
    measured = Fraction(int(frames[-1])) / ((stamps[-1] - stamps[0]) * tick)
    for rate in (candidate for one in (*stated, measured) for candidate in (exact_rate(one), one)):
        # Where a tick is as long as a frame, one that was left out would hide in it.
        allowed = min(1.001 * float(tick), 0.25 / float(rate)) if rate else 0.0
        if rate and np.abs(seconds - frames / float(rate)).max() <= allowed:
            return rate
    return None


def _longest_rise(stamps: Sequence[int | None]) -> list[int]:
    """The most frames whose stamps rise (patience sorting)."""
    ends: list[int] = []  # the lowest stamp that ends a rise of each length, and the frame that has it
    frames: list[int] = []
    before: dict[int, int] = {}
    for index, stamp in enumerate(stamps):
        if stamp is None:
            continue
        length = bisect_left(ends, stamp)
        if ends[length : length + 1] == [stamp]:  # of two with the same, the first keeps it
            continue
        ends[length : length + 1], frames[length : length + 1] = [stamp], [index]
        before[index] = frames[length - 1] if length else -1
    rise, index = [], frames[-1]
    while index >= 0:
        rise.append(index)
        index = before[index]
    return rise[::-1]


def _filled(stamps: Sequence[int | None], kept: Sequence[int]) -> tuple[list[int], int]:
    """The stamps with even steps between those that are kept, and into how many parts ticks were cut for that."""
    known = [stamp for index in kept if (stamp := stamps[index]) is not None]
    gaps = [right - left for left, right in pairwise(kept)]
    parts = max(gaps)
    known = [stamp * parts for stamp in known]
    steps = sorted((right - left) // gap for (left, right), gap in zip(pairwise(known), gaps, strict=True))
    usual = steps[(len(steps) - 1) // 2]
    filled = [known[0] - usual * count for count in range(kept[0], 0, -1)]
    for (left, right), gap in zip(pairwise(known), gaps, strict=True):
        filled += [left + (right - left) * step // gap for step in range(gap)]
    filled += [known[-1] + usual * count for count in range(len(stamps) - kept[-1])]
    return filled, parts


def _usual_rate(times: FrameTimes) -> Fraction:
    """The rate that a file for a constant one is to state."""
    stamps = np.array(times.ticks[:-1])
    frames = np.arange(len(stamps))
    if np.abs(stamps - stamps[-1] * frames / frames[-1]).max() < 0.25 * stamps[-1] / frames[-1]:
        # They only tremble: about the usual rate that parts from theirs by less than half a frame at the end.
        mean = Fraction(int(frames[-1])) / times[-1]
        usual = min(
            round(mean) * Fraction(1), Fraction(round(mean * 1.001) * 1000, 1001), key=lambda one: abs(one - mean)
        )
        return usual if abs(usual / mean - 1) * int(frames[-1]) < Fraction(1, 2) else exact_rate(mean)
    steps = np.diff(stamps)
    median = np.sort(steps)[(len(steps) - 1) // 2]
    near = steps[np.abs(steps - median) <= 1]
    return exact_rate(len(near) / (int(near.sum()) * times.tick))
