"""Shots that a node can stream: those in the host's input folder, and the host's lazy VIDEO."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import folder_paths
from comfy_api.latest import Input, InputImpl

from ...rem_engine.frames import ArrayFrames, ReopenableFrames
from ...rem_engine.media import open_shot
from ...rem_engine.media.reading import shot_files
from ...rem_engine.media.shot import ShotInfo


@dataclass(frozen=True)
class StreamedShot:
    """A shot that can be read again and again without being in memory whole.

    Attributes:
        open: gives it from its first frame on.
        info: size, rate, timecode and colour tags.
        source: its path, if it has one.
    """

    open: Callable[[], ReopenableFrames]
    info: ShotInfo
    source: str = ""


def input_shot_path(name: str) -> Path:
    """Where a shot of the input folder is.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: a path that leads out of the input folder, or that is none.
    """
    if "\0" in name:
        raise ValueError(f"The path {name!r} holds a zero byte, which no name has: choose a shot again.")
    root = os.path.abspath(folder_paths.get_input_directory())
    path = os.path.abspath(os.path.join(root, name))
    if not path.startswith(root + os.sep):
        raise ValueError(f"The path {name!r} leads out of ComfyUI's input folder, {root}: choose a shot in it.")
    if not os.path.exists(path):  # nor does it, where a name is longer than the system takes
        raise FileNotFoundError(f"There is no shot {name!r} in ComfyUI's input folder, {root}: put it there.")
    return Path(path)


def shot_stamp(path: Path) -> list[tuple[str, float, int]]:
    """Name, time and size of each file of a shot: another stamp is another shot."""
    return [(file.name, stat.st_mtime, stat.st_size) for file in shot_files(path) for stat in [file.stat()]]


def file_shot(path: Path) -> StreamedShot:
    """A video file or a folder of frames.

    Raises:
        ValueError: a file that cannot be read.
    """
    with open_shot(path) as shot:
        return StreamedShot(shot.reopen, shot.info, str(path))


@contextmanager
def video_shot(video: Input.Video) -> Iterator[StreamedShot]:
    """The host's VIDEO; a file is read as a stream, and frames in memory stay where they are.

    Raises:
        ValueError: a file that cannot be read.
    """
    if isinstance(video, InputImpl.VideoFromComponents):  # asked for a stream, it would compress its frames
        parts = video.get_components()
        frames = ArrayFrames(parts.images)
        yield StreamedShot(lambda: frames, ShotInfo(frames.height, frames.width, parts.frame_rate))
        return
    source = video.get_stream_source()
    if isinstance(source, str):
        yield file_shot(Path(source))
        return
    with TemporaryDirectory(dir=folder_paths.get_temp_directory()) as folder:
        file = Path(folder) / "video"
        with file.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield file_shot(file)
