"""Reading masks: folders of grey pictures, matte videos, and the arrays that a run writes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from .exr import read_exr_mask
from .images import ImageShot, read_image
from .reading import IMAGE_SUFFIXES, shot_files
from .video import VideoShot

_GREY = 4 / 255  # channels of a grey picture differ by no more, after 8-bit colour conversion
_ARRAY = "soft.npy"


@dataclass(frozen=True)
class Masks:
    """Masks of a shot on disk.

    Attributes:
        path: where they are.
        frame_count, height, width: how many, and their size in pixels.
        frames: gives them in order, one by one, float32 [H,W] in 0..1 (of soft.npz not clipped); memory does not grow
            with their number.
    """

    path: Path
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
        ValueError: nothing readable, or pictures of different sizes; while reading, a picture in colour.
    """
    path = path.expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a folder of masks, a matte video, or a run's soft.npz.")
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".npz":
        return _array_masks(path)
    if path.is_file() and suffix not in IMAGE_SUFFIXES:
        with VideoShot(path) as shot:
            return Masks(path, shot.frame_count, shot.height, shot.width, lambda: _video_frames(path))
    files = shot_files(path)
    pictures = ImageShot(path.name, files)
    return Masks(path, len(files), pictures.height, pictures.width, lambda: (_picture(file) for file in files))


def _picture(file: Path) -> np.ndarray:
    if file.suffix.lower() == ".exr":
        return read_exr_mask(file)
    return _grey(read_image(file), file.name)


def _video_frames(path: Path) -> Iterator[np.ndarray]:
    with VideoShot(path) as shot:
        for index in range(shot.frame_count):
            yield _grey(shot.read(index, index + 1)[0], f"Frame {index} of {path.name}")


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
    with _array(path) as (shape, _):
        count, height, width = shape
    return Masks(path, count, height, width, lambda: _array_frames(path))


def _array_frames(path: Path) -> Iterator[np.ndarray]:
    with _array(path) as ((count, height, width), data):
        for _ in range(count):
            values = np.frombuffer(data.read(height * width * 4), "<f4")
            if values.size < height * width:
                raise ValueError(f"{path} ends too soon: it is truncated, write it again.")
            yield values.reshape(height, width)


@contextmanager
def _array(path: Path) -> Iterator[tuple[tuple[int, int, int], IO[bytes]]]:
    """Shape and values of soft.npz, as a stream."""
    wrong = f"{path} is no soft.npz of a run, which holds 'soft', float32 [T,H,W]: give another file."
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(wrong) from error
    with archive:
        if _ARRAY not in archive.namelist():
            raise ValueError(wrong)
        with archive.open(_ARRAY) as data:
            np.lib.format.read_magic(data)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(data)
            if len(shape) != 3 or fortran_order or dtype != np.dtype("<f4"):
                raise ValueError(wrong)
            yield shape, data
