"""Cryptomatte, by version 1.2 of its specification (Psyop): mattes that are picked by name out of one EXR a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .exr_writing import FAINTEST, Channel

CRYPTOMATTE_NAME = "CryptoObject"
"""Of the Cryptomatte in a file: its channels are CryptoObject00.R and so on, as renderers call that of objects."""

MOST_RANKS = 16
"""Mattes that one pixel can be shared by; of more layers there than that the weakest are left out."""

_RANKS_A_LEVEL = 2  # (R, G) and (B, A) of a level are a name and how much of the pixel it covers
_MASK = 0xFFFFFFFF


def name_hash(name: str) -> int:
    """MurmurHash3_x86_32 (Appleby) with seed 0 of a name in UTF-8, which Cryptomatte identifies names by."""
    data = name.encode()
    whole = len(data) - len(data) % 4
    state = 0
    for start in range(0, whole, 4):
        state = _rotated(state ^ _mixed(int.from_bytes(data[start : start + 4], "little")), 13)
        state = (state * 5 + 0xE6546B64) & _MASK
    if whole < len(data):
        state ^= _mixed(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = ((state ^ state >> shift) * factor) & _MASK
    return state


def name_id(name: str) -> np.float32:
    """What stands for a name in pixels: the bits of its hash as a float ("uint32_to_float32"). Exponents of all zeros
    or ones, which would be denormals, infinities or NaN, have their lowest bit flipped, as the specification wants."""
    bits = name_hash(name)
    if bits >> 23 & 0xFF in (0, 0xFF):
        bits ^= 1 << 23
    return np.uint32(bits).view(np.float32)


def check_distinct(names: Sequence[str]) -> None:
    """Raise ValueError where two names would be one in a Cryptomatte: of 32 bits, few pairs of names are."""
    known: dict[int, str] = {}
    for name in names:
        other = known.setdefault(int(name_id(name).view(np.uint32)), name)
        if other != name:
            raise ValueError(
                f"The names {other} and {name} have one and the same number in a Cryptomatte, and who picks one would "
                "pick both: give one of them another name."
            )


def cryptomatte_header(names: Sequence[str]) -> dict[str, Any]:
    """Metadata of a file with these layers: the manifest has the hash of each name, as pixels have it."""
    key = f"cryptomatte/{name_hash(CRYPTOMATTE_NAME):08x}"[: len("cryptomatte/") + 7]
    manifest = {name: f"{int(name_id(name).view(np.uint32)):08x}" for name in names}
    return {
        f"{key}/name": CRYPTOMATTE_NAME,
        f"{key}/hash": "MurmurHash3_32",
        f"{key}/conversion": "uint32_to_float32",
        # Letters as they are: Blender's reader of manifests does not know \\u escapes.
        f"{key}/manifest": json.dumps(manifest, ensure_ascii=False),
    }


def coverage_of(channels: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """How much of each pixel a name covers, float32 [H,W], by the channels of a file; None of one without such."""
    levels = [
        [channels[f"{CRYPTOMATTE_NAME}{level:02}.{place}"] for place in "RGBA"]
        for level in range(MOST_RANKS // _RANKS_A_LEVEL)
        if all(f"{CRYPTOMATTE_NAME}{level:02}.{place}" in channels for place in "RGBA")
    ]
    wanted = name_id(name).view(np.uint32)
    found: np.ndarray | None = None
    for ids, covered in (rank for level in levels for rank in (level[:2], level[2:])):
        own = np.where(ids.view(np.uint32) == wanted, covered, np.float32(0.0))
        found = own if found is None else found + own
    return found


def shared_coverage(mattes: np.ndarray) -> np.ndarray:
    """Mattes [L,H,W] in 0..1 as shares of each pixel, float32: where they come to more than 1 together they are divided
    by their sum; elsewhere they are as they were, and what is left belongs to no layer."""
    mattes = mattes.clip(0.0, 1.0)
    together = mattes.sum(axis=0, dtype=np.float32)
    if together.max(initial=0.0) <= 1.0:
        return mattes
    return mattes / np.maximum(together, 1.0)


def cryptomatte_channels(names: Sequence[str], mattes: np.ndarray) -> dict[str, Channel]:
    """Channels of a frame: ranks of (name, coverage), the largest coverage first, two a level of R, G, B, A.

    Args:
        names: L names.
        mattes: float32 [L,H,W] in 0..1; what is no more than `FAINTEST` has no name.
    """
    coverage = shared_coverage(np.where(mattes > FAINTEST, mattes, np.float32(0)))
    ids = np.array([name_id(name) for name in names], np.float32)
    order = np.argsort(-coverage, axis=0, kind="stable")[:MOST_RANKS]
    ranked = np.take_along_axis(coverage, order, axis=0)
    named = np.where(ranked > 0, ids[order], np.float32(0))
    channels: dict[str, Channel] = {}
    levels = -(-min(len(names), MOST_RANKS) // _RANKS_A_LEVEL)
    nothing = np.zeros(mattes.shape[1:], np.float32)
    for rank in range(levels * _RANKS_A_LEVEL):
        level, letters = divmod(rank, _RANKS_A_LEVEL)
        planes = (named[rank], ranked[rank]) if rank < len(ranked) else (nothing, nothing)
        for letter, plane in zip("RGBA"[2 * letters :], planes):
            channels[f"{CRYPTOMATTE_NAME}{level:02d}.{letter}"] = Channel(plane)
    return channels


def _mixed(block: int) -> int:
    return _rotated(block * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK
