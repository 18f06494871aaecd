"""A shot's frames on their way to the model: read once, resized, and searched for cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..finite import all_finite
from ..frames import FrameSource, View, ViewedFrames, not_finite
from .cuts import LOOKAHEAD, CutFinder
from .resize import frames_to_model
from .windows import Window

# Full-size pixels read or handed on at once: two 1080p frames, or one larger.
_GROUP_PIXELS = 2**22


class ModelFrames:
    """Frames of a shot at the model's size; those that a later window needs are kept, not read twice.

    Where cuts are looked for, frames are read up to one window ahead of the model.

    Args:
        source: the shot.
        size: (height, width) the model sees.
        eight_bit: see `frames_to_model`.
        cuts: "auto" to look for hard cuts, or the frames at which takes begin.
        takes: further frames at which takes begin.
        keep_from: no window will start before this frame; earlier frames are only looked at for cuts.
    """

    def __init__(
        self,
        source: FrameSource,
        size: tuple[int, int],
        *,
        eight_bit: bool,
        cuts: Literal["auto"] | Sequence[int],
        takes: Sequence[int] = (),
        keep_from: int = 0,
    ) -> None:
        self._source, self._size, self._eight_bit, self._keep_from = source, size, eight_bit, keep_from
        self._finder = CutFinder() if isinstance(cuts, str) else None
        self._given = {*takes} if isinstance(cuts, str) else {*cuts, *takes}
        self._next = 0
        self._held: dict[int, Tensor] = {}

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames at which a take begins, as far as the shot has been read; never frame 0."""
        return tuple(sorted(self._given.union(self._finder.cuts if self._finder else ())))

    def end_of_take(self, start: int, limit: int) -> int:
        """Where the take that starts at `start` ends, or `limit` where it goes on that far."""
        if self._finder:
            self._read_to(min(limit + LOOKAHEAD, self._source.frame_count))
        return next((cut for cut in self.cuts if start < cut < limit), limit)

    def window(self, window: Window) -> Tensor:
        """[length,3,h,w] in -1..1; a window longer than its take repeats the last frame."""
        self.skip(window)
        self._read_to(window.stop)
        last = window.stop - 1
        return torch.stack([self._held[min(window.start + i, last)] for i in range(window.length)])

    def skip(self, window: Window) -> None:
        """Let go of frames before a window, which is not asked for itself."""
        self._held = {index: frame for index, frame in self._held.items() if index >= window.start}
        if self._finder is None:
            self._next = max(self._next, window.start)

    def _read_to(self, stop: int) -> None:
        for begin, end in groups(self._next, stop, (self._source.height, self._source.width)):
            frames, view = self._read(begin, end)
            if len(frames) != end - begin:
                raise ValueError(
                    f"The shot ended after {begin + len(frames)} frames; {self._source.frame_count} were expected: "
                    "its file may be cut short."
                )
            if frames.dtype != np.uint8 and not all_finite(frames):
                raise not_finite(frames, begin)
            if self._finder:
                for frame in frames:
                    self._finder.add(frame, view)
            unneeded = min(max(self._keep_from - begin, 0), len(frames))
            if unneeded < len(frames):
                resized = frames_to_model(frames[unneeded:], self._size, self._eight_bit, view)
                self._held.update(enumerate(resized, start=begin + unneeded))
            self._next = end
        if self._finder and self._next == self._source.frame_count:
            self._finder.finish()

    def _read(self, begin: int, end: int) -> tuple[np.ndarray, View | None]:
        """Frames, and what brings them to display values once they are smaller."""
        # Rounding to 8 bits as the authors do is that of display values.
        if isinstance(self._source, ViewedFrames) and not self._eight_bit:
            return self._source.read_unviewed(begin, end), self._source.view
        return self._source.read(begin, end), None


def groups(start: int, stop: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Cut frames `start`..`stop` of (height, width) into ranges small enough to hold at full size."""
    step = max(1, _GROUP_PIXELS // (size[0] * size[1]))
    for begin in range(start, stop, step):
        yield begin, min(begin + step, stop)
