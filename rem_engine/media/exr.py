"""Reading OpenEXR frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR

from ..input_files import check_is_file, told_as_damage
from ..memory import check_fits
from ..pixels import check_finite_pixels
from .colour import ColourTags
from .shot import ShotInfo
from .timecode import exact_rate, from_exr

# Bytes of memory a pixel takes at most, as measured: each channel as OpenEXR decodes it, whether it is read or not (its
# Python binding does not tell 16 bits from 32 by the header alone); the three that are read, over the data window; the
# picture over the display window, as it is; and the same on its way to display values.
_CHANNEL, _READ, _LINEAR, _SHOWN = 4, 28, 12, 64
_ADVICE = "the file is truncated or damaged, render or export it again."


def exr_info(file: Path) -> ShotInfo:
    """What an EXR's header says of its first part; the size is that of the display window.

    Raises:
        ValueError: not an EXR.
    """
    image = _open(file, header_only=True)
    with told_as_damage(f"{file.name} cannot be read as an EXR: {_ADVICE}"):
        header = image.header()
        _, _, height, width = _window(header["displayWindow"])
        rate, code, xy = (header.get(name) for name in ("framesPerSecond", "timeCode", "chromaticities"))
        fps = exact_rate(rate) if isinstance(rate, Fraction) and rate > 0 else None
        aspect = Fraction(header.get("pixelAspectRatio", 1.0)).limit_denominator(1000)
        return ShotInfo(
            height,
            width,
            fps,
            None if code is None else str(from_exr(code, fps)),
            ColourTags(chromaticities=None if xy is None else tuple(float(value) for value in xy)),
            aspect if aspect > 0 else Fraction(1),
        )


def read_exr(file: Path) -> np.ndarray:
    """RGB of an EXR's first part over its display window, scene-linear and unclipped.

    Taken are the unnamed channels R, G, B (or Y); where there are none, those of the only layer that has them
    (`beauty.R`, ...). Alpha is dropped, which leaves premultiplied colour over black. What the data window does not
    cover is black; what it holds beyond the display window is cut off.

    Returns:
        float32 [H,W,3]. Values above 1 and below 0 stay.

    Raises:
        ValueError: a damaged file, deep data, no R, G, B or Y channel, or several layers that have them.
    """
    return _read(file, _colour_channels)


def read_exr_mask(file: Path) -> np.ndarray:
    """A mask of an EXR's first part over its display window, as stored: A where there is one, else Y, R, or the only
    channel.

    Returns:
        float32 [H,W]; 0 beyond the data window.

    Raises:
        ValueError: a damaged file, deep data, or none of these channels.
    """
    return _read(file, _mask_channels)[..., 0]


def _read(file: Path, choose: Callable[[Path, Collection[str]], Sequence[str]]) -> np.ndarray:
    """Chosen channels, float32 [H,W,3]."""
    check_exr_fits(file)
    image = _open(file, header_only=False)
    if not image.parts:  # how OpenEXR reports pixel data it cannot decode
        raise ValueError(f"{file.name} cannot be decoded: {_ADVICE}")
    header, channels = image.header(), image.channels()
    names = choose(file, channels)
    if any(channels[name].pixels.dtype == object for name in names):
        raise ValueError(f"{file.name} holds deep data: flatten it before it is read.")
    with told_as_damage(f"{file.name} cannot be decoded: {_ADVICE}"):
        linear = np.stack([channels[name].pixels.astype(np.float32) for name in names], axis=-1)
    check_finite_pixels(linear, file)
    return _in_display_window(linear, header)


def _colour_channels(file: Path, channels: Collection[str]) -> tuple[str, str, str]:
    """Names of the three channels to read."""
    if {"R", "G", "B"} <= set(channels):
        return "R", "G", "B"
    if "Y" in channels:
        return "Y", "Y", "Y"
    layers = [name[:-2] for name in sorted(channels) if name.endswith(".R")]
    layers = [layer for layer in layers if f"{layer}.G" in channels and f"{layer}.B" in channels]
    if len(layers) == 1:
        return f"{layers[0]}.R", f"{layers[0]}.G", f"{layers[0]}.B"
    if layers:
        raise ValueError(
            f"{file.name} holds no unnamed R, G, B, but the layers {', '.join(layers)}: "
            "save the one to be read as R, G, B."
        )
    raise ValueError(
        f"{file.name} holds no flat RGB picture but the channels {', '.join(sorted(channels))}: "
        "save the beauty pass as R, G, B."
    )


def _mask_channels(file: Path, channels: Collection[str]) -> tuple[str, str, str]:
    names = [name for name in ("A", "Y", "R") if name in channels] or (list(channels) if len(channels) == 1 else [])
    if not names:
        raise ValueError(
            f"{file.name} holds no mask but the channels {', '.join(sorted(channels))}: save the mask as A or Y."
        )
    return names[0], names[0], names[0]


def check_exr_fits(file: Path) -> None:
    """Look at an EXR's header alone.

    Raises:
        ValueError: not an EXR, or one that does not fit into memory.
    """
    image = _open(file, header_only=True)
    with told_as_damage(f"{file.name} cannot be read as an EXR: {_ADVICE}"):
        parts = [part.header for part in image.parts]
        decoded = sum(_CHANNEL * len(header["channels"]) * _area(header["dataWindow"]) for header in parts)
        data, display = _area(parts[0]["dataWindow"]), _area(parts[0]["displayWindow"])
        _, _, height, width = _window(parts[0]["displayWindow"])
    needed = max(decoded + _READ * data + _LINEAR * display, _SHOWN * display)
    check_fits(needed, f"The {width}x{height} pixels of {file.name}")


def _area(box: tuple[np.ndarray, np.ndarray]) -> int:
    _, _, height, width = _window(box)
    return height * width


def _open(file: Path, header_only: bool) -> Any:
    check_is_file(file)
    with open(file, "rb"):  # OpenEXR does not tell a file that may not be read from a damaged one
        pass
    with told_as_damage(f"{file.name} cannot be read as an EXR: {_ADVICE}"):
        return OpenEXR.File(str(file), separate_channels=True, header_only=header_only)


def _window(box: tuple[np.ndarray, np.ndarray]) -> tuple[int, int, int, int]:
    """An EXR box with inclusive corners -> (top, left, height, width)."""
    (left, top), (right, bottom) = box
    return int(top), int(left), int(bottom - top + 1), int(right - left + 1)


def _in_display_window(pixels: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    data_top, data_left, data_height, data_width = _window(header["dataWindow"])
    top, left, height, width = _window(header["displayWindow"])
    if (data_top, data_left, data_height, data_width) == (top, left, height, width):
        return pixels
    canvas = np.zeros((height, width, 3), np.float32)
    y0, y1 = max(data_top, top), min(data_top + data_height, top + height)
    x0, x1 = max(data_left, left), min(data_left + data_width, left + width)
    if y0 < y1 and x0 < x1:
        canvas[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[
            y0 - data_top : y1 - data_top, x0 - data_left : x1 - data_left
        ]
    return canvas
