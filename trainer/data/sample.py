"""What a dataset gives, whichever layout it is stored in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


class BrokenSample(ValueError):
    """A sample that must not be trained on; its message names the file, what was expected, and what was found."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path


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


class Source(Protocol):
    """A dataset on disk; its samples are expressions, counted from 0.

    Attributes:
        name: for logs and messages.
    """

    name: str

    def __len__(self) -> int:
        """How many expressions it holds."""

    def text(self, index: int) -> str:
        """The sentence of a sample, without reading its pictures."""

    def is_fixed(self, frames: int) -> bool:
        """Whether `read` gives the same clip whatever `rng` draws, so that its latents can be kept."""

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        """A clip of `frames` frames, everything random about it drawn from `rng`.

        Raises:
            BrokenSample: a file is missing or does not hold what it should.
        """
