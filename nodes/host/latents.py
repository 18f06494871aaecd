"""Latents of windows a VAE has encoded already, so that another prompt on the same shot need not wait for them: in
memory, and on disk from one start of the host to the next."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib.metadata import version
from typing import Any

import torch
from comfy.sd import VAE
from torch import Tensor

from ...rem_engine.checkpoints.kept_tensors import KeptTensors

LATENTS_BYTES = 256 * 2**20
"""Bound of what is kept for one VAE: some 3,500 frames at 512x512 pixels."""

DISK_BYTES = 4 * 2**30
"""Bound of what is kept on disk, of all VAEs together: some 40,000 frames at 512x512 pixels in float32."""

_MOST_FILES = 10_000
_ATTACHMENT = "refereverything_latents"


class LatentsCache:
    """Latents by the content of the frames they are of; those not asked for longest go first.

    Args:
        encoder: what the latents depend on besides the frames; compared by identity.
        limit: bytes kept at most.
    """

    def __init__(self, encoder: tuple[Any, ...], limit: int = LATENTS_BYTES) -> None:
        self.encoder = encoder
        self.on_disk: LatentsOnDisk | None = None
        self.size = 0
        self._limit = limit
        self._latents: OrderedDict[bytes, Tensor] = OrderedDict()

    def get(self, key: bytes) -> Tensor | None:
        """Latents kept under a key of `frames_key`, as a copy."""
        latents = self._latents.get(key)
        if latents is None:
            return None
        self._latents.move_to_end(key)
        return latents.clone()

    def disk_of(self, vae: VAE) -> LatentsOnDisk:
        """What is kept on disk for the VAE of this cache."""
        if self.on_disk is None:
            self.on_disk = LatentsOnDisk(vae)
        return self.on_disk

    def put(self, key: bytes, latents: Tensor) -> None:
        """Keep a copy of latents; what does not fit within the limit at all is not kept."""
        if latents.nbytes > self._limit or key in self._latents:
            return
        self._latents[key] = latents.clone()
        self.size += latents.nbytes
        while self.size > self._limit:
            self.size -= self._latents.popitem(last=False)[1].nbytes


class LatentsOnDisk:
    """Latents by the content of the frames and of the VAE.

    Args:
        vae: whose latents they are. One with patches keeps nothing: what these hold is not known.
    """

    def __init__(self, vae: VAE) -> None:
        self._encoder = b"" if vae.patcher.patches else _content_of(vae)
        self._kept = KeptTensors("latents", most=_MOST_FILES, most_bytes=DISK_BYTES)

    def get(self, key: bytes) -> Tensor | None:
        """Latents kept under a key of `frames_key`."""
        return self._kept.get(self._name(key)) if self._encoder else None

    def put(self, key: bytes, latents: Tensor) -> None:
        """Keep latents."""
        if self._encoder:
            self._kept.keep(self._name(key), latents)

    def _name(self, key: bytes) -> str:
        return hashlib.sha256(key + self._encoder).hexdigest()


def _content_of(vae: VAE) -> bytes:
    """What latents depend on beside the frames: weights, the kind of numbers, and what computes."""
    digest = hashlib.blake2b(digest_size=32)
    kind = (type(vae.first_stage_model).__name__, vae.vae_dtype, vae.device.type, version("torch"))
    digest.update(repr(kind).encode())
    for name, weight in sorted(vae.first_stage_model.state_dict().items()):
        digest.update(repr((name, tuple(weight.shape), weight.dtype)).encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.digest()


def frames_key(frames: Tensor) -> bytes:
    """A key that frames of other content or shape do not share."""
    digest = hashlib.blake2b(repr((tuple(frames.shape), frames.dtype)).encode(), digest_size=32)
    digest.update(frames.cpu().contiguous().numpy())
    return digest.digest()


def latents_cache(vae: VAE) -> LatentsCache:
    """The cache of a VAE: it hangs on the VAE itself and goes when the host lets go of that.

    A VAE with another network, other patches or another precision than when the cache was filled gets an empty one.
    """
    encoder = (vae.first_stage_model, vae.patcher.patches_uuid, vae.vae_dtype)
    cache = vae.patcher.get_attachment(_ATTACHMENT)
    if cache is None or any(kept is not now for kept, now in zip(cache.encoder, encoder, strict=True)):
        cache = LatentsCache(encoder)
        vae.patcher.set_attachments(_ATTACHMENT, cache)
    return cache
