"""What HDR video says of the display it was graded on (SMPTE ST 2086) and of its light (CTA-861.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HDR_TRANSFERS = (16, 18)
"""Transfer functions of HDR pictures by their codes in ITU-T H.273, PQ and HLG: beside others the metadata mean
nothing."""


@dataclass(frozen=True)
class HdrMetadata:
    """Static metadata of HDR pictures; None for what the file does not say.

    Attributes:
        primaries: x, y of the mastering display's red, green, blue and white.
        luminance: its darkest and its brightest, in cd/m2.
        max_cll: the brightest pixel of all frames (MaxCLL), cd/m2.
        max_fall: the largest mean of a frame (MaxFALL), cd/m2.
    """

    primaries: tuple[float, ...] | None = None
    luminance: tuple[float, float] | None = None
    max_cll: int | None = None
    max_fall: int | None = None

    def entry(self) -> dict[str, Any]:
        """As run.json has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def hdr_metadata(mastering: bytes | None, light: bytes | None) -> HdrMetadata | None:
    """Metadata from FFmpeg's `AVMasteringDisplayMetadata` and `AVContentLightMetadata`, as they lie in memory."""
    primaries = luminance = None
    if mastering is not None:
        numbers = np.frombuffer(mastering, np.int32)[:22]
        ratios = (numbers[0:20:2] / np.maximum(numbers[1:20:2], 1)).tolist()  # red, green, blue, white, luminances
        primaries = tuple(ratios[:8]) if numbers[20] else None
        luminance = (ratios[8], ratios[9]) if numbers[21] else None
    cll, fall = (None, None) if light is None else np.frombuffer(light, np.uint32)[:2].tolist()
    found = HdrMetadata(primaries, luminance, cll or None, fall or None)  # 0 is "not known" in CTA-861.3
    return None if found == HdrMetadata() else found


def quicktime_boxes(hdr: HdrMetadata) -> bytes:
    """The boxes `mdcv` and `clli` of a QuickTime or MP4 sample entry (ISO/IEC 14496-12, 12.1.6 and 12.1.7)."""
    boxes = b""
    if hdr.primaries is not None and hdr.luminance is not None:
        red, green, blue, white = (hdr.primaries[place : place + 2] for place in range(0, 8, 2))
        places = [round(value * 50000) for value in (*green, *blue, *red, *white)]
        darkest, brightest = (round(value * 10000) for value in hdr.luminance)
        boxes += _box(b"mdcv", np.array(places, ">u2").tobytes() + np.array([brightest, darkest], ">u4").tobytes())
    if hdr.max_cll is not None or hdr.max_fall is not None:
        light = np.array([hdr.max_cll or 0, hdr.max_fall or 0]).clip(0, 65535)
        boxes += _box(b"clli", light.astype(">u2").tobytes())
    return boxes


def exr_attributes(hdr: HdrMetadata) -> Mapping[str, Any]:
    """The metadata as attributes of an EXR, which has none of its own for it."""
    attributes: dict[str, Any] = {}
    if hdr.primaries is not None:
        attributes["masteringDisplay"] = " ".join(f"{value:.5g}" for value in hdr.primaries)
    if hdr.luminance is not None:
        attributes["masteringLuminance"] = " ".join(f"{value:.5g}" for value in hdr.luminance)
    attributes |= {name: float(value) for name, value in (("maxCLL", hdr.max_cll), ("maxFALL", hdr.max_fall)) if value}
    return attributes


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content
