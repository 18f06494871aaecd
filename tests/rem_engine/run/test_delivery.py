"""What a delivery writes where, whole or not at all, and what it refuses."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from delivered import FPS, Frame, deliver, frames, oiio_pixels, openexr_channels, video_alpha
from PIL import Image

from rem_engine.matte import Frame as MattedFrame
from rem_engine.media import open_shot
from rem_engine.media.numbering import counted
from rem_engine.media.shot import ShotInfo
from rem_engine.run.delivery import Delivery
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.whole_files import temporary_name

ALL = ("alpha", "png16", "exr", "prores", "webm")
INFO = ShotInfo(48, 64, FPS)


@pytest.fixture(scope="module")
def shot() -> list[Frame]:
    return frames(4)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


# ---- PNG


def test_the_alpha_png_is_exact_to_16_bits(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("alpha",))
    for layer, name in enumerate(("smoke", "fire")):
        for index, frame in enumerate(shot):
            with Image.open(tmp_path / name / "alpha" / f"shot.{1001 + index}.png") as image:
                assert image.mode == "I;16"
                stored = np.asarray(image)
            np.testing.assert_array_equal(stored, np.rint(frame.alpha[layer].astype(np.float64) * 65535))


@pytest.mark.parametrize("decontaminated", [False, True])
def test_the_rgba_png_is_straight_and_exact_to_16_bits(tmp_path: Path, shot: list[Frame], decontaminated: bool) -> None:
    # The format itself wants straight colour, whatever is asked for.
    deliver(tmp_path, shot, kinds=("png16",), premultiplied=True, decontaminated=decontaminated)
    for layer, name in enumerate(("smoke", "fire")):
        frame, path = shot[2], tmp_path / name / "png16" / "shot.1003.png"
        wanted = np.dstack([frame.foreground[layer] if decontaminated else frame.display, frame.alpha[layer]])
        wanted = np.rint(wanted.astype(np.float64) * 65535)
        pixels, spec = oiio_pixels(path)
        assert (spec.format, spec.nchannels) == ("uint16", 4)
        np.testing.assert_array_equal(np.rint(pixels.astype(np.float64) * 65535), wanted)
        with av.open(path) as container:
            np.testing.assert_array_equal(next(container.decode(video=0)).to_ndarray(format="rgba64le"), wanted)


def test_a_png_composite_over_a_background_is_the_analytic_one(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("png16",), decontaminated=True)
    pixels, _ = oiio_pixels(tmp_path / "fire" / "png16" / "shot.1001.png")
    ground = np.array([0.1, 0.6, 0.3])
    alpha = shot[0].alpha[1][..., None].astype(np.float64)
    expected = shot[0].foreground[1] * alpha + ground * (1 - alpha)
    np.testing.assert_allclose(pixels[..., :3] * pixels[..., 3:] + ground * (1 - pixels[..., 3:]), expected, atol=2e-5)


# ---- names and numbers


@pytest.mark.parametrize(
    ("start", "padding", "numbers"),
    [
        (1001, 4, ["1001", "1002", "1003", "1004"]),
        (1001, 6, ["001001", "001002", "001003", "001004"]),
        (0, 4, ["0000", "0001", "0002", "0003"]),
        (7, 1, ["7", "8", "9", "10"]),
        (99998, 4, ["99998", "99999", "100000", "100001"]),
    ],
)
def test_numbers_start_anywhere_with_any_padding(
    tmp_path: Path, shot: list[Frame], start: int, padding: int, numbers: list[str]
) -> None:
    delivery = deliver(tmp_path, shot, kinds=("exr", "alpha", "png16"), layers=("smoke",), start=start, padding=padding)
    expected = {f"exr/shot.{number}.exr" for number in numbers}
    expected |= {f"smoke/{kind}/shot.{number}.png" for kind in ("alpha", "png16") for number in numbers}
    assert files_in(tmp_path) == expected
    between = f"{numbers[0]}-{numbers[-1]}"
    places = ("smoke/alpha/shot", "smoke/png16/shot")
    assert delivery.listing() == [f"exr/shot.{between}.exr", *(f"{place}.{between}.png" for place in places)]
    with open_shot(tmp_path / "exr") as read:
        assert read.frame_count == 4


def test_videos_take_their_names_when_they_are_whole(tmp_path: Path, shot: list[Frame]) -> None:
    delivery = Delivery(tmp_path, counted("sh010", 8), ["smoke"], INFO, DeliverySettings(kinds=("prores", "webm")))
    for index, frame in enumerate(shot):
        delivery.write(frame.matted(index, 1))
    assert delivery.listing() == [] and not {"smoke/sh010.mov", "smoke/sh010.webm"} & files_in(tmp_path)
    delivery.close()
    assert delivery.listing() == ["smoke/sh010.mov", "smoke/sh010.webm"]
    assert files_in(tmp_path) == {"smoke/sh010.mov", "smoke/sh010.webm"}


def test_an_abandoned_delivery_leaves_whole_frames_and_no_video(tmp_path: Path, shot: list[Frame]) -> None:
    delivery = Delivery(tmp_path, counted("shot", 8), ["smoke"], INFO, DeliverySettings(kinds=ALL))
    for index, frame in enumerate(shot[:2]):
        delivery.write(frame.matted(index, 1))
    delivery.abandon()
    assert files_in(tmp_path) == {
        f"{place}/shot.{number}.{suffix}"
        for number in (1001, 1002)
        for place, suffix in (("exr", "exr"), ("smoke/alpha", "png"), ("smoke/png16", "png"))
    }


def test_a_sequence_goes_on_after_a_stop_as_if_there_had_been_none(tmp_path: Path, shot: list[Frame]) -> None:
    settings = DeliverySettings(kinds=("alpha", "png16", "exr"))
    for first, stop in ((0, 3), (3, 4)):
        delivery = Delivery(tmp_path / "twice", counted("shot", 8), ["smoke"], INFO, settings, first_index=first)
        for index in range(first, stop):
            delivery.write(shot[index].matted(index, 1))
        delivery.close()
    deliver(tmp_path / "once", shot, layers=("smoke",), kinds=settings.kinds)
    assert files_in(tmp_path / "twice") == files_in(tmp_path / "once")
    for name in files_in(tmp_path / "once"):
        assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    assert delivery.listing()[0] == "exr/shot.1001-1004.exr"


def test_videos_begin_anew_beside_sequences_that_go_on(tmp_path: Path, shot: list[Frame]) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    deliver(once, shot, kinds=("alpha", "prores"), layers=("smoke",))
    deliver(twice, shot[:2], kinds=("alpha",), layers=("smoke",))
    stamps = {file: file.stat().st_mtime_ns for file in (twice / "smoke" / "alpha").iterdir()}
    settings = DeliverySettings(kinds=("alpha", "prores"))
    with Delivery(twice, counted("shot", 8), ["smoke"], INFO, settings, first_index=2) as delivery:
        for index, frame in enumerate(shot):
            delivery.write(frame.matted(index, 1))
            assert delivery.frames_in_sequences == max(index + 1, 2)
    assert files_in(twice) == files_in(once)
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())
    assert delivery.listing() == ["smoke/alpha/shot.1001-1004.png", "smoke/shot.mov"]
    pairs = zip(video_alpha(twice / "smoke" / "shot.mov"), video_alpha(once / "smoke" / "shot.mov"), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


def test_frames_that_sequences_have_may_come_again_and_none_may_be_left_out(tmp_path: Path, shot: list[Frame]) -> None:
    with Delivery(
        tmp_path, counted("shot", 8), ["smoke"], INFO, DeliverySettings(kinds=("exr",)), first_index=3
    ) as delivery:
        for index in (1, 2, 3):
            delivery.write(shot[index].matted(index, 1))
        with pytest.raises(ValueError, match="expects frame 4, not 3: write frames in order"):
            delivery.write(shot[3].matted(3, 1))
    assert files_in(tmp_path) == {"exr/shot.1004.exr"}
    with (
        Delivery(
            tmp_path, counted("shot", 8), ["smoke"], INFO, DeliverySettings(kinds=("exr",)), first_index=1
        ) as delivery,
        pytest.raises(ValueError, match="expects frame 1, not 2"),
    ):
        delivery.write(shot[2].matted(2, 1))


# ---- a full disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the Linux device that is always full")
@pytest.mark.parametrize(
    "victim",
    ["exr/shot.1003.exr", "fire/alpha/shot.1003.png", "smoke/png16/shot.1003.png"],
)
def test_a_full_disk_leaves_whole_frames_only(
    tmp_path: Path, shot: list[Frame], monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "00000000")  # names that can be known beforehand
    delivery = Delivery(tmp_path, counted("shot", 8), ["smoke", "fire"], INFO, DeliverySettings(kinds=ALL))
    for index, frame in enumerate(shot[:2]):
        delivery.write(frame.matted(index))
    temporary_name(tmp_path / victim).symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        delivery.write(shot[2].matted(2))
    assert caught.value.errno == errno.ENOSPC
    delivery.abandon()
    assert all(".1001." in name or ".1002." in name for name in files_in(tmp_path))
    for number in (1001, 1002):
        assert set(openexr_channels(tmp_path / "exr" / f"shot.{number}.exr")) >= {"R", "G", "B", "smoke.A", "fire.A"}
        for layer in ("smoke", "fire"):
            for kind in ("alpha", "png16"):
                assert oiio_pixels(tmp_path / layer / kind / f"shot.{number}.png")[0].shape[:2] == (48, 64)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the Linux device that is always full")
@pytest.mark.parametrize(("kind", "suffix"), [("prores", "mov"), ("webm", "webm")])
def test_a_full_disk_leaves_no_broken_video(
    tmp_path: Path, shot: list[Frame], monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "00000000")
    (tmp_path / "smoke").mkdir()
    temporary_name(tmp_path / "smoke" / f"shot.{suffix}").symlink_to("/dev/full")
    delivery = Delivery(tmp_path, counted("shot", 8), ["smoke"], INFO, DeliverySettings(kinds=("alpha", kind)))
    with pytest.raises(OSError) as caught:
        try:
            for index, frame in enumerate(shot):
                delivery.write(frame.matted(index, 1))
            delivery.close()
        except BaseException:
            delivery.abandon()
            raise
    assert caught.value.errno == errno.ENOSPC
    # Small frames may wait in the encoder until the end; those written before stay.
    whole = [f"smoke/alpha/shot.{1001 + index}.png" for index in range(delivery.frames_in_sequences)]
    assert files_in(tmp_path) == set(whole)


# ---- bad input


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"kinds": ("tiff",)},
            r"kind is one of alpha, png16, exr, alpha_exr, cryptomatte, prores, webm, shapes, not 'tiff'",
        ),
        ({"exr_type": "double"}, r"type of an EXR is one of half, float, not 'double'"),
        ({"exr_compression": "b44"}, r"compression of an EXR is one of zip, zips, piz, dwaa, none, not 'b44'"),
        ({"start": -1}, r"first frame number of -1 is not possible; give 0 to 999999999"),
        ({"padding": 0}, r"padding of 0 digits is not possible; give 1 to 10 digits"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DeliverySettings(**settings)


@pytest.mark.parametrize(
    ("layers", "info", "sentence"),
    [
        ([], INFO, "different names, not none"),
        (["a", "a"], INFO, "different names, not a, a"),
        (["../a"], INFO, r"'\.\./a' cannot name a folder"),
        ([".."], INFO, r"'\.\.' cannot name a folder"),
        (["a"], ShotInfo(48, 64, FPS, "1:2:3:4"), r"timecode '1:2:3:4' cannot be read: HH:MM:SS:FF"),
    ],
)
def test_a_delivery_that_cannot_be_is_refused_before_it_begins(
    tmp_path: Path, layers: list[str], info: ShotInfo, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Delivery(tmp_path, counted("shot", 8), layers, info, DeliverySettings(kinds=ALL))
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: replace(f, alpha=f.alpha[:, :40]), r"alpha of shot .* 64x48 pixels, not \[2, 40, 64\]"),
        (lambda f: replace(f, alpha=f.alpha[:1]), r"alpha of shot must be \[2, 48, 64\] for 2 layers"),
        (lambda f: replace(f, linear=f.linear[:, :60]), r"scene-linear plate .*not \[48, 60, 3\]"),
        (lambda f: replace(f, plate=f.plate[:30]), r"The plate .*not \[30, 64, 3\]"),
        (lambda f: replace(f, foreground=f.foreground[:1]), r"foreground .*not \[1, 48, 64, 3\]"),
        (lambda f: replace(f, index=1), "expects frame 0, not 1"),
        (lambda f: replace(f, linear=None), "EXR needs the plate"),
        (lambda f: replace(f, plate=None, foreground=None), "need the display-referred plate"),
        (lambda f: replace(f, alpha=None), "Frame 0 comes without its alpha: put it through the matte stage"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_whole(
    tmp_path: Path, shot: list[Frame], change: Callable[[MattedFrame], MattedFrame], sentence: str
) -> None:
    delivery = Delivery(tmp_path, counted("shot", 8), ["smoke", "fire"], INFO, DeliverySettings(kinds=ALL))
    with pytest.raises(ValueError, match=sentence):
        delivery.write(change(shot[0].matted(0, decontaminated=True)))
    delivery.abandon()
    assert files_in(tmp_path) == set()


def test_alphas_alone_need_no_plate(tmp_path: Path, shot: list[Frame]) -> None:
    delivery = Delivery(tmp_path, counted("shot", 8), ["smoke", "fire"], INFO, DeliverySettings(kinds=("alpha",)))
    delivery.write(replace(shot[0].matted(0), plate=None, linear=None))
    delivery.close()
    stored = cv2.imread(str(tmp_path / "fire" / "alpha" / "shot.1001.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, np.rint(shot[0].alpha[1].astype(np.float64) * 65535))


def test_no_frame_is_lost_between_files_of_one_delivery(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=ALL, layers=("smoke",))
    assert len(list((tmp_path / "exr").iterdir())) == len(shot)
    assert len(video_alpha(tmp_path / "smoke" / "shot.mov")) == len(shot)
    assert len(video_alpha(tmp_path / "smoke" / "shot.webm")) == len(shot)
