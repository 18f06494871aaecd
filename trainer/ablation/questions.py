"""Sentences that runs are scored on, one a shot, and J of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from rem_engine.metrics import region_similarity

from ..data.cache import cache_all
from ..data.open import open_sources
from ..model.objective import Batch, loss, soft_masks
from ..run.batch_encoder import BatchEncoder
from ..synth.score import THRESHOLDS
from ..synth.write import read_split

if TYPE_CHECKING:
    from ..model.trainable import Trainable
    from ..settings import TrainSettings
    from .plan import Ablation

_BATCH = 16


@dataclass(frozen=True)
class Question:
    """A sentence that names things of a shot.

    Attributes:
        shot: its name in the split.
        text: the sentence.
        kind: what it names.
    """

    shot: str
    text: str
    kind: Literal["object", "process"]


def ask(folder: Path) -> dict[int, Question]:
    """One sentence of each shot of a folder that `python -m trainer synth` wrote, drawn by the shot's number, under its
    place among all sentences of the folder (`trainer.data.synth`)."""
    asked, place = {}, 0
    for number, entry in enumerate(read_split(folder)):
        named = [i for i, expression in enumerate(entry.expressions) if expression.targets]
        if named:
            chosen = named[np.random.default_rng(number).integers(len(named))]
            expression = entry.expressions[chosen]
            is_process = entry.things[expression.targets[0]].is_process
            asked[place + chosen] = Question(entry.video, expression.text, "process" if is_process else "object")
        place += len(entry.expressions)
    return asked


class Split:
    """A split of an ablation, encoded, to score models on.

    Args:
        ablation: `prepare` has made its data.
        name: of the split.
        trainable: any of its models: all read by the same VAE and text encoder.
        settings: of any of its runs.

    Attributes:
        questions: in the order of the scores.
    """

    def __init__(self, ablation: Ablation, name: str, trainable: Trainable, settings: TrainSettings) -> None:
        data = ablation.split(name)
        source = open_sources(data, settings.size)
        self._texts, (cached,) = cache_all(ablation.cache, trainable, [source], [data], settings.size)
        asked = ask(ablation.out / "data" / name)
        self.questions = list(asked.values())
        self._samples = [cached.read(index, data.frames, np.random.default_rng(0)) for index in asked]

    @torch.no_grad()
    def loss(self, trainable: Trainable, settings: TrainSettings) -> float:
        """The objective that a model is trained by, as the mean over all questions."""
        batches = list(self._batches(trainable, settings))
        losses = [loss(trainable, trainable.denoiser, batch, settings.objective).item() for batch in batches]
        return float(np.average(losses, weights=[len(batch.masks) for batch in batches]))

    @torch.no_grad()
    def similarities(self, trainable: Trainable, settings: TrainSettings) -> np.ndarray:
        """J of every question, the mean over its frames, with soft masks cut at each of `THRESHOLDS`: [Q,19]."""
        found = []
        for batch in self._batches(trainable, settings):
            soft = soft_masks(trainable, trainable.denoiser, batch, settings.objective)
            found += [_at_thresholds(*each) for each in zip(soft, batch.masks)]
        return np.stack(found)

    def _batches(self, trainable: Trainable, settings: TrainSettings) -> Iterator[Batch]:
        encoder = BatchEncoder(trainable, settings.size, settings.seed, self._texts)
        for start in range(0, len(self._samples), _BATCH):
            samples = self._samples[start : start + _BATCH]
            yield encoder.encode(samples, 0, range(start, start + len(samples)))


def best_threshold(similarities: np.ndarray) -> tuple[int, float]:
    """Of [Q,19], the number of the threshold at which the mean over questions is highest, and that mean."""
    means = similarities.mean(axis=0)
    return int(means.argmax()), float(means.max())


def _at_thresholds(soft: Tensor, mask: Tensor) -> np.ndarray:
    values, truth = soft.numpy(), mask.bool().numpy()
    return np.array([region_similarity(values > each, truth).mean() for each in THRESHOLDS])
