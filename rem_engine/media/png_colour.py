"""What a PNG's chunks gAMA and cHRM say of its colours (PNG 11.3.2), of which OpenImageIO hands on the first alone."""

from __future__ import annotations

import struct
from pathlib import Path

from .colour import GAMUTS, gamut_name
from .plate_space import SRGB_TRANSFER, PlateSpace, power_space, tagged_space
from .png_check import chunks_before_pixels

GAMMA, PRIMARIES = "png:gAMA", "png:cHRM"
"""Names, among a header's attributes, of the exponent from code values to light, and of x, y of red, green, blue and
white."""

_PARTS = 100_000  # of which both chunks count
_SRGB_GAMMA, _AS_SRGB = 2.2, 0.05  # what writers of sRGB state, and how far others are from it
_GAMMAS = (1.0, 4.0)  # beyond them nothing is stored, and the number is a mistake


def stated_colours(file: Path) -> dict[str, float | tuple[float, ...]]:
    """Under `GAMMA` and `PRIMARIES`, what a PNG says before its pixels; nothing where its chunk sRGB says all.

    Args:
        file: a PNG that has been looked at.
    """
    found: dict[bytes, bytes] = {}
    with open(file, "rb") as stream:
        for kind, length in chunks_before_pixels(stream):
            if kind in (b"gAMA", b"cHRM", b"sRGB") and length <= 32:
                found[kind] = stream.read(length)
    said: dict[str, float | tuple[float, ...]] = {}
    if b"sRGB" in found:
        return said
    if len(content := found.get(b"gAMA", b"")) == 4 and (parts := int.from_bytes(content, "big")):
        said[GAMMA] = _PARTS / parts
    if len(content := found.get(b"cHRM", b"")) == 32:
        white_x, white_y, *primaries = (part / _PARTS for part in struct.unpack(">8I", content))
        said[PRIMARIES] = (*primaries, white_x, white_y)
    return said


def space_of_chunks(gamma: float | None, xy: tuple[float, ...] | None) -> tuple[PlateSpace, str] | None:
    """The space that gAMA and cHRM state, and how that is known; None where they say no more than sRGB does, or what
    cannot be.

    Args:
        gamma: exponent from code values to light; None: sRGB's curve.
        xy: of red, green, blue and white; None: Rec. 709's.
    """
    if gamma is not None and (abs(gamma - _SRGB_GAMMA) <= _AS_SRGB or not 0.995 * _GAMMAS[0] <= gamma <= _GAMMAS[1]):
        gamma = None
    gamut = "rec709" if xy is None else gamut_name(xy)
    said = [f"gAMA of {1 / gamma:.3g}"] if gamma else []
    said += [] if gamut == "rec709" else ["cHRM"]
    if not said:
        return None
    try:
        if gamma is None and gamut == "p3d65":
            space = tagged_space(12, SRGB_TRANSFER)
        else:
            space = power_space(xy or GAMUTS["rec709"], gamma)
    except ValueError:  # places that no primaries have
        return space_of_chunks(gamma, None)
    return space, f"chunk{'s' if len(said) > 1 else ''} {' and '.join(said)}"
