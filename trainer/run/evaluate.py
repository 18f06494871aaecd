"""The figure that says how good a model in training is: mean J on held-out samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from rem_engine.metrics import region_similarity

from ..data.broken import OnBroken, broken_policy
from ..data.cache import EncodedSample
from ..data.sample import BrokenSample, Sample, Source
from ..model.objective import soft_masks
from .loop import Average, trained_parameters

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..model.trainable import Trainable
    from ..settings import TrainSettings
    from .batches import Batches


@contextmanager
def averaged(module: nn.Module, average: Average | None) -> Iterator[None]:
    """Within `with`, a module has its averaged weights, where an average is kept."""
    if average is None:
        yield
        return
    trained = trained_parameters(module)
    kept = {name: value.clone() for name, value in trained.items()}
    average.copy_to(module)
    try:
        yield
    finally:
        for name, value in trained.items():
            value.copy_(kept[name])


@torch.no_grad()
def mean_j(
    accelerator: Accelerator,
    trainable: Trainable,
    denoiser: nn.Module,
    source: Source,
    batches: Batches,
    settings: TrainSettings,
) -> float:
    """Mean J of predicted masks over the evaluation's samples and their frames, at the model's size.

    Every process of a distributed run calls this and gets the same figure.

    Raises:
        BrokenSample: one was found, and the settings refuse them.
    """
    data = settings.evaluation
    on_broken = broken_policy(data.on_broken)
    total, count = 0.0, 0
    together = data.batch * accelerator.num_processes
    starts = range(0, len(source), together)
    for start in tqdm(starts, desc="evaluating", leave=False, disable=not accelerator.is_main_process):
        first = start + accelerator.process_index * data.batch
        slots = range(first, first + data.batch)
        samples = [_read(source, index, data.frames, settings.seed, on_broken) for index in slots]
        # All processes take as many passes, so that one without a sample left takes empty ones.
        empty = np.zeros((data.frames, *settings.size, 3), np.uint8)
        blank = Sample(empty, empty[..., 0].astype(bool), source.text(0))
        batch = batches.make([sample or blank for sample in samples], 0, slots)
        predicted = soft_masks(trainable, denoiser, batch, settings.objective) > 0.5
        for sample, masks, truth in zip(samples, predicted.cpu(), batch.masks.cpu()):
            if sample is not None:
                total += float(region_similarity(masks.numpy(), truth.bool().numpy()).mean())
                count += 1
    sums = torch.tensor([total, count], dtype=torch.float32, device=accelerator.device)
    total, count = accelerator.reduce(sums, "sum").tolist()
    if not count:
        raise ValueError("No sample of the evaluation can be read; check its sources in the settings.")
    return total / count


def _read(source: Source, index: int, frames: int, seed: int, on_broken: OnBroken) -> Sample | EncodedSample | None:
    if index >= len(source):
        return None
    try:
        return source.read(index, frames, np.random.default_rng((seed, index)))
    except BrokenSample as broken:
        on_broken(broken)
        return None
