"""How a shot is cut into windows of frames, and how their masks are joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

EndOfTake = Callable[[int, int], int]
"""end_of_take(start, limit): where the take that starts at `start` ends, or `limit` where it goes on that far."""


@dataclass(frozen=True)
class Window:
    """Frames `start`..`stop` of a shot that go through the model together.

    Attributes:
        start, stop: the frames read, half-open.
        length: frames given to the VAE; the last one is repeated `length - (stop - start)` times, so that
            every frame keeps its place in time.
        keep: the first frame whose mask this window gives; masks of `start`..`keep` are dropped (they are context).
        fade: how many frames from `keep` on are cross-faded with the window before.
    """

    start: int
    stop: int
    length: int
    keep: int
    fade: int = 0

    def weight(self, frame: int) -> float:
        """Share of this window in the mask of `frame` at its fade-in, 0..1; the window before has the rest.

        Perlin's smootherstep (2002), which starts and ends gently; never quite 0 or 1 within the fade, since both
        windows say something about each frame they share.
        """
        if frame < self.keep:
            return 0.0
        place = min(1.0, (frame - self.keep + 1) / (self.fade + 1))
        return place**3 * (10.0 - 15.0 * place + 6.0 * place**2)


def paper_windows(
    frame_count: int,
    lengths: Sequence[int],
    pad_frame_count: Callable[[int], int],
    longest: int | None = None,
    tail: Literal["whole", "short"] = "whole",
) -> list[Window]:
    """Windows of the authors' evaluation (REM's released code): no overlap, no blending.

    The longest length that fits the shot is used throughout; windows start at 0, L, 2L, ...; a remainder of r frames
    is taken from a window over the *last* L frames, of which the last r are kept. A shot shorter than the shortest
    length, on which the authors' code fails, becomes one window with its last frame repeated.

    With a short tail, as on ModelScope, windows of the longest length are followed by one of the r frames left.

    Args:
        frame_count: frames in the shot, at least 1.
        lengths: window lengths, longest first.
        pad_frame_count: smallest length >= its argument that the VAE takes.
        longest: tried before the shorter ones of `lengths`; None for all of `lengths`.
        tail: see above.
    """
    if tail == "short":
        length = longest or lengths[0]
        spans = [(start, min(start + length, frame_count)) for start in range(0, frame_count, length)]
        return [Window(start, stop, pad_frame_count(stop - start), keep=start) for start, stop in spans]
    if longest is not None:
        lengths = [longest, *(length for length in lengths if length < longest)]
    fitting = [length for length in lengths if length <= frame_count]
    if not fitting:
        return [Window(0, frame_count, pad_frame_count(frame_count), keep=0)]
    length = fitting[0]
    whole = frame_count - frame_count % length
    windows = [Window(start, start + length, length, keep=start) for start in range(0, whole, length)]
    if whole < frame_count:
        windows.append(Window(frame_count - length, frame_count, length, keep=whole))
    return windows


def shot_windows(
    frame_count: int,
    length: int,
    overlap: int,
    pad_frame_count: Callable[[int], int],
    end_of_take: EndOfTake | None = None,
) -> Iterator[Window]:
    """Overlapping windows whose masks cross-fade, so that a matte does not jump where two of them meet.

    Windows start every `length - overlap` frames; the last one of a take ends with it, and so sees more of the frames
    of its neighbour, of which it still only takes over the last `overlap`. The first of these is context: a window's
    first frame, which the VAE codes alone, differs most from its neighbours. At most two windows share a frame, and
    no window sees two takes: a take shorter than `length` is one window with its last frame repeated.

    Args:
        frame_count: frames in the shot, at least 1.
        length: frames in a window, one that the VAE takes.
        overlap: frames that neighbours share, at most half of `length`; all but the first are cross-faded.
        pad_frame_count: smallest length >= its argument that the VAE takes.
        end_of_take: asked as windows are taken from the iterator, for no more than the next one needs; None for a shot
            of one take.
    """
    end_of_take = end_of_take or (lambda start, limit: limit)
    context = min(overlap, 1)
    start = 0
    while start < frame_count:
        stop = end_of_take(start, min(start + length, frame_count))
        yield Window(start, stop, pad_frame_count(stop - start), keep=start)
        while stop - start >= length:
            before, stop = stop, end_of_take(start, min(stop + length - overlap, frame_count))
            if stop == before:
                break
            yield Window(stop - length, stop, length, keep=before - overlap + context, fade=overlap - context)
        start = stop
