"""A learning rate for each variant: some are tried for a short while, and the best on the tuning shots is taken."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from rem_engine.whole_files import written_whole

from ..model.trained import load_trained
from ..run.checkpoint import TrainingProgress, read_progress
from ..run.records import read_record
from ..run.run_folder import START_FILE, read_settings
from ..run.train import TrainingRun, train
from ..settings import TrainSettings
from .plan import Ablation
from .questions import Split

SWEEP_SEED = 0
"""Of runs that rates are tried in; none of those that are reported has it."""
_PACE_STEPS = 6
_ADVICE = "remove it, and the rate is tried anew"


@dataclass(frozen=True)
class Tried:
    """A learning rate, after `steps` that took so many processor seconds.

    The loss is that on the tuning shots, by the variant's objective: it tells rates apart long before masks pass any
    threshold.
    """

    rate: float
    steps: int
    processor_seconds: float
    loss: float


@dataclass(frozen=True)
class Sweep:
    """All rates of a variant, as tried."""

    variant: str
    tried: list[Tried]

    @property
    def rate(self) -> float:
        """The best."""
        return min(self.tried, key=lambda each: each.loss).rate

    @property
    def seconds_a_step(self) -> float:
        """Processor seconds, over all of them."""
        return sum(each.processor_seconds for each in self.tried) / sum(each.steps for each in self.tried)


def train_to(ablation: Ablation, settings: TrainSettings, folder: Path) -> TrainingProgress:
    """Train a run to the step that its settings name, from where it is; how far it is then."""
    run = TrainingRun(settings, ablation.model, folder, ablation.checkpoint, True, True, ablation.cache, report_to=())
    return read_progress(train(run))


@dataclass(frozen=True)
class SweepTask:
    """The rates of a variant, to be tried one after the other."""

    ablation: Ablation
    variant: str

    @property
    def folder(self) -> Path:
        return self.ablation.out / "sweep" / self.variant

    @property
    def title(self) -> str:
        return f"{self.variant}, learning rates"

    def is_done(self) -> bool:
        return all(self._file(rate).is_file() for rate in self.ablation.rates)

    def run(self) -> None:
        """Try what has not been tried; all rates take as many steps as the first one managed in its time."""
        for rate in self.ablation.rates:
            if self._file(rate).is_file():
                continue
            folder = self.folder / f"{rate:g}"
            settings = self.ablation.settings(self.variant, SWEEP_SEED, rate, self._steps(folder, rate))
            progress = train_to(self.ablation, settings, folder)
            trainable, settings = load_trained(folder, torch.device("cpu"))
            split = Split(self.ablation, "tuning", trainable, settings)
            loss = split.loss(trainable, settings)
            tried = Tried(rate, progress.step, round(progress.processor_seconds, 2), round(loss, 5))
            with written_whole(self._file(rate)) as path:
                path.write_text(json.dumps(asdict(tried)) + "\n", encoding="utf-8")

    def _steps(self, folder: Path, rate: float) -> int:
        first = self._file(self.ablation.rates[0])
        if first.is_file():
            return read_record(first, Tried, _ADVICE).steps
        begun = (read_settings(folder).steps or 0) if (folder / START_FILE).is_file() else 0
        if begun > _PACE_STEPS:
            return begun
        settings = self.ablation.settings(self.variant, SWEEP_SEED, rate, _PACE_STEPS)
        pace = train_to(self.ablation, settings, folder).processor_seconds / _PACE_STEPS
        return max(_PACE_STEPS, round(self.ablation.sweep_seconds / pace))

    def _file(self, rate: float) -> Path:
        return self.folder / f"{rate:g}.json"


def read_sweep(ablation: Ablation, variant: str) -> Sweep:
    """A variant's rates, all of which have been tried.

    Raises:
        ValueError: a record is damaged.
        FileNotFoundError: one is missing.
    """
    task = SweepTask(ablation, variant)
    return Sweep(variant, [read_record(task._file(rate), Tried, _ADVICE) for rate in ablation.rates])
