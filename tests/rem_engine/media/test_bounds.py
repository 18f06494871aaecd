"""Files that lie: nothing in them hangs, takes all memory or ends in anything but a sentence that names the file."""

from __future__ import annotations

import os
import socket
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import Image
from plate_files import write_dpx, write_exr
from video_files import scene, write_video

from rem_engine import memory
from rem_engine.media import open_shot, stills
from rem_engine.media.images import read_image
from rem_engine.media.masks import open_masks

PICTURE = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
OPENED = pytest.mark.parametrize("opened", [open_shot, open_masks], ids=["as a shot", "as masks"])


def write_grey_exr(path: Path, display: int = 64) -> Path:
    """An EXR of 64x64 pixels whose display window may be larger than what it holds."""
    window = (np.int32([0, 0]), np.int32([display - 1, display - 1]))
    return write_exr(path, dict.fromkeys("RGB", np.full((64, 64), 0.5, np.float16)), displayWindow=window)


def write_grey_png(path: Path, height: int, width: int, rows: int | None = None) -> Path:
    """A grey PNG of one value, 100, written a row at a time, of which only some rows may be there."""
    packed, row = zlib.compressobj(1), b"\0" + b"d" * width
    pixels = b"".join(packed.compress(row) for _ in range(height if rows is None else rows)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    return path


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.mov"
    os.mkfifo(path)
    return path


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "s.png"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        yield path


@OPENED
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this system's folders")
def test_what_is_no_file_is_refused_unopened(opened: Callable[[Path], Any], pipe: Path, unix_socket: Path) -> None:
    for path, kind in ((pipe, "pipe"), (unix_socket, "socket"), (Path("/dev/zero"), "device")):
        with pytest.raises(ValueError, match=f"{path} is a {kind} and no file: save what comes out of it"):
            opened(path)


def test_a_pipe_among_frames_is_none_of_them(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "f.1.png"), PICTURE)
    os.mkfifo(tmp_path / "f.2.png")
    with open_shot(tmp_path) as shot:
        assert shot.frame_count == 1


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dpx", ".exr"])
def test_a_pipe_in_a_frames_place_is_refused_unopened(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"f.1{suffix}")
    with pytest.raises(ValueError, match="is a pipe and no file"):
        read_image(tmp_path / f"f.1{suffix}")


def test_a_small_exr_with_an_endless_window_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    bomb = write_grey_exr(tmp_path / "bomb.exr", display=100_000)
    assert bomb.stat().st_size < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"The 100000x100000 pixels of bomb.exr take 640.0 GB of memory, and .* are"
        ):
            open_shot(bomb)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_png_whose_header_asks_for_more_than_there_is_is_refused(tmp_path: Path) -> None:
    bomb = write_grey_png(tmp_path / "bomb.png", 1_000_000, 1_000_000, rows=1)
    with pytest.raises(ValueError, match="1000000x1000000 pixels of bomb.png take 20000.0 GB"):
        open_shot(bomb)


@pytest.mark.parametrize("kind", ["png", "png16", "jpg", "tif", "tif16", "webp", "jxl", "dpx", "exr", "mp4"])
def test_free_memory_decides_for_every_kind_of_picture(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"plate.{kind.removesuffix('16')}"
    if kind == "dpx":
        write_dpx(path, 10, np.zeros((48, 64, 3), np.float32))
    elif kind == "exr":
        write_grey_exr(path)
    elif kind == "mp4":
        write_video(path, scene(8), "mpeg4")
    elif kind == "jxl":
        oiio.ImageBuf(PICTURE).write(str(path))
    else:
        cv2.imwrite(str(path), PICTURE.astype(np.uint16) if kind.endswith("16") else PICTURE)
    with open_shot(path) as shot:
        assert shot.read(0, 1).shape[-1] == 3
    monkeypatch.setattr(memory, "free_bytes", lambda: 40_000)
    with pytest.raises(ValueError, match=rf"The 64x\d+ pixels of {path.name} take .* and 40000 bytes are free: give a"):
        open_shot(path).read(0, 1)


@pytest.mark.parametrize("name", ["plate.exr", "plate.tif"])
def test_a_tile_that_is_larger_than_its_picture_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spec = oiio.ImageSpec(64, 64, 3, "half" if name.endswith("exr") else "uint16")
    spec.tile_width = spec.tile_height = 2048
    writer = oiio.ImageOutput.create(str(tmp_path / name))
    assert writer.open(str(tmp_path / name), spec) and writer.write_image(np.zeros((64, 64, 3), np.float32))
    writer.close()
    assert (tmp_path / name).stat().st_size < 200_000
    with open_shot(tmp_path / name) as shot:
        assert shot.read(0, 1).max() == 0
    monkeypatch.setattr(memory, "free_bytes", lambda: 40_000_000)
    with pytest.raises(ValueError, match=rf"The 64x64 pixels of {name} take .* MB of memory"):
        open_shot(tmp_path / name)


def test_of_many_channels_only_those_that_are_read_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = {f"layer{number}.Z": np.zeros((100, 100), np.float32) for number in range(900)}
    write_exr(tmp_path / "plate.exr", layers | dict.fromkeys("RGB", np.full((100, 100), 0.5, np.float32)))
    for module in (memory, stills):  # 36 MB of pixels, and 2 MB free
        monkeypatch.setattr(module, "free_bytes", lambda: 2 * 2**20)
    with open_shot(tmp_path / "plate.exr") as shot:
        assert shot.read_linear(0, 1).mean() == 0.5


def test_a_picture_that_is_decoded_as_it_is_opened_is_bounded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oiio.ImageBuf(np.zeros((1000, 1500, 3), np.uint8)).write(str(tmp_path / "plate.jxl"))
    limit = oiio.get_int_attribute("limits:imagesize_MB")
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * 2**20)
    monkeypatch.setattr(stills, "free_bytes", lambda: 2 * 2**20)
    with pytest.raises(ValueError, match=r"The 1500x1000 pixels of plate\.jxl take 30 MB of memory, and"):
        open_shot(tmp_path / "plate.jxl")
    assert oiio.get_int_attribute("limits:imagesize_MB") == limit  # of the whole process


def test_pillows_own_bound_on_pixels_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("plate.png", "plate.jpg", "plate.tif"):
            path = tmp_path / name
            cv2.imwrite(str(path), PICTURE)
            with open_shot(path) as shot:
                assert abs(shot.read(0, 1)[0].astype(int) - PICTURE[..., ::-1]).mean() < 4, name


@pytest.mark.slow
def test_an_honest_16k_plate_is_read(tmp_path: Path) -> None:
    free = memory.free_bytes()
    if free is not None and free < 5e9:
        pytest.skip("less than 5 GB of memory are free")
    plate = write_grey_png(tmp_path / "plate.png", 8640, 16384)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_shot(plate) as shot:
            frame = shot.read(0, 1)
    assert frame.shape == (1, 8640, 16384, 3) and frame.min() == frame.max() == 100


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dpx", ".exr", ".mov"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"plate{suffix}"
    path.touch()

    def refuse(file: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        open_shot(path)


def test_a_soft_npz_whose_header_says_another_size_than_its_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "soft.npz"
    np.savez(path, soft=np.zeros((3, 48, 64), np.float32))
    data = path.read_bytes()
    shape = b"(3, 48, 64)"
    assert shape in data
    for lie in (b"(9, 99, 99)", b"(-3,48,-64)", b"(0, 48, 64)"):
        # NumPy's header has room, and so keeps its length; zip's checksum is of no concern before the end is read.
        path.write_bytes(data.replace(shape, lie))
        with pytest.raises(ValueError, match="is no soft.npz of a run"):
            open_masks(path)


@pytest.mark.parametrize(("scale", "offset"), [(255.0, 0.0), (2.0, -1.0), (1e30, 0.0)])
def test_a_soft_npz_of_another_range_is_refused(scale: float, offset: float, tmp_path: Path) -> None:
    """A run's masks are not clipped, so that some lie beyond 0..1: those of the first frame."""
    path = tmp_path / "soft.npz"
    soft = np.zeros((2, 48, 64), np.float32)
    soft[:, :24] = 1.0
    np.savez(path, soft=np.stack([soft[0] * 1.8 - 0.4, soft[1] * scale + offset]).astype(np.float32))
    frames = iter(open_masks(path).frames())
    first = next(frames)
    assert (first.min(), first.max()) == (np.float32(-0.4), np.float32(1.4))
    with pytest.raises(
        ValueError, match=r"The mask of frame 1 in .*soft\.npz holds values from .*, and those of a run lie"
    ):
        next(frames)
