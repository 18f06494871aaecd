"""Work that is stopped at a chosen moment, by Ctrl-C or by a full disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rem_engine.whole_files import meant_for


def disk_full() -> OSError:
    """What the system says of a disk that has no room left."""
    return OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def stop_at(call: int, owner: Any, name: str, stop: BaseException | None = None) -> Iterator[None]:
    """Within it, call number `call` (from 1) of a module's function or a class's method fails instead.

    Args:
        stop: what it raises; None for Ctrl-C.
    """
    function, calls = getattr(owner, name), 0

    def stopping(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise stop or KeyboardInterrupt
        return function(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stopping)
        yield


@contextmanager
def disk_full_at(place: str) -> Iterator[None]:
    """Within it, the disk is full once half of a file is written.

    Args:
        place: the end of its path, as it is called when it is whole: "exr/plate.1007.exr".
    """
    write_bytes = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        if path.with_name(meant_for(path.name) or path.name).match(place):
            write_bytes(path, data[: len(data) // 2])
            raise disk_full()
        return write_bytes(path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        yield
