"""Sources made of other sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from .resize import at_size
from .sample import Sample, Source, Wrapping


class Subset:
    """A random part of a source, the same in every run.

    Args:
        source: what is chosen from.
        count: samples to choose; all of them where the source has no more.
        seed: of the choice.

    Attributes:
        chosen: numbers of its samples in the source.
    """

    def __init__(self, source: Source[Sample], count: int, seed: int = 0) -> None:
        self.name = source.name
        self._source = source
        self.chosen = np.sort(np.random.default_rng(seed).permutation(len(source))[:count])

    def __len__(self) -> int:
        return len(self.chosen)

    def text(self, index: int) -> str:
        return self._source.text(int(self.chosen[index]))

    def files(self, index: int) -> list[Path]:
        return self._source.files(int(self.chosen[index]))

    def is_fixed(self, frames: int) -> bool:
        return self._source.is_fixed(frames)

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        return self._source.read(int(self.chosen[index]), frames, rng)


class Resized(Wrapping):
    """A source whose samples are read at the model's size (see `at_size`); what leaves a loader's worker is then small.

    Args:
        source: what is read.
        size: (height, width), pixels; the aspect is not kept.
    """

    def __init__(self, source: Source[Sample], size: tuple[int, int]) -> None:
        super().__init__(source)
        self._size = size

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        return at_size(self._source.read(index, frames, rng), self._size)


_Read = TypeVar("_Read", covariant=True)


class Joined(Generic[_Read]):
    """Several sources one after the other.

    Attributes:
        parts: the sources.
        weights: how often a sample of each is drawn, relative to once an epoch (see `SampleOrder`).
    """

    def __init__(self, parts: Sequence[Source[_Read]], weights: Sequence[float]) -> None:
        self.name = " + ".join(part.name for part in parts)
        self.parts, self.weights = tuple(parts), tuple(weights)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int) -> tuple[int, int]:
        """(which part, index in it) of a sample."""
        part = int(np.searchsorted(self._ends, index, side="right"))
        return part, index - (int(self._ends[part - 1]) if part else 0)

    def text(self, index: int) -> str:
        part, inner = self.locate(index)
        return self.parts[part].text(inner)

    def files(self, index: int) -> list[Path]:
        part, inner = self.locate(index)
        return self.parts[part].files(inner)

    def is_fixed(self, frames: int) -> bool:
        return all(part.is_fixed(frames) for part in self.parts)

    def read(self, index: int, frames: int, rng: np.random.Generator) -> _Read:
        part, inner = self.locate(index)
        return self.parts[part].read(inner, frames, rng)
