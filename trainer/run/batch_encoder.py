"""Samples, encoded already or not, as the batch of latents that a step trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..data.cache import EncodedSample, TextCache
from ..model.objective import Batch, encode_batch, with_noise

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..model.trainable import Trainable


class BatchEncoder:
    """Encodes batches; what is in a cache is read from it.

    Args:
        trainable: encodes what is not.
        size: (height, width) the model sees.
        seed: of the run.
        texts: text embeddings of every sentence there is, or None to encode them.
    """

    def __init__(self, trainable: Trainable, size: tuple[int, int], seed: int, texts: TextCache | None) -> None:
        self._trainable, self._size, self._seed, self._texts = trainable, size, seed, texts

    def encode(self, samples: Sequence[Sample | EncodedSample], step: int, slots: Sequence[int]) -> Batch:
        """The batch of some slots of a step's global batch, on the model's device, with noise where it takes any."""
        rows = None if self._texts is None else self._texts.rows([sample.text for sample in samples])
        clips = [self._clip(sample, None if rows is None else rows[i : i + 1]) for i, sample in enumerate(samples)]
        batch = Batch(
            torch.cat([clip.latents for clip in clips]),
            torch.cat([clip.mask_latents for clip in clips]),
            torch.cat([clip.rows for clip in clips]),
            torch.cat([clip.masks for clip in clips]),
        )
        return with_noise(self._trainable, batch.to(self._trainable.device), self._seed, step, slots)

    def _clip(self, sample: Sample | EncodedSample, rows: torch.Tensor | None) -> Batch:
        if not isinstance(sample, EncodedSample):
            return encode_batch(self._trainable, [sample], self._size, rows)
        if rows is None:
            rows = self._trainable.encode_text(sample.text)[None]
        return Batch(sample.latents[None], sample.mask_latents[None], rows, sample.masks[None])
