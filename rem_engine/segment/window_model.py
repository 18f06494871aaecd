"""What a backbone does to a window: encode, predict, decode, with as many prompts at a time as fit into memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat

import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..finite import all_finite
from .settings import SegmentSettings

STAGES = ("read", "encode_video", "encode_text", "predict", "decode", "resize")


class WindowModel:
    """A backbone's passes over windows, checked and timed.

    Attributes:
        backbone: as given.
        seconds: time spent so far, waiting included, per stage.

    Args:
        backbone: the model.
        settings: `protocol` and `decoder` are heeded here: under `paper` masks keep the channels that they have.

    Raises:
        ValueError: the model has no such decoder.
    """

    def __init__(self, backbone: Backbone, settings: SegmentSettings) -> None:
        self.backbone = backbone
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._paper = settings.protocol == "paper"
        self._decode_masks = backbone.mask_decoder() if settings.decoder == "mask" else backbone.decode_masks
        self._most_prompts = 0  # what memory once did not suffice for; 0 is no limit

    @property
    def streams(self) -> bool:
        """Whether weights are read from their files, so that many windows are to be predicted together."""
        return self.backbone.streamed is not None

    @property
    def steps_of_all(self) -> int:
        """How often `predict_all` calls `done`."""
        return 1 if self.backbone.streamed is None else self.backbone.streamed.steps

    def masks(
        self,
        inputs: Tensor,
        prompt_embeds: Tensor,
        seeds: Sequence[int],
        frames: str,
        done: Callable[[], None] = lambda: None,
    ) -> tuple[Tensor, int]:
        """Soft masks of a window, and how many prompts went through the denoiser together.

        Args:
            inputs: [T,3,h,w] in -1..1.
            prompt_embeds: [P,77,D].
            seeds: of the noise: one for all prompts, or one for each.
            frames: what messages call the window.
            done: called after the encoding, the prediction, and the decoding of each prompt.

        Returns:
            masks [P,T,C,h,w], see `decode`, and the count.

        Raises:
            ValueError: the model gives no finite numbers.
        """
        latents = self.encode(inputs, frames, done)
        predicted, together = self.predict(latents, prompt_embeds, seeds)
        done()
        return self.decode(predicted, frames, done), together

    def encode(self, inputs: Tensor, frames: str, done: Callable[[], None] = lambda: None) -> Tensor:
        """Latents [1,C,t,h,w] of a window [T,3,h,w]; see `masks`."""
        with self.timed("encode_video"):
            latents = self.backbone.encode_video(inputs)
            _check_finite(latents, f"latents of {frames}")
        done()
        return latents

    def predict(self, latents: Tensor, prompt_embeds: Tensor, seeds: Sequence[int]) -> tuple[Tensor, int]:
        """Mask latents [P,C,t,h,w], of as many prompts at a time as fit into memory, and how many these were."""
        with self.timed("predict"):
            return self._predict(latents, prompt_embeds, self._draw_noise(latents, seeds))

    def predict_all(
        self, latents: Iterable[Tensor], prompt_embeds: Tensor, done: Callable[[], None] = lambda: None
    ) -> Iterable[Tensor]:
        """Mask latents [P,C,t,h,w] of many windows, for one reading of weights that are streamed.

        Args:
            latents: of windows, [1,C,t,h,w] each, of a model that takes no noise.
            prompt_embeds: [P,77,D].
            done: called `steps_of_all` times.
        """
        with self.timed("predict"):
            if self.backbone.streamed is not None:
                return self.backbone.streamed.predict(latents, prompt_embeds, done)
            predicted = [self._predict(window, prompt_embeds, None)[0] for window in latents]
            done()
            return predicted

    def decode(self, predicted: Tensor, frames: str, done: Callable[[], None] = lambda: None) -> Tensor:
        """Mask latents [P,C,t,h,w] -> soft masks [P,T,C,h,w] at the model's size; C is for `masks_to_shot`."""
        _check_finite(predicted, f"mask latents of {frames}")
        masks = []
        for mask_latents in predicted.split(1):
            with self.timed("decode"):
                decoded = self._decode_masks(mask_latents).float()
                # The authors take the mean over the channels after the resize to the frame's size; both are linear, so
                # the order changes rounding only, and the other way round takes a third of the memory and of the time.
                masks.append(decoded if self._paper else decoded.mean(dim=1, keepdim=True))
                _check_finite(masks[-1], f"masks of {frames}")
            done()
        return torch.stack(masks)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count what is done within `with` to a stage."""
        start = time.perf_counter()
        yield
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # work on a GPU is only queued until then
        self.seconds[stage] += time.perf_counter() - start

    def _draw_noise(self, latents: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """Noise [seeds,C,t,h,w] for latents [1,C,t,h,w]; None for a backbone that takes none."""
        drawn = [noise for seed in seeds if (noise := self.backbone.draw_noise(latents, seed)) is not None]
        return torch.cat(drawn) if drawn else None

    def _predict(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None) -> tuple[Tensor, int]:
        count = min(self.backbone.prompts_per_pass(latents), len(prompt_embeds))
        if noise is not None:
            noise = noise.expand(len(prompt_embeds), -1, -1, -1, -1)
        if self._most_prompts:
            count = min(count, self._most_prompts)
        while True:
            try:
                noises = repeat(None) if noise is None else noise.split(count)
                pairs = zip(prompt_embeds.split(count), noises)
                passes = [self.backbone.predict_mask_latents(latents, *pair) for pair in pairs]
            except torch.cuda.OutOfMemoryError:
                if count == 1:
                    raise
            else:
                return torch.cat(passes), count
            # Outside of the handler, which would keep the failed pass's tensors alive.
            self._most_prompts = count = -(-count // 2)
            warnings.warn(f"Memory ran out; the denoiser goes on with {count} of the prompts at a time.", stacklevel=2)


def _check_finite(values: Tensor, what: str) -> None:
    """Raise ValueError where the model gave values that are no numbers, or infinite."""
    if not all_finite(values):
        raise ValueError(
            f"The model's {what} hold values that are not finite (NaN or infinite): run it in float32, or in bfloat16 "
            "in place of float16; if that does not help, its weights are damaged, download them again."
        )
