"""Colour spaces of an OpenColorIO configuration, through OpenImageIO: names, and curves and matrices taken from it.

OpenImageIO reads a configuration anew for every picture that it converts, a tenth of a second each time. So a space is
asked once, for a ramp and for three primaries, and frames go through the table and the matrix that this gives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

import numpy as np
import OpenImageIO as oiio

from .colour import GAMUTS, gamut_name, to_rec709, to_xyz
from .curves import Curve, Table, codes_of_tables

BUILT_IN = "ocio://studio-config-latest"
"""The ACES studio configuration inside OpenColorIO."""

_INTERCHANGE = "aces_interchange"  # OCIO's role for ACES2065-1
_NAMES_SHOWN = 4
# Of a ramp's values: a space whose channels depend on each other, or on a look, differs by far more.
_TABLE_ERROR = 2e-3


@dataclass(frozen=True)
class ConfiguredSpace:
    """A colour space as a configuration has it.

    Attributes:
        curve: of code values to light; None where they are light.
        to_rec709: the matrix, float64 [3,3], from that light to Rec. 709's.
        xy: primaries and white of that light; None where the configuration does not say.
        light_id: the Color Interop Forum's name of that light, or None.
        cicp: codes of ITU-T H.273 of its code values (primaries, transfer), or None.
    """

    curve: Curve | None
    to_rec709: np.ndarray
    xy: tuple[float, ...] | None
    light_id: str | None
    cicp: tuple[int, int] | None


def configuration() -> str:
    """The configuration that names are looked up in: $OCIO where it is set, or the built-in one."""
    return os.environ.get("OCIO") or BUILT_IN


def resolved(name: str, config: str) -> str | None:
    """A space's own name, by that or by another that the configuration knows it under; None where it knows none."""
    found = _opened(config)
    own = found.resolve(name)
    return found.getColorSpaceNameByIndex(found.getColorSpaceIndex(own)) if found.getColorSpaceIndex(own) >= 0 else None


def near_names(name: str, config: str) -> list[str]:
    """Names of the configuration like one that is unknown."""
    found = _opened(config)
    spellings: dict[str, str] = {}
    for space in found.getColorSpaceNames():
        spellings |= {spelling.casefold(): space for spelling in (space, *found.getAliases(space))}
    given = name.casefold()
    close = get_close_matches(given, spellings, 3 * _NAMES_SHOWN, 0.5)
    holding = [spelling for spelling in spellings if given and (given in spelling or spelling in given)]
    near = dict.fromkeys(spellings[spelling] for spelling in (*close, *sorted(holding, key=len)))
    return list(near)[:_NAMES_SHOWN]


@cache
def configured_space(name: str, config: str) -> ConfiguredSpace:
    """A space by its own name.

    Raises:
        ValueError: data that are no colours, or a configuration that does not say how it is related to ACES2065-1.
    """
    found = _opened(config)
    aces = found.getColorSpaceNameByRole(_INTERCHANGE) or resolved("ACES2065-1", config)
    if found.isData(name):
        raise ValueError(f"The colour space {name!r} holds data, which are no colours: name the space of a picture.")
    if not aces:
        raise ValueError(
            f"The OpenColorIO configuration {config} has no role {_INTERCHANGE}, so that its spaces cannot be shown: "
            "add the role, or unset OCIO for the built-in configuration."
        )
    cicp = found.get_cicp(name)
    codes = None if cicp is None else (int(cicp[0]), int(cicp[1]))
    if found.isColorSpaceLinear(name):
        return ConfiguredSpace(None, *_light(name, aces, config), codes)
    light = _light_of(name, config)
    table = _table(name, light, config) if light else None
    if light and table:
        return ConfiguredSpace(table, *_light(light, aces, config), codes)

    def decode(codes: np.ndarray) -> np.ndarray:
        return _converted(codes, name, aces, config)

    def encode(light: np.ndarray) -> np.ndarray:
        return _converted(light, aces, name, config)

    through = Curve(decode, encode)
    return ConfiguredSpace(through, to_rec709(GAMUTS["ap0"]), GAMUTS["ap0"], "lin_ap0_scene", codes)


@cache
def _opened(config: str) -> oiio.ColorConfig:
    """Raises ValueError for a configuration that cannot be read."""
    found = oiio.ColorConfig(config)
    if error := found.geterror():
        raise ValueError(f"The OpenColorIO configuration {config} cannot be read ({error}): set OCIO to another.")
    return found


def _light_of(name: str, config: str) -> str | None:
    """The space of a space's own light: that of the same gamut, by the Color Interop Forum's names (curve, gamut,
    image state: `ocio:arrilogc3_awg3_scene` -> `ocio:lin_awg3_scene`)."""
    interop = _opened(config).get_color_interop_id(name)
    if not interop:
        return None
    gamut = interop.removeprefix("ocio:").rsplit("_", 1)[0].partition("_")[2]
    return resolved(f"lin_{gamut}_scene", config) or resolved(f"ocio:lin_{gamut}_scene", config)


def _light(name: str, aces: str, config: str) -> tuple[np.ndarray, tuple[float, ...] | None, str | None]:
    """(matrix to Rec. 709, primaries and white, interop name) of a linear space."""
    found = _opened(config)
    primaries = np.eye(3, dtype=np.float32)[None]
    matrix = to_rec709(GAMUTS["ap0"]) @ _converted(primaries, name, aces, config)[0].T.astype(np.float64)
    interop = found.get_color_interop_id(name) or None
    stated = found.get_chromaticities(name)
    xy = tuple(round(float(value), 7) for value in stated) if stated else _xy_under_d65(matrix)
    known = (interop or "").removeprefix("ocio:").removeprefix("lin_").removesuffix("_scene")
    return matrix, GAMUTS.get(known) or GAMUTS.get(gamut_name(xy) or "") or xy, interop


def _xy_under_d65(matrix: np.ndarray) -> tuple[float, ...]:
    """x, y of primaries, by their matrix to Rec. 709, for a white of D65, which all cameras' gamuts have."""
    xyz = to_xyz(GAMUTS["rec709"]) @ matrix
    places = (xyz[:2] / xyz.sum(axis=0)).T.round(4)
    return (*places.ravel().tolist(), *GAMUTS["rec709"][6:])


def _table(name: str, light: str, config: str) -> Curve | None:
    """The curve from code values to light; None where the channels depend on each other, or it does not rise."""
    ramp = np.repeat(codes_of_tables().astype(np.float32)[:, None], 3, axis=1)
    mixed = np.random.default_rng(0).random((256, 3), np.float32)
    values = _converted(np.concatenate([ramp, mixed])[None], name, light, config)[0]
    table = Table(
        np.ascontiguousarray(values[: len(ramp), 1]),
        beyond=lambda codes: _converted(codes, name, light, config),
    )
    expected, scale = values[len(ramp) :], np.maximum(np.abs(values[len(ramp) :]), 0.01)
    apart = bool((np.abs(table.decode(mixed) - expected) > _TABLE_ERROR * scale).any())
    return None if apart or not (np.diff(table.values) >= 0).all() else table.curve


def _converted(values: np.ndarray, source: str, target: str, config: str) -> np.ndarray:
    """Values [...,3] from one space to another, float32."""
    rows = np.ascontiguousarray(values, np.float32).reshape(1, -1, 3)
    image = oiio.ImageBufAlgo.colorconvert(oiio.ImageBuf(rows), source, target, False, "", "", config)
    if image.has_error:
        raise ValueError(f"OpenColorIO cannot bring {source} to {target} ({image.geterror()}): see {config}.")
    return np.asarray(image.get_pixels(oiio.FLOAT)).reshape(values.shape)
