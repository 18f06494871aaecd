"""Tensors where they lie in files: their names, shapes and types are known, their values are read when asked for."""

from __future__ import annotations

import math
import mmap
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BufferedReader, FileIO
from pathlib import Path

import torch
from torch import Tensor

from ..sizes import gigabytes
from .packing import Packing

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)

COARSE = (*FLOAT8, torch.int8, torch.uint8)
"""What `StoredTensor.stored_dtype` is of a weight that is kept in eight bits or fewer."""

_NO_RESERVE = 0x4000  # Linux's MAP_NORESERVE, which Python's mmap does not name before 3.13


@dataclass(frozen=True)
class StoredFile:
    """What a file of weights holds.

    Attributes:
        tensors: by name.
        metadata: what the file says of itself, where its form has room for that.
    """

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        shape: its shape.
        stored_dtype: the type it has in the file.
        file: where it lies.
        offset: of its first element, in bytes.
        stride: in elements.
        scale: of a weight in fp8 or int8: what its values are to be multiplied by, one number, or one a row.
        packing: of a weight of a GGUF file in few bits: how these stand for numbers; `stored_dtype` is uint8 then.
        tensor: its values, where a file's format gives them only all together.
    """

    shape: torch.Size
    stored_dtype: torch.dtype
    file: Path
    offset: int
    stride: tuple[int, ...]
    scale: StoredTensor | None = None
    packing: Packing | None = None
    tensor: Tensor | None = field(default=None, compare=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type `read` gives: float32 for a weight that is computed, else the stored one."""
        return torch.float32 if self.is_computed else self.stored_dtype

    @property
    def is_computed(self) -> bool:
        """Whether its values are not those in the file, but made of them: scaled or packed."""
        return self.scale is not None or self.packing is not None

    @property
    def is_contiguous(self) -> bool:
        """Whether its values lie in the file as they would lie in memory."""
        return self.tensor is None and not self.is_computed and self.stride == contiguous_stride(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file, from the first element to the last."""
        if 0 in self.shape:
            return 0
        if self.packing is not None:
            return self.packing.size_of(self.shape.numel())
        elements = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride))
        return elements * self.stored_dtype.itemsize

    def pieces(self, elements: int) -> Iterator[StoredTensor]:
        """The tensor cut along its first dimension into pieces of at most so many elements, or of one row."""
        rows = max(1, elements // max(1, self.shape[1:].numel())) if self.shape else 1
        if not self.shape or self.shape[0] <= rows or not self._has_whole_rows:
            yield self
            return
        for start in range(0, self.shape[0], rows):
            yield self._rows(start, min(start + rows, self.shape[0]))

    def read(self) -> Tensor:
        """Its values, in memory of their own; what is scaled or packed comes multiplied out, in float32.

        Raises:
            ValueError: the file ends before its values do.
        """
        if self.tensor is not None:
            return self._unscaled(self.tensor)
        raw = torch.empty(self.nbytes, dtype=torch.uint8)
        with open(self.file, "rb", buffering=0) as file:
            file.seek(self.offset)
            read_into(file, memoryview(raw.numpy()))
        if self.packing is not None:
            rows = self.shape[0] if self._has_whole_rows else 1
            return self.packing.unpacked(raw, rows).reshape(self.shape)
        return self._unscaled(raw.view(self.stored_dtype).as_strided(self.shape, self.stride))

    def row(self, number: int) -> Tensor:
        """The values of one row, [everything but the first dimension], out of the file alone where the form permits."""
        if not self._has_whole_rows:
            return self.read()[number].reshape(-1)
        return self._rows(number, number + 1).read().reshape(-1)

    @property
    def _has_whole_rows(self) -> bool:
        """Whether no block of a packed weight is of two rows."""
        return self.packing is None or (len(self.shape) > 1 and self.shape[1:].numel() % self.packing.elements == 0)

    def _rows(self, start: int, stop: int) -> StoredTensor:
        before = start * self.stride[0]
        skipped = before * self.stored_dtype.itemsize if self.packing is None else self.packing.size_of(before)
        return replace(
            self,
            shape=torch.Size((stop - start, *self.shape[1:])),
            offset=self.offset + skipped,
            scale=self.scale._rows(start, stop) if self.scale and self.scale.shape.numel() > 1 else self.scale,
            tensor=None if self.tensor is None else self.tensor[start:stop],
        )

    def _unscaled(self, values: Tensor) -> Tensor:
        if self.scale is None:
            return values
        scale = self.scale.read().float()
        # One number a tensor, or one a row.
        return values.float() * scale.reshape(scale.shape[:1] + (1,) * (values.ndim - 1) if scale.numel() > 1 else ())


def read_into(file: FileIO, view: memoryview) -> None:
    """Fill a buffer from a file; ValueError where the file ends before."""
    done = 0
    while done < len(view):  # one call reads at most 2 GB on Linux
        count = file.readinto(view[done:])
        if not count:
            raise ValueError(f"{Path(file.name).name} ends too early; download it again.")
        done += count


def map_tensors(stored: Mapping[str, StoredTensor], computed: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Tensors that share their memory with the files, as far as the format permits: they cost none until they are used,
    and files may be larger than memory.

    Writing to such a tensor changes neither the file nor what anyone else reads from it.

    Args:
        stored: tensors in files.
        computed: the type of those that are scaled or packed, which take memory of their own.

    Raises:
        RuntimeError: the system maps no file of that size.
    """
    maps: dict[Path, mmap.mmap] = {}

    def mapped(entry: StoredTensor) -> Tensor:
        if entry.is_computed:
            return entry.read().to(computed)
        # Bytes that lie unaligned cannot be looked at as numbers.
        if entry.tensor is not None or not entry.nbytes or entry.offset % entry.stored_dtype.itemsize:
            return entry.read()
        if entry.file not in maps:
            maps[entry.file] = _map(entry.file)
        count = entry.nbytes // entry.stored_dtype.itemsize
        values = torch.frombuffer(maps[entry.file], dtype=entry.stored_dtype, count=count, offset=entry.offset)
        return values.as_strided(entry.shape, entry.stride)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return {name: mapped(entry) for name, entry in stored.items()}


def _map(file: Path) -> mmap.mmap:
    """A file as memory of which only what is written to becomes memory of its own.

    The system is told to keep no room for all that could be written, or it refuses files larger than memory; where it
    keeps it nevertheless, and has none, they are mapped to be read only.
    """
    with open(file, "rb") as opened:
        try:
            if sys.platform == "win32":
                return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
            flags = mmap.MAP_PRIVATE | (_NO_RESERVE if sys.platform == "linux" else 0)
            return mmap.mmap(opened.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:
            return _map_to_read(opened)


def _map_to_read(opened: BufferedReader) -> mmap.mmap:
    try:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        file = Path(opened.name)
        raise RuntimeError(
            f"{file.name} of {gigabytes(file.stat().st_size)} cannot be mapped into memory ({error.strerror}): raise "
            "the limit of the process's address space (ulimit -v)."
        ) from error


def contiguous_stride(shape: Iterable[int]) -> tuple[int, ...]:
    """The stride of a tensor whose elements lie in order."""
    sizes = tuple(shape)
    return tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))
