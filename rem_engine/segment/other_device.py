"""A model on a further device, in a process of its own, which takes windows of a shot beside the first one's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from multiprocessing.managers import BaseManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.load import load_backbone
from .settings import SegmentSettings
from .window_model import WindowModel


class OtherDevice:
    """Windows need nothing of one another, so that devices share a shot without a word between them: each process has
    the whole model, and is called through Python's own `multiprocessing.managers`.

    The process ends with the object, and with the program, whatever it is doing.

    Args:
        model: arguments of `load_backbone`, with the device.
        settings: see `WindowModel`.

    Raises:
        RuntimeError: it could not be started, or ended.
    """

    def __init__(self, model: Mapping[str, Any], settings: SegmentSettings) -> None:
        self._device = model["device"]
        self._manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        self._earlier = {*multiprocessing.active_children()}
        with self._alive():
            self._manager.start()
            self._served: Any = self._manager.served(dict(model), settings, torch.get_num_threads())

    @property
    def streams(self) -> bool:
        """See `WindowModel`; waits until the model is loaded, and raises what loading it raised."""
        with self._alive():
            return self._served.streams()

    def begin(self, method: str, *arguments: Any) -> int:
        """Have a method of its `WindowModel` run; returns at once, with a number for `result`."""
        with self._alive():
            return self._served.begin(method, *map(_to_arrays, arguments))

    def result(self, number: int) -> Any:
        """What that method returned or raised, once it has; tensors are on the CPU. For every number once."""
        with self._alive():
            return _to_tensors(self._served.result(number))

    def forget(self, number: int) -> None:
        """Let go of a call whose result is not wanted."""
        with self._alive():
            self._served.forget(number)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(
                f"The process that computes on the device {self._device!r} has ended, perhaps for want of memory; run "
                "it again on fewer devices."
            ) from error
        except KeyboardInterrupt:  # the answer to come would be taken for that of the next call
            self._end()
            raise

    def _end(self) -> None:
        if hasattr(self._manager, "shutdown"):
            self._manager.shutdown()
            return
        # A manager that is still starting cannot be shut down.
        for child in {*multiprocessing.active_children()} - self._earlier:
            if child.name.startswith(_Manager.__name__):
                child.kill()


class _Served:
    """The other end, in the process: a model, and a thread that does one call after another."""

    def __init__(self, model: Mapping[str, Any], settings: SegmentSettings, threads: int) -> None:
        self._worker = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
        self._model = self._worker.submit(_load, model, settings)
        self._numbers, self._begun = count(), dict[int, Future[Any]]()

    def streams(self) -> bool:
        return self._model.result().streams

    def begin(self, method: str, *arguments: Any) -> int:
        number = next(self._numbers)
        self._begun[number] = self._worker.submit(self._call, method, arguments)
        return number

    def result(self, number: int) -> Any:
        return self._begun.pop(number).result()

    def forget(self, number: int) -> None:
        self._begun.pop(number).cancel()

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        call: Callable[..., Any] = getattr(self._model.result(), method)
        return _to_arrays(call(*map(_to_tensors, arguments)))


class _Manager(BaseManager):
    served: Callable[..., Any]


_Manager.register("served", _Served)


def _load(model: Mapping[str, Any], settings: SegmentSettings) -> WindowModel:
    if model["device"].startswith("cuda"):
        torch.cuda.set_device(model["device"])
    return WindowModel(load_backbone(**model), settings)


def _to_arrays(value: Any) -> Any:
    """Tensors as arrays, which go through a pipe; tensors themselves would need shared memory, of which containers
    have little."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, tuple):
        return tuple(map(_to_arrays, value))
    return value if isinstance(value, str | int | float) else [_to_arrays(item) for item in value]


def _to_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return type(value)(map(_to_tensors, value)) if isinstance(value, tuple | list) else value
