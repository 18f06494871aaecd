"""Tensors put aside for later, in memory as long as there are few of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from types import TracebackType

import torch
from torch import Tensor

_IN_MEMORY = 256 * 2**20
"""Bytes that are kept in memory; beyond, all lie in a file of the system's folder for temporary ones (TMPDIR)."""


@dataclass(frozen=True)
class _Place:
    offset: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return self.shape.numel() * self.dtype.itemsize


class Shelf:
    """A list of tensors that may be larger than memory; each can be replaced by one of its shape and type.

    A context manager; without it the file goes when the shelf does.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._places: list[_Place] = []
        self._end = 0

    def append(self, tensor: Tensor) -> None:
        """Put one aside.

        Raises:
            OSError: the disk is full.
        """
        place = _Place(self._end, tensor.shape, tensor.dtype)
        self._write(place, tensor)
        self._places.append(place)
        self._end += place.nbytes

    def __getitem__(self, number: int) -> Tensor:
        """One of them, on the CPU, in memory of its own."""
        place = self._places[number]
        self._file.seek(place.offset)
        data = bytearray(self._file.read(place.nbytes))
        return torch.frombuffer(data, dtype=place.dtype).view(place.shape)

    def __setitem__(self, number: int, tensor: Tensor) -> None:
        place = self._places[number]
        if (tensor.shape, tensor.dtype) != (place.shape, place.dtype):
            raise ValueError(
                f"A tensor of {list(tensor.shape)} in {tensor.dtype} cannot take the place of one of "
                f"{list(place.shape)} in {place.dtype}."
            )
        self._write(place, tensor)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))

    def close(self) -> None:
        """Let go of all."""
        self._file.close()

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, place: _Place, tensor: Tensor) -> None:
        self._file.seek(place.offset)
        self._file.write(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
