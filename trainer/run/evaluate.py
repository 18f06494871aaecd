"""How good a model in training is: mean J on held-out samples, and a picture of what it predicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from tqdm import tqdm

from rem_engine.metrics import region_similarity

from ..data.broken import OnBroken, broken_policy
from ..data.cache import EncodedSample, ReadyToTrain
from ..data.sample import BrokenSample, Sample
from ..model.objective import Batch, soft_masks

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..model.trainable import Trainable
    from ..settings import DataSettings, ObjectiveSettings, TrainSettings
    from .batch_encoder import BatchEncoder


_SHOWN = 4
"""Clips in a picture."""
_NONE = "No sample of the evaluation can be read; check its sources in the settings."


@dataclass(frozen=True)
class HeldOut:
    """What a model in training is evaluated on.

    Attributes:
        source: of the samples.
        data: its settings.
        on_broken: what they say of broken samples; each is told once in a run.
    """

    source: ReadyToTrain
    data: DataSettings
    on_broken: OnBroken = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "on_broken", broken_policy(self.data.on_broken))

    def read(self, index: int, seed: int) -> Sample | EncodedSample | None:
        """A sample, drawn alike each time; None beyond the last, and in the place of a broken one that is left out."""
        if index >= len(self.source):
            return None
        try:
            return self.source.read(index, self.data.frames, np.random.default_rng((seed, index)))
        except BrokenSample as broken:
            self.on_broken(broken)
            return None


def check_held_out(accelerator: Accelerator, held_out: HeldOut, seed: int) -> None:
    """Read every sample of the evaluation once, so that a bad one is known before a step is taken.

    Every process calls this, and reads its part.

    Raises:
        BrokenSample: one was found, and the settings refuse them.
        ValueError: none can be read.
    """
    indices = range(accelerator.process_index, len(held_out.source), accelerator.num_processes)
    shown = tqdm(indices, desc="checking held-out samples", leave=False, disable=not accelerator.is_main_process)
    good = sum(held_out.read(index, seed) is not None for index in shown)
    if not accelerator.reduce(torch.tensor([good], device=accelerator.device), "sum").item():
        raise ValueError(_NONE)


@torch.no_grad()
def mean_j(
    accelerator: Accelerator,
    trainable: Trainable,
    denoiser: nn.Module,
    held_out: HeldOut,
    encoder: BatchEncoder,
    settings: TrainSettings,
) -> float:
    """Mean J of predicted masks over the evaluation's samples and their frames, at the model's size.

    Every process of a distributed run calls this and gets the same figure.

    Raises:
        BrokenSample: one was found, and the settings refuse them.
    """
    source, data = held_out.source, held_out.data
    total, count = 0.0, 0
    global_batch = data.batch * accelerator.num_processes
    starts = range(0, len(source), global_batch)
    for start in tqdm(starts, desc="evaluating", leave=False, disable=not accelerator.is_main_process):
        first = start + accelerator.process_index * data.batch
        slots = range(first, first + data.batch)
        samples = [held_out.read(index, settings.seed) for index in slots]
        # All processes take as many passes, so that one without a sample left takes empty ones.
        empty = np.zeros((data.frames, *settings.size, 3), np.uint8)
        blank = Sample(empty, empty[..., 0].astype(bool), source.text(0))
        batch = encoder.encode([sample or blank for sample in samples], 0, slots)
        predicted = soft_masks(trainable, denoiser, batch, settings.objective) > 0.5
        for sample, masks, truth in zip(samples, predicted.cpu(), batch.masks.cpu()):
            if sample is not None:
                total += float(region_similarity(masks.numpy(), truth.bool().numpy()).mean())
                count += 1
    sums = torch.tensor([total, count], dtype=torch.float32, device=accelerator.device)
    total, count = accelerator.reduce(sums, "sum").tolist()
    if not count:
        raise ValueError(_NONE)
    return total / count


@torch.no_grad()
def comparison_picture(trainable: Trainable, denoiser: nn.Module, batch: Batch, objective: ObjectiveSettings) -> Tensor:
    """The middle frames of a few clips of a batch above the masks that are predicted for them and those asked for.

    Frames are decoded from latents. Every process of a distributed run calls this, since they share the denoiser.

    Returns:
        [3,3H,nW] in 0..1.
    """
    few = batch.first(_SHOWN)
    middle = few.masks.shape[1] // 2
    frames = [(trainable.backbone.decode_masks(clip[None])[middle] + 1) / 2 for clip in few.latents]
    masks = (soft_masks(trainable, denoiser, few, objective), few.masks)
    rows = [
        rearrange(frames, "n c h w -> c h (n w)"),
        *(repeat(each[:, middle].float(), "n h w -> c h (n w)", c=3) for each in masks),
    ]
    return torch.cat(rows, dim=1).clamp(0, 1).cpu()


def held_out_picture(
    trainable: Trainable, denoiser: nn.Module, held_out: HeldOut, encoder: BatchEncoder, settings: TrainSettings
) -> tuple[str, Tensor]:
    """The title and the picture, see `comparison_picture`, of the first held-out samples that can be read: always the
    same ones, so that a run can be looked at as it goes. Every process of a distributed run calls this."""
    samples: list[Sample | EncodedSample] = []
    for index in range(len(held_out.source)):
        if len(samples) == _SHOWN:
            break
        if (sample := held_out.read(index, settings.seed)) is not None:
            samples.append(sample)
    batch = encoder.encode(samples, 0, range(len(samples)))
    title = "held out: frame, prediction, target"
    return title, comparison_picture(trainable, denoiser, batch, settings.objective)
