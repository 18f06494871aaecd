"""Frames and masks of videos at the model's size, kept on disk: a 4K picture is decoded once, not in every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from rem_engine.whole_files import told_when_full, written_whole

from .fingerprint import files_hash, value_hash
from .resize import masks_at_size, pictures_at_size

_VERSION = 1
"""Rises when the same files would be kept as something else."""


class FrameCache:
    """What was read of files, at the model's size; of a file that has changed since, it is read anew.

    A clip of it is, after `at_size`, bit for bit that of the files themselves.

    Args:
        folder: to keep it in; several processes may share one.
        size: (height, width), pixels.

    Attributes:
        size: as given.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._folder, self.size = folder, size

    def picture(self, file: Path, read: Callable[[], np.ndarray]) -> tuple[np.ndarray, tuple[int, ...]]:
        """A picture uint8 [height,width,3], and the (height, width) of the file's own.

        Args:
            file: that it is read from.
            read: does so, uint8 [H,W,3].
        """
        path = self._place("frame", [file], None)
        kept = _load(path)
        if kept is None or kept["pixels"].shape != (*self.size, 3):
            whole = read()
            kept = {"pixels": pictures_at_size(whole[None], self.size)[0], "size": np.array(whole.shape[:2])}
            _save(path, kept)
        return kept["pixels"], tuple(kept["size"].tolist())

    def mask(
        self, files: Sequence[Path], named: Any, size: tuple[int, ...], read: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, bool]:
        """A mask bool [height,width], and whether the file's own has a pixel.

        Args:
            files: that it is read from.
            named: what of them, a value that JSON can hold.
            size: (height, width) of its picture.
            read: does so, bool [H,W].
        """
        path = self._place("mask", files, [named, size])
        kept = _load(path)
        if kept is None or kept["bits"].size != -(-self.size[0] * self.size[1] // 8):
            whole = read()
            kept = {"bits": np.packbits(masks_at_size(whole[None], self.size)[0]), "filled": np.array(whole.any())}
            _save(path, kept)
        count = self.size[0] * self.size[1]
        return np.unpackbits(kept["bits"], count=count).reshape(self.size).astype(bool), bool(kept["filled"])

    def _place(self, kind: str, files: Sequence[Path], what: Any) -> Path:
        name = value_hash([_VERSION, kind, self.size, files_hash(files), what])
        return self._folder / name[:2] / f"{name[2:32]}.npz"


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """What a file holds; None where it is not there or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _save(path: Path, values: dict[str, np.ndarray]) -> None:
    with told_when_full(path, "make room, or set keep_frames to false for the source"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **values)  # type: ignore[arg-type]
