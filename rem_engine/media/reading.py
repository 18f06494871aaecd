"""`open_shot`: a video file, a folder of frames, or one image."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from ..input_files import check_is_file
from .plate_settings import PlateSettings
from .shot import Shot

_AS_IS = PlateSettings()
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dpx", ".exr", ".webp", ".jxl")


def open_shot(path: str | PathLike[str], plate: PlateSettings = _AS_IS) -> Shot:
    """Open a shot for reading.

    Args:
        path: a video file; a folder of PNG, JPEG, TIFF, DPX or EXR frames, taken in natural order (frame2 before
            frame10; other files and sub-folders are left aside); or a single image, a shot of one frame.

    Alpha is dropped. EXR is taken as scene-linear; `Shot.read` brings it to display sRGB, clipped to 0..1, and
    `Shot.read_linear` gives it as stored. Primaries are left as they are, and so are the transfer functions of videos
    and DPX (log, PQ, HLG), which are taken as display-referred. Rotation asked for by a phone's metadata is applied.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: no frames, frames of different sizes or under 16 pixels, a file that cannot be read or that memory
            does not hold; a pipe, socket or device, which is not opened.
    """
    path = Path(path).expanduser()
    check_is_file(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a video file, a folder of frames, or an image.")
    if not path.is_dir() and path.suffix.lower() not in IMAGE_SUFFIXES:
        from .video import VideoShot

        return VideoShot(path)
    from .images import ImageShot

    return ImageShot(path.resolve().stem if path.is_file() else path.resolve().name, shot_files(path), plate)


def shot_files(path: Path) -> list[Path]:
    """The files a shot is made of: the file itself, or a folder's frames in natural order.

    Raises:
        ValueError: a folder without frames, or with two files for one frame (shot.01.png and shot.01.exr).
    """
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        raise ValueError(f"The folder {path} holds no frames: PNG, JPEG, TIFF, DPX or EXR files are expected in it.")
    files.sort(key=lambda file: natural_key(file.name))
    by_stem: dict[str, Path] = {}
    for file in files:
        other = by_stem.setdefault(file.stem, file)
        if other is not file:
            raise ValueError(
                f"The folder {path} holds one frame twice, as {other.name} and {file.name}: "
                "keep one format of each frame in it."
            )
    return files


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key that takes digits as numbers: frame2 before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name
