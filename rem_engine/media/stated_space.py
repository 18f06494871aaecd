"""The colour space that a file states: of pictures by their headers, of videos by codes of H.273 and cameras' tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .colour import GAMUTS, REC_709, ColourTags
from .icc import space_of_profile
from .plate_space import SHORT_NAMES, SRGB_TRANSFER, PlateSpace, linear_space, named_space, tagged_space
from .png_colour import GAMMA, PRIMARIES, space_of_chunks

# DPX transfer characteristics (SMPTE ST 268-1, table 5A), as OpenImageIO names them.
_DPX_LOG, _DPX_FILM, _DPX_LINEAR, _DPX_VIDEO = "Logarithmic", "Printing density", "Linear", "ITU-R 709-4"
# EXIF's code of a colour space that is not sRGB (EXIF 2.3, tag 40961).
_UNCALIBRATED = 65535
# H.273's codes of what is not said, or reserved; and of primaries that are none.
_NOT_SAID, _XYZ = (0, 2, 3), 10
# Names of H.273's transfer codes that are no SDR video, for sentences.
_TRANSFERS = {8: "linear light", 9: "logarithmic, 100:1", 10: "logarithmic, 316:1", 16: "PQ", 17: "ST 428-1", 18: "HLG"}
# Cameras' logarithmic curves as makers write them, with the short name that fits.
_CAMERA_CURVES = (
    (r"log[\s_-]?c[\s_-]?4|arri[\s_-]?log[\s_-]?c4", "logc4"),
    (r"log[\s_-]?c([\s_-]?3)?\b|arri[\s_-]?log[\s_-]?c3", "logc3"),
    (r"s[\s_-]?log[\s_-]?[23]?\b", "slog3"),
    (r"v[\s_-]?log\b", "vlog"),
    (r"log3g1[02]|redlog(film)?", "redlog"),
    (r"apple[\s_-]?log", "applelog"),
    (r"(c|canon)[\s_-]?log[\s_-]?[23]?\b", "CanonLog3 CinemaGamut D55"),
    (r"d[\s_-]?log(-m)?\b", "D-Log D-Gamut"),
    (r"(n|f|l|z)[\s_-]?log2?\b", ""),
    (r"(bmd|blackmagic)[\s_-]?(design)?[\s_-]?film|extended video", "BMDFilm WideGamut Gen5"),
    (r"davinci[\s_-]?intermediate", "DaVinci Intermediate WideGamut"),
)
# Tags that say how a picture was recorded; others are people's own words.
_TAGS_OF_CURVES = re.compile(
    r"gamma|transfer|curve|colou?r|\blog|look|lut|picture.?profile|com\.arri|proapps|\.log", re.I
)
_PEOPLES_WORDS = re.compile(r"title|comment|description|synopsis|keyword|artist|author|album|copyright|encoder", re.I)


@dataclass(frozen=True)
class Stated:
    """What a file says of its colours.

    Attributes:
        space: its colour space; None where it has to be named, since the file says no more than that it is logarithmic
            or none of what is known.
        source: where it says so, a phrase for run.json; where it has to be named, the sentence that asks for it.
    """

    space: PlateSpace | None
    source: str

    def required(self) -> PlateSpace:
        """The space.

        Raises:
            ValueError: it has to be named.
        """
        if self.space is None:
            raise ValueError(self.source)
        return self.space


def space_of_picture(name: str, kind: str, attributes: Mapping[str, Any]) -> Stated:
    """The space of a picture, by its header.

    Args:
        name: of the file, for sentences.
        kind: OpenImageIO's name of its format.
        attributes: of the header, by OpenImageIO's names.
    """
    if kind == "openexr":
        return _space_of_exr(name, attributes)
    if kind == "dpx":
        return _space_of_dpx(name, str(attributes.get("dpx:Transfer", "")))
    cicp = attributes.get("CICP")
    if isinstance(cicp, tuple) and len(cicp) >= 2:
        return _space_of_codes(int(cicp[0]), int(cicp[1]), "chunk cICP")
    if (profile := attributes.get("ICCProfile")) is not None:
        described = str(attributes.get("ICCProfile:profile_description", "")) or "without a name"
        found = space_of_profile(bytes(profile), described)
        if found is None:
            return Stated(_srgb(), f"ICC profile {described}, of no RGB matrix and curve: shown as it is")
        return Stated(found, f"ICC profile {described}")
    chunks = space_of_chunks(attributes.get(GAMMA), attributes.get(PRIMARIES))
    if chunks is not None:
        return Stated(*chunks)
    if attributes.get("Exif:ColorSpace") == _UNCALIBRATED:
        return Stated(_srgb(), "EXIF says another space than sRGB, and not which: shown as it is")
    return Stated(_srgb(), "stored display values")


def space_of_video(name: str, tags: ColourTags, metadata: Mapping[str, str]) -> Stated:
    """The space of a video, by its codes of H.273; one that its camera says is logarithmic has to be named.

    Args:
        name: of the file, for sentences.
        tags: its codes.
        metadata: tags of the container and of the stream.
    """
    if tags.transfer not in _TRANSFERS:
        for key, value in metadata.items():
            if (curve := _camera_curve(key, value)) is not None:
                return Stated(None, _asked(f"{name} says {key} is {value.strip()[:60]!r}", curve))
    return _space_of_codes(tags.primaries, tags.transfer, f"the tags of {name}", tags.matrix)


def _space_of_codes(primaries: int | None, transfer: int | None, where: str, matrix: int | None = None) -> Stated:
    known, curve = (None if code in _NOT_SAID else code for code in (primaries, transfer))
    if known == _XYZ:
        return Stated(None, _asked(f"{where} say its values are X, Y, Z, which are no R, G, B", ""))
    told = _TRANSFERS.get(curve or 0)
    said = f"transfer {curve} ({told or 'SDR, shown as it is'})" if curve else "no transfer said: SDR, shown as it is"
    return Stated(tagged_space(known, curve, matrix), f"{where}: primaries {known or 'not said'}, {said}")


def _space_of_exr(name: str, attributes: Mapping[str, Any]) -> Stated:
    interop = str(attributes.get("colorInteropID", ""))
    if interop and interop not in ("unknown", "data"):
        try:
            return Stated(_interop_space(interop), f"colorInteropID {interop}")
        except ValueError:
            return Stated(
                None, _asked(f"{name} says it is of the colour space {interop!r}, which is not known here", "")
            )
    if attributes.get("acesImageContainerFlag") == 1:
        return Stated(named_space("aces"), "acesImageContainerFlag")
    xy = attributes.get("chromaticities")
    if xy is not None:
        try:
            places = np.asarray(xy, float).ravel().tolist()
            return Stated(linear_space(tuple(places)), "chromaticities")
        except ValueError:
            return Stated(None, _asked(f"The chromaticities of {name} span no colours", "linear"))
    return Stated(named_space("linear"), "an EXR that says nothing is scene-linear, Rec. 709")


def _interop_space(interop: str) -> PlateSpace:
    """A space by the Color Interop Forum's name; sRGB and the light of no camera's gamut need no configuration."""
    if interop in ("srgb_rec709_display", "srgb_rec709_scene"):
        return _srgb()
    if interop.startswith("lin_"):
        xy = GAMUTS.get(interop.removeprefix("lin_").rsplit("_", 1)[0])
        if xy is not None:
            return linear_space(xy)
    return named_space(interop)


def _space_of_dpx(name: str, transfer: str) -> Stated:
    if transfer == _DPX_LOG:
        return Stated(None, _asked(f"The header of {name} says Logarithmic, and not of which curve", "cineon"))
    if transfer == _DPX_FILM:
        return Stated(named_space("cineon"), "DPX transfer: printing density")
    if transfer == _DPX_LINEAR:
        return Stated(named_space("linear"), "DPX transfer: linear")
    if transfer == _DPX_VIDEO:
        return Stated(tagged_space(REC_709, REC_709), "DPX transfer: Rec. 709, shown as it is")
    return Stated(_srgb(), f"DPX transfer: {transfer or 'not said'}, shown as it is")


def _camera_curve(key: str, value: str) -> str | None:
    """The short name of the logarithmic curve that a tag speaks of ("" for one without), or None."""
    if _PEOPLES_WORDS.search(key):
        return None
    if not _TAGS_OF_CURVES.search(key) and "<" not in value:  # Sony and Panasonic keep XML under a name of their own
        return None
    for pattern, short in _CAMERA_CURVES:
        if re.search(rf"(?<![a-z0-9]){pattern}", value, re.I):
            return short
    return None


def _asked(seen: str, near: str) -> str:
    first = f"{near}, " if near in SHORT_NAMES else f"{near!r}, " if near else ""
    others = ", ".join(name for name in SHORT_NAMES if name != near)
    return f"{seen}: name its colour space with --plate-space (plate_space of the nodes), one of {first}{others}."


def _srgb() -> PlateSpace:
    return tagged_space(REC_709, SRGB_TRANSFER)
