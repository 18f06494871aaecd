"""A cell of an ablation: one variant with one seed, trained along the marks and scored at each."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rem_engine.whole_files import written_whole

from ..model.trained import load_trained
from ..run.records import read_record
from ..synth.score import THRESHOLDS
from .plan import SCORED, Ablation
from .questions import Split, best_threshold
from .sweep import read_sweep, train_to

if TYPE_CHECKING:
    from ..run.checkpoint import TrainingProgress

_log = logging.getLogger(__name__)

RECORD_FILE = "record.json"
HALF = THRESHOLDS.index(0.5)
PLATEAU = 0.02
"""A run whose J on the tuning shots rises by less within four times the training, has converged."""
_LEAST_MARKS = 4


@dataclass(frozen=True)
class Mark:
    """What a run was like after some training.

    Attributes:
        mark: processor seconds that it was to be trained for.
        step, processor_seconds, seconds: that it had been; the last by the clock.
        threshold: of `THRESHOLDS`, the one that gives the tuning shots the highest J.
        tuning: J of the tuning shots there.
        half: by split of `SCORED`, J of each question with soft masks cut at 0.5, in thousandths.
        tuned: the same, cut at `threshold`.
    """

    mark: float
    step: int
    processor_seconds: float
    seconds: float
    threshold: float
    tuning: float
    half: dict[str, list[int]]
    tuned: dict[str, list[int]]


@dataclass(frozen=True)
class Record:
    """What is known of a cell: who it is, its learning rate, and its marks so far, ascending."""

    variant: str
    seed: int
    rate: float
    marks: list[Mark] = field(default_factory=list)

    @property
    def converged(self) -> bool:
        """Whether the last two doublings of training together gained less than `PLATEAU` on the tuning shots."""
        tuning = [mark.tuning for mark in self.marks]
        return len(tuning) >= _LEAST_MARKS and tuning[-1] - tuning[-3] < PLATEAU


@dataclass(frozen=True)
class Cell:
    """One variant with one seed."""

    ablation: Ablation
    variant: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.ablation.out / self.variant / f"seed{self.seed}"

    @property
    def title(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    def record(self) -> Record | None:
        """What is known of it, or None where nothing is.

        Raises:
            ValueError: it is damaged.
        """
        path = self.folder / RECORD_FILE
        return read_record(path, Record, "remove its folder, and it is run anew") if path.is_file() else None

    def is_done(self) -> bool:
        """Whether it has all marks of the ablation, or has converged before."""
        record = self.record()
        return record is not None and (len(record.marks) >= len(self.ablation.marks) or record.converged)

    def run(self) -> None:
        """Go on with it to its end; what a mark was scored as is kept."""
        sweep = read_sweep(self.ablation, self.variant)
        record = self.record() or Record(self.variant, self.seed, sweep.rate)
        splits: dict[str, Split] | None = None
        while len(record.marks) < len(self.ablation.marks) and not record.converged:
            mark = self.ablation.marks[len(record.marks)]
            steps = max(1, round(mark / sweep.seconds_a_step))
            settings = self.ablation.settings(self.variant, self.seed, record.rate, steps)
            progress = train_to(self.ablation, settings, self.folder)
            trainable, settings = load_trained(self.folder, torch.device("cpu"))
            if splits is None:
                splits = {name: Split(self.ablation, name, trainable, settings) for name in ("tuning", *SCORED)}
            similarities = {name: split.similarities(trainable, settings) for name, split in splits.items()}
            record = replace(record, marks=[*record.marks, _mark(mark, progress, similarities)])
            with written_whole(self.folder / RECORD_FILE) as path:
                path.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
            _log.info("%s: J %.3f on the tuning shots after %.0f s", self.title, record.marks[-1].tuning, mark)


def _mark(mark: float, progress: TrainingProgress, similarities: dict[str, np.ndarray]) -> Mark:
    best, tuning = best_threshold(similarities["tuning"])
    half, tuned = (
        {name: np.rint(similarities[name][:, at] * 1000).astype(int).tolist() for name in SCORED} for at in (HALF, best)
    )
    processor, seconds = round(progress.processor_seconds, 2), round(progress.seconds, 2)
    return Mark(mark, progress.step, processor, seconds, THRESHOLDS[best], round(tuning, 4), half, tuned)
