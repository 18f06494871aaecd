"""Reading masks: folders of grey pictures, matte videos, and the arrays that a run writes."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

from ..input_files import check_is_file, told_as_damage
from ..memory import check_fits
from .animation import is_animation
from .made_by import read_made_by
from .mask_pictures import MaskAnimation, matte_part, stored_pictures
from .mask_video import MaskVideo
from .matte_values import MatteChoice, StoredPicture, choose_matte
from .reading import find_sequence
from .shot import check_frame_size
from .stills import Still
from .suffixes import IMAGE_SUFFIXES
from .windows import Windows

_ARRAY = "soft.npy"
_OVERSHOOT = 0.75
"""How far beyond 0..1 the masks of a model may go that does not clamp them; -1..1 and 0..255 go farther."""


@dataclass(frozen=True)
class Masks:
    """Masks of a shot on disk.

    Attributes:
        path: where they are.
        files: what they are made of.
        frame_count, height, width: how many, and their size in pixels.
        frames: gives them in order, one by one, float32 [H,W] in 0..1 (of soft.npz not clipped); memory does not grow
            with their number.
        note: gives a sentence about what they were taken for, or "".
        numbers: of each, as their files are numbered; None for those of a video or an array, which are not.
    """

    path: Path
    files: tuple[Path, ...]
    frame_count: int
    height: int
    width: int
    frames: Callable[[], Iterator[np.ndarray]]
    note: Callable[[], str] = str
    numbers: tuple[int, ...] | None = None


def open_masks(
    path: Path,
    asked: str = "",
    *,
    windows: Windows | None = None,
    are_ours: bool = False,
    expected: str = "a folder of masks, a matte video, or a run's soft.npz",
) -> Masks:
    """Open masks for reading.

    What of pictures is the matte, `choose_matte` says of the sequence as a whole. Values are taken as they are: no
    curve is undone.

    Args:
        path: a folder of pictures of one sequence, or a pattern of their names (m.####.png); one such picture; a video
            or an animation of them; or the soft.npz that a run writes.
        asked: name of the channel that is the matte, or "luma"; "" for what is found.
        windows: of the shot; an EXR that is meant to be seen as the shot is read where that is.
        are_ours: whether a run of ours wrote them, whose masks are of shades however dark they are; pictures may say so
            themselves.
        expected: what may be given, as the sentence says where there is nothing.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: nothing readable, or pictures of different sizes; a pipe, socket or device, which is not opened;
            while reading, what `choose_matte` refuses, or damage.
    """
    path = path.expanduser()
    check_is_file(path)
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".npz":
        if asked:
            raise ValueError(f"{path} holds masks alone, and no channel {asked}: give it without.")
        return _array_masks(path)
    is_video = path.is_file() and suffix not in IMAGE_SUFFIXES
    if is_video or (path.is_file() and is_animation(path)):
        with closing(MaskVideo(path) if is_video else MaskAnimation(path)) as shot:
            size = (shot.frame_count, shot.height, shot.width)
            frames, note = _of_sequence(path, lambda: _moving_pictures(shot, asked), asked, are_ours)
            return Masks(path, shot.files, *size, frames, note)
    found = find_sequence(path, expected)
    files = tuple(found.files.values())
    with Still(files[0]) as still:
        part, canvas = matte_part(still, asked, windows)
        still.check_fits(part, canvas)
    check_frame_size(files[0].name, canvas.height, canvas.width)
    are_ours = are_ours or any(read_made_by(files[0]))
    frames, note = _of_sequence(path, lambda: stored_pictures(files, asked, windows), asked, are_ours)
    numbers = tuple(found.files) if found.own else None
    return Masks(path, files, len(files), canvas.height, canvas.width, frames, note, numbers)


def _moving_pictures(shot: MaskVideo | MaskAnimation, asked: str) -> Generator[StoredPicture]:
    with closing(shot.reopen()) as frames:
        for index in range(frames.frame_count):
            yield frames.stored_picture(index, asked)


def _of_sequence(
    path: Path, pictures: Callable[[], Generator[StoredPicture]], asked: str, are_ours: bool
) -> tuple[Callable[[], Iterator[np.ndarray]], Callable[[], str]]:
    """`frames` and `note` of pictures, of which the matte is found out once, when either is first asked for."""

    @cache
    def choice() -> MatteChoice:
        with closing(pictures()) as looked_at:
            return choose_matte(looked_at, asked, are_ours)

    def frames() -> Iterator[np.ndarray]:
        return map(choice().read, pictures())

    def note() -> str:
        said = f"The masks in {path} hold only 0 and 1, which are taken for black and white."
        return said if choice().is_unit else ""

    return frames, note


def _array_masks(path: Path) -> Masks:
    with _array(path) as ((count, height, width), _):
        check_fits(height * width * 4, f"The masks of {width}x{height} pixels in {path.name}")
        return Masks(path, (path,), count, height, width, lambda: _array_frames(path))


def _array_frames(path: Path) -> Iterator[np.ndarray]:
    with _array(path) as ((count, height, width), data):
        for index in range(count):
            with told_as_damage(f"{path} cannot be read to its end: it is truncated or damaged, write it again."):
                stored = bytearray(data.read(height * width * 4))  # torch warns of what it could not write to
                values = np.frombuffer(stored, "<f4").reshape(height, width)
            low, high = float(values.min()), float(values.max())
            finite = math.isfinite(low) and math.isfinite(high)  # what is not has a sentence of its own
            if finite and (low < -_OVERSHOOT or high > 1.0 + _OVERSHOOT):
                raise ValueError(
                    f"The mask of frame {index} in {path} holds values from {low:g} to {high:g}, and those of a run "
                    "lie in 0..1: the file is damaged or no run's, give another."
                )
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
