"""Masks of windows put aside on disk: what several machines make of a shot, for one to join."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.safetensors_file import Writer, read_index
from ..whole_files import told_when_full, written_whole
from .windows import Window

_MASKS = "masks"


class WindowMasks:
    """Masks as the model gives them of single windows of a shot, a file each, which is there whole or not at all.

    Args:
        folder: of one shot, model, prompts and settings; made when the first is written.
        device: where masks are put that are read: there they were made, and are scaled and cross-faded alike.

    Attributes:
        given: how many were read.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        self.folder, self.given = folder, 0
        self._looked_at: tuple[Window, Sequence[int], tuple[Tensor, int]] | None = None
        self._device = device

    def has(self, window: Window, seeds: Sequence[int]) -> bool:
        """Whether they are there, of noise of these seeds, and undamaged; the last are kept for `read`, which mostly
        follows."""
        found = self._read(window, seeds)
        self._looked_at = None if found is None else (window, [*seeds], found)
        return found is not None

    def read(self, window: Window, seeds: Sequence[int]) -> tuple[Tensor, int]:
        """Masks [P,T,C,h,w] of a window, and how many prompts went through the denoiser together.

        Raises:
            ValueError: they are not there.
        """
        found = None
        if self._looked_at is not None and self._looked_at[:2] == (window, [*seeds]):
            found, self._looked_at = self._looked_at[2], None
        found = found or self._read(window, seeds)
        if found is None:
            raise ValueError(f"{self._file(window)} was taken away while it was wanted: run the same command again.")
        self.given += 1
        masks, together = found
        return masks.to(self._device), together

    def write(self, window: Window, seeds: Sequence[int], masks: Tensor, together: int) -> None:
        """Put masks of a window aside; see `read`.

        Raises:
            RuntimeError: the disk is full.
        """
        data = masks.detach().to("cpu", torch.float32).contiguous()
        metadata = {"seeds": json.dumps([*seeds]), "together": str(together), "crc32": str(_checksum(data))}
        file = self._file(window)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            told_when_full(file, "make room, and run the same command again"),
            written_whole(file) as temporary,
            open(temporary, "wb") as stream,
        ):
            writer = Writer(stream, [_MASKS], metadata)
            writer.add(_MASKS, data.dtype, data.shape, [data])
            writer.finish()

    def _read(self, window: Window, seeds: Sequence[int]) -> tuple[Tensor, int] | None:
        try:
            stored = read_index(self._file(window))
            masks, said = stored.tensors[_MASKS].read(), stored.metadata
            whole = said["crc32"] == str(_checksum(masks)) and masks.ndim == 5 and masks.shape[1] == window.length
            if not whole or json.loads(said["seeds"]) != [*seeds]:
                return None
            return masks, int(said["together"])
        except (OSError, ValueError, KeyError):  # none, or damaged: it is made anew
            return None

    def _file(self, window: Window) -> Path:
        return self.folder / f"{window.start:06d}-{window.stop - 1:06d}.safetensors"


def _checksum(masks: Tensor) -> int:
    return zlib.crc32(masks.contiguous().view(-1).view(torch.uint8).numpy().data)
