"""Batches for a training loop, read ahead by worker processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..settings import DataSettings, TrainSettings
from .broken import broken_policy
from .join import Joined
from .order import SampleOrder
from .sample import BrokenSample

MOST_BROKEN = 100
"""Broken samples in a row after which the dataset itself is taken to be wrong."""


@dataclass(frozen=True)
class Drawn:
    """What a slot of a batch got.

    Attributes:
        sample: what the source gave; None where nothing could be read.
        broken: samples that were tried before it.
    """

    sample: Any
    broken: tuple[BrokenSample, ...]


def all_broken(name: str, count: int, last: BrokenSample) -> ValueError:
    """What is said of a source of which so many samples in a row are broken."""
    return ValueError(
        f"{count} samples of {name} in a row cannot be trained on, the last one: {last}; check the dataset's root in "
        "the settings."
    )


class Stream:
    """Draws the samples of one stream of batches; what a slot gets depends on (seed, step, slot) alone.

    Args:
        source: of the samples.
        data: its settings.
        seed: of the run.
        batch: samples in a step, over all processes and accumulated batches.
        streams, number: how many streams are taken in turn, and which of them this is.
    """

    def __init__(self, source: Joined, data: DataSettings, seed: int, batch: int, streams: int, number: int) -> None:
        self._source, self._data, self._seed = source, data, seed
        self._batch, self._streams = batch, streams
        self._order = SampleOrder([len(part) for part in source.parts], source.weights, (seed, number))

    def draw(self, step: int, slot: int) -> Drawn:
        """Read the sample of a slot, 0..batch-1, of a step of this stream.

        A broken sample is refused, or the next one is taken in its place, as the settings say.
        """
        first = self._order[step // self._streams * self._batch + slot]
        broken: list[BrokenSample] = []
        tries = 1 if self._data.on_broken == "refuse" else min(MOST_BROKEN, len(self._source))
        for attempt in range(tries):
            index = (first + attempt) % len(self._source)
            rng = np.random.default_rng((self._seed, step, slot, attempt))
            try:
                return Drawn(self._source.read(index, self._data.frames, rng), tuple(broken))
            except BrokenSample as error:
                broken.append(error)
        return Drawn(None, tuple(broken))


class LoadedBatch(NamedTuple):
    """What one process computes on at once.

    Attributes:
        step: of the run.
        slots: places of the samples in the global batch of the step.
        samples: what the source gave for them.
    """

    step: int
    slots: tuple[int, ...]
    samples: list[Any]


class Loader:
    """The batches of a run, in order; every step has `accumulate` of them.

    Stream s of n gives the steps s, s + n, s + 2n, ... In a step the slots of the global batch are numbered through
    the accumulated batches, in each of them through the processes, so that two processes with batches of b, or two
    accumulated batches of b, see together what one process sees with a batch of 2b. A run that starts at any step gets
    what the uninterrupted run gets there.
    """

    def __init__(
        self,
        sources: Sequence[Joined],
        settings: TrainSettings,
        steps: range,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """
        Args:
            sources: one for every stream of the settings.
            settings: of the run.
            steps: which steps to give.
            rank, world_size: of this process, and how many a distributed run has.
        """
        self._settings, self._steps = settings, steps
        self._rank, self._world_size = rank, world_size
        self._on_broken = [broken_policy(data.on_broken) for data in settings.streams]
        self._names = [source.name for source in sources]
        count = len(settings.streams)
        self._streams = [
            Stream(source, data, settings.seed, self._global_batch(data), count, number)
            for number, (source, data) in enumerate(zip(sources, settings.streams, strict=True))
        ]
        self._waited = self._since = 0.0

    @property
    def waiting(self) -> float:
        """Share of the time since the first batch that was spent waiting for the next one, 0..1."""
        passed = time.monotonic() - self._since if self._since else 0.0
        return self._waited / passed if passed > 0 else 0.0

    def __iter__(self) -> Iterator[LoadedBatch]:
        readers = [self._reader(number) for number in range(len(self._streams))]
        self._waited, self._since = 0.0, 0.0
        for step in self._steps:
            number = step % len(readers)
            for keys in self._keys(number, step):
                asked = time.monotonic()
                drawn = next(readers[number])
                now = time.monotonic()
                if self._since:
                    self._waited += now - asked
                else:
                    self._since = now
                slots = tuple(slot for _, slot in keys)
                yield LoadedBatch(step, slots, [self._accept(number, each) for each in drawn])

    def _accept(self, number: int, drawn: Drawn) -> Any:
        for broken in drawn.broken:
            self._on_broken[number](broken)
        if drawn.sample is None:
            raise all_broken(self._names[number], len(drawn.broken), drawn.broken[-1])
        return drawn.sample

    def _global_batch(self, data: DataSettings) -> int:
        return data.batch * self._world_size * self._settings.optim.accumulate

    def _reader(self, number: int) -> Iterator[list[Drawn]]:
        from torch import Generator
        from torch.utils.data import DataLoader

        steps = (step for step in self._steps if step % len(self._streams) == number)
        slots: Any = _Slots(self._streams[number])  # torch asks for no more than these have
        loader: DataLoader[Any] = DataLoader(
            slots,
            batch_sampler=(keys for step in steps for keys in self._keys(number, step)),
            collate_fn=list,
            num_workers=self._settings.streams[number].workers,
            worker_init_fn=_start_worker,
            generator=Generator(),  # or the workers' seed would be drawn from torch's own
        )
        return iter(loader)

    def _keys(self, number: int, step: int) -> Iterator[list[tuple[int, int]]]:
        """(step, slot) of this process's samples in a step of a stream, batch by batch."""
        batch = self._settings.streams[number].batch
        for part in range(self._settings.optim.accumulate):
            first = (part * self._world_size + self._rank) * batch
            yield [(step, first + i) for i in range(batch)]


class _Slots:
    """A stream as torch's DataLoader takes it: (step, slot) -> what it draws."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getitem__(self, key: tuple[int, int]) -> Drawn:
        return self._stream.draw(*key)


def _start_worker(number: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # workers are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which ends its workers
