"""The safetensors format: a header that says where every tensor lies, then the tensors.

The header is read and written here, and not by the library, which gives no places: with them a tensor is read by
itself, without mapping the file, and a file is written as its tensors come.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .stored import StoredFile, StoredTensor, contiguous_stride

INDEX_SUFFIX = ".safetensors.index.json"

# The format allows 100 MB. Wan2.1-14B's takes 0.2 MB, and a parsed header many times its size in memory.
_HEADER_LIMIT = 16_000_000
_ENTRY_ROOM = 200  # bytes that say type, shape and place of a tensor, at most
_LENGTH = struct.Struct("<Q")
_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class _OtherType(ValueError):
    """A type of numbers that is not read here, which is no damage."""


def read_index(path: Path) -> StoredFile:
    """Where the tensors of a safetensors file lie, and what it says of itself.

    Raises:
        ValueError: not such a file, cut short, or one whose header contradicts itself.
    """
    try:
        return _entries(path)
    except _OtherType:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(path, error) from error


def read_sharded_index(index: Path) -> StoredFile:
    """Where the tensors lie of a model in several safetensors files, which a `.safetensors.index.json` lists, and what
    these say of themselves.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the index is none, names a file elsewhere, or disagrees with the files.
    """
    try:
        if index.stat().st_size > _HEADER_LIMIT:
            raise ValueError("it is too long for one")
        listed = {str(name): str(shard) for name, shard in json.loads(index.read_bytes())["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index.name} is not an index of safetensors files; download it again.") from error
    stored: dict[str, StoredTensor] = {}
    metadata: dict[str, str] = {}
    for name in sorted(set(listed.values())):
        # An index is data from outside: it may only name files beside it.
        if name != Path(name).name or "\\" in name or name in ("", ".", ".."):
            raise ValueError(f"{index.name} names {name}, which is not a file beside it; download it again.")
        shard = index.parent / name
        if not shard.is_file():
            raise FileNotFoundError(f"{index.name} lists {name}, which is missing from {index.parent}; download it.")
        file = read_index(shard)
        if twice := next((tensor for tensor in file.tensors if tensor in stored), None):
            raise ValueError(f"{twice} lies in two files of {index.name}; download them again.")
        stored |= file.tensors
        metadata |= file.metadata
    if lost := next((tensor for tensor in listed if tensor not in stored), None):
        raise ValueError(f"{index.name} lists {lost}, which its files do not hold; download them again.")
    return StoredFile(stored, metadata)


class Writer:
    """Writes a safetensors file tensor by tensor, in one pass, without knowing beforehand which tensors come.

    Room for the header is kept at the beginning, and filled in by `finish`.
    """

    def __init__(self, file: BinaryIO, names: Iterable[str], metadata: Mapping[str, str]) -> None:
        """Args:
        file: open for writing, empty.
        names: of all tensors that may come.
        metadata: what the file says about itself.
        """
        self._file, self._metadata = file, dict(metadata)
        self._entries: dict[str, Any] = {}
        self._end = 0
        room = len(_json({"__metadata__": self._metadata})) + sum(len(_json(name)) + _ENTRY_ROOM for name in names)
        self._room = room + -room % 8  # the data begins aligned
        file.seek(_LENGTH.size + self._room)

    def add(self, name: str, dtype: torch.dtype, shape: Sequence[int], parts: Iterable[Tensor | memoryview]) -> None:
        """Append a tensor, given as its parts in order: tensors of its type, or bytes.

        Wide types are to come first, since readers want every tensor at a multiple of its type's size.
        """
        start = self._end
        for part in parts:
            data = part.contiguous().view(-1).view(torch.uint8).numpy().data if isinstance(part, Tensor) else part
            self._file.write(data)
            self._end += len(data)
        self._entries[name] = {
            "dtype": _DTYPE_NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [start, self._end],
        }

    def finish(self) -> None:
        """Write the header; the file is complete."""
        header = {"__metadata__": self._metadata, **self._entries}
        self._file.seek(0)
        self._file.write(_LENGTH.pack(self._room) + _json(header).ljust(self._room))


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says about itself.

    Raises:
        ValueError: not such a file.
    """
    try:
        header, _, _ = _header(path)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return _texts(header)


def _texts(header: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path.name} is damaged or not a safetensors file ({error}); download it again.")


def _entries(path: Path) -> StoredFile:
    header, start, size = _header(path)
    metadata = _texts(header)
    header.pop("__metadata__", None)
    entries = {}
    covered = 0
    for name, entry in sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0])):
        begin, end = entry["data_offsets"]
        shape = torch.Size(entry["shape"])
        if entry["dtype"] not in _DTYPES:
            raise _OtherType(
                f"{path.name} is not supported, its {name} is of type {entry['dtype']}: save it with weights in fp8, "
                "float16, bfloat16 or float32."
            )
        dtype = _DTYPES[entry["dtype"]]
        if begin != covered or any(side < 0 for side in shape) or end - begin != shape.numel() * dtype.itemsize:
            raise ValueError(f"{name} is said to lie where it cannot")
        covered = end
        entries[name] = StoredTensor(shape, dtype, path, start + begin, contiguous_stride(shape))
    if start + covered != size:
        raise ValueError(f"it has {size} bytes, and its header speaks of {start + covered}")
    return StoredFile(entries, metadata)


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the data begins, and the file's size."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        prefix = file.read(_LENGTH.size)
        length = _LENGTH.unpack(prefix)[0] if len(prefix) == _LENGTH.size else size
        if length >= size:
            raise ValueError("it has no header")
        if length > _HEADER_LIMIT:
            raise ValueError(f"its header takes {length / 1e6:.0f} MB, and {_HEADER_LIMIT / 1e6:.0f} MB are read")
        header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
    if not isinstance(header, dict):
        raise ValueError("its header is none")
    if not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("what its header says of the file itself is no list of names and texts")
    return header, _LENGTH.size + length, size


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("its header names something twice")
    return names


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
