"""Reading DPX frames (SMPTE ST 268-1)."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np

from ..input_files import check_is_file
from ..memory import check_fits
from .shot import ShotInfo
from .timecode import exact_rate

_ADVICE = "the file is truncated or damaged, export it again."
_HEADER = 2048  # bytes: file, image, orientation, film and television headers
_BYTES = 40  # of memory a pixel takes at most while it is read: the file's, FFmpeg's, 16 bits and float32
_UNDEFINED = 0xFFFFFFFF


def dpx_info(file: Path) -> ShotInfo:
    """What a DPX's header says.

    Raises:
        ValueError: not a DPX.
    """
    check_is_file(file)
    with open(file, "rb") as stream:
        data = stream.read(_HEADER)
    order = {b"SDPX": ">", b"XPDS": "<"}.get(data[:4])
    if order is None or len(data) < _HEADER:
        raise ValueError(f"{file.name} cannot be read as a DPX: {_ADVICE}")
    width, height = struct.unpack_from(f"{order}II", data, 772)
    rates = [struct.unpack_from(f"{order}f", data, offset)[0] for offset in (1940, 1724)]  # television's, film's
    fps = next((exact_rate(rate) for rate in rates if math.isfinite(rate) and rate > 0), None)
    digits = f"{struct.unpack_from(f'{order}I', data, 1920)[0]:08x}"  # binary-coded decimals, as ST 12-1 packs them
    timecode = ":".join(digits[i : i + 2] for i in range(0, 8, 2)) if digits.isdecimal() else None
    aspect = struct.unpack_from(f"{order}II", data, 1628)
    stated = all(0 < side < _UNDEFINED for side in aspect)
    return ShotInfo(height, width, fps, timecode, pixel_aspect=Fraction(*aspect) if stated else Fraction(1))


def read_dpx(file: Path) -> np.ndarray:
    """RGB [H,W,3] of a DPX as its code values over their largest: uint8, or float32 0..1 above 8 bits.

    Logarithmic and linear ones are not told apart: both are taken as display-referred. Alpha is dropped.

    Raises:
        ValueError: a damaged file, or a kind of DPX that FFmpeg does not decode.
    """
    import av  # here, so that headers are read without FFmpeg

    from .video import rgb_pixels, told_as_ffmpegs_damage

    info = dpx_info(file)
    check_fits(info.height * info.width * _BYTES, f"The {info.width}x{info.height} pixels of {file.name}")
    data = BytesIO(file.read_bytes())  # FFmpeg would take a % or a digit pattern in the name for a sequence
    with (
        told_as_ffmpegs_damage(f"{file.name} cannot be decoded: {_ADVICE}"),
        av.open(data, "r", format="dpx_pipe") as container,
    ):
        return rgb_pixels(next(container.decode(video=0)))
