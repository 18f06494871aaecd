"""Colour spaces by the formulas of their standards, written apart from the engine's."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

TO_REC709 = {
    "rec709": np.eye(3),
    # ACES: TB-2014-004 and S-2014-004, white adapted by Bradford's cones.
    "ap0": np.array([[2.52169, -1.13413, -0.38756], [-0.27648, 1.37272, -0.09624], [-0.01538, -0.15298, 1.16835]]),
    "ap1": np.array([[1.70505, -0.62179, -0.08326], [-0.13026, 1.14080, -0.01055], [-0.02400, -0.12897, 1.15297]]),
    # ITU-R BT.2087, and the same for SMPTE RP 431-2's P3 with D65.
    "rec2020": np.array([[1.66049, -0.58764, -0.07285], [-0.12455, 1.13290, -0.00835], [-0.01815, -0.10058, 1.11873]]),
    "p3": np.array([[1.22494, -0.22494, 0.0], [-0.04206, 1.04206, 0.0], [-0.01964, -0.07864, 1.09827]]),
    # ARRI, ALEXA Log C Curve: wide gamut to Rec. 709.
    "awg3": np.array(
        [[1.617523, -0.537287, -0.080237], [-0.070573, 1.334613, -0.264040], [-0.021102, -0.226954, 1.248056]]
    ),
}


def to_space(light: np.ndarray, gamut: str) -> np.ndarray:
    """Light of Rec. 709 [...,3] in another gamut."""
    return light @ np.linalg.inv(TO_REC709[gamut]).T


def logc3(light: np.ndarray) -> np.ndarray:
    """ARRI LogC3 of EI 800 (ARRI, ALEXA Log C Curve, 2017)."""
    above = 0.247190 * np.log10(np.maximum(5.555556 * light + 0.052272, 1e-9)) + 0.385537
    return np.where(light > 0.010591, above, 5.367655 * light + 0.092809)


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084 of light whose 1 is 203 cd/m2 (ITU-R BT.2408)."""
    power = (np.maximum(light, 0.0) * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100's HLG of light, Rec. 2020, that its display of 1000 cd/m2 shows at 203 cd/m2 for 1."""
    shown = np.maximum(light, 0.0) * 0.203
    luminance = np.maximum(shown @ np.array([0.2627, 0.6780, 0.0593]), 1e-12)[..., None]
    scene = shown * luminance ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def png_with(path: Path, values: np.ndarray, chunks: dict[bytes, bytes]) -> Path:
    """Values [H,W,3] in 0..1 as a 16-bit PNG with further chunks before its pixels."""
    stored = np.rint(values.clip(0, 1) * 65535).astype(np.uint16)
    data = cv2.imencode(".png", stored[..., ::-1])[1].tobytes()
    made = b"".join(
        len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        for name, content in chunks.items()
    )
    path.write_bytes(data[:33] + made + data[33:])  # behind the signature and IHDR
    return path


def icc_profile(gamut: str, curve: tuple) -> bytes:
    """An ICC profile (ICC.1:2022) of a gamut and a curve: ("para", kind, g, a, ...), or ("curv", gamma)."""
    # Rec. 709's primaries under D50 (Lindbloom).
    d50 = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    columns = np.array(d50) @ TO_REC709[gamut]
    kind, *numbers = curve
    if kind == "para":
        bent = b"para\0\0\0\0" + struct.pack(">HH", numbers[0], 0)
        bent += struct.pack(f">{len(numbers) - 1}i", *(round(value * 65536) for value in numbers[1:]))
    else:
        bent = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(numbers[0] * 256))
    tags = {name + b"TRC": bent for name in (b"r", b"g", b"b")}
    for place, name in enumerate((b"r", b"g", b"b")):
        values = (round(value * 65536) for value in columns[:, place])
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + struct.pack(">3i", *values)
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + bytes(81)
    start, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body
