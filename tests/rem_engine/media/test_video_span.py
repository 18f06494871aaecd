"""A part of a video by its own clock is the frames that are shown then, with their numbers and timecode."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.pixels import to_uint8

FRAMES, SIZE = 24, (32, 48)


def write(path: Path, first: int = 0, rate: Fraction = Fraction(24)) -> Path:
    """Frames of which each holds its number, with B-frames, from a time on; a timecode of 01:00:00:00."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "3", "g": "9", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        if path.suffix == ".mov":
            stream.metadata["timecode"] = "01:00:00:00"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), 10 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = first + number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shown(path: Path, start: float, duration: float) -> list[int]:
    """Numbers of the frames that PyAV's decoder shows then."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        first, end = int(start / stream.time_base), int((start + duration) / stream.time_base)
        stamps = [frame.pts for frame in container.decode(stream)]
    return [index for index, stamp in enumerate(stamps) if stamp >= first and (not duration or stamp < end)]


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts"])
@pytest.mark.parametrize(
    "span", [(0.25, 0.25), (0.0, 0.3), (0.5, 0.0), (0.2001, 0.1667), (0.2917, 0.05), (0.0, 9.0), (1.6, 0.0)]
)
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001)])
def test_a_span_is_what_is_shown_in_it(tmp_path: Path, suffix: str, span: tuple[float, float], rate: Fraction) -> None:
    path = write(tmp_path / f"shot{suffix}", rate=rate)
    expected = shown(path, *span)
    if not expected:
        with pytest.raises(ValueError, match=r"shows no frame from [0-9.]+ (seconds on|to [0-9.]+ seconds): "):
            open_shot(path, span=span)
        return
    with open_shot(path, span=span) as shot:
        assert shot.frame_count == len(expected)
        for shot_again in (shot, shot.reopen()):
            read = to_uint8(shot_again.read(0, shot.frame_count)).mean(axis=(1, 2, 3))
            assert np.rint(read / 10).astype(int).tolist() == expected
        assert list(shot.numbering.numbers) == list(range(1001, 1001 + len(expected)))
        if suffix == ".mov" and rate == 24:
            assert shot.info.timecode == f"01:00:00:{expected[0]:02d}"
            assert shot.timecode_of(1) == f"01:00:00:{expected[0] + 1:02d}"


def test_frames_are_asked_for_by_the_numbers_of_the_span(tmp_path: Path) -> None:
    path = write(tmp_path / "shot.mov")
    with open_shot(path, PlateSettings(frames="1003-1004"), span=(0.25, 0.25)) as shot:
        assert shot.numbering.numbers == (1003, 1004) and shot.info.timecode == "01:00:00:08"
        assert np.rint(to_uint8(shot.read(0, 2)).mean(axis=(1, 2, 3)) / 10).astype(int).tolist() == [8, 9]
        with shot.reopen() as again:
            assert again.numbering.numbers == (1003, 1004) and again.info.timecode == "01:00:00:08"
            assert (again.read(0, 2) == shot.read(0, 2)).all()
    with pytest.raises(ValueError, match="has frames 1001-1006, not 1007"):
        open_shot(path, PlateSettings(frames="1006-1007"), span=(0.25, 0.25))


def test_pictures_have_no_span(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (48, 32)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is no video, of which a part could be taken"):
        open_shot(tmp_path / "a.png", span=(0.0, 1.0))
