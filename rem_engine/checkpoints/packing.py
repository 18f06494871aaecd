"""Weights of GGUF files in few bits: blocks of numbers with scales of their own, as the library gguf knows them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """How bytes of a GGUF file stand for numbers.

    Attributes:
        number: GGML's, of the type.
        elements: of a block; blocks lie within rows, one after another.
        size: of a block, bytes.
    """

    number: int
    elements: int
    size: int

    def size_of(self, elements: int) -> int:
        """Bytes of so many elements, in whole blocks."""
        return elements // self.elements * self.size

    def unpacked(self, raw: Tensor, rows: int) -> Tensor:
        """Bytes, uint8 [n] of so many rows in whole blocks -> the numbers they stand for, float32 [rows,m]."""
        gguf = gguf_library()
        kind = gguf.GGMLQuantizationType(self.number)
        # The library goes through rows sixteen at a time: a row a block takes it seven times as long.
        return torch.from_numpy(gguf.quants.dequantize(raw.reshape(rows, -1).numpy(), kind))


def packing_of(number: int) -> Packing:
    """A type of GGML's, by its number.

    Raises:
        ValueError: there is no such type, or the library does not unpack it.
    """
    gguf = gguf_library()
    try:
        packing = Packing(number, *gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)])
        packing.unpacked(torch.zeros(packing.size, dtype=torch.uint8), 1)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ValueError(f"GGML's type {number} is not unpacked here") from error
    return packing


def gguf_library() -> ModuleType:
    """The library, imported when it is needed.

    Raises:
        RuntimeError: it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise RuntimeError("GGUF files need a package that is not installed: pip install gguf") from error
    return gguf
