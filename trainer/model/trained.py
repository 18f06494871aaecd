"""A model that has been trained, as the engine runs models; whatever its objective, it segments shots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rem_engine import Segmenter, SegmentSettings
from rem_engine.backbones.base import Streamed, TextsOneByOne, WithoutMaskDecoder

from ..run.average import trainable_parameters
from ..run.checkpoint import AVERAGE_FILE, DENOISER_FILE, Checkpoints, read_into
from ..run.run_folder import CHECKPOINTS, read_settings, read_start
from .objective import decode_masks, predict
from .trainable import Trainable, freeze, load_trainable

if TYPE_CHECKING:
    from ..settings import ObjectiveSettings, TrainSettings


class TrainedBackbone(TextsOneByOne, WithoutMaskDecoder):
    """A trainable model under its objective; a `Backbone`.

    What goes from `predict_mask_latents` to `decode_masks` is what the objective's decoder reads: mask latents, or
    features.

    Args:
        trainable: with trained weights.
        objective: it was trained by.
    """

    def __init__(self, trainable: Trainable, objective: ObjectiveSettings) -> None:
        self._trainable, self._objective, backbone = trainable, objective, trainable.backbone
        self.name, self.family, self.default_size = backbone.name, backbone.family, backbone.default_size
        self.default_window, self.default_overlap = backbone.default_window, backbone.default_overlap
        self.streamed: Streamed | None = None
        self.prompts_per_pass = backbone.prompts_per_pass
        self.encode_video, self.encode_text = trainable.encode_video, trainable.encode_text

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor | None:
        """See `Backbone.draw_noise`."""
        return self._trainable.draw_noise(latents, [seed])

    @torch.no_grad()
    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [1,C,t,h,w], prompts [P,77,D] -> what the decoder reads, [P,D,t,h,w]."""
        trainable, device, count = self._trainable, self._trainable.device, len(prompt_embeds)
        noise = None if noise is None else noise.expand(count, -1, -1, -1, -1).to(device)
        latents = latents.expand(count, -1, -1, -1, -1).to(device)
        return predict(trainable, trainable.denoiser, latents, prompt_embeds.to(device), noise, self._objective)

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """What was predicted for one prompt, [1,D,t,h,w], as masks [T,C,H,W], about 0..1."""
        return decode_masks(self._trainable, mask_latents, self._objective)


def load_trained(run: Path, device: torch.device) -> tuple[Trainable, TrainSettings]:
    """The model as a run of `python -m trainer train` has it, the moving average where it keeps one, and its settings.

    Raises:
        FileNotFoundError: no run, or none of its checkpoints.
    """
    start, settings = read_start(run), read_settings(run)
    checkpoint = Checkpoints(run / CHECKPOINTS, settings.keep_last).latest()
    if checkpoint is None:
        raise FileNotFoundError(f"{run} holds no checkpoint yet; train it further.")
    trainable = load_trainable(start.model, start.checkpoint, settings, device)
    freeze(trainable, settings)
    weights = checkpoint / (DENOISER_FILE if settings.ema is None else AVERAGE_FILE)
    read_into(trainable_parameters(trainable.denoiser), weights)
    return trainable, settings


def load_trained_segmenter(run: Path, device: torch.device) -> Segmenter:
    """A segmenter with what `load_trained` gives.

    It sees windows of the length and size that were trained, side by side.

    Raises:
        FileNotFoundError: no run, or none of its checkpoints.
    """
    trainable, settings = load_trained(run, device)
    frames = max(data.frames for data in settings.streams)
    segment_settings = SegmentSettings(size=settings.size, window=frames, overlap=0, cuts=(), seed=settings.seed)
    return Segmenter(TrainedBackbone(trainable, settings.objective), segment_settings)
