"""The motion of shots that are being corrected, kept from run to run."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths
import numpy as np

from ...rem_engine.correct import ShotMotion
from ...rem_engine.correct.shot_motion import motion_size
from ...rem_engine.frames import ArrayFrames
from .inputs import cuts_of
from .schema import NodeProgress

_FOLDER = "rem_motion"
_KEPT_SHOTS = 3


@contextmanager
def kept_motion(frames: ArrayFrames, progress: NodeProgress) -> Iterator[ShotMotion]:
    """The motion of a shot, found once until the host is started again: it lies in its folder of temporary files,
    beside that of the shots before."""
    key = _key_of(frames)
    root = Path(folder_paths.get_temp_directory(), _FOLDER)
    folder = root / key
    _make_room(root, folder)
    # Where cuts are is known of a shot that was looked at before.
    kept = ShotMotion.kept(folder, frames.frame_count, key)
    with kept or ShotMotion.of(frames, cuts_of(frames), folder, key, progress) as motion:
        os.utime(folder)
        yield motion


def _key_of(frames: ArrayFrames) -> str:
    """Of the shot at about the size at which motion is found."""
    found = hashlib.sha256(repr((frames.frame_count, frames.height, frames.width)).encode())
    height, width = motion_size(frames.height, frames.width, frames.frame_count)
    rows, columns = max(frames.height // height, 1), max(frames.width // width, 1)
    for index in range(frames.frame_count):
        found.update(np.ascontiguousarray(frames.read(index, index + 1)[:, ::rows, ::columns]).data)
    return found.hexdigest()


def _make_room(root: Path, folder: Path) -> None:
    """Remove what is kept of other shots, but for the last ones."""
    others = [one for one in root.iterdir() if one != folder] if root.is_dir() else []
    others.sort(key=lambda one: one.stat().st_mtime, reverse=True)
    for one in others[_KEPT_SHOTS - 1 :]:
        shutil.rmtree(one)
