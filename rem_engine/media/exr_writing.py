"""Writing OpenEXR frames: one multilayer file a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import OpenEXR

from ..names import ExrCompression, ExrType
from .attributes import Attributes
from .colour import LARGEST_HALF, REC_709
from .hdr import exr_attributes
from .plate_colour import PlateColour
from .plate_space import SRGB_TRANSFER, told_gamut
from .shot import ShotInfo
from .windows import Box

# The Color Interop Forum's names of display spaces by their primaries and transfer in H.273.
_DISPLAY_IDS = {
    (REC_709, REC_709): "g24_rec709_display",  # as Rec. 1886 shows it
    (9, 16): "pq_rec2020_display",
    (12, 16): "pq_p3d65_display",
    (9, 18): "hlg_rec2020_display",
    (12, SRGB_TRANSFER): "srgb_p3d65_display",
}
_TYPES = {"half": np.float16, "float": np.float32}
_COMPRESSIONS = {
    "zip": OpenEXR.ZIP_COMPRESSION,
    "zips": OpenEXR.ZIPS_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
    "none": OpenEXR.NO_COMPRESSION,
}


def exr_bytes(
    channels: dict[str, np.ndarray], header: dict[str, Any], exr_type: ExrType, compression: ExrCompression
) -> bytes:
    """A scan-line EXR.

    Args:
        channels: float [H,W] by the channel's name.
        header: further attributes, as OpenEXR's Python binding takes them.
        exr_type: "half" brings values beyond 65504, the largest of its type, to it.
        compression: all but "dwaa" are lossless; "dwaa" loses in channels R, G, B, and none in A.
    """
    if exr_type == "half":
        channels = {name: values.clip(-LARGEST_HALF, LARGEST_HALF) for name, values in channels.items()}
    stored = {name: np.ascontiguousarray(values, _TYPES[exr_type]) for name, values in channels.items()}
    attributes = {"compression": _COMPRESSIONS[compression], "type": OpenEXR.scanlineimage, **header}
    # Into memory: when OpenEXR itself writes to a full disk, it loses the last block without a word.
    data = BytesIO()
    OpenEXR.File(attributes, stored).write(data)
    return data.getvalue()


def exr_channels(
    plate: np.ndarray, alpha: np.ndarray, layers: Sequence[str], colours: np.ndarray | None, premultiplied: bool
) -> dict[str, np.ndarray]:
    """Channels of a frame with its layers: R, G, B, A, `<layer>.A`, and `<layer>.R`, `.G`, `.B` where a layer has
    colours of its own.

    Args:
        plate: float32 [H,W,3].
        alpha: float32 [L,H,W].
        layers: L names.
        colours: straight colours of the layers, float32 [L,H,W,3]; None: the plate's. R, G, B are then those of the
            strongest layer.
        premultiplied: multiply colours by their alpha; each layer then has its own.
    """
    union = alpha.max(axis=0)
    rgb = plate if colours is None else np.take_along_axis(colours, alpha.argmax(axis=0)[None, ..., None], axis=0)[0]
    channels = _with_colour("", rgb, union, premultiplied)
    for number, layer in enumerate(layers):
        if premultiplied or colours is not None:
            rgb = plate if colours is None else colours[number]
            channels |= _with_colour(f"{layer}.", rgb, alpha[number], premultiplied)
        else:
            channels[f"{layer}.A"] = alpha[number]
    return channels


def _with_colour(prefix: str, rgb: np.ndarray, alpha: np.ndarray, premultiplied: bool) -> dict[str, np.ndarray]:
    if premultiplied:
        rgb = rgb * alpha[..., None]
    return {**{f"{prefix}{name}": rgb[..., place] for place, name in enumerate("RGB")}, f"{prefix}A": alpha}


def exr_header(info: ShotInfo, *, linear: bool, premultiplied: bool) -> dict[str, Any]:
    """Attributes that say what the numbers of a frame mean.

    Args:
        info: of the shot, whose primaries, rate, windows and shape of pixels the file keeps.
        linear: scene-linear light, else its pictures (see `ShotInfo.picture_tags`).
        premultiplied: colour is multiplied by its alpha, else straight.
    """
    xy, space, told = _light(info) if linear else _picture(info)
    alpha = "premultiplied" if premultiplied else "straight (unpremultiplied)"
    header: dict[str, Any] = {
        "pixelAspectRatio": float(info.pixel_aspect),
        "comments": f"{told}; {alpha} alpha. A is the union of the layers' alphas.",
    }
    if xy:
        header["chromaticities"] = xy
    if space:
        header["colorInteropID"] = space
    if info.fps:
        header["framesPerSecond"] = info.fps
    if info.windows:
        header["dataWindow"] = _corners(info.windows.data)
        header["displayWindow"] = _corners(info.windows.display)
    if info.exr_view:
        header["view"] = info.exr_view
    if info.hdr:
        header |= exr_attributes(info.hdr)
    return header


def shown_info(info: ShotInfo) -> ShotInfo:
    """Of a shot whose EXRs hold its pictures. Code values that no name tells from light would be read as such: of these
    it is sRGB that is written."""
    if _picture(info)[1] is not None:
        return info
    colour = info.plate_colour or PlateColour()
    return replace(info, plate_colour=replace(colour, space=replace(info.space, tags=None, is_display=False)))


def with_attributes(header: dict[str, Any], of_plate: Attributes) -> dict[str, Any]:
    """A header, and what the plate's says beside it, whose comments stay; what the numbers mean is in `rem/contents`
    too. A time code is left to the caller."""
    kept = {name: value for name, value in of_plate.items() if name != "timeCode"}
    comments = kept.get("comments") or header["comments"]
    return {**kept, **header, "comments": comments, "rem/contents": header["comments"]}


def _light(info: ShotInfo) -> tuple[tuple[float, ...] | None, str | None, str]:
    """(primaries and white, interop name, words) of the shot's scene-linear light."""
    return info.space.xy, info.space.light_id, info.space.light_told


def _picture(info: ShotInfo) -> tuple[tuple[float, ...], str | None, str]:
    """The same of its pictures."""
    tags, space = info.picture_tags, info.space
    if space.tags is None or space.is_display:
        name = "srgb_rec709_display" if tags.primaries == REC_709 else None
        return tags.xy(), name, f"Display-referred with the sRGB curve, {told_gamut(tags.xy())}"
    return tags.xy(), _DISPLAY_IDS.get((tags.primaries or 0, tags.transfer or 0)), f"Display-referred, {space.name}"


def _corners(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """A box as OpenEXR has it, with its last pixel."""
    return np.array([box.left, box.top], np.int32), np.array([box.right - 1, box.bottom - 1], np.int32)
