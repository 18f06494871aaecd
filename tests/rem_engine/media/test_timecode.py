"""Timecode counts as SMPTE ST 12-1 does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from plate_files import write_exr

from rem_engine.media import images, open_shot
from rem_engine.media.timecode import Timecode, exact_rate, from_exr, parse_timecode, to_exr

NTSC = Fraction(30000, 1001)


def counted(fps: int, drop: int, minutes: int) -> list[tuple[int, int, int, int]]:
    """Labels from 00:00:00 on, written down one by one: `drop` numbers are left out of each minute but every tenth."""
    return [
        (minute // 60, minute % 60, second, frame)
        for minute in range(minutes)
        for second in range(60)
        for frame in range(fps)
        if not (minute % 10 and second == 0 and frame < drop)
    ]


@pytest.mark.parametrize(
    ("fps", "drop"),
    [
        (Fraction(24), 0),
        (Fraction(24000, 1001), 0),
        (Fraction(25), 0),
        (NTSC, 0),
        (NTSC, 2),
        (Fraction(60000, 1001), 4),
    ],
)
def test_frames_are_counted_as_if_written_down_one_by_one(fps: Fraction, drop: int) -> None:
    labels = counted(round(fps), drop, 75)
    first = Timecode(0, 0, 0, 0, drop > 0)
    for index in range(0, len(labels), 7):
        assert first.after(index, fps) == Timecode(*labels[index], drop > 0)
    for start in range(0, len(labels) - 2000, 1999):
        later = Timecode(*labels[start], drop > 0).after(1801, fps)
        assert later == Timecode(*labels[start + 1801], drop > 0)


def test_drop_frame_keeps_step_with_the_clock() -> None:
    # An hour of 29.97 frames a second has 107,892 frames, and every tenth minute keeps all its numbers.
    assert str(Timecode(0, 0, 0, 0, True).after(107_892, NTSC)) == "01:00:00;00"
    assert str(Timecode(0, 0, 59, 29, True).after(1, NTSC)) == "00:01:00;02"
    assert str(Timecode(0, 9, 59, 29, True).after(1, NTSC)) == "00:10:00;00"


@pytest.mark.parametrize("drop", [False, True])
def test_midnight_begins_at_nought(drop: bool) -> None:
    assert Timecode(23, 59, 59, 29, drop).after(1, NTSC) == Timecode(0, 0, 0, 0, drop)


@pytest.mark.parametrize(
    ("text", "fps", "drop"),
    [("01:02:03:04", Fraction(24), False), ("01:02:03;04", NTSC, True), ("01:02:03.04", NTSC, True)],
)
def test_text_is_read_and_written(text: str, fps: Fraction, drop: bool) -> None:
    timecode = parse_timecode(text, fps)
    assert timecode == Timecode(1, 2, 3, 4, drop)
    assert str(timecode) == ("01:02:03;04" if drop else "01:02:03:04")


@pytest.mark.parametrize(
    ("text", "fps", "sentence"),
    [
        ("1001", Fraction(24), "'1001' cannot be read: HH:MM:SS:FF is expected"),
        ("01:00:00:24", Fraction(24), "01:00:00:24 does not exist at 24 frames per second"),
        ("24:00:00:00", Fraction(24), "does not exist"),
        ("01:60:00:00", Fraction(24), "does not exist"),
        ("01:00:00;00", Fraction(25), "only at 29.97 and 59.94: write it with colons"),
        ("01:01:00;01", NTSC, "is one that drop frame leaves out"),
    ],
)
def test_a_timecode_that_is_none_is_refused(text: str, fps: Fraction, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_timecode(text, fps)


@pytest.mark.parametrize(
    ("fps", "code", "stored"),
    [
        (Fraction(24), Timecode(1, 2, 3, 23), (1, 2, 3, 23, False, False)),
        (NTSC, Timecode(23, 59, 59, 29, True), (23, 59, 59, 29, True, False)),
        # Two bits hold the tens of a frame number: above 30 frames a second pairs are counted, and a mark set.
        (Fraction(60000, 1001), Timecode(1, 2, 3, 59, True), (1, 2, 3, 29, True, True)),
        (Fraction(50), Timecode(1, 2, 3, 48), (1, 2, 3, 24, False, False)),
    ],
)
def test_openexr_gets_and_gives_it_back(
    tmp_path: Path, fps: Fraction, code: Timecode, stored: tuple[int | bool, ...]
) -> None:
    exr = to_exr(code, fps)
    assert isinstance(exr, OpenEXR.TimeCode)
    assert (exr.hours, exr.minutes, exr.seconds, exr.frame, exr.dropFrame, exr.fieldPhase) == stored
    write_exr(tmp_path / "a.exr", {"Y": np.zeros((16, 16), np.float16)}, timeCode=exr)
    packed, _ = oiio.ImageInput.open(str(tmp_path / "a.exr")).spec().getattribute("smpte:TimeCode")
    assert from_exr(packed, fps) == code


@pytest.mark.parametrize(
    ("rounded", "meant"),
    [
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (Fraction(2997, 125), Fraction(24000, 1001)),
        (29.97, NTSC),
        (59.94, Fraction(60000, 1001)),
        (24.0, Fraction(24)),
        (25.000001, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_a_rounded_rate_is_taken_for_the_exact_one(rounded: float | Fraction, meant: Fraction) -> None:
    assert exact_rate(rounded) == meant


def test_a_frames_header_is_opened_once_for_its_picture_and_its_timecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        pixels = np.full((32, 32, 3), 0.5, np.float32)
        code = to_exr(parse_timecode(f"01:00:00:0{number}", Fraction(24)), Fraction(24))
        write_exr(tmp_path / f"a.{1001 + number}.exr", {"RGB": pixels}, timeCode=code, framesPerSecond=Fraction(24))
    opened: list[str] = []
    true_open = images.Still

    def noted(file: Path) -> images.Still:
        opened.append(file.name)
        return true_open(file)

    with open_shot(tmp_path) as shot:
        monkeypatch.setattr(images, "Still", noted)
        with shot.reopen() as plates:
            for index in range(3):
                plates.read(index, index + 1)
                plates.attributes(index)
                assert [shot.timecode_of(index), plates.timecode_of(index)] == [f"01:00:00:0{index}"] * 2
        assert opened == ["a.1001.exr", "a.1002.exr", "a.1003.exr"]
