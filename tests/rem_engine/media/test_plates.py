"""Plates for compositing are read without an 8-bit step, with what their headers say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from delivered import decoded, encoded
from plate_files import RAMP, write_dpx, write_exr

from rem_engine.media import open_shot
from rem_engine.media.colour import ColourTags, linear_to_srgb, srgb_to_linear
from rem_engine.media.stills import Still

# ---- the sRGB curve


def test_the_srgb_curve_and_its_inverse_are_the_standards() -> None:
    display = np.linspace(0, 1, 4097, dtype=np.float32)
    np.testing.assert_allclose(srgb_to_linear(display), decoded(display), atol=3e-7)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(display)), display, atol=1e-6)
    # IEC 61966-2-1, worked out by hand.
    np.testing.assert_allclose(
        srgb_to_linear(np.float32([0.02584, 0.4613561, 0.7353569])), [0.002, 0.18, 0.5], atol=1e-6
    )


# ---- DPX


@pytest.mark.parametrize(("bits", "levels"), [(8, 256), (10, 1024), (12, 3600), (16, 3600)])
def test_dpx_keeps_all_its_bits(tmp_path: Path, bits: int, levels: int) -> None:
    write_dpx(tmp_path / "a.dpx", bits)
    with open_shot(tmp_path / "a.dpx") as shot:
        assert (shot.height, shot.width, shot.frame_count) == (24, 50, 1)
        read = shot.read(0, 1)[0]
        linear = shot.read_linear(0, 1)[0]
    white = 2**bits - 1
    assert read.dtype == (np.uint8 if bits == 8 else np.float32)
    values = read / (255.0 if bits == 8 else 1.0)
    np.testing.assert_allclose(values, oiio.ImageBuf(str(tmp_path / "a.dpx")).get_pixels(oiio.FLOAT), atol=2e-5)
    np.testing.assert_allclose(values, RAMP, atol=1.01 / white)
    assert len(np.unique(values)) >= 0.9 * levels
    np.testing.assert_allclose(linear, decoded(values), atol=1e-6)


def test_a_dpx_sequence_says_its_rate_and_timecode(tmp_path: Path) -> None:
    attributes = {"dpx:FrameRate": 23.976, "PixelAspectRatio": 2.0}
    for number in (86400, 86401, 86402):
        pixels = np.full_like(RAMP, (number - 86400) / 4)
        write_dpx(tmp_path / f"A001.{number}.dpx", 10, pixels, timecode=(0x10203004, 0), **attributes)
    (tmp_path / "A001.86400.dpx.txt").write_text("notes")
    with open_shot(tmp_path) as shot:
        assert (shot.frame_count, shot.fps) == (3, Fraction(24000, 1001))
        assert (shot.timecode, shot.info.pixel_aspect) == ("10:20:30:04", 2)
        np.testing.assert_allclose(shot.read(1, 3).mean(axis=(1, 2, 3)), [0.25, 0.5], atol=1e-3)


def test_a_dpx_with_a_pattern_in_its_name_is_one_file(tmp_path: Path) -> None:
    write_dpx(tmp_path / "a.%04d.dpx", 10)
    assert open_shot(tmp_path / "a.%04d.dpx").read(0, 1).shape == (1, 24, 50, 3)


def test_a_dpx_without_them_says_nothing(tmp_path: Path) -> None:
    data = bytearray(write_dpx(tmp_path / "a.dpx", 10).read_bytes())
    for offset in (1724, 1920, 1940):  # film's rate, timecode, television's rate (SMPTE ST 268-1)
        data[offset : offset + 4] = b"\xff" * 4
    (tmp_path / "a.dpx").write_bytes(data)
    with open_shot(tmp_path / "a.dpx") as shot:
        assert (shot.fps, shot.timecode) == (None, None)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_dpx_is_refused(tmp_path: Path, share: float) -> None:
    data = write_dpx(tmp_path / "a.dpx", 10).read_bytes()
    (tmp_path / "a.dpx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"a\.dpx cannot be .*truncated"):
        open_shot(tmp_path / "a.dpx").read(0, 1)


def test_a_file_that_is_no_dpx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dpx").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.dpx cannot be read as an image"):
        open_shot(tmp_path / "a.dpx")


# ---- scene-linear light


def test_an_exr_is_read_scene_linear_and_unclipped(tmp_path: Path) -> None:
    pixels = np.zeros((16, 20, 3), np.float32)
    pixels[:4] = (0.18, 4.0, -0.25)
    write_exr(tmp_path / "a.exr", {"RGB": pixels})
    with open_shot(tmp_path / "a.exr") as shot:
        linear = shot.read_linear(0, 1)[0]
        display = shot.read(0, 1)[0]
    assert linear.dtype == np.float32
    np.testing.assert_array_equal(linear[0, 0], np.float32([0.18, 4.0, -0.25]))
    np.testing.assert_allclose(display, encoded(pixels), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_plate_whose_values_are_not_finite_is_told_with_its_frame_and_place(tmp_path: Path, value: float) -> None:
    for number in range(3):
        pixels = np.full((16, 20, 3), 0.5, np.float32)
        if number == 2:
            pixels[5, 7, 1] = value
        write_exr(tmp_path / f"{number}.exr", {"RGB": pixels})
        cv2.imwrite(str(tmp_path / f"{number}.tif"), pixels[..., ::-1])
    for suffix in ("exr", "tif"):
        with open_shot(tmp_path / f"1.{suffix}") as shot:
            shot.read(0, 1)
        with (
            open_shot(tmp_path / f"2.{suffix}") as shot,
            pytest.raises(ValueError, match=rf"2\.{suffix} holds 1 values that are not finite .* row 5, column 7"),
        ):
            shot.read(0, 1)


@pytest.mark.parametrize("first", ["read", "read_linear"])
def test_light_and_display_of_an_exr_cost_one_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    for number in range(5):
        write_exr(tmp_path / f"{number}.exr", {"RGB": np.full((16, 16, 3), number / 4, np.float32)})
    seen: list[str] = []
    read = Still.read
    monkeypatch.setattr(Still, "read", lambda still, *wanted: seen.append(still.file.stem) or read(still, *wanted))
    with open_shot(tmp_path) as shot:
        for start in range(4):
            getattr(shot, first)(start, start + 2)
            np.testing.assert_allclose(
                shot.read_linear(start, start + 2).max(axis=(1, 2, 3)), [start / 4, (start + 1) / 4]
            )
            np.testing.assert_allclose(
                shot.read(start, start + 2), encoded(shot.read_linear(start, start + 2)), atol=1e-6
            )
    assert seen == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.tif", 16)])
def test_display_values_are_brought_to_light_by_the_srgb_curve(tmp_path: Path, name: str, bits: int) -> None:
    stored = np.rint(RAMP * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    assert cv2.imwrite(str(tmp_path / name), stored[..., ::-1])
    linear = open_shot(tmp_path / name).read_linear(0, 1)[0]
    np.testing.assert_allclose(linear, decoded(stored / (2**bits - 1)), atol=5e-7)


def test_a_layer_is_read_where_no_unnamed_picture_is(tmp_path: Path) -> None:
    channels = {f"beauty.{name}": np.full((16, 16), value, np.float16) for name, value in zip("RGB", (0.25, 0.5, 2.0))}
    write_exr(tmp_path / "a.exr", {**channels, "depth.Z": np.ones((16, 16), np.float32)})
    np.testing.assert_array_equal(open_shot(tmp_path / "a.exr").read_linear(0, 1)[0, 3, 3], [0.25, 0.5, 2.0])


def test_an_unnamed_picture_comes_before_layers(tmp_path: Path) -> None:
    layer = {f"diffuse.{name}": np.zeros((16, 16), np.float16) for name in "RGB"}
    plain = {name: np.full((16, 16), 0.5, np.float16) for name in "RGB"}
    write_exr(tmp_path / "a.exr", {**layer, **plain})
    np.testing.assert_array_equal(open_shot(tmp_path / "a.exr").read_linear(0, 1), 0.5)


def test_several_layers_without_an_unnamed_picture_are_named(tmp_path: Path) -> None:
    channels = {f"{layer}.{name}": np.zeros((16, 16), np.float16) for layer in ("diffuse", "spec") for name in "RGB"}
    write_exr(tmp_path / "a.exr", channels)
    with pytest.raises(ValueError, match=r"a\.exr holds several pictures, diffuse, spec: ask for one of them"):
        open_shot(tmp_path / "a.exr").read_linear(0, 1)


# ---- what headers say


def test_an_exr_sequence_says_its_rate_timecode_and_primaries(tmp_path: Path) -> None:
    # ACEScg: AP1 primaries, which the values keep.
    primaries = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
    for number in (1001, 1002):
        code = OpenEXR.TimeCode(1, 2, 3, 4 + number - 1001, 0, 0, *[0] * 12)
        header = {"framesPerSecond": Fraction(2997, 125), "timeCode": code, "chromaticities": primaries}
        write_exr(tmp_path / f"plate_v2.{number}.exr", {"RGB": np.zeros((16, 16, 3), np.float16)}, **header)
    info = open_shot(tmp_path).info
    assert (info.height, info.width, info.fps, info.timecode) == (16, 16, Fraction(24000, 1001), "01:02:03:04")
    assert info.colour.chromaticities == pytest.approx(primaries) and info.colour.primaries is None


def test_a_timecode_that_the_rate_does_not_have_is_not_taken_over(tmp_path: Path) -> None:
    code = OpenEXR.TimeCode(1, 2, 3, 29, 0, 0, *[0] * 12)
    for name, header in (
        ("none", {}),
        ("wrong", {"framesPerSecond": Fraction(25)}),
        ("right", {"framesPerSecond": Fraction(30)}),
    ):
        write_exr(tmp_path / f"{name}.exr", {"RGB": np.zeros((16, 16, 3), np.float16)}, timeCode=code, **header)
    taken = {name: open_shot(tmp_path / f"{name}.exr").info.timecode for name in ("none", "wrong", "right")}
    assert taken == {"none": None, "wrong": None, "right": "01:02:03:29"}


def tagged(path: Path, codec: str, pix_fmt: str, tags: tuple[int, int, int], timecode: str | None) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=Fraction(24000, 1001))
        stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        if timecode:
            stream.metadata["timecode"] = timecode
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 100, np.uint8), format="rgb24")
            container.mux(stream.encode(picture.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("write", "timecode", "colour"),
    [
        (
            lambda path: tagged(path / "a.mov", "prores_ks", "yuv422p10le", (9, 18, 9), "11:22:33:04"),
            "11:22:33:04",
            (9, 18, 9),
        ),
        (lambda path: tagged(path / "a.mp4", "libx264", "yuv420p", (1, 1, 1), None), None, (1, 1, 1)),
        (lambda path: tagged(path / "a.mkv", "ffv1", "yuv420p", (2, 2, 2), "11:22:33:04"), "11:22:33:04", (None,) * 3),
    ],
)
def test_a_video_says_its_timecode_and_colours(
    tmp_path: Path, write: Callable[[Path], Path], timecode: str | None, colour: tuple[int | None, ...]
) -> None:
    with open_shot(write(tmp_path)) as shot:
        assert shot.info.timecode == timecode
        assert shot.info.colour == ColourTags(*colour)
        assert (shot.info.height, shot.info.width, shot.info.fps) == (32, 48, Fraction(24000, 1001))
