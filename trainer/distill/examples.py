"""What a mask decoder learns from: mask latents, and what the VAE's decoder makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rem_engine.backbones.base import WAN
from rem_engine.input_files import told_as_damage
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import check_space, written_whole

from ..data.broken import broken_policy
from ..data.join import Joined
from ..data.loader import MOST_BROKEN, all_broken
from ..data.order import SampleOrder
from ..data.sample import BrokenSample, Sample
from ..model.objective import encode_batch
from ..run.records import read_record

if TYPE_CHECKING:
    from ..model.trainable import Trainable
    from ..settings import TrainSettings

PER_SAMPLE = 2
"""Examples of a sample: its mask's own latents, and those that the denoiser predicts for its sentence."""
LARGEST_CROP = (5, 24, 24)
"""Latents, in time, height and width, of an example: what lies further away hardly matters to a pixel."""


@dataclass(frozen=True)
class _Noted:
    """How many samples have been decoded."""

    samples: Annotated[int, Field(ge=0)]


class Examples:
    """Mask latents and masks, memory-mapped.

    Attributes:
        latents: float16 [N,16,t,h,w], normalised.
        masks: float16 [N,T,8h,8w]: their decoded channels' mean, nominally 0..1.
    """

    def __init__(self, folder: Path, mode: Literal["r", "r+"] = "r") -> None:
        with told_as_damage(f"The examples in {folder} are damaged: remove that folder, and they are made anew."):
            self.latents = np.load(folder / "latents.npy", mmap_mode=mode, allow_pickle=False)
            self.masks = np.load(folder / "masks.npy", mmap_mode=mode, allow_pickle=False)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Latents [B,16,t,h,w] and masks [B,T,H,W] of some, float32."""
        latents, masks = (each[np.asarray(indices)].astype(np.float32) for each in (self.latents, self.masks))
        return torch.from_numpy(latents), torch.from_numpy(masks)


def make_examples(
    folder: Path,
    trainable: Trainable,
    sources: Sequence[Joined[Sample]],
    settings: TrainSettings,
    samples: int,
    progress: Progress = SILENT,
) -> Examples:
    """Decode the examples of `samples` samples into `folder`; goes on where a killed call stopped.

    Args:
        folder: see `Examples`.
        trainable: encodes, predicts and decodes.
        sources: of the streams, which are drawn from in turn.
        settings: of the training whose data these are: streams, size and seed.
        samples: how many.
        progress: told "clips", one a sample.

    Raises:
        BrokenSample: one was found, and the settings refuse them.
        ValueError: what stands in `folder` is damaged, or hardly a sample can be read.
    """
    note = folder / "made.json"
    done = read_record(note, _Noted, f"remove {folder}, and all is made anew").samples if note.exists() else 0
    shape = _crop_shape(settings)
    if not done:
        _allocate(folder, PER_SAMPLE * samples, shape)
    examples = Examples(folder, "r+")
    trainable.denoiser.requires_grad_(False)
    drawn = _Draw(sources, settings, samples)
    progress.update("clips", done, samples)
    for number in range(done, samples):
        rows = slice(PER_SAMPLE * number, PER_SAMPLE * (number + 1))
        examples.latents[rows], examples.masks[rows] = _examples_of(trainable, drawn, number, settings, shape)
        examples.latents.flush()
        examples.masks.flush()
        with written_whole(note) as partial:
            partial.write_text(json.dumps(asdict(_Noted(number + 1))), encoding="utf-8")
        progress.update("clips", number + 1, samples)
    return Examples(folder)


class _Draw:
    """Samples by number, the same in every run."""

    def __init__(self, sources: Sequence[Joined[Sample]], settings: TrainSettings, samples: int) -> None:
        self._sources, self._settings, self._samples = sources, settings, samples
        self._on_broken = [broken_policy(data.on_broken) for data in settings.streams]
        self._orders = [
            SampleOrder([len(part) for part in source.parts], source.weights, (settings.seed,)) for source in sources
        ]

    def __call__(self, number: int) -> Sample:
        stream, place = number % len(self._sources), number // len(self._sources)
        source, order = self._sources[stream], self._orders[stream]
        attempt = 0
        while True:
            rng = np.random.default_rng((self._settings.seed, number, attempt))
            try:
                position = place + attempt * self._samples
                return source.read(order[position], self._settings.streams[stream].frames, rng)
            except BrokenSample as error:
                self._on_broken[stream](error)
                attempt += 1
                if attempt == MOST_BROKEN:
                    raise all_broken(source.name, attempt, error) from None


@torch.no_grad()
def _examples_of(
    trainable: Trainable, draw: _Draw, number: int, settings: TrainSettings, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    batch = encode_batch(trainable, [draw(number)], settings.size)
    predicted = trainable.predict(batch.latents, batch.rows)
    rng = np.random.default_rng((settings.seed, number, PER_SAMPLE))
    top, left = (int(rng.integers(whole - side + 1)) for whole, side in zip(predicted.shape[3:], shape[1:]))
    count, height, width = shape
    both = torch.cat([batch.mask_latents, predicted])[:, :, :count, top : top + height, left : left + width]
    both = both.half().float()  # as they are kept
    masks = [trainable.backbone.decode_masks(each[None]).mean(dim=1) for each in both]
    return both.half().cpu().numpy(), torch.stack(masks).half().cpu().numpy()


def _crop_shape(settings: TrainSettings) -> tuple[int, int, int]:
    """[t,h,w] of every example."""
    frames = min(data.frames for data in settings.streams)
    whole = WAN.latent_shape(frames, *settings.size)[1:]
    count, height, width = (min(side, most) for side, most in zip(whole, LARGEST_CROP))
    return count, height, width


def _allocate(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    latents = (count, WAN.latent_channels, *shape)
    frames, pixels = 1 + (shape[0] - 1) * WAN.frames_per_latent, WAN.pixels_per_latent
    masks = (count, frames, pixels * shape[1], pixels * shape[2])
    for name in ("latents.npy", "masks.npy"):
        (folder / name).unlink(missing_ok=True)
    # Where a disk fills up under a mapped file, the system ends the process without a word.
    check_space(2 * int(np.prod(latents) + np.prod(masks)), folder, folder)
    np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, latents)
    np.lib.format.open_memmap(folder / "masks.npy", "w+", np.float16, masks)
