"""Tensors where they lie in files: their names, shapes and types are known, their values are read when asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Of NVFP4 and its like, bitsandbytes, GPTQ and AWQ, SVDQuant.
_QUANTISED = re.compile(
    r"\.(?:weight_scale_2|weight_zero_point|absmax|quant_map|quant_state\.bitsandbytes__\w+|SCB|qweight|qzeros|wscales)$"
)

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        shape: its shape.
        stored_dtype: the type it has in the file.
        file: where it lies.
        offset: of its first element, in bytes.
        stride: in elements.
        scale: of a scaled fp8 weight: what its values are to be multiplied by.
        tensor: its values, where a file's format gives them only all together.
    """

    shape: torch.Size
    stored_dtype: torch.dtype
    file: Path
    offset: int
    stride: tuple[int, ...]
    scale: StoredTensor | None = None
    tensor: Tensor | None = field(default=None, compare=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type `read` gives: float32 for a scaled weight, else the stored one."""
        return self.stored_dtype if self.scale is None else torch.float32

    @property
    def is_contiguous(self) -> bool:
        """Whether its values lie in the file as they would lie in memory."""
        return self.tensor is None and self.scale is None and self.stride == contiguous_stride(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file, from the first element to the last."""
        if 0 in self.shape:
            return 0
        elements = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride))
        return elements * self.stored_dtype.itemsize

    def pieces(self, elements: int) -> Iterator[StoredTensor]:
        """The tensor cut along its first dimension into pieces of at most so many elements, or of one row."""
        rows = max(1, elements // max(1, self.shape[1:].numel())) if self.shape else 1
        if not self.shape or self.shape[0] <= rows:
            yield self
            return
        for start in range(0, self.shape[0], rows):
            yield self._rows(start, min(start + rows, self.shape[0]))

    def read(self) -> Tensor:
        """Its values, in memory of their own; scaled fp8 comes multiplied out, in float32.

        Raises:
            ValueError: the file ends before its values do.
        """
        if self.tensor is not None:
            return self._unscaled(self.tensor)
        raw = torch.empty(self.nbytes, dtype=torch.uint8)
        with open(self.file, "rb", buffering=0) as file:
            file.seek(self.offset)
            read_into(file, memoryview(raw.numpy()))
        return self._unscaled(raw.view(self.stored_dtype).as_strided(self.shape, self.stride))

    def row(self, number: int) -> Tensor:
        """The values of one row, [everything but the first dimension], out of the file alone where the form permits."""
        return self._rows(number, number + 1).read().reshape(-1)

    def _rows(self, start: int, stop: int) -> StoredTensor:
        return replace(
            self,
            shape=torch.Size((stop - start, *self.shape[1:])),
            offset=self.offset + start * self.stride[0] * self.stored_dtype.itemsize,
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


def map_tensors(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Tensors that share their memory with the files, as far as the format permits: they cost none until they are used.

    Writing to such a tensor changes neither the file nor what anyone else reads from it.
    """
    storages: dict[Path, torch.UntypedStorage] = {}

    def mapped(entry: StoredTensor) -> Tensor:
        # Types with a scale are computed; bytes that lie unaligned cannot be looked at as numbers.
        if entry.tensor is not None or entry.scale or not entry.nbytes or entry.offset % entry.stored_dtype.itemsize:
            return entry.read()
        if entry.file not in storages:
            size = entry.file.stat().st_size
            whole: Any = torch.UntypedStorage.from_file(str(entry.file), shared=False, nbytes=size)
            storages[entry.file] = whole
        part = storages[entry.file][entry.offset : entry.offset + entry.nbytes]
        return torch.empty(0, dtype=entry.stored_dtype).set_(part, 0, entry.shape, entry.stride)

    return {name: mapped(entry) for name, entry in stored.items()}


def contiguous_stride(shape: Iterable[int]) -> tuple[int, ...]:
    """The stride of a tensor whose elements lie in order."""
    sizes = tuple(shape)
    return tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))


def unite_scales(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Give scaled fp8 weights their scales, which files keep beside them.

    Knows ComfyUI's two forms: a marker `scaled_fp8` with `<layer>.scale_weight` and `.scale_input`, and
    `<layer>.weight_scale`, `.input_scale` and `.comfy_quant`. Scales of a layer's input only serve multiplying in fp8.

    Raises:
        ValueError: a kind of quantisation that has more to it than one scale.
    """
    united: dict[str, StoredTensor] = {}
    scales = {}
    for name, entry in stored.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("scale_weight", "weight_scale"):
            scales[f"{layer}.weight"] = entry
        elif _QUANTISED.search(name):
            raise ValueError(
                f"{entry.file.name} is quantised in a form this does not read ({name}); "
                "plain or scaled fp8, or any wider type, is expected."
            )
        elif kind not in ("scaled_fp8", "scale_input", "input_scale", "comfy_quant"):
            united[name] = entry
    for name, scale in scales.items():
        if (
            name not in united
            or united[name].stored_dtype not in FLOAT8
            or scale.shape.numel() not in _scale_sizes(united[name])
        ):
            raise ValueError(f"{scale.file.name} has a scale for {name} that fits no fp8 weight; download it again.")
        united[name] = replace(united[name], scale=scale)
    return united


def _scale_sizes(weight: StoredTensor) -> tuple[int, int]:
    return 1, weight.shape[0]
