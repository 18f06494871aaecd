"""What REM minimises, the squared error between predicted and mask latents (REM, sec. 3.2), and its ablations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rem_engine.segment.resize import frames_to_model

from ..data.resize import at_size

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..settings import ObjectiveSettings
    from .trainable import Trainable


@dataclass(frozen=True)
class Batch:
    """What one pass of the denoiser takes.

    Attributes:
        latents: of the video, clean, normalised, [B,C,t,h,w].
        mask_latents: the target, [B,C,t,h,w].
        rows: text embeddings [B,77,D], zero rows included.
        masks: the target in pixels, 0 and 1, [B,T,H,W], of any type.
        noise: of the latents' shape, where noisy ones are taken.
    """

    latents: Tensor
    mask_latents: Tensor
    rows: Tensor
    masks: Tensor
    noise: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._of_each(lambda values: values.to(device))

    def first(self, count: int) -> Batch:
        """The first clips of the batch."""
        return self._of_each(lambda values: values[:count])

    def _of_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        noise = None if self.noise is None else change(self.noise)
        return Batch(change(self.latents), change(self.mask_latents), change(self.rows), change(self.masks), noise)


def model_clip(sample: Sample, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A sample's frames [T,3,H,W] in -1..1 and masks [T,H,W] of 0 and 1, at the model's (height, width)."""
    sample = at_size(sample, size)
    return frames_to_model(sample.frames, size, eight_bit=True), torch.from_numpy(sample.masks)


def encode_clips(trainable: Trainable, clips: Sequence[tuple[Tensor, Tensor]], rows: Tensor) -> Batch:
    """Clips as `model_clip` gives them, with their text embeddings [B,77,D], through the VAE: one batch."""
    return Batch(
        torch.cat([trainable.encode_video(frames) for frames, _ in clips]),
        torch.cat([trainable.encode_masks(masks) for _, masks in clips]),
        rows,
        torch.stack([masks for _, masks in clips]),
    ).to(trainable.device)


def encode_batch(
    trainable: Trainable, samples: Sequence[Sample], size: tuple[int, int], rows: Tensor | None = None
) -> Batch:
    """Samples of one length as a batch, without noise; see `with_noise`.

    Args:
        trainable: with the VAE and text encoder.
        samples: at any sizes.
        size: (height, width) the model sees.
        rows: text embeddings [B,77,D], where they are known already.
    """
    if rows is None:
        rows = torch.stack([trainable.encode_text(sample.text) for sample in samples])
    return encode_clips(trainable, [model_clip(sample, size) for sample in samples], rows)


def with_noise(trainable: Trainable, batch: Batch, seed: int, step: int, slots: Sequence[int]) -> Batch:
    """The batch with the noise its backbone takes, drawn for (seed, step, slot) alone.

    Args:
        trainable: its backbone decides whether there is any.
        batch: without noise.
        seed: of the run.
        step: of the run.
        slots: places of the batch's clips in the global batch of the step.
    """
    seeds = [int(np.random.SeedSequence((seed, step, slot)).generate_state(1)[0]) for slot in slots]
    return replace(batch, noise=trainable.draw_noise(batch.latents, seeds))


def loss(trainable: Trainable, denoiser: nn.Module, batch: Batch, objective: ObjectiveSettings) -> Tensor:
    """The objective of a batch, with gradient.

    Args:
        trainable: knows how its backbone is run.
        denoiser: its denoiser, or that as accelerate has wrapped it.
        batch: to predict, with noise where the backbone takes it.
        objective: what is compared with what.

    Returns:
        a scalar: the mean over all elements of the batch; in pixels over those of all the channels that are decoded.
    """
    predicted = predict(trainable, denoiser, batch.latents, batch.rows, batch.noise, objective)
    if objective.supervision == "latent":
        return F.mse_loss(predicted, batch.mask_latents)
    decoded = decode(trainable, predicted, objective)
    return F.mse_loss(decoded, batch.masks.unsqueeze(1).to(decoded).expand_as(decoded))


def predict(
    trainable: Trainable,
    denoiser: nn.Module,
    latents: Tensor,
    rows: Tensor,
    noise: Tensor | None,
    objective: ObjectiveSettings,
) -> Tensor:
    """What a decoder reads: the denoiser's output [B,C,t,h,w], mask latents in REM; or its features [B,D,t,h,w].

    Args:
        trainable, denoiser, objective: see `loss`.
        latents, rows, noise: see `Batch`.
    """
    timestep, block = objective.timestep, objective.features
    if objective.output == "velocity":
        return latents - trainable.velocity(latents, rows, denoiser)
    if block is not None:
        return trainable.features(latents, rows, block, timestep=timestep, noise=noise, denoiser=denoiser)
    return trainable.predict(latents, rows, timestep=timestep, noise=noise, denoiser=denoiser)


def decode(trainable: Trainable, predicted: Tensor, objective: ObjectiveSettings) -> Tensor:
    """What `predict` gives as masks, about 0..1, with gradient: [B,3,T,H,W] from a VAE, [B,1,T,H,W] from a new head."""
    return trainable.decode_new(predicted) if objective.has_new_head else trainable.decode(predicted)


@torch.no_grad()
def soft_masks(trainable: Trainable, denoiser: nn.Module, batch: Batch, objective: ObjectiveSettings) -> Tensor:
    """Predicted soft masks [B,T,H,W], nominally 0..1."""
    predicted = predict(trainable, denoiser, batch.latents, batch.rows, batch.noise, objective)
    return torch.stack([decode_masks(trainable, clip[None], objective).mean(1) for clip in predicted])


@torch.no_grad()
def decode_masks(trainable: Trainable, predicted: Tensor, objective: ObjectiveSettings) -> Tensor:
    """What `predict` gives of one clip as the engine decodes it, [T,C,H,W]; see `Backbone.decode_masks`."""
    if objective.has_new_head:
        return rearrange(trainable.decode_new(predicted), "1 c t h w -> t c h w")
    return trainable.backbone.decode_masks(predicted)
