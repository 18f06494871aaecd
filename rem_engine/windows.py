"""How a shot is cut into windows of frames, and how their masks are joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


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

        Linear, and never quite 0 or 1 within the fade: both windows say something about each frame they share.
        """
        if frame < self.keep:
            return 0.0
        return min(1.0, (frame - self.keep + 1) / (self.fade + 1))


def paper_windows(
    frame_count: int, lengths: Sequence[int], pad_frame_count: Callable[[int], int], longest: int | None = None
) -> list[Window]:
    """Windows of the authors' evaluation (REM's released code): no overlap, no blending.

    The longest length that fits the shot is used throughout; windows start at 0, L, 2L, ...; a remainder of r frames
    is taken from a window over the *last* L frames, of which the last r are kept. A shot shorter than the shortest
    length, on which the authors' code fails, becomes one window with its last frame repeated.

    Args:
        frame_count: frames in the shot, at least 1.
        lengths: window lengths, longest first.
        pad_frame_count: smallest length >= its argument that the VAE takes.
        longest: tried before the shorter ones of `lengths`; None for all of `lengths`.
    """
    if longest is not None:
        lengths = [longest, *(length for length in lengths if length < longest)]
    length = next((length for length in lengths if length <= frame_count), None)
    if length is None:
        return [Window(0, frame_count, pad_frame_count(frame_count), keep=0)]
    whole = frame_count - frame_count % length
    windows = [Window(start, start + length, length, keep=start) for start in range(0, whole, length)]
    if whole < frame_count:
        windows.append(Window(frame_count - length, frame_count, length, keep=whole))
    return windows


def shot_windows(frame_count: int, length: int, overlap: int, pad_frame_count: Callable[[int], int]) -> list[Window]:
    """Overlapping windows whose masks cross-fade, so that a matte does not jump where two of them meet.

    Windows start every `length - overlap` frames; the last one ends with the shot, and so sees more of the frames of
    its neighbour, of which it still only takes over the last `overlap`. At most two windows share a frame.

    Args:
        frame_count: frames in the shot, at least 1.
        length: frames in a window, one that the VAE takes.
        overlap: frames cross-faded between neighbours, at most half of `length`.
        pad_frame_count: smallest length >= its argument that the VAE takes; for a shot shorter than one window.
    """
    if frame_count <= length:
        return [Window(0, frame_count, pad_frame_count(frame_count), keep=0)]
    windows = [Window(0, length, length, keep=0)]
    while windows[-1].stop < frame_count:
        stop = min(windows[-1].stop + length - overlap, frame_count)
        windows.append(Window(stop - length, stop, length, keep=windows[-1].stop - overlap, fade=overlap))
    return windows
