"""What a dataset gives, whichever layout it is stored in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np


class BrokenSample(ValueError):
    """A sample that must not be trained on; its message names the file, what was expected, and what was found.

    Attributes:
        path: the file.
        what: the message without the file.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what

    def __reduce__(self) -> tuple[type[BrokenSample], tuple[Path, str]]:
        # an exception is rebuilt from its message alone, which is not what this one is made of
        return BrokenSample, (self.path, self.what)


@dataclass(frozen=True)
class Sample:
    """A clip, a sentence, and what the sentence names.

    Attributes:
        frames: uint8 [T,H,W,3], RGB.
        masks: bool [T,H,W].
        text: the sentence as it is encoded.
    """

    frames: np.ndarray
    masks: np.ndarray
    text: str


@dataclass(frozen=True)
class Measured:
    """What was found of a sample that was read through.

    Attributes:
        clip: the video or image, by which samples of one clip are known.
        frames: in it.
        size: (height, width) of its pictures, pixels.
        areas: of the sample's mask in each annotated frame, shares of the picture, 0..1.
    """

    clip: str
    frames: int
    size: tuple[int, ...]
    areas: tuple[float, ...]


_Read = TypeVar("_Read", covariant=True)


class Source(Protocol[_Read]):
    """A dataset on disk; its samples are expressions, counted from 0, and read as a `Sample` or in encoded form.

    A source can be pickled (the loader's workers get a copy), and reading a sample leaves no trace in it.
    """

    @property
    def name(self) -> str:
        """For logs and messages."""

    def __len__(self) -> int:
        """How many expressions it holds."""

    def text(self, index: int) -> str:
        """The sentence of a sample, without reading its pictures."""

    def files(self, index: int) -> list[Path]:
        """Every file a sample may be read from, whatever `rng` draws; some of them may not exist."""

    def is_fixed(self, frames: int) -> bool:
        """Whether `read` gives the same clip whatever `rng` draws, so that its latents can be kept."""

    def read(self, index: int, frames: int, rng: np.random.Generator) -> _Read:
        """A clip of `frames` frames, everything random about it drawn from `rng`.

        Raises:
            BrokenSample: a file is missing or does not hold what it should.
        """


class Dataset(Source[Sample], Protocol):
    """A source that reads files itself, and can say what is wrong with them."""

    def check(self, index: int) -> Measured:
        """Read everything a sample may be made of, one picture after the other, and say what there is.

        Raises:
            BrokenSample: a file is missing or does not hold what it should.
        """


class Wrapping:
    """What a source of another one's samples, changed or kept in another form, has from that one: all but `read`.

    Args:
        source: the other.
    """

    def __init__(self, source: Source[Sample]) -> None:
        self.name = source.name
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def text(self, index: int) -> str:
        return self._source.text(index)

    def files(self, index: int) -> list[Path]:
        return self._source.files(index)

    def is_fixed(self, frames: int) -> bool:
        return self._source.is_fixed(frames)
