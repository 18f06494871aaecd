"""What runs say of a difference between two variants, and how surely: a bootstrap over shots and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import numpy as np

from .results import Results

if TYPE_CHECKING:
    from .cell import Mark

Cut = Literal["half", "tuned"]
"""Of soft masks: at 0.5, or at the threshold that is best on the tuning shots."""
RESAMPLES = 10_000
LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Measure:
    """Which sentences count.

    Attributes:
        title: in tables.
        split: they are of.
        kind: that they name, or None for all.
        cut: of the soft masks.
    """

    title: str
    split: str
    kind: str | None
    cut: Cut


MEASURES = (
    Measure("J, seen", "seen", None, "half"),
    Measure("J, seen, tuned threshold", "seen", None, "tuned"),
    Measure("J, processes", "seen", "process", "half"),
    Measure("J, processes, tuned threshold", "seen", "process", "tuned"),
    Measure("J, unseen", "unseen", None, "half"),
    Measure("J, unseen, tuned threshold", "unseen", None, "tuned"),
)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and sentences, and the interval in which 95 of 100 means of resampled shots and seeds lie.

    Attributes:
        mean, low, high: of it.
        seeds, shots: that it is of.
    """

    mean: float
    low: float
    high: float
    seeds: int
    shots: int

    def verdict(self, sign: float) -> str:
        """Whether a difference of this sign is supported, contradicted, or undecided: the interval holds 0."""
        low, high = (self.low, self.high) if sign > 0 else (-self.high, -self.low)
        return "supported" if low > 0 else "contradicted" if high < 0 else "undecided"


def bootstrap(values: np.ndarray, shots: Sequence[str], resamples: int = RESAMPLES) -> Estimate:
    """The mean of values, with a percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13).

    Shots are drawn with replacement, each with all of its sentences, and so are seeds, independently of them: what both
    vary by shows, where there is more than one seed.

    Args:
        values: [seeds, sentences]; for a difference, those of the pairs.
        shots: of each sentence.
        resamples: how many.

    Raises:
        ValueError: no seed, or no sentence.
    """
    if values.size == 0:
        raise ValueError("There is nothing to resample: no seed, or no sentence.")
    names, members = np.unique(np.asarray(shots), return_inverse=True)
    sums = values @ np.eye(len(names))[members]
    counts = np.bincount(members, minlength=len(names))
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    seeds = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=resamples) / len(values)
    means = np.einsum("rs,rs->r", seeds, drawn @ sums.T) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values), len(names))


def j_of(results: Results, mark: Mark, measure: Measure) -> float:
    """A measure of one run at a mark."""
    values = getattr(mark, measure.cut)[measure.split]
    questions = results.questions[measure.split]
    return fmean(value for value, asked in zip(values, questions) if measure.kind in (None, asked.kind)) / 1000


def estimate(results: Results, variant: str, mark: float, measure: Measure) -> Estimate | None:
    """A measure of a variant at a mark, over all of its seeds there; None where there is none."""
    by_seed, shots = _values(results, variant, mark, measure)
    return bootstrap(np.stack(list(by_seed.values())), shots) if by_seed else None


def difference(results: Results, first: str, second: str, mark: float, measure: Measure) -> Estimate | None:
    """The first variant less the second at a mark, sentence by sentence, over the seeds that both have there."""
    own, shots = _values(results, first, mark, measure)
    other, _ = _values(results, second, mark, measure)
    seeds = sorted(own.keys() & other.keys())
    return bootstrap(np.stack([own[seed] - other[seed] for seed in seeds]), shots) if seeds else None


def last_common_mark(results: Results, first: str, second: str) -> float | None:
    """The latest mark at which most of the seeds that two variants share have both; None where they share none."""
    seeds = {
        mark.mark: len(results.marks(first, mark.mark).keys() & results.marks(second, mark.mark).keys())
        for record in results.of(first)
        for mark in record.marks
    }
    most = max(seeds.values(), default=0)
    return max((mark for mark, count in seeds.items() if count == most), default=None) if most else None


def _values(results: Results, variant: str, mark: float, measure: Measure) -> tuple[dict[int, np.ndarray], list[str]]:
    questions = results.questions[measure.split]
    chosen = [i for i, question in enumerate(questions) if measure.kind in (None, question.kind)]
    found = {
        seed: np.array(getattr(each, measure.cut)[measure.split])[chosen] / 1000
        for seed, each in results.marks(variant, mark).items()
    }
    return found, [questions[i].shot for i in chosen]
