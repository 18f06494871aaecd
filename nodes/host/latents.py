"""Latents of windows a VAE has encoded already, so that another prompt on the same shot need not wait for them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

from comfy.sd import VAE
from torch import Tensor

LATENTS_BYTES = 256 * 2**20
"""Bound of what is kept for one VAE: some 3,500 frames at 512x512 pixels."""

_ATTACHMENT = "refereverything_latents"


class LatentsCache:
    """Latents by the content of the frames they are of; those not asked for longest go first.

    Args:
        encoder: what the latents depend on besides the frames; compared by identity.
        limit: bytes kept at most.
    """

    def __init__(self, encoder: tuple[Any, ...], limit: int = LATENTS_BYTES) -> None:
        self.encoder = encoder
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

    def put(self, key: bytes, latents: Tensor) -> None:
        """Keep a copy of latents; what does not fit within the limit at all is not kept."""
        if latents.nbytes > self._limit or key in self._latents:
            return
        self._latents[key] = latents.clone()
        self.size += latents.nbytes
        while self.size > self._limit:
            self.size -= self._latents.popitem(last=False)[1].nbytes


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
