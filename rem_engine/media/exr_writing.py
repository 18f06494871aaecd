"""Writing OpenEXR frames: one multilayer file a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
import OpenEXR

from ..names import ExrCompression, ExrForm, ExrType
from .attributes import Attributes
from .colour import LARGEST_HALF, REC_709
from .hdr import exr_attributes
from .plate_colour import PlateColour
from .plate_space import SRGB_TRANSFER, told_gamut
from .shot import ShotInfo
from .windows import Box, whole_frame

# The Color Interop Forum's names of display spaces by their primaries and transfer in H.273.
_DISPLAY_IDS = {
    (REC_709, REC_709): "g24_rec709_display",  # as Rec. 1886 shows it
    (9, 16): "pq_rec2020_display",
    (12, 16): "pq_p3d65_display",
    (9, 18): "hlg_rec2020_display",
    (12, SRGB_TRANSFER): "srgb_p3d65_display",
}
HeaderForm = ExrForm | Literal["plate_and_colours", "alpha", "cryptomatte"]
"""What a file's header says that it is; "plate_and_colours" is "plate" with colours of the layers."""

_TOLD: dict[HeaderForm, str] = {
    "premultiplied": "premultiplied (associated) alpha. A is the union of the layers' alphas.",
    "plate": "the plate's own pixels, without an alpha. Each layer's matte is its A.",
    "plate_and_colours": "the plate's own pixels, without an alpha. Each layer's matte is its A; colours beside it are "
    "premultiplied.",
    "matte": "Mattes alone, cropped to what they hold. A is the union of the layers' alphas.",
    "alpha": "One matte alone, A, cropped to what it holds.",
    "packed": "Mattes alone, cropped to what they hold, four layers a picture, in R, G, B and A.",
    "cryptomatte": "Cryptomatte 1.2. Layers that overlap share a pixel, which has no more than 1 of them together.",
}
_MATTES_ALONE: tuple[HeaderForm, ...] = ("matte", "alpha", "packed", "cryptomatte")
FAINTEST = 1 / 2048
"""Alpha up to which a pixel holds nothing: half a step of ten bits. Masks have tails of 1e-8 all over."""
_BAND = 64  # rows, so that what is made of them fits into the cache
_TYPES = {"half": np.float16, "float": np.float32}
_COMPRESSIONS = {
    "zip": OpenEXR.ZIP_COMPRESSION,
    "zips": OpenEXR.ZIPS_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
    "none": OpenEXR.NO_COMPRESSION,
}


class Channel(NamedTuple):
    """A channel of an EXR.

    Attributes:
        values: float [H,W].
        alpha: float [H,W] that they are multiplied by as they are stored; None leaves them as they are.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None

    def store(self, stored: np.ndarray) -> None:
        """Fill a plane [H,W] of a file's type; of halves what is beyond 65504, the largest, becomes that."""
        for top in range(0, len(stored), _BAND):
            rows = slice(top, top + _BAND)
            band = self.values[rows] if self.alpha is None else self.values[rows] * self.alpha[rows]
            stored[rows] = band.clip(-LARGEST_HALF, LARGEST_HALF) if stored.dtype == np.float16 else band


def exr_bytes(
    channels: Mapping[str, Channel], header: dict[str, Any], exr_type: ExrType, compression: ExrCompression
) -> memoryview:
    """A scan-line EXR.

    Args:
        channels: by their names.
        header: further attributes, as OpenEXR's Python binding takes them.
        exr_type: "half" brings values beyond 65504, the largest of its type, to it.
        compression: all but "dwaa" are lossless; "dwaa" loses in channels R, G, B, and none in A.
    """
    # In one piece, which the system gets back whole.
    planes = np.empty((len(channels), *next(iter(channels.values())).values.shape), _TYPES[exr_type])
    for plane, channel in zip(planes, channels.values(), strict=True):
        channel.store(plane)
    stored = dict(zip(channels, planes, strict=True))
    attributes = {"compression": _COMPRESSIONS[compression], "type": OpenEXR.scanlineimage, **header}
    # Into memory: when OpenEXR itself writes to a full disk, it loses the last block without a word.
    data = BytesIO()
    OpenEXR.File(attributes, stored).write(data)
    return data.getbuffer()


def exr_channels(
    plate: np.ndarray | None, alpha: np.ndarray, layers: Sequence[str], colours: np.ndarray | None, form: ExrForm
) -> dict[str, Channel]:
    """Channels of a frame with its layers; wherever an A stands beside R, G, B these are multiplied by it (associated
    alpha, as OpenEXR has it).

    "premultiplied": R, G, B, A, the union of the layers' alphas, and `<layer>.A`; of several layers `<layer>.R`, `.G`
    and `.B`, too. "plate": the plate's R, G, B without an A, and `<layer>.A`; with colours of their own each layer has
    its R, G, B, too. "matte": A, the union, and `<layer>.A`. "packed": see `packed_places`.

    Args:
        plate: float32 [H,W,3]; not needed for "matte" and "packed".
        alpha: float32 [L,H,W].
        layers: L names.
        colours: straight colours of the layers, float32 [L,H,W,3]; None: the plate's. R, G, B of "premultiplied" are
            then those of the strongest layer.
        form: what stands beside the layers' mattes.

    Raises:
        ValueError: a form that needs the plate, without one.
    """
    if form == "packed":
        return {place: Channel(matte) for place, matte in zip(packed_places(len(layers)), alpha, strict=True)}
    mattes = matte_channels(layers, alpha)
    union = alpha[0] if len(layers) == 1 else alpha.max(axis=0)
    if form == "matte":
        return {"A": Channel(union), **mattes}
    if plate is None:
        raise ValueError("An EXR needs the plate: give it scene-linear, and display-referred with a foreground.")
    channels = _named("", plate)
    if form == "premultiplied":
        channels = {**_named("", _strongest(plate, alpha, colours), union), "A": Channel(union)}
    own = colours is not None if form == "plate" else len(layers) > 1
    for number, layer in enumerate(layers if own else ()):
        channels |= _named(f"{layer}.", plate if colours is None else colours[number], alpha[number])
    return channels | mattes


def packed_places(count: int) -> list[str]:
    """Channels of so many packed layers: R, G, B, A, then packed2.R, packed2.G and so on, four a picture."""
    return [f"packed{place // 4 + 1}.{'RGBA'[place % 4]}" if place > 3 else "RGBA"[place] for place in range(count)]


def matte_channels(names: Sequence[str], mattes: np.ndarray) -> dict[str, Channel]:
    """`<name>.A` of mattes, float32 [N,H,W]."""
    return {f"{name}.A": Channel(matte) for name, matte in zip(names, mattes, strict=True)}


def matte_box(mattes: Iterable[np.ndarray]) -> Box:
    """Where any of a frame's mattes [H,W] is above `FAINTEST`: the smallest box, of one pixel where none is."""
    found = [box for matte in mattes if (box := _box_of(matte))]
    return reduce(Box.union, found) if found else Box(0, 0, 1, 1)


def _box_of(matte: np.ndarray) -> Box | None:
    rows, columns = (np.flatnonzero(matte.max(axis=axis) > FAINTEST) for axis in (1, 0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _strongest(plate: np.ndarray, alpha: np.ndarray, colours: np.ndarray | None) -> np.ndarray:
    """The colour [H,W,3] of the layer whose alpha is the largest."""
    if colours is None or len(colours) == 1:
        return plate if colours is None else colours[0]
    return np.take_along_axis(colours, alpha.argmax(axis=0)[None, ..., None], axis=0)[0]


def _named(prefix: str, rgb: np.ndarray, alpha: np.ndarray | None = None) -> dict[str, Channel]:
    return {f"{prefix}{name}": Channel(rgb[..., place], alpha) for place, name in enumerate("RGB")}


def exr_header(info: ShotInfo, *, linear: bool, form: HeaderForm, box: Box | None = None) -> dict[str, Any]:
    """Attributes that say what the numbers of a frame mean.

    Args:
        info: of the shot, whose primaries, rate, windows and shape of pixels the file keeps.
        linear: scene-linear light, else its pictures (see `ShotInfo.picture_tags`).
        form: see `exr_channels`; of mattes alone no colours are told.
        box: what of the frame the file holds, pixels from its first on; None for all of it.
    """
    alone = form in _MATTES_ALONE
    xy, space, told = (None, "data", _TOLD[form]) if alone else _light(info) if linear else _picture(info)
    header: dict[str, Any] = {
        "pixelAspectRatio": float(info.pixel_aspect),
        "comments": told if alone else f"{told}; {_TOLD[form]}",
    }
    if xy:
        header["chromaticities"] = xy
    if space:
        header["colorInteropID"] = space
    if info.fps:
        header["framesPerSecond"] = info.fps
    windows = info.windows or whole_frame(info.height, info.width)
    if info.windows or box:
        data = windows.data if box is None else box.moved(windows.data.left, windows.data.top)
        header["dataWindow"] = _corners(data)
        header["displayWindow"] = _corners(windows.display)
    if info.exr_view:
        header["view"] = info.exr_view
    if info.hdr and not alone:
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
