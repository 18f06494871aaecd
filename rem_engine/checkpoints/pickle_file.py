"""PyTorch's own files, read through an allow-list: nothing they hold is run."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..input_files import is_refusal
from ..sizes import gigabytes
from .nested import Place, StateDicts
from .stored import StoredTensor

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")

_DEPTH = 6  # of state dicts within what a trainer keeps

# Bytes of what says where the weights lie: those of Wan's 14B and its optimizer take a hundredth. A byte can be an
# object of 64, and takes microseconds.
_PICKLE_LIMIT = 16_000_000

# Bytes of a tensor that may see elements of its storage several times (a stride of 0, as of an expanded row of
# positions); beyond that its values would take more memory than the file holds.
_OVERLAPPING_LIMIT = 1 << 20

# What REM's Wan checkpoints hold beyond torch's weights-only defaults: their trainer's arguments, in which nothing is
# of use here.
_INERT_GLOBALS = (
    "argparse.Namespace",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
)


class _Inert:
    """Takes the place of what is allowed in a file and not wanted from it."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def read_index(path: Path, choose: Callable[[StateDicts], dict[str, Place]]) -> dict[str, StoredTensor]:
    """Where the weights of a PyTorch file lie, whatever a trainer keeps beside them.

    Args:
        path: of the file.
        choose: gets the names in each of its state dicts, by the entries that lead to them, and says which are wanted;
            see `nested.select`.

    Raises:
        ValueError: damaged, without weights, or asking for more than weights and plain containers.
    """
    in_place = zipfile.is_zipfile(path)  # files of PyTorch before 1.6 do not say where their tensors lie
    if not in_place and tarfile.is_tarfile(path):
        raise ValueError(
            f"{path.name} is in the tar format of PyTorch before 0.4, which cannot be read safely; "
            "save it anew with a later PyTorch."
        )
    _check_archive(path)
    # On the device "meta" tensors have shapes and places, and cost nothing.
    found = _state_dicts(_load(path, map_location="meta" if in_place else "cpu"))
    if not found:
        raise ValueError(f"{path.name} holds no weights by name; a state dict or REM's own .pth is expected.")
    chosen = choose(found)
    if in_place and not all(_tells_its_place(found[entry][name]) for entry, name in chosen.values()):
        # PyTorch before 2.8 does not tell the places.
        found = _state_dicts(_load(path, "cpu", mmap=True))
    return {bare: _stored(path, found[entry][name].detach()) for bare, (entry, name) in chosen.items()}


def _check_archive(path: Path) -> None:
    """Refuse what would take any amount of memory or time: PyTorch stores its members as they are, so that what is
    deflated is none of its own, and what it lists of them is short."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no archive, or one that is damaged: the reader says so
    packed = next((info for info in members if info.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ValueError(
            f"{path.name} was not read: {packed.filename} in it is compressed, which PyTorch's files never are; save "
            "it anew with torch.save, or use safetensors."
        )
    long = next((info for info in members if info.filename.endswith(".pkl") and info.file_size > _PICKLE_LIMIT), None)
    if long is not None:
        raise ValueError(
            f"{path.name} was not read: {long.filename}, which lists what is in it, has {gigabytes(long.file_size)}, "
            f"and up to {gigabytes(_PICKLE_LIMIT)} are read; save the weights alone, or use safetensors."
        )


def _load(path: Path, map_location: str, mmap: bool = False) -> Any:
    try:
        with _inert_globals_alone():
            if zipfile.is_zipfile(path):
                return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
            with _ShortPickles(path) as file:
                return torch.load(file, map_location=map_location, weights_only=True)
    except _TooLongError:
        raise ValueError(
            f"{path.name} was not read: what lists its weights is longer than {gigabytes(_PICKLE_LIMIT)}; save the "
            "weights alone, or use safetensors."
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way
        if is_refusal(error):
            raise
        asked = re.search(r"GLOBAL ([\w.]+)|function <?(?:built-in )?([\w. ]+)", str(error))
        if not isinstance(error, pickle.UnpicklingError) or asked is None:
            raise ValueError(f"{path.name} is damaged or not a PyTorch checkpoint; download it again.") from error
        raise ValueError(
            f"{path.name} was not read: beyond weights it asks for {asked[1] or asked[2]}, which could run code when "
            "loaded. Use safetensors, or a checkpoint as REM's authors publish it."
        ) from error


class _TooLongError(Exception):
    pass


class _ShortPickles(io.FileIO):
    """A file of PyTorch before 1.6, in which pickles of no stated length lie before the numbers: what is read through
    Python is the pickles alone, since PyTorch reads numbers by the file's descriptor."""

    _bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        return self._counted(super().read(-1 if size is None else size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._counted(super().readline(-1 if size is None else size))

    def _counted(self, data: bytes) -> bytes:
        self._bytes_read += len(data)
        if self._bytes_read > _PICKLE_LIMIT:
            raise _TooLongError
        return data


@contextmanager
def _inert_globals_alone() -> Iterator[None]:
    """Allow the inert globals, and none that others have allowed in this process meanwhile.

    ComfyUI allows some of the same names; which of the two torch would take is left to the order of a set.
    """
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in _INERT_GLOBALS]):
            yield
    finally:
        torch.serialization.add_safe_globals(others)


def _state_dicts(content: Any) -> dict[str, dict[str, Tensor]]:
    """Every mapping from names to tensors in a file, by the entries that lead to it; one that is there twice, once."""
    found: dict[str, dict[str, Tensor]] = {}
    seen: set[int] = set()
    level: list[tuple[str, Any]] = [("", content)]
    for _ in range(_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for entry, part in level:
            if not isinstance(part, Mapping) or id(part) in seen:
                continue
            seen.add(id(part))
            named = [(name, value) for name, value in part.items() if isinstance(name, str)]
            if tensors := {name: value for name, value in named if isinstance(value, Tensor)}:
                found[entry] = tensors
            deeper += [(f"{entry}.{name}" if entry else name, value) for name, value in named]
        level = deeper
    return found


def _tells_its_place(tensor: Tensor) -> bool:
    return tensor.device.type != "meta" or _place(tensor) is not None


def _place(tensor: Tensor) -> int | None:
    """Where the storage of a tensor on the device "meta" lies in its file."""
    return getattr(tensor.untyped_storage(), "_checkpoint_offset", None)


def _stored(path: Path, tensor: Tensor) -> StoredTensor:
    storage = tensor.untyped_storage()
    if tensor.nbytes > max(storage.nbytes(), _OVERLAPPING_LIMIT):
        raise ValueError(
            f"{path.name} was not read: a tensor of {list(tensor.shape)} in it repeats {storage.nbytes()} bytes; save "
            "it anew with each tensor made contiguous."
        )
    if tensor.device.type != "meta":
        return StoredTensor(tensor.shape, tensor.dtype, path, 0, tensor.stride(), tensor=tensor)
    place = _place(tensor)
    if place is None:
        raise ValueError(f"{path.name} does not say where its weights lie; save it anew with a later PyTorch.")
    skipped = int(tensor.storage_offset()) * tensor.dtype.itemsize
    stored = StoredTensor(tensor.shape, tensor.dtype, path, place + skipped, tensor.stride())
    if skipped + stored.nbytes > storage.nbytes() or place + storage.nbytes() > path.stat().st_size:
        raise ValueError(f"{path.name} is damaged or not a PyTorch checkpoint; download it again.")
    return stored
