"""Reading masks: folders of grey pictures, matte videos, and the arrays that a run writes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..input_files import check_is_file, told_as_damage
from ..memory import check_fits
from .images import ImageShot, read_image, read_mask_channel
from .reading import shot_files
from .shot import Shot
from .suffixes import IMAGE_SUFFIXES
from .video import VideoShot

_GREY = 4 / 255  # channels of a grey picture differ by no more, after 8-bit colour conversion
_ARRAY = "soft.npy"


@dataclass(frozen=True)
class Masks:
    """Masks of a shot on disk.

    Attributes:
        path: where they are.
        files: what they are made of.
        frame_count, height, width: how many, and their size in pixels.
        frames: gives them in order, one by one, float32 [H,W] in 0..1 (of soft.npz not clipped); memory does not grow
            with their number.
    """

    path: Path
    files: tuple[Path, ...]
    frame_count: int
    height: int
    width: int
    frames: Callable[[], Iterator[np.ndarray]]


def open_masks(path: Path) -> Masks:
    """Open masks for reading.

    Args:
        path: a folder of grey PNG, JPEG, TIFF, DPX or EXR pictures, in natural order; one such picture; a video of
            them; or the soft.npz that a run writes. An EXR's A counts, else its Y or R. Values are taken as they are:
            no curve is undone.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: nothing readable, or pictures of different sizes; a pipe, socket or device, which is not opened;
            while reading, a picture in colour, or damage.
    """
    path = path.expanduser()
    check_is_file(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a folder of masks, a matte video, or a run's soft.npz.")
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".npz":
        return _array_masks(path)
    if path.is_file() and suffix not in IMAGE_SUFFIXES:
        with VideoShot(path) as video:
            return Masks(path, video.files, video.frame_count, video.height, video.width, lambda: _video_frames(video))
    pictures = ImageShot(path.name, shot_files(path))
    return Masks(
        path,
        pictures.files,
        pictures.frame_count,
        pictures.height,
        pictures.width,
        lambda: (_picture(file) for file in pictures.files),
    )


def _picture(file: Path) -> np.ndarray:
    if file.suffix.lower() == ".exr":
        return read_mask_channel(file)
    return _grey(read_image(file), file.name)


def _video_frames(video: Shot) -> Iterator[np.ndarray]:
    with video.reopen() as frames:
        for index in range(frames.frame_count):
            yield _grey(frames.read(index, index + 1)[0], f"Frame {index} of {video.files[0].name}")


def _grey(pixels: np.ndarray, name: str) -> np.ndarray:
    """[H,W] of a grey picture [H,W,3]."""
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / np.float32(255.0)
    if np.ptp(pixels, axis=2).max() > _GREY:
        raise ValueError(
            f"{name} is a picture in colour and no mask: give grey ones, such as a run's soft, masks or alpha."
        )
    return pixels[..., 1]


def _array_masks(path: Path) -> Masks:
    with _array(path) as ((count, height, width), _):
        check_fits(height * width * 4, f"The masks of {width}x{height} pixels in {path.name}")
        return Masks(path, (path,), count, height, width, lambda: _array_frames(path))


def _array_frames(path: Path) -> Iterator[np.ndarray]:
    with _array(path) as ((count, height, width), data):
        for _ in range(count):
            with told_as_damage(f"{path} cannot be read to its end: it is truncated or damaged, write it again."):
                values = np.frombuffer(data.read(height * width * 4), "<f4").reshape(height, width)
            yield values


@contextmanager
def _array(path: Path) -> Iterator[tuple[tuple[int, int, int], IO[bytes]]]:
    """Shape and values of soft.npz, as a stream."""
    wrong = f"{path} is no soft.npz of a run, which holds 'soft', float32 [T,H,W]: give another file."
    with ExitStack() as opened:
        with told_as_damage(wrong):
            archive = opened.enter_context(zipfile.ZipFile(path))
            entry = archive.getinfo(_ARRAY)
            data = opened.enter_context(archive.open(entry))
            np.lib.format.read_magic(data)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(data)
            count, height, width = shape
            # What the archive says it unpacks to: a header of another size asks for memory that nothing fills.
            fitting = count * height * width * 4 == entry.file_size - data.tell()
            if min(shape) < 1 or not fitting or fortran_order or dtype != np.dtype("<f4"):
                raise ValueError(wrong)
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(wrong)
        yield (count, height, width), data
