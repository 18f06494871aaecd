"""Colour spaces of pictures by their ICC profiles, those of a matrix and curves (ICC.1:2022, 8.3.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .colour import GAMUTS, to_rec709
from .curves import Table, codes_of_tables, curve
from .plate_space import SRGB_TRANSFER, PlateSpace, tagged_space, told_gamut

_COLUMNS, _CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")
# Rec. 709's primaries as columns X, Y, Z under D50, to which profiles' colours are brought (by Bradford's cones).
_REC709 = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
# Numbers of a parametric curve by its kind.
_PARAMETERS = (1, 3, 4, 5, 7)
# Of matrix entries and of light: profiles are written with 16 bits and less.
_SAME_MATRIX, _SAME_LIGHT = 5e-3, 3e-3


@dataclass(frozen=True)
class _Profile:
    """Of a profile, the matrix to X, Y, Z under D50, float64 [3,3], and light at the places of a `Table`."""

    matrix: np.ndarray
    light: np.ndarray


@lru_cache(8)  # every frame of a sequence brings the same one
def space_of_profile(profile: bytes, name: str) -> PlateSpace | None:
    """The space of an RGB profile that is a matrix with one curve; None for any other, or one that is damaged.

    Args:
        profile: of the picture.
        name: its description.
    """
    try:
        read = _read(profile)
    except (struct.error, ValueError, IndexError, KeyError):
        return None
    if read is None:
        return None
    matrix = np.linalg.solve(_REC709, read.matrix)
    gamut = next((gamut for gamut, xy in GAMUTS.items() if np.abs(matrix - to_rec709(xy)).max() < _SAME_MATRIX), None)
    is_srgb = np.abs(read.light - curve("srgb").decode(codes_of_tables())).max() < _SAME_LIGHT
    if is_srgb and gamut in ("rec709", "p3d65"):
        return tagged_space(1 if gamut == "rec709" else 12, SRGB_TRANSFER)
    xy = GAMUTS[gamut] if gamut else None
    told = f"Scene-linear, {told_gamut(xy)}" if xy else f"Scene-linear light of the ICC profile {name}"
    interop = f"lin_{gamut}_scene" if gamut in ("rec709", "p3d65", "rec2020", "adobergb") else None
    table = Table(read.light.astype(np.float32)).curve
    return PlateSpace(f"ICC profile {name}", table, to_rec709(xy) if xy else matrix, xy, interop, told)


def _read(profile: bytes) -> _Profile | None:
    """Raises struct.error, ValueError, IndexError or KeyError for a damaged one."""
    if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
        return None
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for place in range(132, 132 + 12 * min(count, 100), 12):
        name, start, size = struct.unpack_from(">4sII", profile, place)
        tags[name] = profile[start : start + size]
    if b"A2B0" in tags or b"rXYZ" not in tags:
        return None
    columns = [[value / 65536 for value in struct.unpack_from(">3i", tags[name], 8)] for name in _COLUMNS]
    curves = [_curve(tags[name]) for name in _CURVES]
    if any(np.abs(other - curves[0]).max() > _SAME_LIGHT for other in curves[1:]):
        return None
    matrix = np.array(columns).T
    if abs(np.linalg.det(matrix)) < 1e-6 or (np.diff(curves[0]) < 0).any():
        return None
    return _Profile(matrix, curves[0])


def _curve(tag: bytes) -> np.ndarray:
    """Light at the places of a `Table`, of a tag of curveType or parametricCurveType (10.6, 10.18)."""
    codes = codes_of_tables()
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return codes
        if count == 1:
            return codes ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        values = np.frombuffer(tag, ">u2", count, 12) / 65535
        return np.interp(codes, np.linspace(0.0, 1.0, count), values)
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    numbers = np.array(struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12)) / 65536
    g, (a, b) = numbers[0], numbers[1:3] if kind else (1.0, 0.0)
    c, d = numbers[3:5] if kind >= 3 else (0.0, -b / a)
    above, below = (numbers[3], numbers[3]) if kind == 2 else numbers[5:7] if kind == 4 else (0.0, 0.0)
    return np.where(codes >= d, np.maximum(a * codes + b, 0.0) ** g + above, c * codes + below)
