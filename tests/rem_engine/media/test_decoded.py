"""The pixels of decoded frames are what the planes hold, by the formulas of H.273."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from rem_engine.media import open_shot

# Weights of red and blue in luma by the code of the matrix (ITU-T H.273, table 4).
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
HEIGHT, WIDTH = 64, 98


def formula(codes: list[np.ndarray], bits: int, full: bool, matrix: int) -> np.ndarray:
    """R'G'B' of Y'CbCr, clipped to 0..1, in double precision (H.273, 8.3)."""
    y, cb, cr = (plane.astype(np.float64) for plane in codes)
    if full:
        top = 2**bits - 1
        y, cb, cr = y / top, (cb - 2 ** (bits - 1)) / top, (cr - 2 ** (bits - 1)) / top
    else:
        step = 2 ** (bits - 8)
        y, cb, cr = (y / step - 16) / 219, (cb / step - 128) / 224, (cr / step - 128) / 224
    kr, kb = WEIGHTS[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1).clip(0.0, 1.0)


def write_planes(path: Path, pix_fmt: str, codes: list[np.ndarray], full: bool, matrix: int) -> None:
    """A lossless file of one frame, its chroma as wide and high as its luma before it was given to the planes."""
    frame = av.VideoFrame(WIDTH, HEIGHT, pix_fmt)
    deep = pix_fmt.endswith("le")
    for plane, values in zip(frame.planes, codes, strict=True):
        columns, rows = -(-WIDTH // plane.width), -(-HEIGHT // plane.height)
        kept = np.ascontiguousarray(values[::rows, ::columns], np.uint16 if deep else np.uint8)
        stored = np.frombuffer(plane, kept.dtype).reshape(plane.height, -1)
        stored[:, : plane.width] = kept
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, pix_fmt
        stream.codec_context.colorspace = frame.colorspace = matrix
        stream.codec_context.color_range = frame.color_range = 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize(
    ("pix_fmt", "bits"),
    [("yuv444p", 8), ("yuv420p", 8), ("yuv422p", 8), ("yuv420p10le", 10), ("yuv422p12le", 12), ("yuv444p16le", 16)],
)
def test_luma_and_chroma_become_colours_without_rounding(
    tmp_path: Path, pix_fmt: str, bits: int, matrix: int, full: bool
) -> None:
    step = 2 ** (bits - 8)
    ramp = np.broadcast_to(np.linspace(30 * step, 210 * step, WIDTH), (HEIGHT, WIDTH)).astype(int)
    codes = [ramp, np.full_like(ramp, 100 * step), np.full_like(ramp, 150 * step + step // 2)]
    write_planes(tmp_path / "a.mkv", pix_fmt, codes, full, matrix)
    with open_shot(tmp_path / "a.mkv") as shot:
        read = shot.read(0, 1)[0]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, formula(codes, bits, full, matrix), atol=1e-6)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_chroma_between_its_samples_is_linear(tmp_path: Path, pix_fmt: str) -> None:
    step = 4 if pix_fmt.endswith("le") else 1
    luma = np.full((HEIGHT, WIDTH), 120 * step)
    across = np.broadcast_to((100 + np.arange(WIDTH) // 2) * step, luma.shape)  # a level more with every sample
    write_planes(tmp_path / "a.mkv", pix_fmt, [luma, across, np.full_like(luma, 128 * step)], False, 1)
    with open_shot(tmp_path / "a.mkv") as shot:
        blue = shot.read(0, 1)[0, 20, 2:-2, 2]
    grown = np.diff(blue) * 224 / (2 * (1 - WEIGHTS[1][1]))
    np.testing.assert_allclose(grown, 0.5, atol=1e-3)


def test_white_of_video_is_1_and_black_0(tmp_path: Path) -> None:
    for pix_fmt, step in (("yuv420p", 1), ("yuv422p10le", 4), ("yuv444p12le", 16)):
        ramp = np.where(np.arange(WIDTH) < WIDTH // 2, 16 * step, 235 * step) + np.zeros((HEIGHT, 1), int)
        neutral = np.full_like(ramp, 128 * step)
        write_planes(tmp_path / "a.mkv", pix_fmt, [ramp, neutral, neutral], False, 1)
        with open_shot(tmp_path / "a.mkv") as shot:
            read = shot.read(0, 1)[0]
        np.testing.assert_allclose(read[:, 0], 0.0, atol=1e-6)
        np.testing.assert_allclose(read[:, -1], 1.0, atol=1e-6)


@pytest.mark.parametrize(("pix_fmt", "white"), [("gbrp10le", 1023), ("gbrp12le", 4095), ("gray10le", 1023)])
def test_deep_colours_and_greys_are_their_codes(tmp_path: Path, pix_fmt: str, white: int) -> None:
    planes = 1 if pix_fmt.startswith("gray") else 3
    codes = [np.random.default_rng(n).integers(0, white + 1, (HEIGHT, WIDTH)) for n in range(planes)]
    codes[0][0, 0] = white
    write_planes(tmp_path / "a.mkv", pix_fmt, codes, planes == 1, 2)
    with open_shot(tmp_path / "a.mkv") as shot:
        read = shot.read(0, 1)[0]
    order = (0, 0, 0) if planes == 1 else (2, 0, 1)  # G, B, R
    np.testing.assert_allclose(read, np.stack([codes[n] for n in order], axis=-1) / white, atol=1e-7)


def test_an_odd_width_reads_the_same_every_time(tmp_path: Path) -> None:
    """FFmpeg's own conversion reads beyond the edge at such sizes."""
    random = np.random.default_rng(3)
    codes = [random.integers(16, 236, (HEIGHT, WIDTH)) for _ in range(3)]
    write_planes(tmp_path / "a.mkv", "yuv420p", codes, False, 1)
    found = set()
    for _ in range(4):
        with open_shot(tmp_path / "a.mkv") as shot:
            found.add(shot.read(0, 1).tobytes())
    assert len(found) == 1
