"""Delivered EXRs, read back by OpenEXR's own reader and by OpenImageIO."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from delivered import FPS, Frame, decoded, deliver, frames, oiio_pixels, openexr_channels, openexr_header

from rem_engine.media import open_shot
from rem_engine.media.colour import ColourTags
from rem_engine.media.shot import ShotInfo


@pytest.fixture(scope="module")
def shot() -> list[Frame]:
    return frames(2)


def first(out: Path) -> Path:
    return out / "exr" / "shot.1001.exr"


@pytest.mark.parametrize("compression", ["zip", "zips", "piz", "none"])
@pytest.mark.parametrize(("exr_type", "dtype"), [("half", np.float16), ("float", np.float32)])
def test_lossless_exr_is_exact_to_its_type(
    tmp_path: Path, shot: list[Frame], compression: str, exr_type: str, dtype: type
) -> None:
    deliver(tmp_path, shot, kinds=("exr",), exr_type=exr_type, exr_compression=compression)
    frame = shot[0]
    expected = {"smoke.A": frame.alpha[0], "fire.A": frame.alpha[1]}
    expected |= {name: frame.linear[..., place] for place, name in enumerate("RGB")}
    channels = openexr_channels(first(tmp_path))
    assert set(channels) == set(expected)
    for name, values in expected.items():
        assert channels[name].dtype == dtype
        np.testing.assert_array_equal(channels[name], values.astype(dtype))
    pixels, spec = oiio_pixels(first(tmp_path))
    assert spec.get_string_attribute("compression") == compression
    for name, values in expected.items():
        np.testing.assert_array_equal(pixels[..., spec.channelnames.index(name)], values.astype(dtype))


@pytest.mark.parametrize("exr_type", ["half", "float"])
def test_dwaa_loses_in_the_colours_and_not_in_the_alphas(tmp_path: Path, shot: list[Frame], exr_type: str) -> None:
    deliver(tmp_path, shot, kinds=("exr",), exr_type=exr_type, exr_compression="dwaa", decontaminated=True)
    channels, dtype = openexr_channels(first(tmp_path)), {"half": np.float16, "float": np.float32}[exr_type]
    for number, name in enumerate(("smoke.A", "fire.A")):
        np.testing.assert_array_equal(channels[name], shot[0].alpha[number].astype(dtype))
    # Level 45, OpenEXR's own default, is meant to be lossless to the eye: within 2 % of the brightest here.
    colour = np.stack([channels[f"smoke.{name}"] for name in "RGB"], axis=-1).astype(np.float32)
    wanted = shot[0].linear + decoded(shot[0].foreground[0]) - decoded(shot[0].display)
    wanted = wanted * shot[0].alpha[0][..., None]
    assert 0 < np.abs(colour - wanted).max() < 0.02 * wanted.max()


def test_rgb_is_unnamed_and_each_layer_a_layer_for_compositing(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("exr",))
    buffer = oiio.ImageBuf(str(first(tmp_path)))
    assert buffer.nsubimages == 1
    assert buffer.spec().channelnames[:3] == ("R", "G", "B")
    assert set(buffer.spec().channelnames[3:]) == {"smoke.A", "fire.A"}


def test_highlights_above_1_of_an_exr_plate_survive(tmp_path: Path, shot: list[Frame]) -> None:
    source = tmp_path / "plate"
    source.mkdir()
    for index, frame in enumerate(shot):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": frame.linear}).write(str(source / f"plate.{index}.exr"))
    with open_shot(source) as plate:
        read = [
            Frame(plate.read_linear(i, i + 1)[0], plate.read(i, i + 1)[0], frame.alpha, frame.foreground)
            for i, frame in enumerate(shot)
        ]
    deliver(tmp_path / "out", read, kinds=("exr",), exr_type="float")
    channels = openexr_channels(first(tmp_path / "out"))
    assert channels["R"].max() > 5.0
    for place, name in enumerate("RGB"):
        np.testing.assert_array_equal(channels[name], shot[0].linear[..., place])


def test_what_a_half_cannot_hold_becomes_its_largest_number(tmp_path: Path, shot: list[Frame]) -> None:
    bright = shot[0].linear.copy()
    bright[0, 0] = (1e6, -1e6, 65519.0)
    deliver(tmp_path, [Frame(bright, shot[0].display, shot[0].alpha, shot[0].foreground)], kinds=("exr",))
    channels = openexr_channels(first(tmp_path))
    assert [float(channels[name][0, 0]) for name in "RGB"] == [65504.0, -65504.0, 65504.0]


def test_the_unnamed_picture_takes_decontaminated_colour_from_the_strongest_layer(
    tmp_path: Path, shot: list[Frame]
) -> None:
    form = {"exr_type": "float", "exr_linear": False, "exr_form": "premultiplied"}
    deliver(tmp_path, shot, kinds=("exr",), decontaminated=True, **form)
    channels, frame = openexr_channels(first(tmp_path)), shot[0]
    stored = np.stack([channels[name] for name in "RGB"], axis=-1)
    fire = frame.alpha[1] > frame.alpha[0]
    assert fire.any() and not fire.all()
    premultiplied = frame.foreground * frame.alpha[..., None]
    np.testing.assert_array_equal(stored[fire], premultiplied[1][fire])
    np.testing.assert_array_equal(stored[~fire], premultiplied[0][~fire])
    np.testing.assert_array_equal(channels["A"], frame.alpha.max(axis=0))


def test_decontamination_leaves_highlights_above_1(tmp_path: Path, shot: list[Frame]) -> None:
    frame = shot[0]
    untouched = np.broadcast_to(frame.display, frame.foreground.shape)
    deliver(
        tmp_path,
        [Frame(frame.linear, frame.display, frame.alpha, untouched)],
        kinds=("exr",),
        exr_type="float",
        decontaminated=True,
    )
    channels = openexr_channels(first(tmp_path))
    np.testing.assert_array_equal(channels["smoke.R"], frame.linear[..., 0] * frame.alpha[0])


@pytest.mark.parametrize(
    ("linear", "premultiplied", "space", "sentence"),
    [
        (
            True,
            False,
            "lin_rec709_scene",
            "Scene-linear, Rec. 709 primaries; the plate's own pixels, without an",
        ),
        (True, True, "lin_rec709_scene", "Scene-linear, Rec. 709 primaries; premultiplied (associated) alpha."),
        (False, False, "srgb_rec709_display", "Display-referred with the sRGB curve, Rec. 709 primaries; the plate's"),
    ],
)
def test_the_header_says_what_the_numbers_mean(
    tmp_path: Path, shot: list[Frame], linear: bool, premultiplied: bool, space: str, sentence: str
) -> None:
    deliver(tmp_path, shot, kinds=("exr",), exr_linear=linear, premultiplied=premultiplied)
    header = openexr_header(first(tmp_path))
    assert header["colorInteropID"] == space
    assert str(header["comments"]).startswith(sentence)
    # ITU-R BT.709: x, y of red, green, blue and white.
    assert header["chromaticities"] == pytest.approx((0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290))
    assert "owner" not in header


@pytest.mark.parametrize(
    ("colour", "space", "red"),
    [
        (ColourTags(primaries=9, transfer=14, matrix=9), "lin_rec2020_scene", (0.708, 0.292)),
        (ColourTags(chromaticities=(0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)), "lin_ap1_scene", None),
    ],
)
def test_other_primaries_are_stated_as_they_are(
    tmp_path: Path, shot: list[Frame], colour: ColourTags, space: str, red: tuple[float, float] | None
) -> None:
    deliver(tmp_path, shot[:1], kinds=("exr",), info=ShotInfo(48, 64, FPS, colour=colour))
    header = openexr_header(first(tmp_path))
    assert header["colorInteropID"] == space
    assert header["chromaticities"][:2] == pytest.approx(red or colour.chromaticities[:2])
    assert open_shot(tmp_path / "exr").info.colour.chromaticities == pytest.approx(colour.xy())


@pytest.mark.parametrize(
    ("linear", "space", "sentence"),
    [
        (True, "lin_rec2020_scene", "Scene-linear, Rec. 2020 primaries"),
        (False, "pq_rec2020_display", "Display-referred, PQ, Rec. 2020 primaries"),
    ],
)
def test_an_hdr_plate_is_not_called_srgb(
    tmp_path: Path, shot: list[Frame], linear: bool, space: str, sentence: str
) -> None:
    info = ShotInfo(48, 64, FPS, colour=ColourTags(9, 16, 9))
    deliver(tmp_path, shot[:1], kinds=("exr",), info=info, exr_linear=linear)
    header = openexr_header(first(tmp_path))
    assert header["colorInteropID"] == space
    assert str(header["comments"]).startswith(sentence)


def test_rate_and_timecode_count_on_from_frame_to_frame(tmp_path: Path) -> None:
    info = ShotInfo(48, 64, Fraction(30000, 1001), "00:00:59;28")
    deliver(tmp_path, frames(4), kinds=("exr",), info=info)
    codes = []
    for number in range(1001, 1005):
        header = openexr_header(tmp_path / "exr" / f"shot.{number}.exr")
        assert header["framesPerSecond"] == Fraction(30000, 1001)
        code = header["timeCode"]
        codes.append((code.hours, code.minutes, code.seconds, code.frame, code.dropFrame))
    assert codes == [(0, 0, 59, 28, True), (0, 0, 59, 29, True), (0, 1, 0, 2, True), (0, 1, 0, 3, True)]
    with open_shot(tmp_path / "exr") as shot:
        assert (shot.fps, shot.timecode) == (Fraction(30000, 1001), "00:00:59;28")


def test_anamorphic_pixels_keep_their_shape(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("exr",), info=ShotInfo(48, 64, FPS, pixel_aspect=Fraction(2)))
    assert oiio.ImageBuf(str(first(tmp_path))).spec().get_float_attribute("PixelAspectRatio") == 2.0
    assert open_shot(tmp_path / "exr").info.pixel_aspect == 2


def test_stills_state_no_rate(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("exr",), info=ShotInfo(48, 64))
    assert not {"framesPerSecond", "timeCode"} & set(openexr_header(first(tmp_path)))
