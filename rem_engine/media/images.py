"""Still images and image sequences: PNG, JPEG, TIFF, DPX, EXR."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..input_files import check_is_file, told_as_damage
from ..memory import check_fits
from ..pixels import check_finite_pixels
from .colour import linear_to_srgb
from .dpx import dpx_info, read_dpx
from .exr import check_exr_fits, exr_info, read_exr
from .shot import Shot, ShotInfo, check_frame_size

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_ORIENTATION = 256, 257, 258, 274
# Bytes of memory a pixel takes while it is read, as measured: of 8 bits a channel, through Pillow, a progressive JPEG's
# coefficients among them; of more, through OpenCV.
_SHALLOW, _DEEP = 20, 52
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
        self.files = tuple(files)
        stated = image_info(self.files[0])
        self.height, self.width, self.fps = stated.height, stated.width, stated.fps
        self.timecode, self.colour, self.pixel_aspect = stated.timecode, stated.colour, stated.pixel_aspect
        check_frame_size(self.files[0].name, self.height, self.width)
        _check_fits(self.files[0], stated)
        for file in self.files[1:]:
            height, width = image_size(file)
            if (height, width) != (self.height, self.width):
                raise ValueError(
                    f"The frames of {name} differ in size: {self.files[0].name} is {self.width}x{self.height}, but "
                    f"{file.name} is {width}x{height}; bring them to one size, or keep one shot per folder."
                )

    @property
    def frame_count(self) -> int:
        return len(self.files)

    def reopen(self) -> ImageShot:
        again = copy.copy(self)
        again.close()  # frames that are kept are each reader's own
        return again

    def _frame(self, index: int) -> np.ndarray:
        pixels = read_exr(self.files[index]) if self._is_linear(index) else read_image(self.files[index])
        if pixels.shape[:2] != (self.height, self.width):
            raise ValueError(f"{self.files[index].name} changed while the shot was read: start again.")
        return pixels

    def _is_linear(self, index: int) -> bool:
        return self.files[index].suffix.lower() == ".exr"


def _check_fits(file: Path, info: ShotInfo) -> None:
    """Raise ValueError for an image that cannot be read for want of memory."""
    if file.suffix.lower() == ".exr":
        check_exr_fits(file)
    else:
        _check_pixels_fit(file, info.height, info.width, _SHALLOW)


def _check_pixels_fit(file: Path, height: int, width: int, bytes_each: int) -> None:
    check_fits(height * width * bytes_each, f"The {width}x{height} pixels of {file.name}")


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
    check_is_file(file)
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
        with told_as_damage(f"{file.name} cannot be read as an image: {_ADVICE}"), _opened(file) as image:
            width, height = image.size
            turned = suffix != ".png" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return ShotInfo(width, height) if turned else ShotInfo(height, width)


def read_image(file: Path) -> np.ndarray:
    """RGB [H,W,3] of an image: uint8, or float32 0..1 where it holds more than 8 bits a channel. Alpha is dropped.

    Floating-point TIFF is taken as display-referred and clipped; EXR as scene-linear (see `read_exr`) and brought to
    display sRGB; DPX as display-referred, logarithmic ones too.

    Raises:
        ValueError: a damaged file.
    """
    check_is_file(file)
    suffix = file.suffix.lower()
    if suffix == ".exr":
        return linear_to_srgb(read_exr(file))
    if suffix == ".dpx":
        return read_dpx(file)
    if suffix in (".tif", ".tiff") and _is_deep(tags := _tiff_tags(file)):
        return _read_deep(file, int(tags[_TIFF_HEIGHT]), int(tags[_TIFF_WIDTH]))
    with told_as_damage(f"{file.name} cannot be decoded: {_ADVICE}"), _opened(file) as image:
        height, width = image.height, image.width
        deep = image.format == "PNG" and (image.mode.startswith("I") or ";16" in str(getattr(image, "tile", "")))
        if deep:
            image.verify()  # walks the checksums: OpenCV would fill a truncated picture up in silence
    if deep:
        return _read_deep(file, height, width)
    _check_pixels_fit(file, height, width, _SHALLOW)
    with told_as_damage(f"{file.name} cannot be decoded: {_ADVICE}"), _opened(file) as image:
        if image.format == "TIFF":
            # Pillow asks for its bound once more, unless there is a place for the pixels already.
            image.im = Image.new(image.mode, getattr(image, "_tile_size", image.size)).im
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _opened(file: Path) -> Image.Image:
    """An image through Pillow, whatever its size: how much memory is free decides, not Pillow's bound on pixels."""
    Image.preinit()
    with open(file, "rb") as stream:
        start = stream.read(16)
    for name in ("PNG", "JPEG", "TIFF"):
        factory: Any
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(start):
            return factory(str(file), None)  # `Image.open`, less its bound
    return Image.open(file)


def _read_deep(file: Path, height: int, width: int) -> np.ndarray:
    """16-bit and float PNG and TIFF through OpenCV; Pillow cuts 16-bit colour down to 8 bits."""
    _check_pixels_fit(file, height, width, _DEEP)
    # Read as bytes: OpenCV cannot open every path on Windows.
    damaged = f"{file.name} cannot be decoded: {_ADVICE}"
    with told_as_damage(damaged):
        pixels = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(damaged)
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.float32) / 65535.0
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels.astype(np.float32)
        check_finite_pixels(pixels, file)
        pixels = pixels.clip(0.0, 1.0)
    else:
        raise ValueError(f"{file.name} holds {pixels.dtype} values: save it with 8 or 16 bits a channel, or as EXR.")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] >= 3:
        return np.ascontiguousarray(pixels[..., 2::-1])  # OpenCV's order is BGR
    return np.repeat(pixels[..., :1], 3, axis=2)


def _tiff_tags(file: Path) -> ImageFileDirectory_v2:
    """Tags of a TIFF's first picture; Pillow's own opening refuses floating-point colour."""
    with (
        told_as_damage(f"{file.name} cannot be read as a TIFF image: {_ADVICE}"),
        open(file, "rb") as stream,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # Pillow warns of each unusual tag
        header = stream.read(8)
        if header[2:3] == b"+":  # BigTIFF
            header += stream.read(8)
        tags = ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
        if min(int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])) < 1:
            raise SyntaxError("no size")
        _is_deep(tags)
        return tags


def _is_deep(tags: ImageFileDirectory_v2) -> bool:
    return max(tags.get(_TIFF_BITS, (1,))) > 8
