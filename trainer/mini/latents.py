"""Latents of a pool, encoded once and kept on disk for the denoiser's stages."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rem_engine.backbones.base import WAN, Network
from rem_engine.backbones.vae import OnePassVAE
from rem_engine.input_files import told_as_damage
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import check_space, written_whole

from ..data.fingerprint import ENCODING_PARTS, module_hash
from ..run.records import read_record
from .pool import Pool
from .vae import latent_statistics, mask_tensor, video_tensor

BATCH = 8
"""Shots encoded at a time, and between two notes of how far an encoding has come."""


@dataclass(frozen=True)
class _Noted:
    """How many shots were encoded, and by which VAE."""

    vae: str
    shots: Annotated[int, Field(ge=0)]


class Latents:
    """Normalised latents of a pool's shots and of the mattes of their targets, memory-mapped.

    Args:
        folder: see `encode_pool`.
        pool: what was encoded there.

    Attributes:
        videos: float16 [N,16,t,h,w].
        masks: float16 [M,16,t,h,w]; the first is the empty mask's, all targets of all shots follow.
    """

    def __init__(self, folder: Path, pool: Pool) -> None:
        with told_as_damage(f"The latents in {folder} are damaged: remove that folder, and all is encoded anew."):
            self.videos = np.load(folder / "videos.npy", mmap_mode="r", allow_pickle=False)
            self.masks = np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False)
        self._first = _first_rows(pool)

    def row(self, index: int, target: int | None) -> int:
        """Where in `masks` a target of a shot stands, by its number; None is the empty mask."""
        return 0 if target is None else int(self._first[index]) + target


def _first_rows(pool: Pool) -> np.ndarray:
    """int [N+1]: the row of each shot's first target, and the number of all rows."""
    return 1 + np.cumsum([0, *(len(targets) for targets in pool.targets)])


def vae_fingerprint(vae: Network) -> str:
    """A hash of a VAE's encoding weights, which says whether latents on disk are its own."""
    return module_hash(vae, ENCODING_PARTS)


@torch.no_grad()
def encode_pool(pool: Pool, vae: Network, folder: Path, progress: Progress = SILENT) -> Latents:
    """Encode every shot, and all that may be asked of it, into `folder`; goes on where a killed call stopped.

    `progress` is told "clips".
    """
    folder.mkdir(parents=True, exist_ok=True)
    note, fingerprint = folder / "encoded.json", vae_fingerprint(vae)
    noted = read_record(note, _Noted, f"remove {folder}, and all is encoded anew") if note.exists() else _Noted("", 0)
    done = noted.shots if noted.vae == fingerprint else 0
    count, frames, height, width = pool.frames.shape[:4]
    if done == count:
        return Latents(folder, pool)

    clip_vae = OnePassVAE(vae)
    mean, std = latent_statistics(vae)

    def encode(clips: Tensor) -> np.ndarray:
        return ((clip_vae.encode(clips)[0] - mean) / std).half().numpy()

    first = _first_rows(pool)
    shape = WAN.latent_shape(frames, height, width)
    if not done:
        note.unlink(missing_ok=True)  # it tells of another VAE's latents, which are overwritten now
        for name in ("videos.npy", "masks.npy"):
            (folder / name).unlink(missing_ok=True)
        check_space((count + int(first[-1])) * math.prod(shape) * 2, folder, folder)  # as of a pool
    mode = "r+" if done else "w+"
    videos = np.lib.format.open_memmap(folder / "videos.npy", mode, np.float16, (count, *shape))
    masks = np.lib.format.open_memmap(folder / "masks.npy", mode, np.float16, (int(first[-1]), *shape))
    if not done:
        masks[0] = encode(mask_tensor(np.zeros((1, frames, height, width), np.uint8)))[0]
    progress.update("clips", done, count)
    for start in range(done, count, BATCH):
        stop = min(start + BATCH, count)
        videos[start:stop] = encode(video_tensor(pool.frames[start:stop]))
        mattes = [pool.matte(index, target) for index in range(start, stop) for target in pool.targets[index]]
        if mattes:
            masks[first[start] : first[stop]] = encode(mask_tensor(np.stack(mattes)))
        videos.flush()
        masks.flush()
        with written_whole(note) as partial:
            partial.write_text(json.dumps(asdict(_Noted(fingerprint, stop))), encoding="utf-8")
        progress.update("clips", stop, count)
    return Latents(folder, pool)
