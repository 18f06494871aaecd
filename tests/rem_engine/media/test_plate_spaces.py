"""A plate's numbers become the picture that the model sees, whatever colour space they are in."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from delivered import decoded, encoded
from PIL import Image
from plate_files import write_dpx, write_exr
from spaces import TO_REC709, hlg, icc_profile, logc3, png_with, pq, to_space
from video_files import scene, write_video

from rem_engine.media import open_shot
from rem_engine.media.first_look import colour_hints
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.media.plate_space import SHORT_NAMES, named_space

PICTURE = np.random.default_rng(5).random((20, 24, 3)).astype(np.float32)
"""Display sRGB of all hues, black and white among them."""
PICTURE[0, :8] = np.array(
    [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [0.5, 0.5, 0.5]]
)
LIGHT = decoded(PICTURE)

AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
AP1 = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
REC2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)


def chrm(xy: tuple[float, ...]) -> bytes:
    """A PNG's chunk of primaries: white, red, green, blue, as 100,000ths (PNG 11.3.2.1)."""
    return struct.pack(">8I", *(round(value * 100_000) for value in (*xy[6:], *xy[:6])))


def view(path: Path, **settings: object) -> np.ndarray:
    with open_shot(path, PlateSettings(**settings)) as shot:  # type: ignore[arg-type]
        return shot.read(0, 1)[0]


# ---- what EXRs say


@pytest.mark.parametrize(
    ("space", "header"),
    [
        ("ap0", {"chromaticities": AP0}),
        ("ap0", {"acesImageContainerFlag": 1}),
        ("ap0", {"colorInteropID": "lin_ap0_scene"}),
        ("ap1", {"chromaticities": tuple(round(value, 3) for value in AP1)}),
        ("ap1", {"colorInteropID": "lin_ap1_scene", "chromaticities": REC2020}),
        ("p3", {"chromaticities": P3}),
        ("rec2020", {"chromaticities": tuple(float(np.float16(value)) for value in REC2020)}),
        ("rec709", {}),
    ],
)
def test_an_exr_of_a_gamut_that_it_states_is_seen_as_it_was(tmp_path: Path, space: str, header: dict) -> None:
    light = to_space(LIGHT, space)
    write_exr(tmp_path / "a.exr", {"RGB": light.astype(np.float32)}, **header)
    np.testing.assert_allclose(view(tmp_path / "a.exr"), PICTURE, atol=2e-3)
    with open_shot(tmp_path / "a.exr") as shot:
        np.testing.assert_array_equal(shot.read_linear(0, 1)[0], light.astype(np.float32))


def test_highlights_are_clipped_and_leave_the_rest_alone(tmp_path: Path) -> None:
    light = LIGHT.copy()
    light[5] = 40.0
    write_exr(tmp_path / "a.exr", {"RGB": light.astype(np.float32)})
    seen = view(tmp_path / "a.exr")
    np.testing.assert_allclose(seen[5], 1.0, atol=1e-6)
    np.testing.assert_allclose(np.delete(seen, 5, axis=0), np.delete(PICTURE, 5, axis=0), atol=1e-5)


def test_frames_of_two_colour_spaces_are_refused(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.0001.exr", {"RGB": LIGHT.astype(np.float16)})
    write_exr(tmp_path / "a.0002.exr", {"RGB": LIGHT.astype(np.float16)}, chromaticities=AP0)
    with (
        open_shot(tmp_path) as shot,
        pytest.raises(ValueError, match=r"differ in colour space: a\.0001\.exr is .*709.* but a\.0002\.exr .*AP0"),
    ):
        shot.read(0, 2)
    with open_shot(tmp_path, PlateSettings(plate_space="aces")) as shot:
        shot.read(0, 2)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"chromaticities": (0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)}, "span no colours"),
        ({"chromaticities": (0.0,) * 8}, "span no colours"),
        ({"colorInteropID": "ocio:mylog_mygamut_scene"}, "'ocio:mylog_mygamut_scene', which is not known"),
    ],
)
def test_an_exr_whose_space_is_none_asks_for_it(tmp_path: Path, header: dict, said: str) -> None:
    write_exr(tmp_path / "a.exr", {"RGB": LIGHT.astype(np.float16)}, **header)
    with pytest.raises(ValueError, match=said + r".*--plate-space.*linear, .*acescg"):
        open_shot(tmp_path / "a.exr")
    np.testing.assert_allclose(view(tmp_path / "a.exr", plate_space="linear"), PICTURE, atol=2e-3)


# ---- spaces by their names


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in SHORT_NAMES if name != "cineon"),  # which OpenColorIO has not
        *("ARRI LogC4", "lin_p3d65", "Log3G10 REDWideGamutRGB", "ACEScct", "ADX10"),
    ],
)
def test_a_named_space_is_opencolorios(name: str) -> None:
    codes = np.random.default_rng(1).random((200, 3), np.float32) * 0.9 + 0.05
    ours = named_space(name)
    known = {
        **{"srgb": "srgb_rec709_scene", "rec709": "g24_rec709_display", "linear": "lin_rec709_scene"},
        **{"acescg": "ACEScg", "aces": "ACES2065-1", "logc3": "arri_logc3_ei800", "logc4": "arri_logc4"},
        **{"slog3": "slog3_sgamut3cine", "vlog": "vlog_vgamut", "redlog": "log3g10_redwidegamutrgb"},
        **{"applelog": "apple_log", "pq": "pq_rec2020_display", "hlg": "hlg_rec2020_display"},
    }.get(name, name)
    image = oiio.ImageBufAlgo.colorconvert(
        oiio.ImageBuf(codes[None]), known, "lin_rec709_scene", False, "", "", "ocio://studio-config-latest"
    )
    expected = image.get_pixels(oiio.FLOAT)[0] * (100 / 203 if name in ("pq", "hlg") else 1.0)
    light = ours.light(codes) @ ours.to_rec709.T
    np.testing.assert_allclose(light, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def _light_of_logc3(codes: np.ndarray) -> np.ndarray:
    """ARRI, ALEXA Log C Curve, EI 800, undone."""
    above = (10 ** ((codes - 0.385537) / 0.247190) - 0.052272) / 5.555556
    return np.where(codes > 0.149659, above, (codes - 0.092809) / 5.367655)


def _light_of_cineon(codes: np.ndarray) -> np.ndarray:
    """Density of 0.002 a code value of 10 bits, white at 685, black at 95, gamma of the negative 0.6."""
    black = 10 ** ((95 - 685) * 0.002 / 0.6)
    return (10 ** ((1023 * codes - 685) * 0.002 / 0.6) - black) / (1 - black)


@pytest.mark.parametrize(("name", "light"), [("logc3", _light_of_logc3), ("cineon", _light_of_cineon)])
def test_codes_of_an_exr_beyond_0_and_1_are_light_too(
    tmp_path: Path, name: str, light: Callable[[np.ndarray], np.ndarray]
) -> None:
    codes = np.linspace(-0.15, 1.25, 20 * 24 * 3, dtype=np.float32).reshape(20, 24, 3)
    with open_shot(write_exr(tmp_path / "log.exr", {"RGB": codes}), PlateSettings(plate_space=name)) as shot:
        np.testing.assert_allclose(shot.read_linear(0, 1)[0], light(codes), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", ["logc3", "acescct", "cineon", "rec709"])
def test_light_stays_finite_however_far_codes_are_beyond(tmp_path: Path, name: str) -> None:
    codes = np.full((16, 24, 3), 65504, np.float16)
    codes[:8] = -65504
    with open_shot(write_exr(tmp_path / "log.exr", {"RGB": codes}), PlateSettings(plate_space=name)) as shot:
        assert np.isfinite(shot.read_linear(0, 1)).all() and np.isfinite(shot.read(0, 1)).all()


@pytest.mark.parametrize("name", [*SHORT_NAMES, "ACEScct", "Rec.2100-PQ - Display"])
def test_codes_are_the_inverse_of_light(name: str) -> None:
    codes = np.random.default_rng(1).random((200, 3), np.float32) * 0.7 + 0.15
    space = named_space(name)
    np.testing.assert_allclose(space.codes(space.light(codes)), codes, atol=3e-5)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("logc", "logc4, logc3"),
        ("S-Log", "slog3"),
        ("acesgc", "acescg"),
        ("sgrb", "srgb, "),
        ("qqq", "srgb, rec709, linear"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(tmp_path: Path, name: str, near: str) -> None:
    write_exr(tmp_path / "a.exr", {"RGB": LIGHT.astype(np.float16)})
    with pytest.raises(ValueError, match=f"There is no colour space '{name}': give one of .*{near}"):
        open_shot(tmp_path / "a.exr", PlateSettings(plate_space=name))


def test_a_configuration_of_ones_own_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.ocio").write_text(
        "ocio_profile_version: 2\nroles: {aces_interchange: ap0, default: ap0}\n"
        "file_rules: [!<Rule> {name: Default, colorspace: default}]\n"
        "displays: {d: [!<View> {name: v, colorspace: ap0}]}\n"
        "colorspaces:\n  - !<ColorSpace> {name: ap0}\n"
        "  - !<ColorSpace>\n    name: show_half\n"
        "    from_scene_reference: !<MatrixTransform>\n"
        "      matrix: [0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 1]\n"
    )
    write_exr(tmp_path / "a.exr", {"RGB": (to_space(LIGHT, "ap0") / 2).astype(np.float32)})
    monkeypatch.setenv("OCIO", str(tmp_path / "own.ocio"))
    np.testing.assert_allclose(view(tmp_path / "a.exr", plate_space="show_half"), PICTURE, atol=2e-3)
    monkeypatch.setenv("OCIO", str(tmp_path / "none.ocio"))
    with pytest.raises(ValueError, match=r"configuration .*none\.ocio cannot be read .*set OCIO"):
        view(tmp_path / "a.exr", plate_space="show_half")


@pytest.mark.parametrize(("bits", "mean"), [(10, 0.005), (16, 0.003)])
def test_camera_log_is_seen_as_the_scene_was(tmp_path: Path, bits: int, mean: float) -> None:
    write_dpx(tmp_path / "a.dpx", bits, logc3(to_space(LIGHT, "awg3")).astype(np.float32))
    apart = np.abs(view(tmp_path / "a.dpx", plate_space="logc3") - PICTURE)
    # ARRI and OpenColorIO bring D65 to ACES' white by different models of the eye.
    assert apart.max() < 0.05 and apart.mean() < mean
    grey = PICTURE.max(axis=-1) == PICTURE.min(axis=-1)
    assert apart[grey].max() < 0.003


# ---- what other pictures say


@pytest.mark.parametrize(
    ("transfer", "values"),
    [
        ("Linear", LIGHT),
        ("ITU-R 709-4", PICTURE),
        ("User defined", PICTURE),
        (None, PICTURE),
        ("Printing density", (685 + 300 * np.log10(LIGHT * (1 - 10 ** (-590 / 300)) + 10 ** (-590 / 300))) / 1023),
    ],
)
def test_a_dpx_is_what_its_header_says(tmp_path: Path, transfer: str | None, values: np.ndarray) -> None:
    attributes = {} if transfer is None else {"dpx:Transfer": transfer}
    write_dpx(tmp_path / "a.dpx", 16, values.astype(np.float32), **attributes)
    np.testing.assert_allclose(view(tmp_path / "a.dpx"), PICTURE, atol=2e-3)


def test_a_logarithmic_dpx_is_refused_without_a_name(tmp_path: Path) -> None:
    write_dpx(tmp_path / "a.dpx", 10, **{"dpx:Transfer": "Logarithmic"})
    with pytest.raises(ValueError, match=r"a\.dpx says Logarithmic.*--plate-space.*cineon, .*logc3"):
        open_shot(tmp_path / "a.dpx")
    with open_shot(tmp_path / "a.dpx", PlateSettings(plate_space="logc4")) as shot:
        shot.read(0, 1)


@pytest.mark.parametrize(
    ("chunks", "values"),
    [
        ({}, PICTURE),
        ({b"sRGB": b"\0"}, PICTURE),
        ({b"gAMA": (45455).to_bytes(4, "big")}, PICTURE),
        ({b"gAMA": (100000).to_bytes(4, "big")}, LIGHT),
        ({b"gAMA": (55556).to_bytes(4, "big")}, LIGHT ** (1 / 1.8)),
        ({b"gAMA": (38462).to_bytes(4, "big")}, LIGHT ** (1 / 2.6)),
        ({b"gAMA": (55556).to_bytes(4, "big"), b"sRGB": b"\0"}, PICTURE),
        ({b"gAMA": (55556).to_bytes(4, "big"), b"cICP": bytes([1, 13, 0, 1])}, PICTURE),
        ({b"gAMA": (0).to_bytes(4, "big")}, PICTURE),
        ({b"gAMA": (7).to_bytes(4, "big")}, PICTURE),
        ({b"cHRM": chrm(REC2020)}, encoded(to_space(LIGHT, "rec2020"))),
        ({b"cHRM": chrm(P3), b"gAMA": (45455).to_bytes(4, "big")}, encoded(to_space(LIGHT, "p3"))),
        ({b"cHRM": chrm(P3), b"gAMA": (100000).to_bytes(4, "big")}, to_space(LIGHT, "p3")),
        ({b"cHRM": chrm(REC2020), b"gAMA": (55556).to_bytes(4, "big")}, to_space(LIGHT, "rec2020") ** (1 / 1.8)),
        ({b"cHRM": chrm(P3), b"sRGB": b"\0"}, PICTURE),
        ({b"cHRM": chrm((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329))}, PICTURE),
        ({b"cHRM": chrm((0.0,) * 8)}, PICTURE),
        ({b"cICP": bytes([9, 16, 0, 1])}, pq(to_space(LIGHT, "rec2020"))),
        ({b"cICP": bytes([9, 18, 0, 1])}, hlg(to_space(LIGHT, "rec2020"))),
        ({b"cICP": bytes([12, 13, 0, 1])}, encoded(to_space(LIGHT, "p3"))),
        ({b"cICP": bytes([1, 1, 0, 1])}, PICTURE),
    ],
)
def test_a_png_is_what_its_chunks_say(tmp_path: Path, chunks: dict[bytes, bytes], values: np.ndarray) -> None:
    png_with(tmp_path / "a.png", values, chunks)
    np.testing.assert_allclose(view(tmp_path / "a.png"), PICTURE, atol=3e-3)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize(
    ("gamut", "curve"),
    [
        ("rec709", ("para", 3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
        ("p3", ("para", 3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
        ("rec2020", ("para", 0, 2.0)),
        ("p3", ("para", 4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0)),
        ("ap1", ("curv", 1.5)),
    ],
)
def test_a_picture_is_what_its_icc_profile_says(tmp_path: Path, suffix: str, gamut: str, curve: tuple) -> None:
    light = to_space(LIGHT, gamut).clip(0, 1)
    values = encoded(light) if len(curve) > 3 else light ** (1 / curve[-1])
    values = np.repeat(np.repeat(values, 8, axis=0), 8, axis=1)  # blocks that JPEG keeps
    picture = Image.fromarray(np.rint(255 * values).astype(np.uint8))
    lossless = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    picture.save(tmp_path / f"a.{suffix}", icc_profile=icc_profile(gamut, curve), **lossless)
    apart = np.abs(view(tmp_path / f"a.{suffix}")[4::8, 4::8] / (255 if gamut == "rec709" else 1) - PICTURE)
    assert apart.mean() < 0.008 and np.median(apart) < 0.004  # 8 bits
    if gamut == "rec709":
        with open_shot(tmp_path / f"a.{suffix}") as shot:
            assert shot.read(0, 1).dtype == np.uint8


def test_a_photograph_that_denies_srgb_is_told_from_one_that_says_nothing(tmp_path: Path) -> None:
    for code in (1, 65535):  # sRGB, and uncalibrated (EXIF 2.3, tag 40961)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[40961] = code
        Image.new("RGB", (24, 20)).save(tmp_path / f"{code}.jpg", exif=exif)
        with open_shot(tmp_path / f"{code}.jpg") as shot:
            assert ("EXIF" in shot.plate_colour.known_from) == (code == 65535)
            assert shot.plate_colour.shows_as_is


@pytest.mark.parametrize("profile", [b"\0" * 200, b"no profile", "truncated"])
def test_a_broken_icc_profile_is_left_aside(tmp_path: Path, profile: bytes | str) -> None:
    content = icc_profile("p3", ("para", 0, 2.0))[:200] if isinstance(profile, str) else profile
    png_with(tmp_path / "a.png", PICTURE, {b"iCCP": b"x\0\0" + zlib.compress(content)})
    np.testing.assert_allclose(view(tmp_path / "a.png"), PICTURE, atol=1e-4)


def test_a_float_tiff_of_light_keeps_its_highlights(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), (2 * LIGHT[..., ::-1]).astype(np.float32))
    with open_shot(tmp_path / "a.tif", PlateSettings(plate_space="linear", exposure=-1.0)) as shot:
        np.testing.assert_allclose(shot.read(0, 1)[0], PICTURE, atol=1e-5)
        np.testing.assert_array_equal(shot.read_linear(0, 1)[0], (2 * LIGHT).astype(np.float32))


# ---- videos


def video(path: Path, values: np.ndarray, tags: tuple[int, int, int], **metadata: str) -> Path:
    """Values [H,W,3] as one frame of FFV1 in Matroska, R'G'B' of 16 bits without loss."""
    with av.open(path, "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream("ffv1", rate=Fraction(24))
        stream.height, stream.width, stream.pix_fmt = *values.shape[:2], "gbrp16le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        picture = av.VideoFrame.from_ndarray(np.rint(values * 65535).astype(np.uint16), format="rgb48le")
        picture = picture.reformat(format="gbrp16le")
        picture.color_primaries, picture.color_trc, picture.colorspace = tags
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("tags", "values"),
    [
        ((2, 2, 2), PICTURE),
        ((1, 1, 0), PICTURE),
        ((1, 13, 0), PICTURE),
        ((6, 6, 0), PICTURE),
        ((1, 8, 0), LIGHT),
        ((1, 9, 0), 1 + np.log10(LIGHT.clip(0.01)) / 2),
        ((1, 10, 0), 1 + np.log10(LIGHT.clip(10**-2.5)) / 2.5),
        ((9, 16, 0), pq(to_space(LIGHT, "rec2020"))),
        ((9, 18, 0), hlg(to_space(LIGHT, "rec2020"))),
        ((12, 16, 0), pq(to_space(LIGHT, "p3"))),
        ((12, 13, 0), encoded(to_space(LIGHT, "p3"))),
        ((9, 14, 0), encoded(to_space(LIGHT, "rec2020"))),
    ],
)
def test_a_video_is_what_its_tags_say(tmp_path: Path, tags: tuple[int, int, int], values: np.ndarray) -> None:
    seen = view(video(tmp_path / "a.mkv", np.asarray(values), tags))
    expected = PICTURE.clip(encoded(np.array(0.01 if tags[1] == 9 else 10**-2.5 if tags[1] == 10 else 0.0)), 1.0)
    np.testing.assert_allclose(seen, expected, atol=4e-3)


@pytest.mark.parametrize(
    ("metadata", "near"),
    [
        ({"com.arri.camera.ColorGammaSxS": "LOG-C"}, "logc3"),
        ({"COLOR_CURVE": "S-Log3"}, "slog3"),
        ({"gamma": "V-Log"}, "vlog"),
    ],
)
def test_a_video_whose_camera_says_log_asks_for_its_space(tmp_path: Path, metadata: dict[str, str], near: str) -> None:
    path = video(tmp_path / "a.mkv", PICTURE, (2, 2, 2), **metadata)
    with pytest.raises(ValueError, match=rf"a\.mkv says .*--plate-space.*one of {near}, "):
        open_shot(path)
    view(path, plate_space=near)


def test_a_video_of_y_cb_cr_asks_for_its_space_in_one_sentence(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", scene(2), "ffv1", "yuv420p", tags={"gamma": "V-Log"})
    with pytest.raises(ValueError, match=r"a\.mkv says .*--plate-space [^.;]*, hlg\.$"):
        open_shot(path)


def test_a_video_of_xyz_asks_for_its_space(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the tags of a\.mkv say its values are X, Y, Z.*--plate-space"):
        open_shot(video(tmp_path / "a.mkv", PICTURE, (10, 17, 0)))


def test_a_title_that_speaks_of_a_vlog_asks_nothing(tmp_path: Path) -> None:
    view(video(tmp_path / "a.mkv", PICTURE, (2, 2, 2), title="My vlog", comment="S-Log3 to Rec. 709", encoder="V-Log"))


@pytest.mark.parametrize(("height", "matrix"), [(720, "bt709"), (360, "smpte170m")])
@pytest.mark.parametrize("tagged", [False, True])
def test_green_of_untagged_video_is_read_by_one_default(tmp_path: Path, height: int, matrix: str, tagged: bool) -> None:
    codes = {"bt709": (173, 42, 26), "smpte170m": (145, 54, 34)}[matrix]  # Y'CbCr of (0, 255, 0): H.273, 8.3
    with av.open(tmp_path / "a.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = height, 64, "yuv444p"
        picture = av.VideoFrame(64, height, "yuv444p")
        for plane, value in zip(picture.planes, codes, strict=True):
            np.frombuffer(plane, np.uint8)[:] = value
        if tagged:
            code = 1 if matrix == "bt709" else 6
            stream.codec_context.colorspace = picture.colorspace = code
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    np.testing.assert_allclose(view(tmp_path / "a.mkv")[8, 8], [0, 1, 0], atol=2 / 255)


# ---- exposure, and where the view comes in


@pytest.mark.parametrize("stops", [-2.0, 1.5])
@pytest.mark.parametrize("kind", ["png", "exr"])
def test_exposure_brightens_the_view_and_nothing_else(tmp_path: Path, stops: float, kind: str) -> None:
    if kind == "png":
        path = png_with(tmp_path / "a.png", PICTURE, {})
    else:
        path = write_exr(tmp_path / "a.exr", {"RGB": LIGHT.astype(np.float32)})
    with open_shot(path) as plain, open_shot(path, PlateSettings(exposure=stops)) as bright:
        np.testing.assert_allclose(bright.read(0, 1)[0], encoded(LIGHT * 2**stops), atol=2e-3)
        np.testing.assert_array_equal(bright.read_linear(0, 1), plain.read_linear(0, 1))
        np.testing.assert_array_equal(bright.read_picture(0, 1), plain.read_picture(0, 1))


@pytest.mark.parametrize("write", ["exr", "png"])
def test_the_view_may_follow_a_resize(tmp_path: Path, write: str) -> None:
    if write == "exr":
        path = write_exr(tmp_path / "a.exr", {"RGB": to_space(LIGHT, "ap0").astype(np.float32)}, chromaticities=AP0)
    else:
        path = png_with(tmp_path / "a.png", PICTURE, {})
    with open_shot(path) as shot:
        unviewed, seen = shot.read_unviewed(0, 1), shot.read(0, 1)
        view: Callable[[np.ndarray], np.ndarray] = shot.view or (lambda values: values)
        np.testing.assert_allclose(view(unviewed), seen, atol=1e-6)
        assert (shot.view is None) == (write == "png")


def test_matrices_are_those_of_the_standards() -> None:
    for name, expected in TO_REC709.items():
        if name != "awg3":
            gamut = {"p3": "lin_p3d65_scene"}.get(name, f"lin_{name}_scene")
            np.testing.assert_allclose(named_space(gamut).to_rec709, expected, atol=2e-4)


# ---- what a first look tells


def hints(path: Path, **settings: object) -> list[str]:
    with open_shot(path, PlateSettings(**settings)) as shot:  # type: ignore[arg-type]
        return [*colour_hints(shot)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LIGHT, None),
        (LIGHT / 256, r"very dark .*below 0\.04 .*--exposure [678]\."),
        (LIGHT * 1000, r"very bright .*--exposure -2"),
        (LIGHT * 0, None),
    ],
)
def test_light_that_is_too_dark_or_too_bright_is_hinted_at(
    tmp_path: Path, values: np.ndarray, said: str | None
) -> None:
    found = hints(write_exr(tmp_path / "a.exr", {"RGB": values.astype(np.float32)}))
    assert len(found) == (said is not None)
    assert said is None or re.search(said, found[0])


def test_footage_that_looks_logarithmic_is_hinted_at_and_not_refused(tmp_path: Path) -> None:
    pale = 0.7 * LIGHT.mean(axis=-1, keepdims=True) + 0.3 * LIGHT
    path = png_with(tmp_path / "a.png", logc3(to_space(pale, "awg3")), {})
    assert re.search(r"flat as logarithmic .*--plate-space, logc3", *hints(path))
    assert not hints(path, plate_space="logc3")
    assert not hints(png_with(tmp_path / "b.png", encoded(pale), {}))


def test_the_sample_shot_gives_no_hint() -> None:
    assert not hints(Path(__file__).parents[3] / "assets" / "sample_shot.mp4")
