"""In which order the samples of joined sources are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_KEPT = 8
"""Permutations held at once: around an epoch's end, batches of two epochs are prepared side by side."""


class SampleOrder:
    """An endless sequence of sample numbers: epoch after epoch, each a random permutation.

    In an epoch a source of n samples and weight w is drawn from round(w n) times. It goes through its own samples
    without replacement, on from where the last epoch left it, so that all of them are used equally often.

    Args:
        lengths: of the sources, samples; a sample's number counts through them one after the other.
        weights: of the sources, above 0; 1 is once an epoch.
        seed: of the permutations.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: tuple[int, ...]) -> None:
        self._lengths, self._seed = tuple(lengths), seed
        self._firsts = np.concatenate(([0], np.cumsum(lengths)))
        self._shares = [max(round(weight * length), 1) for weight, length in zip(weights, lengths)]
        self._ends = np.cumsum(self._shares)
        self._kept: dict[tuple[int, ...], np.ndarray] = {}

    def __len__(self) -> int:
        """Samples an epoch."""
        return int(self._ends[-1])

    def __getitem__(self, position: int) -> int:
        """The sample drawn at a position, counted from 0 over all epochs."""
        epoch, place = divmod(position, len(self))
        slot = int(self._permutation((0, epoch), len(self))[place])
        source = int(np.searchsorted(self._ends, slot, side="right"))
        share, length = self._shares[source], self._lengths[source]
        earlier = epoch * share + slot - (int(self._ends[source]) - share)
        round_, place = divmod(earlier, length)
        return int(self._firsts[source] + self._permutation((1, source, round_), length)[place])

    def _permutation(self, key: tuple[int, ...], length: int) -> np.ndarray:
        if key not in self._kept:
            while len(self._kept) >= _KEPT * len(self._lengths):
                del self._kept[next(iter(self._kept))]
            self._kept[key] = np.random.default_rng((*self._seed, *key)).permutation(length)
        return self._kept[key]
