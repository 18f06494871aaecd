"""One picture from disk, header and pixels, through OpenImageIO: EXR, DPX, TIFF, PNG, JPEG, WebP, JPEG XL."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import OpenImageIO as oiio

from ..input_files import check_is_file, told_as_damage
from ..memory import check_fits, free_bytes
from ..pixels import check_finite_pixels
from .foreign import check_form, read_head
from .orientation import Orientation, from_exif
from .png_check import SIGNATURE, check_png
from .png_colour import stated_colours
from .windows import Box, placed

# Bytes of memory a pixel takes at most. As measured, reading takes 12 of 8 bits a channel (a progressive JPEG), 30 of
# more (16-bit JPEG XL) and 24 of an EXR; the rest is for its way to display values.
_SHALLOW, _DEEP, _LINEAR = 20, 52, 64
_ADVICE = "the file is truncated or damaged, render or export it again."
_TURNED_KINDS = ("dpx", "tiff", "jpeg", "png", "webp", "heif")
# Photometric interpretations of TIFF 6.0 and its supplements: white is zero; Y'CbCr; CIE, ICC and ITU L*a*b*, LogL and
# LogLuv, of which libtiff would keep 8 bits.
_WHITE_IS_ZERO, _YCBCR, _TIFF_OTHER_COLOURS = 0, 6, (8, 9, 10, 32844, 32845)
_READ_IN_PARTS = (b"\x76\x2f\x31\x01", b"II", b"MM")  # EXR and TIFF
# OpenImageIO keeps its limits and its choice of an EXR reader for the whole process: they are changed only while a file
# is opened, and put back.
_OPENING = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A part of a picture: the only one, unless it is an EXR of several.

    Attributes:
        index: its place in the file.
        name: a multi-part EXR's own, or "".
        view: an EXR part's own ("left"), or "".
        channels: names, as stored.
        bits: of a channel; the largest where channels differ.
        is_float: whether a channel is of floating-point numbers.
        is_deep: several samples a pixel, which are not read.
        data: what the file holds, an EXR's data window; upright, as everything that is given.
        display: an EXR's display window; elsewhere as `data`.
        tile_bytes: of a tile, all channels, as it is decoded; 0 where there are none.
        attributes: everything else that the header says, by OpenImageIO's names, in Python's types.
        types: of the attributes, as OpenImageIO calls them.
    """

    index: int
    name: str
    view: str
    channels: tuple[str, ...]
    bits: int
    is_float: bool
    is_deep: bool
    data: Box
    display: Box
    tile_bytes: int
    attributes: dict[str, Any] = field(repr=False)
    types: dict[str, str] = field(repr=False, default_factory=dict)

    @property
    def whole(self) -> Box:
        """The display window and, where an EXR holds more than that (overscan), its data window."""
        return self.display.union(self.data)


class Still:
    """An open picture; a context manager.

    Attributes:
        file: where it is.
        kind: OpenImageIO's name of its format ("openexr", "dpx", "tiff", "png", "jpeg", "webp", "jpegxl"), which its
            contents decide, and not its suffix.
        parts: one or, of an EXR, several.
    """

    def __init__(self, file: Path) -> None:
        """Raises ValueError for a file that is no picture, is damaged or is of a kind that is not supported."""
        self.file = file
        self._input = _opened(file)
        self.kind: str = self._input.format_name()
        damaged = f"{file.name} cannot be read as an image: {_ADVICE}"
        with told_as_damage(damaged):
            self.parts = tuple(self._parts())
            stated = int(self.parts[0].attributes.get("oiio:subimages", 1))
        if self.kind == "openexr" and stated > len(self.parts):
            raise ValueError(damaged)

    @property
    def is_linear(self) -> bool:
        """Whether its values are scene-linear by the definition of its format."""
        return self.kind == "openexr"

    def check_fits(self, part: Part, canvas: Box | None = None) -> None:
        """Raises ValueError for a part that does not fit into memory."""
        shown = canvas or part.whole
        each = _LINEAR if self.is_linear else _SHALLOW if part.bits <= 8 else _DEEP
        pixels = max(shown.width * shown.height, part.data.width * part.data.height)
        check_fits(
            each * pixels + 2 * part.tile_bytes,  # a tile may be larger than the picture
            f"The {shown.width}x{shown.height} pixels of {self.file.name}",
        )

    def read(self, part: Part, channels: Sequence[str], canvas: Box | None = None) -> np.ndarray:
        """Channels of a part as displayed: upright, and over its display and data windows or another box.

        Args:
            part: one of `parts`.
            channels: their names; one may be asked for several times.
            canvas: what is given of an EXR; None: `part.whole`. Black (0) where the data window does not reach.

        Returns:
            [H,W,len(channels)], straight alpha where it is stored so: uint8 of up to 8 bits a channel; else float32, of
            integers 0..1 (their values over the largest) and of floating-point numbers as stored; an EXR's integers as
            stored.

        Raises:
            ValueError: a damaged file, values that are not finite, deep data, integers of more than 16 bits (but an
                EXR's), or more than memory holds.
        """
        self.check_fits(part, canvas)
        if part.is_deep:
            raise ValueError(f"{self.file.name} holds deep data: flatten it before it is read.")
        pixels = self._in_order(part, channels)
        if part.is_float:
            check_finite_pixels(pixels, self.file)
        return placed(self._upright(pixels, part), part.data, canvas or part.whole)

    def close(self) -> None:
        """Let go of the file."""
        self._input.close()

    def __enter__(self) -> Still:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parts(self) -> list[Part]:
        parts: list[Part] = []
        while self._input.seek_subimage(len(parts), 0):
            parts.append(self._part(len(parts)))
            if self.kind != "openexr":  # further pages, thumbnails or frames, which are no parts of one picture
                break
        self._input.geterror()  # that there is no further part is no mistake
        return parts

    def _part(self, index: int) -> Part:
        spec = self._input.spec()
        attributes = {attribute.name: _readable(attribute.value) for attribute in spec.extra_attribs}
        if self.kind == "png":
            attributes |= stated_colours(self.file)
        data = Box(spec.x, spec.y, spec.x + spec.width, spec.y + spec.height)
        display = Box(spec.full_x, spec.full_y, spec.full_x + spec.full_width, spec.full_y + spec.full_height)
        if self.kind != "openexr":  # offsets of pages and tiles, which no viewer shows
            # Of a turned DPX OpenImageIO gives the size as displayed.
            turned = self._orientation(attributes).transposed and self.kind != "dpx"
            data = display = Box(0, 0, *((spec.height, spec.width) if turned else (spec.width, spec.height)))
        formats = {str(kind) for kind in (spec.channelformats or (spec.format,))}
        return Part(
            index,
            str(attributes.get("name", "")) if self.kind == "openexr" else "",
            str(attributes.get("view", "")) if self.kind == "openexr" else "",
            tuple(spec.channelnames),
            int(attributes.get("oiio:BitsPerSample", 0)) or 8 * spec.format.size(),
            bool(formats & {"half", "float", "double"}),
            bool(spec.deep),
            data,
            display,
            spec.tile_width * spec.tile_height * spec.pixel_bytes(True),
            attributes,
            {attribute.name: str(attribute.type) for attribute in spec.extra_attribs},
        )

    def _orientation(self, attributes: Mapping[str, Any]) -> Orientation:
        stated = attributes.get("Orientation", 1) if self.kind in _TURNED_KINDS else 1
        return from_exif(int(stated) if stated in range(1, 9) else 1)

    def _upright(self, pixels: np.ndarray, part: Part) -> np.ndarray:
        orientation = self._orientation(part.attributes)
        stated = part.attributes
        in_jpeg = stated.get("compression") == "jpeg" and len(part.channels) != 3
        if self.kind == "tiff" and (in_jpeg or stated.get("tiff:PhotometricInterpretation") == _YCBCR):
            pixels = replace(orientation, transposed=False)(pixels)  # back, as libtiff has done it, which does not turn
        return orientation(pixels)

    def _in_order(self, part: Part, channels: Sequence[str]) -> np.ndarray:
        places = [part.channels.index(name) for name in channels]
        first, beyond = min(places), max(places) + 1
        if beyond - first <= 4:
            pixels = self._stored(part, first, beyond)
            wanted = [place - first for place in places]
        else:
            apart = sorted(set(places))
            pixels = np.concatenate([self._stored(part, place, place + 1) for place in apart], axis=2)
            wanted = [apart.index(place) for place in places]
        return pixels if wanted == list(range(pixels.shape[2])) else pixels[..., wanted]

    def _stored(self, part: Part, first: int, beyond: int) -> np.ndarray:
        """A range of channels, uint8 or float32."""
        self._input.seek_subimage(part.index, 0)
        spec = self._input.spec()
        kinds = {str(spec.channelformat(channel)) for channel in range(first, beyond)}
        name = kinds.pop() if len(kinds) == 1 else "float"
        if spec.depth != 1:
            raise ValueError(f"{self.file.name} is a volume, which is not supported: save one slice of it.")
        photometric = part.attributes.get("tiff:PhotometricInterpretation")
        if self.kind == "tiff" and photometric in _TIFF_OTHER_COLOURS:
            raise ValueError(f"{self.file.name} is a TIFF of L*a*b* or Luv colours, which is not supported: save RGB.")
        if name not in ("uint8", "uint16", "half", "float", "double") and not self.is_linear:
            raise ValueError(
                f"{self.file.name} holds {part.bits}-bit {name} values, which are not supported: save it with 8 or 16 "
                "bits a channel, or as EXR."
            )
        turned_dpx = self.kind == "dpx" and self._orientation(part.attributes).transposed
        if turned_dpx and not _lines_end_with_words(part):
            raise ValueError(f"{self.file.name} is a packed DPX stored on its side, which is not supported: turn it.")
        with told_as_damage(f"{self.file.name} cannot be decoded: {_ADVICE}"):
            if self.kind == "png":
                check_png(self.file, pixels=True)
            pixels = self._input.read_image(part.index, 0, first, beyond, "float" if name == "double" else name)
            told = self._input.geterror()
        # Where a part of the picture is missing, some formats are filled up and only this tells.
        if told or pixels is None or pixels.ndim != 3:
            raise ValueError(f"{self.file.name} cannot be decoded: {_ADVICE}")
        if turned_dpx:  # and takes the stored lines for ones of that size
            pixels = pixels.reshape(spec.width, spec.height, beyond - first)
        if name == "uint8":
            return pixels
        if name != "uint16" or self.is_linear:
            return pixels.astype(np.float32, copy=False)
        if self.kind == "tiff" and photometric == _WHITE_IS_ZERO:  # which OpenImageIO heeds in 8 bits
            pixels = 65535 - pixels
        if 8 < part.bits < 16:  # OpenImageIO gives them stretched to 16 bits
            return (pixels >> (16 - part.bits)).astype(np.float32) / np.float32(2**part.bits - 1)
        return pixels.astype(np.float32) / np.float32(65535.0)


def _opened(file: Path) -> Any:
    check_is_file(file)
    known = oiio.get_string_attribute("format_list").split(",")
    # Read first, too: OpenImageIO does not tell a file that may not be read from a damaged one.
    head = read_head(file)
    check_form(file, head, reads_heif="heif" in known, reads_raw="raw" in known)
    if str(file) != str(file).encode("utf-8", "replace").decode():
        raise ValueError(
            f"{ascii(str(file))} has bytes in its path that are no UTF-8, which is not supported: rename it."
        )
    damaged = f"{file.name} cannot be read as an image: {_ADVICE}"
    with told_as_damage(damaged):  # words on a damaged file may be no text
        if head.startswith(SIGNATURE):
            check_png(file, pixels=False)
        bounds = {"limits:imagesize_MB": _limit(head)}
        opened, error = _open(file, bounds)
        if opened is None and "Subsampled channels" in error:
            # Luminance and chroma, which OpenEXR's own reader turns to R, G, B.
            opened, error = _open(file, bounds | {"openexr:core": 0})
    if opened is not None:
        return opened
    if "limits:channels" in error:
        most = oiio.get_int_attribute("limits:channels")
        raise ValueError(f"{file.name} holds more than {most} channels, which is not supported: leave out the others.")
    bound = re.search(r"Image claimed to be (\d+)x(\d+), ", error)
    if bound and "limits:imagesize_MB" in error:
        width, height = int(bound[1]), int(bound[2])
        check_fits(height * width * _SHALLOW, f"The {width}x{height} pixels of {file.name}")
    raise ValueError(damaged)


def _limit(head: bytes) -> int:
    """MB of pixels that a file may have to be opened; 0 is no limit."""
    if head.startswith(_READ_IN_PARTS):  # of many channels a few are read, which are bounded before
        return 0
    free = free_bytes()
    return 0 if free is None else max(1, free // 2**20)  # JPEG XL is decoded as it is opened


def _open(file: Path, changed: Mapping[str, int]) -> tuple[Any, str]:
    """An open file, or None and OpenImageIO's word on it; while it is opened some of its settings are changed."""
    straight = oiio.ImageSpec()
    straight.attribute("oiio:UnassociatedAlpha", 1)  # else colours are multiplied by their alpha
    with _OPENING:
        before = {name: oiio.get_int_attribute(name) for name in changed}
        try:
            for name, value in changed.items():
                oiio.attribute(name, value)
            opened = oiio.ImageInput.open(str(file), straight)
        finally:
            for name, value in before.items():
                oiio.attribute(name, value)
    return opened, "" if opened is not None else oiio.geterror()


def _lines_end_with_words(part: Part) -> bool:
    """Whether 32-bit words are filled by lines of a DPX, taken as wide as the picture and as wide as it is high: then
    it does not matter which OpenImageIO takes (SMPTE ST 268-1, packing of 10 and 12 bits)."""
    sides = [side * len(part.channels) for side in (part.data.width, part.data.height)]
    if part.bits == 10 and part.attributes.get("dpx:Packing") != "Packed":
        return all(samples % 3 == 0 for samples in sides)
    return part.bits not in (10, 12) or all(samples * part.bits % 32 == 0 for samples in sides)


def _readable(value: Any) -> Any:
    """A value. A text that is no UTF-8, whose bytes come as halves of characters, is taken as Latin-1, as PNG."""
    if isinstance(value, tuple):
        return tuple(_readable(part) for part in value)
    if not isinstance(value, str):
        return value
    content = value.encode("utf-8", "surrogateescape")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
