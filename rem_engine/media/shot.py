"""What a shot on disk is, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from types import TracebackType

import numpy as np


class Shot(ABC):
    """Frames on disk, read in order and in ranges, so that a shot need never be in memory whole.

    A Shot is a `FrameSource` of the segmenter and a context manager.

    Attributes:
        name: file name without its suffix, or the folder's name.
        height, width: size of every frame as displayed (after rotation), pixels.
        fps: frames per second, None for stills.
    """

    name: str
    height: int
    width: int
    fps: Fraction | None

    def __init__(self) -> None:
        self._recent: list[np.ndarray] = []
        self._recent_start = 0

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """Frames in the shot, exact.

        Raises:
            ValueError: a damaged or truncated file.
        """

    @abstractmethod
    def _frame(self, index: int) -> np.ndarray:
        """Frame `index` as [H,W,3], uint8 or float32; calls with rising indices are cheap."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `start`..`stop` (half-open).

        Meant for ranges that move forward: frames that two neighbouring ranges share are not decoded again. Going
        back before the last range works too, but may start decoding anew from the first frame.

        Returns:
            [stop-start,H,W,3] RGB: uint8 0..255, or display-referred float32 0..1 where the file holds more than
            8 bits.

        Raises:
            ValueError: an empty range or one outside the shot, or a frame that cannot be decoded.
        """
        if not 0 <= start < stop <= self.frame_count:
            raise ValueError(
                f"{self.name} has frames 0 to {self.frame_count - 1}; the range {start}..{stop} cannot be read."
            )
        held = {self._recent_start + offset: frame for offset, frame in enumerate(self._recent)}
        frames = [held[index] if index in held else self._frame(index) for index in range(start, stop)]
        self._recent, self._recent_start = frames, start
        if any(frame.dtype != np.uint8 for frame in frames):
            frames = [frame.astype(np.float32) / 255.0 if frame.dtype == np.uint8 else frame for frame in frames]
        return np.stack(frames)

    def close(self) -> None:
        """Let go of open files and kept frames."""
        self._recent = []

    def __enter__(self) -> Shot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_frame_size(name: str, height: int, width: int) -> None:
    """Raise ValueError for frames too small for the models to see."""
    from ..frames import SMALLEST_SIDE  # here, since it brings torch

    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"{name} is {width}x{height} pixels, but at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed: "
            "give a larger version of it."
        )
