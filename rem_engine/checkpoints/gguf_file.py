"""The GGUF format, of ggml: a header that says what a file is and where every tensor lies, then the tensors.

The header is read here, and not by the library gguf, whose reader believes every length in it and makes an object of
every element of a list. How packed numbers are read is the library's, and so is writing.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .packing import Packing, gguf_library, packing_of
from .stored import StoredFile, StoredTensor, contiguous_stride

if TYPE_CHECKING:
    from gguf import GGUFWriter

SUFFIX = ".gguf"
MAGIC = b"GGUF"

_VERSIONS = (2, 3)  # of little-endian files; they differ in nothing else
# What is read of a file before its tensors: lists of a tokenizer's words are the longest that occur, with some 6 MB.
_HEADER_LIMIT = 16_000_000
_TEXT_LIMIT = 1_000_000  # bytes of a text that is kept
_TENSORS, _SIDES = 100_000, 8
_ALIGNMENT = 32  # of tensors, where a file does not say
_ALIGNMENT_KEY = "general.alignment"
_SHAPE_KEY = "comfy.gguf.orig_shape."  # ComfyUI-GGUF's, of tensors that were given other sides to be packed

# Values of a header, by GGUF's numbers.
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_INT32, _TEXT, _LIST = 5, 8, 9

# Types that torch has too, by GGML's numbers.
_PLAIN = {
    0: torch.float32,
    1: torch.float16,
    24: torch.int8,
    25: torch.int16,
    26: torch.int32,
    27: torch.int64,
    28: torch.float64,
    30: torch.bfloat16,
}


class _OtherForm(ValueError):
    """What is not read here, and is no damage."""


def read_index(path: Path) -> StoredFile:
    """Where the tensors of a GGUF file lie, and the texts and numbers in its header.

    Raises:
        ValueError: not such a file, cut short, one whose header contradicts itself, or of a type that is not read.
        RuntimeError: the library gguf is not installed.
    """
    try:
        with open(path, "rb") as file:
            return _Header(path, file).read()
    except _OtherForm:
        raise
    except (ValueError, struct.error, OverflowError) as error:
        raise ValueError(f"{path.name} is damaged or not a GGUF file ({error}); download it again.") from error


class Writer:
    """Writes a GGUF file of Q8_0 and float32, tensor by tensor, of which names and shapes are known beforehand.

    Args:
        path: of the file.
        architecture: what readers know its names by: "wan".
        shapes: of all tensors, in the order in which they come, and whether each is packed.
        metadata: what the file says about itself.
    """

    def __init__(
        self,
        path: Path,
        architecture: str,
        shapes: Mapping[str, tuple[Sequence[int], bool]],
        metadata: Mapping[str, str],
    ) -> None:
        gguf = gguf_library()
        self._kinds = gguf.GGMLQuantizationType
        self._quantize = gguf.quants.quantize
        self._writer: GGUFWriter = gguf.GGUFWriter(path, architecture)
        self._writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        self._writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        for key, text in metadata.items():
            self._writer.add_string(key, text)
        for name, (shape, packed) in shapes.items():
            kind = self._kinds.Q8_0 if packed else self._kinds.F32
            elements, size = gguf.GGML_QUANT_SIZES[kind]
            sides = gguf.quant_shape_to_byte_shape(shape, kind) if packed else shape
            dtype = np.dtype(np.uint8 if packed else np.float32)
            count = int(np.prod(shape)) // elements * size
            self._writer.add_tensor_info(name, tuple(sides), dtype, count, kind if packed else None)
        self._packed = {name: packed for name, (_, packed) in shapes.items()}
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_ti_data_to_file()

    def add(self, name: str, values: Tensor) -> None:
        """Append the next tensor, float32 in its shape."""
        array = values.numpy()
        if self._packed[name]:
            array = self._quantize(array, self._kinds.Q8_0)
        try:
            self._writer.write_tensor_data(array)
        except OSError as error:
            if error.errno is None:  # NumPy says that it wrote less than it was given, and not why
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise

    def finish(self) -> None:
        """The file is complete."""
        self._writer.close()


def size_of_q8_0(shape: Sequence[int]) -> int | None:
    """Bytes of a tensor in Q8_0; None where its rows are no whole blocks of 32 numbers, each with its scale."""
    return None if len(shape) < 2 or shape[-1] % 32 else torch.Size(shape).numel() // 32 * 34


class _Header:
    """A header that is read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._alignment = _ALIGNMENT
        self._shapes: dict[str, list[int]] = {}
        self._metadata: dict[str, str] = {}

    def read(self) -> StoredFile:
        if self._take(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin like one")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise _OtherForm(
                f"{self._path.name} is a GGUF file of version {version}, and 2 and 3, little-endian, are read: write "
                "it anew with a later gguf."
            )
        tensors, entries = self._number("<Q"), self._number("<Q")
        if tensors > _TENSORS:
            raise ValueError(f"its header speaks of {tensors} tensors, and up to {_TENSORS} are read")
        for _ in range(entries):  # as many as there are bytes for
            self._entry()
        places = dict(self._place() for _ in range(tensors))
        if len(places) != tensors:
            raise ValueError("its header names a tensor twice")
        start = self._file.tell() + -self._file.tell() % self._alignment
        stored = {name: self._stored(name, *place, start) for name, place in places.items()}
        covered = start
        for name, entry in sorted(stored.items(), key=lambda item: item[1].offset):
            if entry.offset < covered or entry.offset + entry.nbytes > self._size:
                raise ValueError(f"{name} is said to lie where it cannot")
            covered = entry.offset + entry.nbytes
        return StoredFile(stored, self._metadata)

    def _entry(self) -> None:
        """A value of what the file says of itself; of lists only those that say shapes are kept."""
        key, kind = self._text(), self._number("<I")
        if kind == _TEXT:
            self._metadata[key] = self._text()
        elif kind in _NUMBERS:
            value = self._number(_NUMBERS[kind])
            self._metadata[key] = str(value)
            if key == _ALIGNMENT_KEY:
                if not isinstance(value, int) or value <= 0 or value & (value - 1):
                    raise ValueError(f"its {key} is {value}, and a power of two is expected")
                self._alignment = value
        elif kind == _LIST:
            self._list(key)
        else:
            raise ValueError(f"its {key} is of type {kind}, which GGUF does not have")

    def _list(self, key: str) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _INT32 and key.startswith(_SHAPE_KEY) and count <= _SIDES:
            self._shapes[key.removeprefix(_SHAPE_KEY)] = [self._number("<i") for _ in range(count)]
        elif kind in _NUMBERS:
            self._skip(count * struct.calcsize(_NUMBERS[kind]))
        elif kind == _TEXT:
            for _ in range(count):
                self._skip(self._number("<Q"))
        else:
            raise ValueError(f"its {key} is a list of type {kind}, which is not read")

    def _place(self) -> tuple[str, tuple[list[int], int, int]]:
        """A tensor's name; its sides, type and offset."""
        name, sides = self._text(), self._number("<I")
        if sides > _SIDES:
            raise ValueError(f"{name} has {sides} sides")
        shape = [self._number("<Q") for _ in range(sides)][::-1]
        return name, (shape, self._number("<I"), self._number("<Q"))

    def _stored(self, name: str, sides: list[int], kind: int, offset: int, start: int) -> StoredTensor:
        packing = None if kind in _PLAIN else self._packing(name, kind)
        shape = torch.Size(self._shapes.get(name, sides))
        if packing is not None and (not sides or sides[-1] % packing.elements):
            raise ValueError(f"{name} has rows of {sides[-1:]} numbers, which are no whole blocks")
        if any(side < 0 for side in shape) or shape.numel() != torch.Size(sides).numel() or offset % self._alignment:
            raise ValueError(f"{name} is said to lie where it cannot")
        dtype = _PLAIN.get(kind, torch.uint8)
        return StoredTensor(shape, dtype, self._path, start + offset, contiguous_stride(shape), packing=packing)

    def _packing(self, name: str, kind: int) -> Packing:
        try:
            return packing_of(kind)
        except ValueError:
            raise _OtherForm(
                f"{self._path.name} is not supported, its {name} is of GGML's type {kind}: take one in Q8_0, which is "
                "closest to the whole weights, or in another type that the package gguf unpacks."
            ) from None

    def _text(self) -> str:
        length = self._number("<Q")
        if length > _TEXT_LIMIT:
            raise ValueError(f"its header has a text of {length} bytes")
        return self._take(length).decode("utf-8")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> bytes:
        self._check_room(count)
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        self._check_room(count)
        self._file.seek(count, 1)

    def _check_room(self, count: int) -> None:
        end = self._file.tell() + count
        if end > self._size:
            raise ValueError("its header goes on beyond its end")
        if end > _HEADER_LIMIT:
            raise ValueError(f"its header takes more than {_HEADER_LIMIT / 1e6:.0f} MB")
