"""Commands in processes of their own, killed at a chosen moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def killed_at(moment: int, below: Path, work: Callable[[], object]) -> bool:
    """Do work in a forked process that is killed (SIGKILL) before it changes files for the `moment`-th time.

    Args:
        moment: counted from 1, over files and folders made, written, renamed and removed.
        below: only changes in this folder count.
        work: what to do.

    Returns:
        whether it was killed; False where it ended first.
    """
    child = os.fork()
    if child == 0:
        _begin()
        _die_at(moment, str(below))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL
    return os.WIFSIGNALED(status)


def changes_of(below: Path, work: Callable[[], object]) -> int:
    """How often work changes files."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _begin()
        counted = _die_at(0, str(below))
        try:
            work()
        finally:
            os.write(writer, str(counted()).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        count = int(answer.read())
    os.waitpid(child, 0)
    return count


def _begin() -> None:
    signal.alarm(120)
    torch.set_num_threads(1)  # a fork has none of its parent's threads, and torch would wait for them


def _die_at(moment: int, below: str) -> Callable[[], int]:
    count = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal count
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir") or (
            event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wxar+" and "b" in arguments[1]
        )
        if changes and str(arguments[0]).startswith(below):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return lambda: count
