"""OpenEXR frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR

_ADVICE = "the file is truncated or damaged, render or export it again."


def exr_size(file: Path) -> tuple[int, int]:
    """(height, width) of an EXR's display window.

    Raises:
        ValueError: not an EXR.
    """
    return _window(_open(file, header_only=True).header()["displayWindow"])[2:]


def read_exr(file: Path) -> np.ndarray:
    """RGB of an EXR's first part, over its display window, as display sRGB.

    R, G, B (or Y) are scene-linear with Rec. 709 primaries; alpha is dropped, which leaves premultiplied colour over
    black. What the data window does not cover is black; what it holds beyond the display window is cut off.

    Returns:
        float32 [H,W,3] in 0..1.

    Raises:
        ValueError: a damaged file, deep data, or no R, G, B or Y channel.
    """
    image = _open(file, header_only=False)
    if not image.parts:  # how OpenEXR reports pixel data it cannot decode
        raise ValueError(f"{file.name} cannot be decoded: {_ADVICE}")
    header, channels = image.header(), image.channels()
    names = [name for name in ("R", "G", "B") if name in channels]
    if len(names) < 3:
        names = ["Y"] * 3 if "Y" in channels else []
    if not names or any(channels[name].pixels.dtype == object for name in names):
        raise ValueError(
            f"{file.name} holds no flat RGB picture but the channels {', '.join(sorted(channels))}: "
            "save the beauty pass as R, G, B."
        )
    linear = np.stack([channels[name].pixels.astype(np.float32) for name in names], axis=-1)
    return linear_to_srgb(_in_display_window(linear, header))


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Scene-linear values -> display sRGB in 0..1 (IEC 61966-2-1); clipped, NaN is 0. float32, any shape."""
    clipped = np.nan_to_num(linear.astype(np.float32), nan=0.0).clip(0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def _open(file: Path, header_only: bool) -> Any:
    try:
        return OpenEXR.File(str(file), separate_channels=True, header_only=header_only)
    except RuntimeError as error:
        raise ValueError(f"{file.name} cannot be read as an EXR: {_ADVICE}") from error


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
