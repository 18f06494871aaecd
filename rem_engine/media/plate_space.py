"""The colour space of a plate: what its numbers are in light, and how pictures of it are tagged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from hashlib import sha256

import numpy as np

from .colour import GAMUTS, REC_709, ColourTags, gamut_name, to_rec709
from .curves import Curve, CurveName, Table, codes_of_tables, curve

SRGB_TRANSFER = 13
"""H.273's code of the sRGB curve."""

TRANSFERS: dict[int, CurveName] = {8: "linear", 9: "log100", 10: "log316", 16: "pq", 17: "st428", 18: "hlg"}
"""Curves by H.273's codes of transfer functions (its table 3), of those that are no SDR video."""

# Primaries whose SDR pictures screens show as those of Rec. 709.
_SHOWN_AS_THEY_ARE = (None, REC_709, 5, 6)
# Names of linear light and its gamuts for people.
_TOLD_GAMUTS = {
    "rec709": "Rec. 709",
    "rec2020": "Rec. 2020",
    "p3d65": "P3 D65",
    "ap0": "ACES AP0",
    "ap1": "ACES AP1 (ACEScg)",
    "adobergb": "Adobe RGB",
    "awg3": "ARRI Wide Gamut 3",
    "awg4": "ARRI Wide Gamut 4",
    "sgamut3": "S-Gamut3",
    "sgamut3cine": "S-Gamut3.Cine",
}
_CURVES_TOLD: dict[CurveName, str] = {
    "linear": "scene-linear",
    "srgb": "sRGB curve",
    "log100": "logarithmic (100:1)",
    "log316": "logarithmic (316:1)",
    "pq": "PQ",
    "st428": "ST 428-1",
    "hlg": "HLG",
    "cineon": "Cineon",
}
_CAMERAS = {
    "rec709": "Rec.1886 Rec.709 - Display",
    "logc3": "ARRI LogC3 (EI800)",
    "logc4": "ARRI LogC4",
    "slog3": "S-Log3 S-Gamut3.Cine",
    "vlog": "V-Log V-Gamut",
    "redlog": "Log3G10 REDWideGamutRGB",
    "applelog": "Apple Log",
}
SHORT_NAMES = (
    *("srgb", "rec709", "linear", "acescg", "aces", "logc3", "logc4", "slog3", "vlog", "redlog", "applelog"),
    *("cineon", "pq", "hlg"),
)
"""What people call the spaces that plates come in."""


@dataclass(frozen=True)
class PlateSpace:
    """A colour space.

    Attributes:
        name: for people, and for run.json.
        curve: of code values to light; None where they are light.
        to_rec709: the matrix, float64 [3,3], from that light to Rec. 709's.
        xy: primaries and white of that light; None where they are not known.
        light_id: the Color Interop Forum's name of that light, or None.
        light_told: of that light, for people.
        tags: codes of H.273 of its code values, where these can say what they are; else None.
        is_display: whether its code values are those of an sRGB screen as they are.
    """

    name: str
    curve: Curve | None = field(repr=False, compare=False)
    to_rec709: np.ndarray = field(repr=False, compare=False)
    xy: tuple[float, ...] | None
    light_id: str | None
    light_told: str
    tags: ColourTags | None = None
    is_display: bool = False

    @property
    def digest(self) -> str:
        """Equal for spaces that give equal light: a name may mean another space once the configuration has changed."""
        ramp = np.linspace(0.0, 1.0, 65, dtype=np.float32)
        codes = np.stack([ramp, ramp[::-1], np.roll(ramp, 20)], axis=-1)
        seen = self.light(np.concatenate([codes, np.repeat(ramp[:, None], 3, axis=1)]))
        return sha256(seen.tobytes() + np.ascontiguousarray(self.to_rec709, np.float64).tobytes()).hexdigest()

    def light(self, stored: np.ndarray) -> np.ndarray:
        """Values of a plate, float [...,3] -> scene-linear light in its own gamut, float32 [...,3]."""
        return stored.astype(np.float32, copy=False) if self.curve is None else self.curve.decode(stored)

    def codes(self, light: np.ndarray) -> np.ndarray:
        """The inverse of `light`."""
        return light if self.curve is None else self.curve.encode(light)


def linear_space(xy: tuple[float, ...]) -> PlateSpace:
    """Scene-linear light of these primaries and white.

    Raises:
        ValueError: places that no primaries have.
    """
    if len(xy) != 8:
        raise ValueError("no primaries and white")
    gamut = gamut_name(xy)
    if gamut is None and not (min(xy[1::2]) != 0 and np.isfinite(xy).all() and abs(_area(xy)) > 1e-4):
        raise ValueError("primaries that span no colours")
    return _space("linear", GAMUTS[gamut] if gamut else xy)


def power_space(xy: tuple[float, ...], gamma: float | None) -> PlateSpace:
    """Pictures of these primaries and white, by a power of their code values (of 1: light); of None, by sRGB's curve.

    Raises:
        ValueError: places that no primaries have.
    """
    light = linear_space(xy)
    if gamma is not None and abs(gamma - 1.0) < 5e-3:
        return light
    bent = curve("srgb") if gamma is None else Table((codes_of_tables() ** gamma).astype(np.float32)).curve
    told = _CURVES_TOLD["srgb"] if gamma is None else f"gamma {gamma:.3g}"
    return replace(light, name=f"{told}, {told_gamut(xy)}", curve=bent)


def tagged_space(primaries: int | None, transfer: int | None, matrix: int | None = None) -> PlateSpace:
    """The space that codes of ITU-T H.273 name; None is unspecified.

    SDR video, of whatever transfer function, is taken as the sRGB screen shows it that people and models look at.
    """
    name = TRANSFERS.get(transfer or REC_709, "srgb")
    if name in ("pq", "hlg"):
        primaries = primaries or 9  # BT.2100 has no others
    xy = ColourTags(primaries).xy()
    if name == "linear":
        return linear_space(xy)
    space = _space(name, xy, ColourTags(primaries, transfer, matrix))
    if name == "srgb" and primaries in _SHOWN_AS_THEY_ARE:
        return replace(space, to_rec709=np.eye(3), is_display=True)
    return space


def named_space(name: str) -> PlateSpace:
    """A space by one of `SHORT_NAMES`, or by any name that the OpenColorIO configuration knows it under.

    Raises:
        ValueError: an unknown name, with those near it.
    """
    short = name.strip().casefold()
    if short in ("linear", "acescg", "aces"):
        return linear_space(GAMUTS[{"linear": "rec709", "acescg": "ap1", "aces": "ap0"}[short]])
    if short == "srgb":
        return tagged_space(REC_709, SRGB_TRANSFER)
    if short in ("pq", "hlg"):
        return tagged_space(9, 16 if short == "pq" else 18, 9)
    if short == "cineon":
        return _space("cineon", GAMUTS["rec709"], light_id=None)  # of no gamut; shown as Rec. 709 by custom
    from .configuration import BUILT_IN, configuration, configured_space, near_names, resolved  # brings OpenImageIO

    config = BUILT_IN if short in _CAMERAS else configuration()
    own = resolved(_CAMERAS.get(short, name.strip()), config)
    if own is None:
        near = get_close_matches(short, SHORT_NAMES, 3, 0.5) or SHORT_NAMES
        own_names = [space for space in near_names(short, config) if space.casefold() not in SHORT_NAMES]
        raise ValueError(
            f"There is no colour space {name!r}: give one of {', '.join([*near, *own_names])}, or another of the "
            f"OpenColorIO configuration {config}."
        )
    found = configured_space(own, config)
    if found.cicp is not None and found.cicp[1] in (SRGB_TRANSFER, 16, 18):
        return tagged_space(*found.cicp)  # exactly, and with HDR's white
    known = found.xy is not None and gamut_name(found.xy) is not None
    told = f"Scene-linear, {told_gamut(found.xy)}" if found.xy and known else f"Scene-linear light of {own}"
    tags = None if found.cicp is None or found.curve is None else ColourTags(*found.cicp)
    return PlateSpace(own, found.curve, found.to_rec709, found.xy, found.light_id, told, tags)


def told_gamut(xy: tuple[float, ...]) -> str:
    """Primaries and white, for people."""
    gamut = gamut_name(xy)
    return f"{_TOLD_GAMUTS[gamut]} primaries" if gamut else "chromaticities as stated"


def _space(
    name: CurveName,
    xy: tuple[float, ...],
    tags: ColourTags | None = None,
    light_id: str | None = "",
) -> PlateSpace:
    gamut, told = gamut_name(xy), told_gamut(xy)
    if light_id == "" and gamut:
        light_id = f"{'ocio:' if gamut in ('awg3', 'awg4', 'sgamut3', 'sgamut3cine') else ''}lin_{gamut}_scene"
    return PlateSpace(
        f"{_CURVES_TOLD[name]}, {told}",
        None if name == "linear" else curve(name),
        to_rec709(xy),
        xy,
        light_id or None,
        f"Scene-linear, {told}",
        tags,
    )


def _area(xy: tuple[float, ...]) -> float:
    red, green, blue = (np.array(xy[place : place + 2]) for place in (0, 2, 4))
    (a, b), (c, d) = green - red, blue - red
    return float(a * d - b * c)
