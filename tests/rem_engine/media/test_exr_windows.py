"""Overscan and data windows that move: what is read of an EXR, and what a delivered one says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from plate_files import write_exr
from red_model import deliver

from rem_engine.media import open_shot
from rem_engine.media.stills import Still
from rem_engine.media.windows import Box, Windows

DISPLAY = (0, 0, 63, 47)


def corners(left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    return np.int32([left, top]), np.int32([right, bottom])


def seen(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Half RGB of an endless picture that is other at every pixel, over corners that are both within."""
    down, across = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float32)
    return np.stack([(across + 40) / 128, (down + 40) / 128, (across * down) % 7 / 8], axis=-1).astype(np.float16)


def write(path: Path, data: tuple[int, int, int, int], display: tuple[int, int, int, int] = DISPLAY) -> Path:
    return write_exr(path, {"RGB": seen(*data)}, dataWindow=corners(*data), displayWindow=corners(*display))


def expected(canvas: tuple[int, int, int, int], data: tuple[int, int, int, int]) -> np.ndarray:
    """What is seen over a canvas of what a frame holds, 0 elsewhere."""
    down, across = np.mgrid[canvas[1] : canvas[3] + 1, canvas[0] : canvas[2] + 1]
    held = (across >= data[0]) & (across <= data[2]) & (down >= data[1]) & (down <= data[3])
    return np.where(held[..., None], seen(*canvas), 0).astype(np.float32)


@pytest.mark.parametrize(
    ("data", "display", "canvas"),
    [
        ((-8, -6, 71, 53), DISPLAY, (-8, -6, 71, 53)),  # overscan all around
        ((10, 5, 40, 30), DISPLAY, DISPLAY),  # less than the display window
        ((-10, 5, 40, 30), DISPLAY, (-10, 0, 63, 47)),  # beyond one edge, and short of the others
        ((-30, -30, -5, -5), DISPLAY, (-30, -30, 63, 47)),  # beside it
        ((100, 50, 163, 97), (100, 50, 163, 97), (100, 50, 163, 97)),  # a display window that starts elsewhere
    ],
)
def test_a_frame_is_its_display_window_and_all_that_it_holds_beyond(
    tmp_path: Path, data: tuple[int, int, int, int], display: tuple[int, int, int, int], canvas: tuple[int, ...]
) -> None:
    with open_shot(write(tmp_path / "a.exr", data, display)) as shot:
        assert (shot.width, shot.height) == (canvas[2] - canvas[0] + 1, canvas[3] - canvas[1] + 1)
        np.testing.assert_array_equal(shot.read_linear(0, 1)[0], expected(canvas, data))
        boxes = (Box(*box[:2], box[2] + 1, box[3] + 1) for box in (canvas, display))
        assert shot.info.windows == (None if canvas == DISPLAY else Windows(*boxes))


MOVING = {1001: (20, 10, 40, 30), 1002: (-12, 8, 10, 30), 1003: (30, 20, 63, 60), 1004: DISPLAY}


def test_data_windows_may_move_from_frame_to_frame(tmp_path: Path) -> None:
    for number, data in MOVING.items():
        write(tmp_path / f"fx.{number}.exr", data)
    with open_shot(tmp_path) as shot:
        for index, data in enumerate(MOVING.values()):
            np.testing.assert_array_equal(shot.read_linear(index, index + 1)[0], expected((-12, 0, 63, 60), data))


def test_later_frames_are_cut_to_a_first_one_without_overscan(tmp_path: Path) -> None:
    write(tmp_path / "fx.1.exr", DISPLAY)
    write(tmp_path / "fx.2.exr", (-4, -4, 70, 50))
    with open_shot(tmp_path) as shot:
        np.testing.assert_array_equal(shot.read_linear(1, 2)[0], expected(DISPLAY, DISPLAY))


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("beyond", [False, True])
def test_what_is_cut_off_later_frames_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], beyond: bool) -> None:
    (tmp_path / "p").mkdir()
    for number in (1, 2, 3):
        write(tmp_path / "p" / f"fx.{number}.exr", (-4, -4, 70, 50) if beyond and number == 2 else DISPLAY)
    assert deliver(tmp_path / "p", tmp_path / "out", "--write", "exr") == 0
    sentence = (
        "fx.1.exr is its display window, and those of frames 2 reach beyond it: what they hold there is left out."
    )
    for told in (capsys.readouterr().err, (tmp_path / "out" / "run.json").read_text()):
        assert (sentence in told) == beyond


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("exr_type", ["half", "float"])
def test_a_delivered_exr_has_both_windows_and_the_plates_own_pixels(tmp_path: Path, exr_type: str) -> None:
    data = (-8, -6, 71, 53)
    (tmp_path / "plate").mkdir()
    for number in (1001, 1002):
        write(tmp_path / "plate" / f"shot.{number}.exr", data)
    deliver(tmp_path / "plate", tmp_path / "out", "--write", "exr,soft", "--exr-type", exr_type)
    files = sorted((tmp_path / "out" / "exr").iterdir())
    assert len(files) == 2
    for file in files:
        delivered = OpenEXR.File(str(file), separate_channels=True)
        header, channels = delivered.header(), delivered.channels()
        np.testing.assert_array_equal(header["dataWindow"], corners(*data))
        np.testing.assert_array_equal(header["displayWindow"], corners(*DISPLAY))
        for place, name in enumerate("RGB"):
            np.testing.assert_array_equal(channels[name].pixels.astype(np.float32), seen(*data)[..., place])
        assert next(value for name, value in channels.items() if name.endswith(".A")).pixels.shape == (60, 80)


@pytest.mark.usefixtures("fake_model")
def test_windows_that_are_one_are_written_as_ever(tmp_path: Path) -> None:
    write(tmp_path / "a.exr", (10, 5, 40, 30))
    deliver(tmp_path / "a.exr", tmp_path / "out", "--write", "exr")
    (file,) = (tmp_path / "out" / "exr").iterdir()
    header = OpenEXR.File(str(file), header_only=True).header()
    for name in ("dataWindow", "displayWindow"):
        np.testing.assert_array_equal(header[name], corners(*DISPLAY))


def test_one_header_is_read_of_a_sequence_and_none_when_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        write(tmp_path / f"shot.{1001 + number}.exr", DISPLAY)
    opened: list[str] = []
    init = Still.__init__
    monkeypatch.setattr(Still, "__init__", lambda still, file: opened.append(file.name) or init(still, file))
    with open_shot(tmp_path) as shot:
        assert (shot.frame_count, opened) == (30, ["shot.1001.exr"])
        with shot.reopen() as again:
            assert len(opened) == 1
            again.read(4, 5)
        assert opened[1:] == ["shot.1005.exr"]


@pytest.mark.usefixtures("fake_model")
def test_a_run_that_meets_a_frame_of_another_size_says_so_and_keeps_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plate").mkdir()
    for number in range(12):
        write(tmp_path / "plate" / f"shot.{number:02}.exr", DISPLAY)
    write(tmp_path / "plate" / "shot.11.exr", (0, 0, 79, 47), (0, 0, 79, 47))
    code = deliver(tmp_path / "plate", tmp_path / "out", "--write", "exr", "--window", "5")
    told = capsys.readouterr().err
    assert code != 0 and "shot.00.exr is 64x48, but shot.11.exr is 80x48; bring them to one size" in told
    assert "Traceback" not in told
    done = sorted((tmp_path / "out" / "exr").glob("*.exr"))
    assert done
    for file in done:
        np.testing.assert_array_equal(
            OpenEXR.File(str(file), separate_channels=True).channels()["R"].pixels, seen(*DISPLAY)[..., 0]
        )
