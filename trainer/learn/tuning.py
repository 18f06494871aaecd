"""A LoRA tuned on a few clips of one sentence, so that other sentences keep their masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from rem_engine.backbones.modelscope import ModelScopeBackbone
from rem_engine.backbones.wan import WanBackbone
from rem_engine.progress import SILENT, Progress

from ..model.trainable import ModelScopeTrainable, Trainable, WanTrainable, add_lora
from ..run.average import trainable_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rem_engine.backbones.base import Backbone

    from ..settings import LoraSettings

_WEIGHT_DECAY = 1e-2
_PRESENT = 0.5
"""From which coverage on a latent is taken to show what is named."""


@dataclass(frozen=True)
class Clip:
    """What a step learns from.

    Attributes:
        frames: [T,3,h,w] in -1..1, as the model sees them.
        masks: [T,h,w] in 0..1: what is right for the sentence.
    """

    frames: Tensor
    masks: Tensor


@dataclass(frozen=True)
class _Encoded:
    """A clip in latents [1,C,t,h,w].

    Attributes:
        latents: of its frames.
        wanted: of its masks.
        weights: of each latent in the error, [1,1,t,h,w], 1 in the mean.
        kept: what the model gives for the sentences that are to stay.
        noise: where the denoiser takes some.
    """

    latents: Tensor
    wanted: Tensor
    weights: Tensor
    kept: tuple[Tensor, ...]
    noise: Tensor | None


class Tuning:
    """A model of the engine with a LoRA that is being tuned; the model's own weights stay as they are.

    Args:
        backbone: whole in memory.
        lora: of which rank, where.
        seed: of the LoRA's first values, and of noise.

    Raises:
        ValueError: weights that are not whole in memory, or a denoiser without such layers.
    """

    def __init__(self, backbone: Backbone, lora: LoraSettings, seed: int = 0) -> None:
        self._trainable, self._seed = _trainable(backbone), seed
        self._dtype = getattr(backbone, "dtype", torch.float32)
        denoiser = self._trainable.denoiser.requires_grad_(False)
        add_lora(denoiser, lora, seed)
        for parameter in denoiser.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # a small step would be lost in a coarse type
        denoiser.enable_gradient_checkpointing()

    def tune(
        self,
        clips: Sequence[Clip],
        row: Tensor,
        kept: Tensor,
        steps: int,
        lr: float,
        progress: Progress = SILENT,
    ) -> list[float]:
        """Tune the LoRA, a clip a step in turn.

        The error of a clip is the squared one of latents (REM, sec. 3.2), to which those that show what is named and
        those that do not give half each: where the model finds nothing, a mask of few latents would otherwise be
        learnt as none.

        Args:
            clips: at least one.
            row: embedding [77,D] of the sentence.
            kept: embeddings [P,77,D] of other sentences, whose masks are to stay.
            steps: of the optimizer.
            lr: its highest rate.
            progress: told "steps".

        Returns:
            the error of each step.

        Raises:
            RuntimeError: an error that is no finite number.
        """
        denoiser, device = self._trainable.denoiser, self._trainable.device
        encoded = [self._encoded(clip, kept, place) for place, clip in enumerate(clips)]
        row, kept = row.to(device)[None], kept.to(device)
        parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        errors = []
        for step in range(steps):
            clip = encoded[step % len(encoded)]
            optimizer.zero_grad()
            error = (clip.weights * (self._predict(clip, row) - clip.wanted).square()).mean()
            if not torch.isfinite(error):
                raise RuntimeError("The error became no finite number: give a lower --lr.")
            error.backward()
            if len(kept):
                other = step // len(encoded) % len(kept)
                F.mse_loss(self._predict(clip, kept[other][None]), clip.kept[other]).backward()
            optimizer.step()
            schedule.step()
            errors.append(error.item())
            progress.update("steps", step + 1, steps)
        return errors

    @property
    def weights(self) -> dict[str, Tensor]:
        """The LoRA, by peft's names."""
        return trainable_parameters(self._trainable.denoiser)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Within `with` the model is without the LoRA."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [module for module in self._trainable.denoiser.modules() if isinstance(module, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)

    def masks(self, clip: Clip, row: Tensor) -> Tensor:
        """Soft masks [T,h,w] of a sentence's embedding [77,D] in a clip, as the model gives them now."""
        with torch.no_grad():
            latents = self._trainable.encode_video(clip.frames)
            seen = _Encoded(latents, latents, latents, (), self._noise(latents, 0))
            predicted = self._predict(seen, row.to(self._trainable.device)[None])
            return self._trainable.backbone.decode_masks(predicted).mean(dim=1).cpu()

    @torch.no_grad()
    def _encoded(self, clip: Clip, kept: Tensor, place: int) -> _Encoded:
        trainable = self._trainable
        latents = trainable.encode_video(clip.frames)
        wanted = trainable.encode_masks(clip.masks)
        seen = _Encoded(latents, wanted, _balanced(clip.masks, latents), (), self._noise(latents, place))
        # Nothing has been learnt yet: a LoRA begins at nothing.
        stay = tuple(self._predict(seen, row[None].to(latents)) for row in kept)
        return _Encoded(latents, wanted, seen.weights, stay, seen.noise)

    def _noise(self, latents: Tensor, place: int) -> Tensor | None:
        return self._trainable.draw_noise(latents, [self._seed + place])

    def _predict(self, clip: _Encoded, row: Tensor) -> Tensor:
        kind = self._trainable.device.type
        with torch.autocast(kind, self._dtype, enabled=self._dtype != torch.float32):
            return self._trainable.predict(clip.latents, row, noise=clip.noise)


def _balanced(masks: Tensor, latents: Tensor) -> Tensor:
    """Weights [1,1,t,h,w], 1 in the mean, by which latents of masks [T,h,w] with something and without count alike."""
    of_time = (len(masks) - 1) // max(latents.shape[2] - 1, 1) if latents.shape[2] > 1 else 1
    height, width = (side // latents.shape[3 + place] for place, side in enumerate(masks.shape[1:]))
    # The first latent is of one frame (Wan), or each is.
    in_time = F.pad(masks[None, None], (0, 0, 0, 0, of_time - 1, 0), mode="replicate")[0, 0]
    most = reduce(in_time, "(t f) (h a) (w b) -> t h w", "max", f=of_time, a=height, b=width)
    there = (most > _PRESENT).to(latents)
    share = there.mean()
    if share in (0.0, 1.0):
        return torch.ones_like(there)[None, None]
    return rearrange(there * 0.5 / share + (1.0 - there) * 0.5 / (1.0 - share), "t h w -> 1 1 t h w")


def _trainable(backbone: Any) -> Trainable:
    if getattr(backbone, "streamed", None) is not None:
        raise ValueError("Weights that are streamed from their files cannot be tuned: they have to fit whole.")
    if isinstance(backbone, ModelScopeBackbone):
        return ModelScopeTrainable(backbone)
    if isinstance(backbone, WanBackbone):
        return WanTrainable(backbone)
    raise ValueError(f"{backbone.name} cannot be tuned.")
