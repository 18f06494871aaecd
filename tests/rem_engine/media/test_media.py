"""Shots are read as they look, whatever holds them, and a broken one is refused in a sentence."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from plate_files import write_exr

from rem_engine.media import open_shot
from rem_engine.media.colour import linear_to_srgb
from rem_engine.media.reading import natural_key
from rem_engine.media.stills import Still
from rem_engine.pixels import to_uint8


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    **format_options: str,
) -> Path:
    with av.open(path, "w", options=format_options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        layout = {3: "rgb24", 4: "rgba"}[frames.shape[3]]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=layout)))
        container.mux(stream.encode())
    return path


def counting_frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Grey frames whose level is 8 times their index: a frame read tells which one it is."""
    levels = np.arange(count, dtype=np.uint8) * 8
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def frame_numbers(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 8) for frame in to_uint8(frames)]


# ---- order and kinds of files


def test_digits_sort_as_numbers() -> None:
    names = ["frame10.png", "frame2.png", "Frame1.png", "frame002b.png", "a.1001.exr", "a.999.exr"]
    assert sorted(names, key=natural_key) == [
        "a.999.exr",
        "a.1001.exr",
        "Frame1.png",
        "frame2.png",
        "frame002b.png",
        "frame10.png",
    ]


def test_a_folder_is_read_in_natural_order_and_other_files_are_left_aside(tmp_path: Path) -> None:
    folder = tmp_path / "plate"
    folder.mkdir()
    frames = counting_frames(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame{number}.png")
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._frame3.png").write_bytes(b"what some systems leave beside a file")
    (folder / "older").mkdir()
    with open_shot(folder) as shot:
        assert (shot.name, shot.frame_count, shot.height, shot.width, shot.fps) == ("plate", 12, 48, 64, None)
        assert frame_numbers(shot.read(0, 12)) == list(range(12))


def test_a_single_image_is_a_shot_of_one_frame(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "still.v2.png")
    with open_shot(tmp_path / "still.v2.png") as shot:
        assert (shot.name, shot.frame_count, shot.height, shot.width, shot.fps) == ("still.v2", 1, 20, 30, None)
        np.testing.assert_array_equal(shot.read(0, 1), pixels[None])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_8_bit_form_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.zeros((16, 16), np.uint8)
    grey[4:9] = 255
    picture = Image.fromarray(grey).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(7)  # dropped, not multiplied in
    picture.save(tmp_path / "a.png")
    frames = open_shot(tmp_path / "a.png").read(0, 1)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[0], np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_pictures_keep_all_their_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    stored = np.random.default_rng(1).integers(0, 65536, (18, 22, channels), np.uint16)
    bgr = stored if channels == 1 else stored[..., [2, 1, 0, 3][:channels]]
    assert cv2.imwrite(str(tmp_path / f"a.{suffix}"), bgr)
    frames = open_shot(tmp_path / f"a.{suffix}").read(0, 1)
    assert frames.dtype == np.float32
    expected = np.repeat(stored, 3, axis=2) if channels == 1 else stored[..., :3]
    np.testing.assert_array_equal(np.rint(frames[0] * 65535), expected)


def test_a_float_tiff_is_read_and_clipped(tmp_path: Path) -> None:
    stored = np.linspace(-0.5, 1.5, 16 * 16 * 3, dtype=np.float32).reshape(16, 16, 3)
    assert cv2.imwrite(str(tmp_path / "a.tiff"), stored[..., ::-1])
    np.testing.assert_array_equal(open_shot(tmp_path / "a.tiff").read(0, 1)[0], stored.clip(0, 1))


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_name_may_have_all_that_text_has(tmp_path: Path) -> None:
    odd, no_text = tmp_path / "ü %04d#?a=b.png", tmp_path / os.fsdecode(b"\xff\xe4.png")
    for path in (odd, no_text):
        with path.open("wb") as file:
            Image.new("RGB", (32, 16), (1, 2, 3)).save(file, "PNG")
    np.testing.assert_array_equal(open_shot(odd).read(0, 1)[0, 4, 4], [1, 2, 3])
    with pytest.raises(ValueError, match=r"udcff.* has bytes in its path that are no UTF-8, .*: rename it\."):
        open_shot(no_text)


def test_frames_of_8_and_16_bits_in_one_folder_read_alike(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "1.png"), np.full((16, 16, 3), 51, np.uint8))
    assert cv2.imwrite(str(tmp_path / "2.png"), np.full((16, 16, 3), 51 * 257, np.uint16))
    np.testing.assert_allclose(open_shot(tmp_path).read(0, 2), 0.2, atol=1e-6)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_a_phone_picture_stands_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation  # EXIF 2.3: 6 asks for a quarter turn clockwise, 8 for one counter-clockwise
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100)
    shot = open_shot(tmp_path / "a.jpg")
    upright = np.rot90(stored, turns)
    assert (shot.height, shot.width) == upright.shape[:2]
    np.testing.assert_allclose(shot.read(0, 1)[0].astype(int), upright, atol=2)


# ---- EXR


def test_exr_light_becomes_display_srgb(tmp_path: Path) -> None:
    # IEC 61966-2-1, worked out by hand: 0.18 -> 0.4613561, 0.5 -> 0.7353569; 0.002 lies on the straight part.
    linear = np.array([0.0, 0.002, 0.18, 0.5, 1.0, 4.0, -1.0, np.nan, np.inf], np.float32)
    display = np.array([0.0, 0.02584, 0.4613561, 0.7353569, 1.0, 1.0, 0.0, 0.0, 1.0], np.float32)
    np.testing.assert_allclose(linear_to_srgb(linear), display, atol=1e-6)

    pixels = np.zeros((16, 16, 4), np.float32)
    pixels[..., :3], pixels[..., 3] = (0.18, 0.5, 4.0), 0.25
    write_exr(tmp_path / "a.exr", {"RGBA": pixels})
    frames = open_shot(tmp_path / "a.exr").read(0, 1)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames[0, 3, 3], [0.4613561, 0.7353569, 1.0], atol=1e-6)


def test_a_half_float_exr_with_one_grey_channel_is_read(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Y": np.full((16, 16), 0.5, np.float16)})
    np.testing.assert_allclose(open_shot(tmp_path / "a.exr").read(0, 1), 0.7353569, atol=1e-6)


def test_an_exr_without_a_picture_names_its_channels(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"depth.Z": np.zeros((16, 16), np.float32)})
    with pytest.raises(ValueError, match=r"a\.exr holds no flat RGB picture.*depth\.Z.*R, G, B"):
        open_shot(tmp_path / "a.exr").read(0, 1)


# ---- video


def test_a_video_gives_every_frame_once_and_knows_its_count_and_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "shot.mp4", counting_frames(30), rate=Fraction(24000, 1001))
    with open_shot(tmp_path / "shot.mp4") as shot:
        assert (shot.name, shot.frame_count, shot.height, shot.width) == ("shot", 30, 48, 64)
        assert shot.fps == Fraction(24000, 1001)
        numbers = [
            number for start in range(0, 30, 7) for number in frame_numbers(shot.read(start, min(start + 7, 30)))
        ]
        assert numbers == list(range(30))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.avi", "mpeg4", "yuv420p"), ("a.mkv", "libx264", "yuv420p"), ("a.mov", "prores_ks", "yuv422p10le")],
)
def test_the_frame_count_is_exact_in_every_container(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    write_video(tmp_path / name, counting_frames(19), codec, pix_fmt)
    assert open_shot(tmp_path / name).frame_count == 19


def test_ranges_may_overlap_and_go_back(tmp_path: Path) -> None:
    write_video(tmp_path / "shot.mp4", counting_frames(30))
    with open_shot(tmp_path / "shot.mp4") as shot:
        for start, stop in ((5, 15), (10, 20), (20, 21), (20, 30), (2, 4), (0, 1)):
            assert frame_numbers(shot.read(start, stop)) == list(range(start, stop))


def test_a_frame_shared_by_two_ranges_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, frame in enumerate(counting_frames(8)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    decoded: list[str] = []
    read = Still.read
    monkeypatch.setattr(Still, "read", lambda still, *wanted: decoded.append(still.file.stem) or read(still, *wanted))
    shot = open_shot(tmp_path)
    for start in range(0, 5):
        shot.read(start, start + 4)
    assert decoded == [str(number) for number in range(8)]


def test_a_range_outside_the_shot_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "shot.mp4", counting_frames(3))
    with pytest.raises(ValueError, match=r"shot has frames 0 to 2; the range 2\.\.5 cannot be read"):
        open_shot(tmp_path / "shot.mp4").read(2, 5)


@pytest.mark.parametrize("pix_fmt", ["yuv422p10le", "yuva444p10le"])
def test_prores_keeps_more_than_8_bits_and_drops_alpha(tmp_path: Path, pix_fmt: str) -> None:
    # Straight alpha: half-transparent colour is read at its full value.
    frames = np.zeros((3, 48, 64, 4), np.uint8)
    frames[..., :3], frames[..., 3] = (200, 100, 50), 128
    write_video(tmp_path / "shot.mov", frames if "yuva" in pix_fmt else frames[..., :3].copy(), "prores_ks", pix_fmt)
    read = open_shot(tmp_path / "shot.mov").read(0, 3)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read[1, 20, 30] * 255, [200, 100, 50], atol=1.0)
    assert read.shape == (3, 48, 64, 3)


def test_10_bit_ramps_are_finer_than_8_bits(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 65535, 1024).astype(np.uint16)[None, :, None], (16, 1024, 3))
    with av.open(tmp_path / "shot.mov", "w") as container:
        stream = container.add_stream("prores_ks", rate=25, options={"profile": "hq"})
        stream.height, stream.width, stream.pix_fmt = 16, 1024, "yuv422p10le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), format="rgb48le")))
        container.mux(stream.encode())
    levels = np.unique(np.rint(open_shot(tmp_path / "shot.mov").read(0, 1)[0, 8, :, 1] * 65535))
    assert len(levels) > 512  # 8 bits of limited range have 220


def test_a_phone_video_stands_upright(tmp_path: Path) -> None:
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :, :32] = 255
    data = bytearray(write_video(tmp_path / "shot.mp4", frames).read_bytes())
    header = data.find(b"tkhd")
    assert data[header + 4] == 0  # version 0: the matrix lies 44 bytes into the box (ISO/IEC 14496-12, 8.3.2)
    # A quarter turn clockwise, as a phone held upright asks for: {0 1 0, -1 0 0, height 0 1} in 16.16 and 2.30.
    data[header + 44 : header + 80] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "shot.mp4").write_bytes(data)
    with open_shot(tmp_path / "shot.mp4") as shot:
        assert (shot.height, shot.width) == (64, 48)
        upright = to_uint8(shot.read(1, 2)[0])
    np.testing.assert_allclose(upright[:28], 255, atol=4)
    np.testing.assert_allclose(upright[36:], 0, atol=4)


# ---- what cannot be read


def cut_video(name: str, codec: str, pix_fmt: str, share: float, **options: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frames = np.random.default_rng(0).integers(0, 256, (25, 48, 64, 3), np.uint8)
        data = write_video(folder / name, frames, codec, pix_fmt, **options).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
        return folder / name

    return write


def video_between_frames(folder: Path) -> Path:
    path = cut_video("a.avi", "ffv1", "yuv420p", 1.0)(folder)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"00dc", 0, data.rindex(b"idx1"))])  # before the last one's chunk
    return path


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (cut_video("a.mp4", "libx264", "yuv420p", 0.6), r"a\.mp4 .*truncated"),
        (cut_video("a.mp4", "libx264", "yuv420p", 0.6, movflags="faststart"), r"a\.mp4 .*truncated"),
        (cut_video("a.mp4", "libx264", "yuv420p", 0.98, movflags="faststart"), r"a\.mp4 .*truncated"),
        (cut_video("a.mov", "prores_ks", "yuv422p10le", 0.6, movflags="faststart"), r"a\.mov ends within frame 1\d"),
        (cut_video("a.mkv", "libx264", "yuv420p", 0.6), r"a\.mkv ends after 0\.\d+ of the 1\.00 seconds"),
        (cut_video("a.mkv", "ffv1", "yuv420p", 0.9), r"a\.mkv ends after 0\.\d\d of the 1\.00 seconds"),
        (cut_video("a.webm", "libvpx-vp9", "yuv420p", 0.9, lossless="1"), r"a\.webm ends after 0\.\d\d of the 1\.00"),
        (video_between_frames, r"a\.avi ends after 0\.96 of the 1\.00 seconds"),
        (cut_video("a.avi", "mpeg4", "yuv420p", 0.6), r"a\.avi .*truncated"),
    ],
)
def test_a_truncated_video_is_refused_before_any_work(
    tmp_path: Path, write: Callable[[Path], Path], sentence: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        open_shot(path).frame_count  # noqa: B018


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shot.mp4").write_text("hello")
    with pytest.raises(ValueError, match=r"shot\.mp4 cannot be read as a video"):
        open_shot(tmp_path / "shot.mp4")


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.wav", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(ValueError, match=r"a\.wav holds no pictures"):
        open_shot(tmp_path / "a.wav")


def test_nothing_at_the_path_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mov does not exist: give a video file, a folder"):
        open_shot(tmp_path / "nowhere.mov")


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match="holds no frames: PNG, JPEG, TIFF, DPX or EXR"):
        open_shot(tmp_path)


def test_frames_of_different_sizes_are_named_with_their_sizes(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "1.png")
    Image.new("RGB", (64, 50)).save(tmp_path / "2.png")
    with open_shot(tmp_path) as shot:
        shot.read(0, 1)
        with pytest.raises(ValueError, match=r"1\.png is 64x48, but 2\.png is 64x50"):
            shot.read(0, 2)


def test_one_frame_in_two_formats_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "1.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "1.jpg")
    with pytest.raises(ValueError, match=r"one frame twice, as 1\.jpg and 1\.png"):
        open_shot(tmp_path)


def test_frames_under_16_pixels_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (64, 15)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"1\.png is 64x15 pixels, but at least 16x16"):
        open_shot(tmp_path / "1.png")
    write_video(tmp_path / "a.mkv", counting_frames(2, 8, 32), "ffv1", "yuv420p")
    with pytest.raises(ValueError, match=r"a\.mkv is 32x8 pixels, but at least 16x16"):
        open_shot(tmp_path / "a.mkv")


@pytest.mark.parametrize(("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.jpg", 8), ("a.tif", 8), ("a.tif", 16)])
def test_a_truncated_picture_is_refused(tmp_path: Path, name: str, bits: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**bits, (64, 64, 3), np.uint8 if bits == 8 else np.uint16)
    assert cv2.imwrite(str(tmp_path / name), pixels)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"{name} .*truncated"):
        open_shot(tmp_path / name).read(0, 1)


def test_a_truncated_exr_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    data = write_exr(tmp_path / "a.exr", {"RGB": noise}).read_bytes()
    (tmp_path / "a.exr").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a\.exr cannot be decoded: .*truncated"):
        open_shot(tmp_path / "a.exr").read(0, 1)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.exr"])
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello")
    with pytest.raises(ValueError, match=rf"{name} cannot be read as an? "):
        open_shot(tmp_path / name)
