"""A video's rate is that of its time stamps, and where they keep to none, each frame keeps its own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import assert_shown, decoded, rgb, scene, shown_at, write_video

from rem_engine.media import open_shot
from rem_engine.media.frame_times import read_timing

# 30 frames at 30 a second, then 30 at 10 a second, in ticks of 1/90000 s.
CHANGING = [*range(0, 90000, 3000), *range(90000, 360000, 9000)]
TICK = Fraction(1, 90000)


def changing(path: Path) -> Path:
    return write_video(path, scene(60), rate=30, stamps=CHANGING, tick=TICK)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts", "b.mov"])
def test_frames_of_a_variable_rate_keep_their_times(tmp_path: Path, name: str) -> None:
    if name == "b.mov":  # whose packets are not decoded to be counted
        path = write_video(tmp_path / name, scene(60), "prores_ks", "yuv422p10le", 30, stamps=CHANGING, tick=TICK)
    else:
        path = changing(tmp_path / name)
    with open_shot(path) as shot:
        times = shot.info.times
        assert times is not None and [times[index] for index in range(60)] == shown_at(path)
        # Matroska's clock has milliseconds.
        assert [float(times[index]) for index in (29, 30, 31)] == pytest.approx([0.967, 1.0, 1.1], abs=5e-4)
        last = decoded(path)[-1]
        assert times.duration(59) == (last.duration * last.time_base or Fraction(1, 10))
        assert shot.fps == 30  # at which most of it runs; the average is 15.8
        assert len(shot.info.notes) == 1
        assert "a variable frame rate, 10 to 30" in shot.info.notes[0].replace("30.3", "30").replace("29.41", "30")


def test_chosen_frames_keep_their_times_from_the_first_of_them(tmp_path: Path) -> None:
    with open_shot(changing(tmp_path / "a.mp4")) as shot:
        times = shot.info.times.of_frames([28, 30, 32])
    assert [times[index] for index in range(len(times))] == [0, Fraction(2, 30), Fraction(2, 30) + Fraction(2, 10)]
    assert times.duration(2) == Fraction(1, 10)
    assert times.duration(0) == Fraction(2, 30)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(240)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mxf", "raw.m2v"])
def test_a_constant_rate_is_read_exactly_whatever_the_clock(tmp_path: Path, name: str, rate: Fraction) -> None:
    broadcast = name in ("a.mxf", "raw.m2v")
    if broadcast and rate == 240:
        pytest.skip("MPEG-2 has no such rate")
    form = "mpeg2video" if name == "raw.m2v" else None
    path = write_video(tmp_path / name, scene(50), "mpeg2video" if broadcast else "libx264", rate=rate, form=form)
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times, shot.info.notes) == (50, rate, None, ())


def test_a_header_that_states_a_wrong_rate_is_said(tmp_path: Path) -> None:
    stamps = [round(index * 1000 / 24) for index in range(24)]  # as recorders write it: frames of a millisecond each
    path = write_video(tmp_path / "a.avi", scene(24), "mpeg4", rate=1000, stamps=stamps)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == 1000
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times) == (24, 24, None)
        assert shot.info.notes == (
            "The header of a.avi states 1000 frames per second and its time stamps 24: the time stamps count.",
        )


def test_a_matroska_file_without_a_rate_has_that_of_its_stamps(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", scene(40), rate=Fraction(24000, 1001))
    data = bytearray(path.read_bytes())
    place = data.find(bytes.fromhex("23e383"))  # DefaultDuration: an unknown element instead
    assert place > 0
    data[place : place + 3] = bytes.fromhex("23e38f")
    path.write_bytes(data)
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times) == (40, Fraction(24000, 1001), None)


def test_a_dropped_frame_leaves_its_place_empty(tmp_path: Path) -> None:
    stamps = [*range(10), *range(11, 21)]
    path = write_video(tmp_path / "a.mov", scene(20), rate=25, stamps=stamps, tick=Fraction(1, 25))
    with open_shot(path) as shot:
        assert shot.fps == 25
        assert [shot.info.times[index] for index in (9, 10, 19)] == [Fraction(n, 25) for n in (9, 11, 20)]


@pytest.mark.parametrize(
    ("stamps", "fps", "mended", "times"),
    [
        ([1, 3, 2, 5, 4, 7, 6, 8], 25, 0, None),  # B-frames in an AVI
        ([0, 1, 2, 2, 4, 5], 25, 1, None),  # one twice
        ([0, 1, 90, 3, 4, 5], 25, 1, None),  # one gone astray
        ([0, 1, None, 3, None, 5], 25, 0, None),
        ([None] * 6, 25, 0, None),
        ([0, 1, 2, 0, 1, 2], 25, 3, None),  # two files joined
        ([0, 2, 2, 2, 5, 9], 25, 2, [0, 2, 3, 4, 5, 9]),
        ([0, 4, 4, 4, 5, 9], 25, 2, [0, 4, Fraction(13, 3), Fraction(14, 3), 5, 9]),  # between two neighbouring ticks
        ([5, 5, 5, 5, 5, 5], 25, 5, None),
    ],
)
def test_stamps_that_do_not_rise_are_set_between_those_that_do(
    stamps: Sequence[int | None], fps: int, mended: int, times: Sequence[Fraction] | None
) -> None:
    timing = read_timing(stamps, 1, Fraction(1, 25), [Fraction(25)])
    assert timing.mended == mended
    if times is None:
        assert (timing.fps, timing.times) == (fps, None)
    else:
        assert [timing.times[index] * 25 for index in range(6)] == [*times]


def test_a_stamp_that_stands_twice_is_mended_and_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", scene(6), rate=25, stamps=[0, 40, 40, 120, 160, 200], options={"bf": "0"})
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times) == (6, 25, None)
        assert shot.info.notes == (
            "1 of the 6 frames of a.mkv have no time stamp that fits: they are set evenly between the others.",
        )
        assert_shown(shot.read(0, 6), rgb(path))


def test_trembling_stamps_are_kept_and_have_the_rate_they_tremble_about(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stamps = [round(index * 3003 + rng.integers(-200, 200)) + 500 for index in range(60)]  # a phone's 29.97
    path = write_video(tmp_path / "a.mp4", scene(60), rate=30, stamps=stamps, tick=TICK)
    with open_shot(path) as shot:
        assert shot.fps == Fraction(30000, 1001)
        assert [shot.info.times[index] for index in range(60)] == shown_at(path)


def test_times_take_eight_bytes_a_frame() -> None:
    count = 100_000
    rng = np.random.default_rng(0)
    timing = read_timing(np.cumsum(rng.integers(1000, 9000, count)).tolist(), 1000, TICK, [])
    assert len(timing.times) == count and timing.times.ticks.itemsize == 8


def test_an_edit_list_leaves_out_what_it_leaves_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scene(24), options={"bf": "2"})
    data = bytearray(path.read_bytes())
    entry = data.find(b"elst") + 12  # past version, flags and the number of entries
    duration, media_time = struct.unpack_from(">Ii", data, entry)
    sixth = 12288 // 24 * 6
    data[entry : entry + 8] = struct.pack(">Ii", duration * 18 // 24, media_time + sixth)
    whole, edited = rgb(path), tmp_path / "edited.mp4"
    edited.write_bytes(data)
    assert len(decoded(edited)) == 18
    with open_shot(edited) as shot:
        assert (shot.frame_count, shot.fps, shot.info.times) == (18, 24, None)
        assert_shown(shot.read(0, 18), whole[6:])


@pytest.mark.parametrize("start", [-90, 450, 100_000])
def test_a_file_that_does_not_begin_at_nought_is_read_from_its_first_frame(tmp_path: Path, start: int) -> None:
    stamps = [start + offset for offset in (0, 40, 80, 160, 200, 300)]
    path = write_video(tmp_path / "a.mkv", scene(6), stamps=stamps, options={"bf": "2"})
    with open_shot(path) as shot:
        assert [shot.info.times[index] for index in range(6)] == shown_at(path)
        assert_shown(shot.read(0, 6), rgb(path))
