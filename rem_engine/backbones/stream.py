"""Blocks whose weights stay in their files: each is read while the one before it computes, and let go of after it.

diffusers and accelerate offload to memory, or to a second copy of the weights on disk; here they come from the
checkpoint's own files, of whatever form, and memory holds two blocks at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..memory import available_bytes
from .base import Memory, Network
from .checkpoint import Weights
from .folder import frozen

# Of the memory that is free: what weights may take where they stay, beside what a pass takes.
_WHOLE, _RESIDENT = 0.7, 0.5


def resident_blocks(memory: Memory, prefix: str, weights: Weights, beside: Weights, device: torch.device) -> int | None:
    """How many blocks of a model stay in memory, from the first on; None for all, and the whole model with them.

    Args:
        memory: what is asked for; "stream" leaves every block in its file, "auto" as many as do not fit.
        prefix: as of `BlockStream`.
        weights: the model's.
        beside: of another one, which is in memory too where all is.
        device: where both run.
    """
    if memory != "auto":
        return None if memory == "whole" else 0
    free = available_bytes(device)
    needed = sum(each.nbytes(name) for each in (weights, beside) for name in each.stored)
    blocks: Counter[str] = Counter()
    for name in weights.stored:
        number = name.removeprefix(prefix).partition(".")[0] if name.startswith(prefix) else ""
        blocks[number] += weights.nbytes(name)
    rest = blocks.pop("", 0)
    return blocks_that_fit(free, needed, rest, max(blocks.values()))


def blocks_that_fit(free: float, whole: float, rest: float, largest: float) -> int | None:
    """How many blocks stay in memory under "auto": None for all.

    Args:
        free: bytes, or whatever the others are given in.
        whole: all weights of denoiser and text encoder.
        rest: those of the denoiser that are in no block.
        largest: those of a block.
    """
    return None if whole <= _WHOLE * free else max(0, int((_RESIDENT * free - rest) / largest) - 2)


class Parked:
    """Weights that are in memory while a stage needs them, and else in their files.

    Args:
        model: of diffusers or transformers.
        weights: the model's.
        names: of those that are brought and let go of; they are not in memory to begin with.
        device: where the model runs.
    """

    def __init__(self, model: Network, weights: Weights, names: Iterable[str], device: torch.device) -> None:
        self._model, self._weights, self._names, self._device = model, weights, tuple(names), device
        self._here = False

    def bring(self) -> None:
        """Have them in memory."""
        if not self._here:
            for name in self._names:
                _put(self._model, name, self._weights.read(name, self._device))
            self._here = True

    def let_go(self) -> None:
        """Have them in memory no longer."""
        for name in self._names:
            _put(self._model, name, torch.empty(0, device="meta"))
        self._here = False


class BlockStream:
    """Brings the weights of a model's blocks in as these are called, in their order.

    A thread reads the block that follows; for a GPU it also copies it there, on a stream of its own.

    Attributes:
        rest: the weights outside of the blocks, where no block stays in memory; `rest.bring` comes before a pass.
        bytes_read: of blocks, so far, as they are kept in memory.
        seconds_waited: how long blocks waited for their weights.
    """

    def __init__(self, model: Network, prefix: str, weights: Weights, device: torch.device, resident: int = 0) -> None:
        """Give a model that was built without memory its weights, but for those of the streamed blocks.

        Args:
            model: of diffusers or transformers.
            prefix: the name of its list of blocks, with a dot: "blocks.".
            weights: all of the model's.
            device: where it runs.
            resident: blocks, from the first on, that stay in memory.

        Raises:
            ValueError: weights that are no finite numbers; of streamed blocks, when they are read.
        """
        self._weights, self._prefix, self._device = weights, prefix, device
        self.blocks: nn.ModuleList = model.get_submodule(prefix.removesuffix("."))
        self._names = [[name for name, _ in block.named_parameters()] for block in self.blocks]
        self._first = min(resident, len(self.blocks))
        numbers = range(self._first, len(self.blocks))
        streamed = {f"{prefix}{number}.{name}" for number in numbers for name in self._names[number]}
        others = [name for name in weights.stored if name not in streamed]
        self.rest = Parked(model, weights, others, device)
        self.rest.bring()
        frozen(model)
        self._reader = ThreadPoolExecutor(1, "weights")
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._coming: tuple[int, Future[_Block]] | None = None
        self._held: int | None = None
        self.bytes_read, self.seconds_waited = 0, 0.0
        for number in numbers:
            self.blocks[number].register_forward_pre_hook(lambda *_, number=number: self._bring(number))
            self.blocks[number].register_forward_hook(lambda *_, number=number: self._drop(number))
        if self._first and numbers:
            self.blocks[0].register_forward_pre_hook(self._prefetch)

    @contextmanager
    def held(self, number: int) -> Iterator[Network]:
        """A block whose weights stay through several calls of it."""
        self._bring(number)
        self._held = number
        try:
            yield self.blocks[number]
        finally:
            self._held = None
            self._drop(number)

    def _bring(self, number: int) -> None:
        """Give a block its weights, and have the next one's read."""
        if number < self._first or number == self._held:
            return
        start = time.perf_counter()
        block = self._expect(number).result()
        self.seconds_waited += time.perf_counter() - start
        self._coming = None
        if number + 1 < len(self.blocks):
            self._expect(number + 1)
        if block.copied is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(block.copied)
            for weight in block.weights.values():
                weight.record_stream(stream)
        for name, weight in block.weights.items():
            _put(self.blocks[number], name, weight)

    def _expect(self, number: int) -> Future[_Block]:
        """Have a block read, unless it is already; one that was to come, and will not, is let go of."""
        if self._coming is None or self._coming[0] != number:
            self._coming = number, self._reader.submit(self._read, number)
        return self._coming[1]

    def _prefetch(self, *_: object) -> None:
        """Have the first streamed block read while those in memory compute."""
        self._expect(self._first)

    def _drop(self, number: int) -> None:
        """Take a block's weights from it."""
        if number < self._first or number == self._held:
            return
        for name in self._names[number]:
            _put(self.blocks[number], name, torch.empty(0, device="meta"))

    def _read(self, number: int) -> _Block:
        cpu = torch.device("cpu")
        names = self._names[number]
        weights = {name: self._weights.read(f"{self._prefix}{number}.{name}", cpu) for name in names}
        self.bytes_read += sum(weight.nbytes for weight in weights.values())
        if self._copies is None:
            return _Block({name: weight.to(self._device) for name, weight in weights.items()})
        with torch.cuda.stream(self._copies):
            copied = {name: weight.pin_memory().to(self._device, non_blocking=True) for name, weight in weights.items()}
            return _Block(copied, self._copies.record_event())


@dataclass(frozen=True)
class _Block:
    """Weights of a block.

    Attributes:
        weights: by their names in the block.
        copied: on a GPU, when they are there.
    """

    weights: dict[str, Tensor]
    copied: torch.cuda.Event | None = None


class StoredEmbedding(nn.Module):
    """A table of embeddings that stays in its file; the rows that are asked for are read.

    Args:
        weights, name: where it is.
        device: where the rows go.
    """

    def __init__(self, weights: Weights, name: str, device: torch.device) -> None:
        super().__init__()
        self._entry, self._dtype, self._device = weights.stored[name], weights.dtype(name), device

    def forward(self, ids: Tensor) -> Tensor:
        """Numbers of rows, any shape -> rows [...,D].

        Raises:
            ValueError: a row holds numbers that are not finite.
        """
        rows = torch.stack([self._entry.row(int(number)) for number in ids.flatten()]).to(self._device, self._dtype)
        if not rows.isfinite().all():
            raise ValueError(f"{self._entry.file.name} holds values that are not finite: download the file again.")
        return rows.reshape(*ids.shape, -1)


def _put(model: Network, name: str, value: Tensor) -> None:
    """Set a weight of a model by its name."""
    place, _, leaf = name.rpartition(".")
    module = model.get_submodule(place)
    if leaf in module._buffers:
        module._buffers[leaf] = value
    else:
        module._parameters[leaf] = nn.Parameter(value, requires_grad=False)
