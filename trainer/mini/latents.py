"""Latents of a pool, encoded once and kept on disk for the denoiser's stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rem_engine.backbones.base import WAN, Network

from ..data.fingerprint import ENCODING_PARTS, module_hash
from ..model.clip_vae import ClipVAE
from .pool import Pool
from .vae import mask_tensor, video_tensor

BATCH = 8


class Latents:
    """Normalised latents of a pool's shots and of their things' mattes, memory-mapped.

    Attributes:
        videos: float16 [N,16,t,h,w].
        masks: float16 [N,5,16,t,h,w]; row i is thing i's, the last row the empty mask's.
    """

    def __init__(self, folder: Path) -> None:
        self.videos = np.load(folder / "videos.npy", mmap_mode="r")
        self.masks = np.load(folder / "masks.npy", mmap_mode="r")


def vae_fingerprint(vae: Network) -> str:
    """A hash of a VAE's encoding weights, which says whether latents on disk are its own."""
    return module_hash(vae, ENCODING_PARTS)


@torch.no_grad()
def encode_pool(pool: Pool, vae: Network, folder: Path) -> Latents:
    """Encode every shot and matte with `vae` into `folder`, or open them where that is done."""
    fingerprint = vae_fingerprint(vae)
    done = folder / "vae.sha256"
    if done.exists() and done.read_text() == fingerprint:
        return Latents(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clip_vae = ClipVAE(vae)
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)

    def encode(clips: Tensor) -> np.ndarray:
        return ((clip_vae.encode(clips)[0] - mean) / std).half().numpy()

    count, frames, height, width = pool.frames.shape[:4]
    rows = pool.mattes.shape[1]
    shape = WAN.latent_shape(frames, height, width)
    videos = np.lib.format.open_memmap(folder / "videos.npy", "w+", np.float16, (count, *shape))
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.float16, (count, rows + 1, *shape))
    empty = encode(mask_tensor(np.zeros((1, frames, height, width), np.uint8)))[0]
    masks[:] = empty
    for start in tqdm(range(0, count, BATCH), desc="encoding shots"):
        stop = min(start + BATCH, count)
        videos[start:stop] = encode(video_tensor(pool.frames[start:stop]))
        filled = [(i, row) for i in range(start, stop) for row in range(len(pool.things[i]))]
        encoded = encode(mask_tensor(np.stack([pool.mattes[i, row] for i, row in filled])))
        for (i, row), latents in zip(filled, encoded):
            masks[i, row] = latents
    videos.flush()
    masks.flush()
    done.write_text(fingerprint)
    return Latents(folder)
