"""Delivered files hold the plate's colours, and say what these are."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from delivered import decoded, encoded, openexr_channels
from plate_files import write_dpx, write_exr
from spaces import TO_REC709, logc3, png_with, pq, to_space
from torch import Tensor

from rem_engine.layers import parse_layers
from rem_engine.matte import MatteSettings, chain
from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.run.matte_job import MatteJob, matte_to_files
from rem_engine.run.segment_job import SegmentJob

HEIGHT, WIDTH = 48, 64
AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
_Y, _X = np.mgrid[:HEIGHT, :WIDTH] / np.float32(64)
DISPLAY = np.stack([0.1 + 0.8 * _X, 0.1 + _Y, 0.9 - 0.8 * _X], axis=-1).astype(np.float32)
LIGHT = decoded(DISPLAY)
ALPHA = np.clip(2 - np.hypot(_X - 0.5, _Y - 0.4) / 0.15, 0, 1).astype(np.float32)


def deliver(tmp_path: Path, plate: Path, *kinds: str, decontaminate: bool = False, **settings: object) -> Path:
    """The plate's mattes of one layer, "disc", in OUT."""
    exr_linear = bool(settings.pop("exr_linear", True))
    cv2.imwrite(str(tmp_path / "disc.png"), np.rint(ALPHA * 65535).astype(np.uint16))
    matte_to_files(
        MatteJob(
            plate,
            (f"disc={tmp_path / 'disc.png'}",),
            tmp_path / "out",
            matte=MatteSettings(decontaminate=decontaminate),
            delivery=DeliverySettings(kinds, exr_linear=exr_linear),
            plate=PlateSettings(**settings),  # type: ignore[arg-type]
        )
    )
    return tmp_path / "out"


def exr(out: Path) -> tuple[np.ndarray, dict]:
    """([H,W,3], header) of the only EXR, by OpenEXR."""
    (path,) = (out / "exr").glob("*.exr")
    file = OpenEXR.File(str(path), separate_channels=True)
    return np.stack([file.channels()[name].pixels for name in "RGB"], axis=-1), file.header()


def png(out: Path) -> tuple[np.ndarray, dict[bytes, bytes]]:
    """([H,W,3] 16-bit, chunks before the pixels) of the only PNG."""
    (path,) = (out / "disc" / "png16").glob("*.png")
    data, chunks, place = path.read_bytes(), {}, 8
    while (name := data[place + 4 : place + 8]) != b"IDAT":
        length = int.from_bytes(data[place : place + 4], "big")
        content = data[place + 8 : place + 8 + length]
        assert int.from_bytes(data[place + 8 + length : place + 12 + length], "big") == zlib.crc32(name + content)
        chunks[name], place = content, place + 12 + length
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 2::-1], chunks


def prores(out: Path) -> tuple[np.ndarray, tuple[int, int, int]]:
    """([H,W,3] 0..1, primaries, transfer and matrix) of the only ProRes, by PyAV."""
    (path,) = (out / "disc").glob("*.mov")
    with av.open(path) as container:
        codec = container.streams.video[0].codec_context
        tags = (codec.color_primaries, codec.color_trc, codec.colorspace)
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    return pixels / 65535, tags


@pytest.mark.parametrize(
    ("space", "header", "interop"),
    [
        ("ap0", {"chromaticities": AP0}, "lin_ap0_scene"),
        ("ap0", {"acesImageContainerFlag": 1}, "lin_ap0_scene"),
        ("ap1", {"colorInteropID": "lin_ap1_scene"}, "lin_ap1_scene"),
        ("rec709", {}, "lin_rec709_scene"),
    ],
)
def test_an_exr_plate_keeps_its_halves_and_its_space(tmp_path: Path, space: str, header: dict, interop: str) -> None:
    halves = (to_space(LIGHT, space) * 4 - 0.1).astype(np.float16)
    out = deliver(tmp_path, write_exr(tmp_path / "a.exr", {"RGB": halves}, **header), "exr", "png16", "prores")
    pixels, stated = exr(out)
    assert pixels.dtype == np.float16
    np.testing.assert_array_equal(pixels, halves)
    assert stated["colorInteropID"] == interop
    # Pictures are what a screen shows, and say so.
    shown = encoded(halves.astype(np.float64) @ TO_REC709[space].T)
    pixels, chunks = png(out)
    np.testing.assert_allclose(pixels / 65535, shown, atol=2e-3)
    assert b"sRGB" in chunks and b"cICP" not in chunks
    pixels, tags = prores(out)
    assert tags == (1, 13, 6)
    assert np.abs(pixels - shown).mean() < 0.01


def test_a_log_plate_becomes_light_of_its_camera_and_no_other(tmp_path: Path) -> None:
    plate = write_dpx(tmp_path / "a.dpx", 16, logc3(to_space(LIGHT, "awg3")).astype(np.float32))
    out = deliver(tmp_path, plate, "exr", "png16", "prores", plate_space="logc3")
    pixels, header = exr(out)
    np.testing.assert_allclose(pixels, to_space(LIGHT, "awg3"), rtol=2e-3, atol=1e-3)
    assert header["colorInteropID"] == "ocio:lin_awg3_scene"
    assert header["chromaticities"] == pytest.approx((0.684, 0.313, 0.221, 0.848, 0.0861, -0.102, 0.3127, 0.329))
    assert "ARRI Wide Gamut 3" in str(header["comments"])
    assert b"sRGB" in png(out)[1]
    np.testing.assert_allclose(png(out)[0] / 65535, DISPLAY.clip(0, 1), atol=0.03)
    assert prores(out)[1] == (1, 13, 6)


def test_film_scans_are_of_no_gamut(tmp_path: Path) -> None:
    write_dpx(tmp_path / "a.dpx", 10, DISPLAY.clip(0, 1), **{"dpx:Transfer": "Printing density"})
    _, header = exr(deliver(tmp_path, tmp_path / "a.dpx", "exr"))
    assert "colorInteropID" not in header


@pytest.mark.parametrize("exr_linear", [True, False])
def test_a_pq_plate_keeps_its_code_values_in_pictures(tmp_path: Path, exr_linear: bool) -> None:
    codes = pq(to_space(LIGHT * 3, "rec2020"))
    plate = png_with(tmp_path / "a.png", codes, {b"cICP": bytes([9, 16, 0, 1])})
    out = deliver(tmp_path, plate, "exr", "png16", "prores", exr_linear=exr_linear)
    stored = np.rint(codes * 65535)
    pixels, chunks = png(out)
    np.testing.assert_array_equal(pixels, stored)
    assert chunks[b"cICP"] == bytes([9, 16, 0, 1])
    pixels, tags = prores(out)
    assert tags == (9, 16, 9)
    assert np.abs(pixels - codes).mean() < 0.01
    pixels, header = exr(out)
    assert header["colorInteropID"] == ("lin_rec2020_scene" if exr_linear else "pq_rec2020_display")
    np.testing.assert_allclose(pixels, to_space(LIGHT * 3, "rec2020") if exr_linear else codes, rtol=3e-3, atol=1e-3)


def test_display_values_of_rec1886_say_so_and_are_read_so(tmp_path: Path) -> None:
    plate = write_exr(tmp_path / "plate.1001.exr", {"RGB": DISPLAY})
    pixels, header = exr(deliver(tmp_path, plate, "exr", plate_space="rec709", exr_linear=False))
    assert header["colorInteropID"] == "g24_rec709_display"
    again = write_exr(tmp_path / "again.1001.exr", {"RGB": pixels}, colorInteropID=header["colorInteropID"])
    with open_shot(again) as shot:
        np.testing.assert_allclose(shot.read_linear(0, 1)[0], DISPLAY**2.4, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize(("primaries", "gamut"), [(9, "rec2020"), (12, "p3"), (6, "rec709")])
@pytest.mark.parametrize("decontaminate", [False, True])
def test_no_exr_of_display_values_can_be_taken_for_light(
    tmp_path: Path, primaries: int, gamut: str, decontaminate: bool
) -> None:
    plate = png_with(tmp_path / "plate.1001.png", DISPLAY, {b"cICP": bytes([primaries, 1, 0, 1])})
    pixels, header = exr(deliver(tmp_path, plate, "exr", exr_linear=False, decontaminate=decontaminate))
    assert header["colorInteropID"] == "srgb_rec709_display"
    assert header["chromaticities"] == pytest.approx((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329))
    if not decontaminate:
        expected = encoded(np.clip(decoded(DISPLAY) @ TO_REC709[gamut].T, 0, 1))
        np.testing.assert_allclose(pixels, expected, rtol=3e-3, atol=1e-3)


def test_an_srgb_picture_stays_what_it_is(tmp_path: Path) -> None:
    plate = png_with(tmp_path / "a.png", DISPLAY, {})
    out = deliver(tmp_path, plate, "exr", "png16", "prores", plate_space="auto", exposure=2.0)
    np.testing.assert_array_equal(png(out)[0], np.rint(DISPLAY.clip(0, 1) * 65535))
    assert b"sRGB" in png(out)[1]
    assert prores(out)[1] == (1, 13, 6)
    np.testing.assert_allclose(exr(out)[0], decoded(DISPLAY.clip(0, 1)), rtol=1e-3, atol=1e-4)
    assert exr(out)[1]["colorInteropID"] == "lin_rec709_scene"


@pytest.mark.parametrize("kind", ["ap0", "pq", "srgb", "exposed"])
def test_decontaminated_colours_are_alike_in_all_spaces(tmp_path: Path, kind: str) -> None:
    """A red disc over green: the edge is red without green, whatever the plate's numbers are."""
    red, green = decoded(np.array([0.9, 0.15, 0.1])), decoded(np.array([0.1, 0.7, 0.15]))
    light = ALPHA[..., None] * red + (1 - ALPHA[..., None]) * green
    settings = {"exposure": 1.0} if kind == "exposed" else {}
    if kind in ("ap0", "exposed"):
        plate = write_exr(tmp_path / "a.exr", {"RGB": to_space(light, "ap0").astype(np.float32)}, chromaticities=AP0)
    elif kind == "pq":
        plate = png_with(tmp_path / "a.png", pq(to_space(light, "rec2020")), {b"cICP": bytes([9, 16, 0, 1])})
    else:
        plate = png_with(tmp_path / "a.png", encoded(light), {})
    out = deliver(tmp_path, plate, "exr", "png16", decontaminate=True, **settings)
    gamut = {"pq": "rec2020", "srgb": "rec709"}.get(kind, "ap0")
    layer = openexr_channels(next((out / "exr").glob("*.exr")))
    colours = np.stack([layer[f"disc.{name}"] for name in "RGB"], axis=-1).astype(np.float64)
    colours = colours / np.maximum(layer["disc.A"], 1e-3)[..., None] @ TO_REC709[gamut].T
    edge = (ALPHA > 0.3) & (ALPHA < 0.7)
    plain = light[edge][:, 1].mean()
    assert colours[edge][:, 1].mean() < 0.4 * plain  # most of the green is gone
    np.testing.assert_allclose(colours[ALPHA == 1], np.broadcast_to(red, (int((ALPHA == 1).sum()), 3)), atol=3e-3)
    shown = png(out)[0] / 65535
    picture = encoded(colours) if kind != "pq" else pq(to_space(colours, "rec2020"))
    np.testing.assert_allclose(shown[edge], picture[edge], atol=0.02)


@pytest.mark.parametrize(
    ("delivery", "estimated"),
    [
        (DeliverySettings(("alpha",)), False),
        (DeliverySettings(("exr", "alpha"), exr_form="matte"), False),
        (DeliverySettings(("exr",)), True),
        (DeliverySettings(("alpha", "png16")), True),
    ],
    ids=lambda value: "+".join((*value.kinds, value.exr_form)) if isinstance(value, DeliverySettings) else str(value),
)
def test_colours_are_estimated_only_where_a_file_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivery: DeliverySettings, estimated: bool
) -> None:
    calls = []

    def called(plate: Tensor, alpha: Tensor) -> Tensor:
        calls.append(alpha.shape)
        return plate.expand(*alpha.shape, 3)

    monkeypatch.setattr(chain, "decontaminate", called)
    cv2.imwrite(str(tmp_path / "plate.png"), np.rint(DISPLAY * 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "disc.png"), np.rint(ALPHA * 65535).astype(np.uint16))
    settings = MatteSettings(decontaminate=True)
    masks = (f"disc={tmp_path / 'disc.png'}",)
    assert matte_to_files(MatteJob(tmp_path / "plate.png", masks, tmp_path / "out", matte=settings, delivery=delivery))
    assert len(calls) == estimated
    segmented = SegmentJob(
        tmp_path / "out", parse_layers(["the disc"]), write=("soft", *delivery.kinds), matte=settings, delivery=delivery
    )
    assert segmented.mattes == (replace(settings, decontaminate=estimated),)
