"""Plates as files, written by OpenImageIO and OpenEXR themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio

RAMP = np.linspace(0, 1, 24 * 50 * 3).reshape(24, 50, 3).astype(np.float32)


def write_dpx(path: Path, bits: int, pixels: np.ndarray = RAMP, **attributes: object) -> Path:
    """Pixels [H,W,3] in 0..1 as a DPX of 8, 10, 12 or 16 bits."""
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "uint8" if bits == 8 else "uint16")
    spec.attribute("oiio:BitsPerSample", bits)
    for name, value in attributes.items():
        if name == "timecode":
            spec.attribute("smpte:TimeCode", oiio.TypeTimeCode, value)
        else:
            spec.attribute(name, value)
    writer = oiio.ImageOutput.create(str(path))
    assert writer.open(str(path), spec) and writer.write_image(pixels)
    writer.close()
    return path


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(header, channels).write(str(path))
    return path
