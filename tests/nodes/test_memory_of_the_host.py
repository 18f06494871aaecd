"""The host hears that it is asked for memory, however busy it was when it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from without_host import host_module


@pytest.fixture(scope="module")
def memory() -> Iterator[ModuleType]:
    with host_module("memory") as module:
        yield module


class Queue:
    """A queue as the host's PromptQueue is: requests are noted under a lock, and wake whoever waits at that moment."""

    def __init__(self) -> None:
        self.flags: dict[str, Any] = {}
        self.running = 0
        self._mutex = threading.RLock()
        self._not_empty = threading.Condition(self._mutex)

    def get(self, timeout: float) -> None:
        with self._not_empty:
            self._not_empty.wait(timeout)

    def get_tasks_remaining(self) -> int:
        return self.running

    def set_flag(self, name: str, value: Any) -> None:
        with self._mutex:
            self.flags[name] = value
            self._not_empty.notify()

    def get_flags(self, reset: bool = True) -> dict[str, Any]:
        with self._mutex:
            flags = self.flags.copy()
            if reset:
                self.flags = {}
            return flags


def heard_after(queue: Queue) -> float:
    """Seconds until a worker that waits as the host's does sees what is asked for."""
    start = time.monotonic()
    queue.get(timeout=5.0)
    assert queue.get_flags() == {"free_memory": True}
    return time.monotonic() - start


def test_a_request_that_came_while_nobody_waited_is_heard_soon(memory: ModuleType) -> None:
    queue = Queue()
    queue.set_flag("free_memory", True)  # between the worker's look and its wait
    reminder = threading.Thread(target=memory.remind_host, args=(queue, 0.05, 1.0))
    reminder.start()
    assert heard_after(queue) < 1.0
    reminder.join(5.0)
    assert not reminder.is_alive()  # it ends by itself


def test_while_a_graph_runs_nothing_is_asked_twice(memory: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    queue.set_flag("free_memory", True)
    queue.running = 1
    asked: list[str] = []
    monkeypatch.setattr(queue, "set_flag", lambda name, value: asked.append(name))
    reminder = threading.Thread(target=memory.remind_host, args=(queue, 0.02, 0.1))
    reminder.start()
    time.sleep(0.3)
    assert reminder.is_alive() and asked == []  # the worker looks by itself once the graph has ended
    queue.running = 0
    reminder.join(5.0)
    assert not reminder.is_alive()
