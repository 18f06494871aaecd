"""Masks that a run has written, frame by frame in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image

from ..media.masks import open_masks
from ..shelf import Shelf
from .account import FileSet
from .layout import KINDS

_BEST_FIRST = ("soft", "npz", "masks")  # mattes are made of 16 bits


class StoredMasks:
    """Masks of one layer on disk; several threads may read them.

    Args:
        files: of them.
        root: below which they lie.
    """

    def __init__(self, files: FileSet, root: Path) -> None:
        self._files, self._root, self._lock = files, root, Lock()
        self._numbers = tuple(number for span in files.spans for number in span)
        self._shelf: Shelf | None = None

    def read(self, place: int) -> np.ndarray:
        """The mask of a frame by its place in the shot, float32 [H,W].

        Raises:
            OSError: it cannot be read.
        """
        if not KINDS[self._files.kind].is_sequence:
            with self._lock:
                if self._shelf is None:
                    self._shelf = Shelf()
                    for mask in open_masks(self._files.place(self._root)).frames():
                        self._shelf.append(torch.from_numpy(mask.copy()))
                return self._shelf[place].numpy()
        white = np.float32(65535.0 if self._files.kind == "soft" else 255.0)
        with Image.open(self.file(place)) as image:
            return np.asarray(image).astype(np.float32) / white

    def close(self) -> None:
        """Let go of what is held."""
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None

    def file(self, place: int) -> Path:
        """The file of a frame, of a sequence."""
        return self._files.file_of(self._root, self._numbers[place])


def best_masks(files: Sequence[FileSet], layer: str) -> FileSet | None:
    """The masks of a layer among what a run has written that corrections begin with; None where it wrote none."""
    of_layer = [one for one in files if one.layer == layer]
    return next((one for kind in _BEST_FIRST for one in of_layer if one.kind == kind), None)
