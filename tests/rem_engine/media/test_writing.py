"""Masks and overlay videos are written exactly, and whole or not at all."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from stops import disk_full

from rem_engine.media import open_shot
from rem_engine.media.shot import ShotInfo
from rem_engine.media.writing import VideoWriter, mask_png, soft_png
from rem_engine.pixels import to_uint8
from rem_engine.whole_files import written_whole


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_mask_is_8_bit_black_and_white() -> None:
    stored = decode(mask_png(np.array([[True, False], [False, True]])))
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, [[255, 0], [0, 255]])


def test_a_soft_mask_is_rounded_to_16_bits_and_clipped() -> None:
    soft = np.array([[-0.3, 0.0, 0.25], [0.5, 1.0, 1.7]], np.float32)
    stored = decode(soft_png(soft))
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, [[0, 0, 16384], [32768, 65535, 65535]])  # 16383.75 and 32767.5


def test_a_file_takes_its_name_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with written_whole(target) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new" and [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    for stop in (disk_full(), KeyboardInterrupt()):
        with pytest.raises(type(stop)), written_whole(target) as temporary:
            temporary.write_bytes(b"half")
            raise stop
        assert target.read_bytes() == b"new" and [file.name for file in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (101, 139), (16, 17)])
@pytest.mark.parametrize("rate", [None, Fraction(30000, 1001)])
def test_an_overlay_of_any_size_has_every_frame_at_the_shots_rate(
    tmp_path: Path, height: int, width: int, rate: Fraction | None
) -> None:
    colours = [(200, 60, 30), (20, 180, 90), (128, 128, 128)]
    writer = VideoWriter(tmp_path / "a.mp4", ShotInfo(height, width, rate))
    for colour in colours:
        writer.write(np.full((height, width, 3), colour, np.uint8))
    writer.close()
    with open_shot(tmp_path / "a.mp4") as shot:
        assert (shot.height, shot.width) == (height + height % 2, width + width % 2)
        assert shot.fps == (rate or 24)
        assert shot.frame_count == 3
        for frame, colour in zip(to_uint8(shot.read(0, 3)), colours, strict=True):
            np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), colour, atol=4)
    with av.open(tmp_path / "a.mp4") as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


def test_the_overlay_can_be_written_without_libx264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    writer = VideoWriter(tmp_path / "a.mp4", ShotInfo(33, 35, Fraction(24000, 1001)))
    for _ in range(5):
        writer.write(np.full((33, 35, 3), 90, np.uint8))
    writer.close()
    with av.open(tmp_path / "a.mp4") as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert open_shot(tmp_path / "a.mp4").frame_count == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the Linux device that is always full")
def test_a_full_disk_shows_as_what_it_is() -> None:
    writer = VideoWriter(Path("/dev/full"), ShotInfo(64, 64))
    noise = np.random.default_rng(0)
    with pytest.raises(OSError) as caught:
        for _ in range(50):
            writer.write(noise.integers(0, 256, (64, 64, 3), np.uint8))
        writer.close()
    assert caught.value.errno == errno.ENOSPC
    writer.abandon()
