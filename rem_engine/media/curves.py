"""Curves of ITU-T H.273 and of film scans: code values of a file to light and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np

from .colour import LARGEST_HALF, linear_to_srgb, luma_weights, srgb_to_linear

CurveName = Literal["linear", "srgb", "log100", "log316", "pq", "st428", "hlg", "cineon"]

GRAPHIC_WHITE = 203.0
"""cd/m2 of HDR's diffuse white (ITU-R BT.2408), which is 1 in scene-linear light here as everywhere."""

_STEPS = 1 << 16
_TOGETHER = 1 << 16
_HLG = (0.17883277, 0.28466892, 0.55991073)  # a, b, c of BT.2100, table 5
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # of the reference display
_OPEN = ("cineon", "log100", "log316")
"""Curves that go on beyond codes of 0 and 1."""
_LUMA_2020 = np.array(luma_weights(9), np.float32)


@dataclass(frozen=True)
class Curve:
    """How code values and light belong together.

    Attributes:
        decode: code values [...,3] -> light, float32 [...,3]; what a screen shows as white, or a scene's diffuse white,
            is 1.
        encode: the inverse.
    """

    decode: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Table:
    """A rising curve by its values at `_STEPS` + 1 even places of 0..1, with straight lines between.

    Attributes:
        values: float32, light.
        beyond: the curve itself, for pixels [N,3] of an EXR with codes below 0 or above 1; None where it ends there.
    """

    values: np.ndarray
    beyond: Callable[[np.ndarray], np.ndarray] | None = None

    def decode(self, codes: np.ndarray) -> np.ndarray:
        light = np.empty(codes.shape, np.float32)
        flat, given = light.reshape(-1), codes.reshape(-1)
        for start in range(0, flat.size, _TOGETHER):  # what is made on the way fits into the cache
            block = slice(start, start + _TOGETHER)
            place = np.clip(given[block], 0.0, 1.0).astype(np.float32) * np.float32(_STEPS)
            below = np.minimum(place.astype(np.int32), _STEPS - 1)
            low = self.values[below]
            flat[block] = low + (place - below) * (self.values[below + 1] - low)
        if self.beyond is not None and codes.size and (codes.min() < 0.0 or codes.max() > 1.0):
            outside = ((codes < 0.0) | (codes > 1.0)).any(axis=-1)
            # What a code far above 1 stands for may be more than a float holds.
            light[outside] = np.nan_to_num(self.beyond(codes[outside])).clip(-LARGEST_HALF, LARGEST_HALF)
        return light

    def encode(self, light: np.ndarray) -> np.ndarray:
        return np.interp(light, self.values, codes_of_tables()).astype(np.float32)

    @property
    def curve(self) -> Curve:
        return Curve(self.decode, self.encode)


def codes_of_tables() -> np.ndarray:
    """The places at which a `Table` has its values, float64 0..1."""
    return np.linspace(0.0, 1.0, _STEPS + 1)


def curve(name: CurveName) -> Curve:
    """A curve by its name: "linear", "srgb" (IEC 61966-2-1), "log100" and "log316" (H.273's codes 9 and 10), "pq"
    (SMPTE ST 2084), "st428" (SMPTE ST 428-1), "hlg" (ITU-R BT.2100, as its reference display shows it), "cineon" (film
    scans, Kodak's printing density)."""
    if name == "linear":
        return Curve(_float, _float)
    if name == "srgb":
        return Curve(srgb_to_linear, _srgb_unclipped)
    if name == "hlg":
        return Curve(_hlg_light, _hlg_codes)
    return Table(_table(name), partial(_beyond, name) if name in _OPEN else None).curve


def _beyond(name: str, codes: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return _FORMULAS[name](codes.astype(np.float64))


@cache
def _table(name: str) -> np.ndarray:
    return _FORMULAS[name](codes_of_tables()).astype(np.float32)


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)


def _srgb_unclipped(light: np.ndarray) -> np.ndarray:
    return np.where(light > 1.0, 1.055 * np.maximum(light, 1.0) ** (1 / 2.4) - 0.055, linear_to_srgb(light))


def _pq(codes: np.ndarray) -> np.ndarray:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = codes ** (1 / m2)
    return (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1) * (10000.0 / GRAPHIC_WHITE)


def _cineon(codes: np.ndarray) -> np.ndarray:
    black = 10.0 ** ((95 - 685) * 0.002 / 0.6)  # code values of 10 bits, density a code, gamma of the negative
    return (10.0 ** ((1023.0 * codes - 685.0) * 0.002 / 0.6) - black) / (1.0 - black)


def _hlg_scene(codes: np.ndarray) -> np.ndarray:
    a, b, c = _HLG
    return np.where(codes <= 0.5, codes**2 / 3.0, (np.exp((codes - c) / a) + b) / 12.0)


def _hlg_light(codes: np.ndarray) -> np.ndarray:
    scene = Table(_table("hlg scene")).decode(codes)
    luminance = np.maximum(scene @ _LUMA_2020, 1e-9)[..., None]
    return scene * (luminance ** np.float32(_HLG_GAMMA - 1.0) * np.float32(_HLG_PEAK / GRAPHIC_WHITE))


def _hlg_codes(light: np.ndarray) -> np.ndarray:
    shown = np.maximum(light, 0.0) * np.float32(GRAPHIC_WHITE / _HLG_PEAK)
    luminance = np.maximum(shown @ _LUMA_2020, 1e-9)[..., None]
    return Table(_table("hlg scene")).encode(shown * luminance ** np.float32(1.0 / _HLG_GAMMA - 1.0))


_FORMULAS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "log100": lambda codes: 10.0 ** ((codes - 1.0) * 2.0),
    "log316": lambda codes: 10.0 ** ((codes - 1.0) * 2.5),
    "pq": _pq,
    "st428": lambda codes: codes**2.6 * (52.37 / 48.0),
    "hlg scene": _hlg_scene,
    "cineon": _cineon,
}
