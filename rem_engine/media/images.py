"""Still images and image sequences: PNG, JPEG, TIFF, DPX, EXR."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .colour import linear_to_srgb
from .dpx import dpx_info, read_dpx
from .exr import exr_info, read_exr
from .shot import Shot, ShotInfo, check_frame_size

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_ORIENTATION = 256, 257, 258, 274
_ADVICE = "the file is truncated or damaged, export it again."


class ImageShot(Shot):
    """Images on disk as the frames of a shot, in the order given; every header is read on opening.

    8-bit images are read as uint8, 10-bit to 16-bit and floating-point ones as float32 0..1. Frame rate and timecode
    are those an EXR's or a DPX's first frame states, chromaticities an EXR's.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        """Raises ValueError for an unreadable file, for frames of different sizes, or under 16 pixels."""
        super().__init__()
        self.name = name
        self._files = tuple(files)
        stated = image_info(self._files[0])
        self.height, self.width, self.fps = stated.height, stated.width, stated.fps
        self.timecode, self.colour, self.pixel_aspect = stated.timecode, stated.colour, stated.pixel_aspect
        check_frame_size(self._files[0].name, self.height, self.width)
        for file in self._files[1:]:
            height, width = image_size(file)
            if (height, width) != (self.height, self.width):
                raise ValueError(
                    f"The frames of {name} differ in size: {self._files[0].name} is {self.width}x{self.height}, but "
                    f"{file.name} is {width}x{height}; bring them to one size, or keep one shot per folder."
                )

    @property
    def frame_count(self) -> int:
        return len(self._files)

    def reopen(self) -> ImageShot:
        return ImageShot(self.name, self._files)

    def _frame(self, index: int) -> np.ndarray:
        pixels = read_exr(self._files[index]) if self._is_linear(index) else read_image(self._files[index])
        if pixels.shape[:2] != (self.height, self.width):
            raise ValueError(f"{self._files[index].name} changed while the shot was read: start again.")
        return pixels

    def _is_linear(self, index: int) -> bool:
        return self._files[index].suffix.lower() == ".exr"


def image_size(file: Path) -> tuple[int, int]:
    """(height, width) of an image as displayed, from its header.

    Raises:
        ValueError: not an image.
    """
    info = image_info(file)
    return info.height, info.width


def image_info(file: Path) -> ShotInfo:
    """What an image's header says; only those of EXR and DPX say more here than the size as displayed.

    Raises:
        ValueError: not an image.
    """
    suffix = file.suffix.lower()
    if suffix == ".exr":
        return exr_info(file)
    if suffix == ".dpx":
        return dpx_info(file)
    if suffix in (".tif", ".tiff"):
        tags = _tiff_tags(file)
        height, width = int(tags[_TIFF_HEIGHT]), int(tags[_TIFF_WIDTH])
        turned = _is_deep(tags) is False and tags.get(_TIFF_ORIENTATION, 1) >= 5
    else:
        try:
            with Image.open(file) as image:
                width, height = image.size
                turned = suffix != ".png" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        except OSError as error:
            raise ValueError(f"{file.name} cannot be read as an image: {_ADVICE}") from error
    return ShotInfo(width, height) if turned else ShotInfo(height, width)


def read_image(file: Path) -> np.ndarray:
    """RGB [H,W,3] of an image: uint8, or float32 0..1 where it holds more than 8 bits a channel. Alpha is dropped.

    Floating-point TIFF is taken as display-referred and clipped; EXR as scene-linear (see `read_exr`) and brought to
    display sRGB; DPX as display-referred, logarithmic ones too.

    Raises:
        ValueError: a damaged file.
    """
    suffix = file.suffix.lower()
    if suffix == ".exr":
        return linear_to_srgb(read_exr(file))
    if suffix == ".dpx":
        return read_dpx(file)
    try:
        if suffix in (".tif", ".tiff") and _is_deep(_tiff_tags(file)):
            return _read_deep(file)
        with Image.open(file) as image:
            if image.format == "PNG" and (image.mode.startswith("I") or ";16" in str(image.tile)):
                image.verify()  # walks the checksums: OpenCV would fill a truncated picture up in silence
                return _read_deep(file)
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, EOFError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise ValueError(f"{file.name} cannot be decoded: {_ADVICE}") from error


def _read_deep(file: Path) -> np.ndarray:
    """16-bit and float PNG and TIFF through OpenCV; Pillow cuts 16-bit colour down to 8 bits."""
    # Read as bytes: OpenCV cannot open every path on Windows.
    pixels = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{file.name} cannot be decoded: {_ADVICE}")
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.float32) / 65535.0
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = np.nan_to_num(pixels.astype(np.float32), nan=0.0).clip(0.0, 1.0)
    else:
        raise ValueError(f"{file.name} holds {pixels.dtype} values: save it with 8 or 16 bits a channel, or as EXR.")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] >= 3:
        return np.ascontiguousarray(pixels[..., 2::-1])  # OpenCV's order is BGR
    return np.repeat(pixels[..., :1], 3, axis=2)


def _tiff_tags(file: Path) -> ImageFileDirectory_v2:
    """Tags of a TIFF's first picture; Pillow's own opening refuses floating-point colour."""
    try:
        with open(file, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of each unusual tag
            header = stream.read(8)
            if header[2:3] == b"+":  # BigTIFF
                header += stream.read(8)
            tags = ImageFileDirectory_v2(header)
            stream.seek(tags.next)
            tags.load(stream)
        if _TIFF_WIDTH not in tags or _TIFF_HEIGHT not in tags:
            raise SyntaxError("no size")
    except (OSError, SyntaxError, struct.error) as error:
        raise ValueError(f"{file.name} cannot be read as a TIFF image: {_ADVICE}") from error
    return tags


def _is_deep(tags: ImageFileDirectory_v2) -> bool:
    return max(tags.get(_TIFF_BITS, (1,))) > 8
