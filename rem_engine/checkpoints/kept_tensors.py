"""Tensors that took long to compute, kept on disk from run to run."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..whole_files import written_whole
from .safetensors_file import Writer, read_index

_NAME = "tensor"
_log = logging.getLogger(__name__)


class KeptTensors:
    """Tensors by name in the folder that huggingface_hub has for what libraries keep ($HF_ASSETS_CACHE).

    A folder that cannot be written to keeps nothing new, and costs nothing but time; so does a file that is damaged.

    Args:
        kind: what they are, the name of a folder of its own.
        most, most_bytes: how many are kept, and how much they take together; those not asked for longest go.
    """

    def __init__(self, kind: str, *, most: int, most_bytes: int) -> None:
        self._kind, self._most, self._most_bytes = kind, most, most_bytes

    def get(self, name: str) -> Tensor | None:
        """One of them, on the CPU; None where it is not known."""
        file = self._file(name)
        if file is None or not file.is_file():
            return None
        try:
            tensor = read_index(file).tensors[_NAME].read()
        except (OSError, ValueError, KeyError) as error:
            _log.debug("%s is of no use: %s", file, error)
            return None
        with suppress(OSError):  # of a folder that is only read from all stays
            os.utime(file)
        return tensor

    def keep(self, name: str, tensor: Tensor) -> None:
        """Keep one, if there is room for it at all."""
        file = self._file(name)
        if file is None or tensor.nbytes > self._most_bytes:
            return
        try:
            with written_whole(file) as temporary, open(temporary, "wb") as stream:
                writer = Writer(stream, [_NAME], {})
                writer.add(_NAME, tensor.dtype, tensor.shape, [tensor.detach().cpu().contiguous()])
                writer.finish()
            self._let_go(file.parent)
        except OSError as error:
            _log.debug("%s was not kept: %s", file, error)

    def _let_go(self, folder: Path) -> None:
        room = self._most_bytes
        newest = sorted(folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for place, file in enumerate(newest):
            room -= file.stat().st_size
            if place >= self._most or (room < 0 and place):
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path | None:
        from huggingface_hub import cached_assets_path

        try:
            return cached_assets_path("refereverything", self._kind, "kept") / f"{name}.safetensors"
        except (OSError, ValueError) as error:  # the latter where a file is in its place
            _log.debug("there is no folder for %s: %s", self._kind, error)
            return None
