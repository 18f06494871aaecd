"""Animated WebP and PNG as shots, through Pillow, which lays their frames over each other as their headers ask."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ..input_files import told_as_damage
from ..memory import check_fits
from .colour import ColourTags
from .frame_times import read_timing
from .numbering import Numbering, counted
from .plate_colour import PlateColour
from .png_check import SIGNATURE, chunks_before_pixels
from .shot import Shot, ShotInfo, check_frame_size
from .stated_space import Stated

_ADVICE = "the file is truncated or damaged, export it again."
_BYTES = 20  # of memory a pixel takes at most: two canvases of four channels, the frame, and what is compressed
_MILLISECOND = Fraction(1, 1000)


def is_animation(file: Path) -> bool:
    """Whether a file is a WebP or a PNG of several frames, by its header (WebP's VP8X flags, PNG's chunk acTL)."""
    with open(file, "rb") as stream:
        start = stream.read(21)
        if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X":
            return bool(start[20:] and start[20] & 2)
        if not start.startswith(SIGNATURE):
            return False
        chunks = chunks_before_pixels(stream)
        return next((int.from_bytes(stream.read(4), "big") > 1 for kind, _ in chunks if kind == b"acTL"), False)


_Animation = TypeVar("_Animation", bound="AnimationShot")


class AnimationShot(Shot):
    """Frames of an animation, decoded forward, uint8; alpha is dropped. Opening it decodes every frame once."""

    _mode = "RGB"

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a damaged file, one that is too small, or one that memory does not hold."""
        super().__init__()
        self.name, self.files = path.stem, (path,)
        self.colour = ColourTags()
        self._path = path
        self._image: Image.Image | None = None
        opened = self._opened()
        self.width, self.height = opened.size
        check_frame_size(path.name, self.height, self.width)
        check_fits(self.width * self.height * _BYTES, f"The {self.width}x{self.height} pixels of {path.name}")
        durations = []
        with told_as_damage(f"{path.name} cannot be decoded to its end: {_ADVICE}"):
            for index in range(opened.n_frames):  # type: ignore[attr-defined]
                opened.seek(index)
                opened.load()
                durations.append(round(opened.info.get("duration", 0)))
        self._places: Sequence[int] = range(len(durations))
        self._numbering = counted(self.name, len(durations))
        stamps = list(accumulate(durations[:-1], initial=0))
        timing = read_timing(stamps, durations[-1], _MILLISECOND, ())
        self.fps, self._times = timing.fps, timing.times

    @property
    def frame_count(self) -> int:
        return len(self._places)

    @property
    def numbering(self) -> Numbering:
        return self._numbering

    @property
    def stated_space(self) -> Stated:
        return Stated(PlateColour().space, "an animation's display values")

    @property
    def info(self) -> ShotInfo:
        return replace(super().info, times=self._times)

    def choose(self, frames: Sequence[int]) -> None:
        """Be a shot of some frames alone, by their places in the file, rising; once, and before any is read."""
        self._places = tuple(frames)
        self._numbering = self._numbering.only(frames)
        if self._times is not None:
            self._times = self._times.of_frames(frames)

    def reopen(self: _Animation) -> _Animation:
        again = copy.copy(self)
        again.close()
        return again

    def close(self) -> None:
        super().close()
        self._image = None

    def _frame(self, index: int) -> np.ndarray:
        place = self._places[index]
        if self._image is None:
            self._image = self._opened()
        with told_as_damage(f"{self._path.name} cannot be decoded at frame {place}: {_ADVICE}"):
            self._image.seek(place)
            return np.asarray(self._image.convert(self._mode))

    def _opened(self) -> Image.Image:
        with told_as_damage(f"{self._path.name} cannot be read as an animation: {_ADVICE}"):
            return Image.open(self._path)
