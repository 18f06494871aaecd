"""The sound of a shot is in its overlay, and in ProRes where it is asked for, at the frames that it belongs to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from red_model import deliver
from video_files import decoded, scene

from rem_engine.commands.cli import main
from rem_engine.media import open_shot
from rem_engine.media.matte_video import ProResWriter

pytestmark = pytest.mark.usefixtures("fake_model")

RATE = 48000


def clicks(seconds: float, every: float, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """float32 [C,S]: silence with a click at 0, at `every`, ..., louder from one to the next and by channel."""
    sound = np.zeros((channels, int(seconds * rate)), np.float32)
    for number in range(int(seconds / every)):
        at = round(number * every * rate)
        sound[:, at : at + 8] = (0.3 + 0.1 * (number % 5)) / (1 + np.arange(channels)[:, None])
    return sound


def write_shot(
    path: Path,
    frames: np.ndarray,
    tracks: list[np.ndarray],
    codec: str = "pcm_s24le",
    *,
    first: Fraction = Fraction(0),
    rate: int = RATE,
    fps: int = 24,
    stamps: list[int] | None = None,
) -> Path:
    """A video with tracks of sound that begin at 0, while the first frame is shown at `first`."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24000)
        layouts = {1: "mono", 2: "stereo", 4: "4.0", 6: "5.1", 8: "7.1"}
        sounds = [container.add_stream(codec, rate=rate, layout=layouts[len(track)]) for track in tracks]
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            seconds = first + (Fraction(stamps[index], 1000) if stamps else Fraction(index, fps))
            picture.pts, picture.time_base = round(seconds * 24000), Fraction(1, 24000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        for sound, track in zip(sounds, tracks, strict=True):
            for start in range(0, track.shape[1], 1024):
                samples = np.ascontiguousarray(track[:, start : start + 1024].T).reshape(1, -1)
                piece = av.AudioFrame.from_ndarray(samples, "flt", layouts[len(track)])
                piece.sample_rate, piece.pts, piece.time_base = rate, start, Fraction(1, rate)
                container.mux(sound.encode(piece))
            container.mux(sound.encode())
    return path


def heard(path: Path, track: int = 0) -> tuple[np.ndarray, int]:
    """float64 [C,S] of a track from the moment of its first frame on, and the samples of a second."""
    with av.open(path) as container:
        stream = container.streams.audio[track]
        start = container.streams.video[0].start_time * container.streams.video[0].time_base
        rate, pieces = stream.codec_context.sample_rate, []
        for frame in container.decode(stream):
            samples = frame.to_ndarray()
            samples = samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T
            scale = 2.0**31 if samples.dtype == np.int32 else 2.0**15 if samples.dtype == np.int16 else 1.0
            pieces.append((frame.pts * frame.time_base - start, samples / scale))
    sound = np.concatenate([samples for _, samples in pieces], axis=1)
    offset = round(pieces[0][0] * rate)
    return (np.pad(sound, ((0, 0), (offset, 0))) if offset > 0 else sound[:, -offset:]), rate


def click_times(sound: np.ndarray, rate: int) -> list[float]:
    """When clicks of more than 0.2 begin, seconds."""
    loud = np.flatnonzero(np.abs(sound[0]) > 0.2)
    return [float(at) / rate for at in loud[np.diff(loud, prepend=-rate) > rate // 50]]


@pytest.mark.parametrize("codec", ["pcm_s24le", "aac"])
@pytest.mark.parametrize("first", [Fraction(0), Fraction(1, 2), Fraction(9, 8)])
def test_the_overlay_has_the_sound_of_its_frames(tmp_path: Path, codec: str, first: Fraction) -> None:
    path = write_shot(tmp_path / "a.mov", scene(24), [clicks(3.0, 0.25)], codec, first=first)
    assert deliver(path, tmp_path / "out", "--write", "overlay") == 0
    overlay = tmp_path / "out" / "overlay.mp4"
    assert len(decoded(overlay)) == 24
    with av.open(overlay) as container:
        (stream,) = container.streams.audio
        assert (stream.codec_context.name, stream.codec_context.layout.name) == ("aac", "stereo")
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0, abs=1024 / RATE)
    sound, rate = heard(overlay)
    expected = [at - float(first) for at in np.arange(0, 3, 0.25) if 0 <= at - float(first) < 1]
    assert click_times(sound, rate) == pytest.approx(expected, abs=0.003)  # codecs smear a click


@pytest.mark.slow
def test_sound_goes_with_the_times_of_a_variable_rate(tmp_path: Path) -> None:
    stamps = [0, 100, 200, 250, 300, 1300, 1400, 1500]
    path = write_shot(tmp_path / "a.mov", scene(8), [clicks(4.0, 0.5)], stamps=stamps)
    assert deliver(path, tmp_path / "out", "--write", "overlay,prores", "--sound") == 0
    for name in ("overlay.mp4", "smoke/a.mov"):
        sound, rate = heard(tmp_path / "out" / name)
        assert click_times(sound, rate) == pytest.approx(
            [0.0, 0.5, 1.0, 1.5, 2.0], abs=0.003
        )  # the last frame stays for a second


@pytest.mark.slow
def test_prores_has_every_track_without_loss_where_it_is_asked_for(tmp_path: Path) -> None:
    tracks = [clicks(2.0, 0.2, channels) for channels in (2, 1, 6)]
    path = write_shot(tmp_path / "a.mov", scene(24), tracks, first=Fraction(1, 4))
    assert deliver(path, tmp_path / "without", "--write", "prores") == 0
    with av.open(tmp_path / "without" / "smoke" / "a.mov") as container:
        assert not container.streams.audio
    assert deliver(path, tmp_path / "out", "--write", "prores", "--sound") == 0
    for number in range(3):
        plate, _ = heard(path, number)
        sound, rate = heard(tmp_path / "out" / "smoke" / "a.mov", number)
        assert rate == RATE and sound.shape == (len(tracks[number]), RATE)  # to a sample
        np.testing.assert_array_equal(sound, plate[:, :RATE])
    with open_shot(tmp_path / "out" / "smoke" / "a.mov") as again:
        assert (again.frame_count, again.fps) == (24, 24)


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_s32le", "pcm_s16be"])
def test_samples_of_any_width_are_kept(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)
    path = write_shot(tmp_path / "a.mov", scene(3), [noise], codec)
    with open_shot(path) as shot:
        writer = ProResWriter(tmp_path / "b.mov", shot.info, {})
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.float32))
    writer.close()
    np.testing.assert_array_equal(heard(tmp_path / "b.mov")[0], heard(path)[0][:, : RATE // 8])


def test_matte_gives_prores_its_sound_too(tmp_path: Path) -> None:
    path = write_shot(tmp_path / "a.mov", scene(12), [clicks(1.0, 0.2)])
    assert deliver(path, tmp_path / "masks", "--write", "soft") == 0
    masks = f"a={tmp_path / 'masks' / 'smoke' / 'soft'}"
    options = ["-o", str(tmp_path / "out"), "--write", "prores", "--sound"]
    assert main(["matte", str(path), "--masks", masks, *options]) == 0
    np.testing.assert_array_equal(heard(tmp_path / "out" / "a" / "a.mov")[0], heard(path)[0][:, : RATE // 2])


@pytest.mark.slow
def test_chosen_frames_have_their_own_sound_or_none(tmp_path: Path) -> None:
    path = write_shot(tmp_path / "a.mov", scene(24), [clicks(2.0, 0.2)])
    assert deliver(path, tmp_path / "out", "--write", "prores", "--sound", "--frames", "1007-1018") == 0
    sound, _ = heard(tmp_path / "out" / "smoke" / "a.mov")
    np.testing.assert_array_equal(sound, heard(path)[0][:, RATE // 4 : 3 * RATE // 4])
    assert deliver(path, tmp_path / "second", "--write", "prores", "--sound", "--frames", "1007-1018x2") == 0
    with av.open(tmp_path / "second" / "smoke" / "a.mov") as container:
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("channels", "rate", "name"), [(1, 44100, "a.mov"), (6, 48000, "a.mov"), (8, 48000, "a.mkv"), (2, 192000, "a.mov")]
)
def test_the_overlay_brings_any_sound_to_mono_or_stereo(tmp_path: Path, channels: int, rate: int, name: str) -> None:
    codec = "pcm_s16le"
    path = write_shot(tmp_path / name, scene(24), [clicks(1.5, 0.25, channels, rate)], codec, rate=rate)
    assert deliver(path, tmp_path / "out", "--write", "overlay") == 0
    with av.open(tmp_path / "out" / "overlay.mp4") as container:
        codec_context = container.streams.audio[0].codec_context
        assert codec_context.layout.name == ("mono" if channels == 1 else "stereo")
        assert codec_context.sample_rate == min(rate, 48000)
    sound, delivered_rate = heard(tmp_path / "out" / "overlay.mp4")
    loud = np.flatnonzero(np.abs(sound[0]) > 0.5 * np.abs(sound[0]).max())
    assert loud[0] / delivered_rate == pytest.approx(0.0, abs=0.003) or loud[0] / delivered_rate % 0.25 < 0.003


@pytest.mark.slow
def test_sound_shorter_than_the_shot_ends_where_it_ends(tmp_path: Path) -> None:
    path = write_shot(tmp_path / "a.mov", scene(24), [clicks(0.6, 0.25)])
    assert deliver(path, tmp_path / "out", "--write", "overlay,prores", "--sound") == 0
    sound, _ = heard(tmp_path / "out" / "smoke" / "a.mov")
    np.testing.assert_array_equal(sound, heard(path)[0][:, : int(0.6 * RATE)])
    assert len(decoded(tmp_path / "out" / "overlay.mp4")) == 24


def test_sound_that_is_over_before_the_shot_begins_is_no_sound(tmp_path: Path) -> None:
    path = write_shot(tmp_path / "a.mov", scene(12), [clicks(0.5, 0.25)], first=Fraction(2))
    assert deliver(path, tmp_path / "out", "--write", "overlay,prores", "--sound") == 0
    for name in ("overlay.mp4", "smoke/a.mov"):
        assert len(decoded(tmp_path / "out" / name)) == 12


@pytest.mark.slow
def test_damaged_sound_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = write_shot(tmp_path / "a.mov", scene(24), [clicks(2.0, 0.25)], "aac")
    with av.open(path) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        places = [(packet.pos, packet.size) for packet in packets[10:20]]
    data = bytearray(path.read_bytes())
    for place, size in places:
        data[place : place + size] = bytes([0xFF]) * size
    path.write_bytes(data)
    assert deliver(path, tmp_path / "out", "--write", "overlay,prores", "--sound") == 0
    assert len(decoded(tmp_path / "out" / "overlay.mp4")) == 24
    sound, rate = heard(tmp_path / "out" / "smoke" / "a.mov")
    assert 0.75 in [round(time, 2) for time in click_times(sound, rate)]  # what follows is where it was


def test_pictures_and_sound_are_written_side_by_side(tmp_path: Path) -> None:
    """Neither waits in memory for the other's end."""
    path = write_shot(tmp_path / "a.mov", scene(96), [clicks(4.0, 0.5)])
    with open_shot(path) as shot:
        writer = ProResWriter(tmp_path / "b.mov", shot.info, {})
    for _ in range(96):
        writer.write(np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.float32))
    writer.close()
    with av.open(tmp_path / "b.mov") as container:
        order = sorted((packet.pos, packet.stream.type) for packet in container.demux() if packet.size)
    kinds = [kind for _, kind in order]
    middle = len(kinds) // 2
    assert {"audio", "video"} == {*kinds[:middle]} == {*kinds[middle:]}


def test_sound_that_is_asked_for_and_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_shot(tmp_path / "a.mov", scene(3), [])
    assert deliver(path, tmp_path / "out", "--write", "prores", "--sound") == 0
    assert "The frames have no sound of their own" in capsys.readouterr().err


def test_a_colon_in_a_relative_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shots").mkdir()
    write_shot(tmp_path / "take.mov", scene(6, 32, 48), [clicks(0.25, 0.1)]).rename(tmp_path / "shots" / "take:1.mov")
    monkeypatch.chdir(tmp_path / "shots")
    assert deliver(Path("take:1.mov"), tmp_path / "out", "--write", "overlay,prores", "--sound") == 0
    assert heard(tmp_path / "out" / "overlay.mp4")[0].any()
    assert heard(tmp_path / "out" / "smoke" / "take:1.mov")[0].any()
