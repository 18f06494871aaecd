"""One process at a time in a folder."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .processes import birth, host_name, is_running

LOCK_FILE = ".lock"

_BEGINNING = b'{"process": '  # of what a lock says; less where its writer was killed

# From making a lock to saying in it whose it is takes no longer, on a slow network drive neither.
_SECONDS_TO_WRITE = 10.0


def check_is_folder(folder: Path, advice: str) -> None:
    """Raise ValueError for a file where a folder is to be; `advice` says what else one can do."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: {advice}.")


@contextmanager
def locked(folder: Path, advice: str, file: str = "") -> Iterator[None]:
    """Within `with` no other process, nor another thread, is within the same.

    The folder is made where it does not exist, and goes again where nothing is put into it. The lock of a process that
    was killed counts no longer, where that was on this machine.

    Args:
        folder: to hold.
        advice: what else one can do, for the sentence: "name another folder to write to".
        file: to hold a file of this name in it alone.

    Raises:
        ValueError: it is a file, or another program's file has the lock's name.
        RuntimeError: another run holds it.
    """
    check_is_folder(folder, advice)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = folder / (f".{file}.lock" if file else LOCK_FILE)
    mark = {"process": os.getpid(), "host": host_name(), "birth": birth(os.getpid()), "key": secrets.token_hex(8)}
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if _made(lock, mark):
            break
        _check_is_a_lock(lock, advice)
        held = _holder(lock)
        if held is None:
            continue
        if not _is_left(lock, held):
            raise RuntimeError(
                f"Another run (process {held.get('process')} on {held.get('host')}) is writing to {folder / file}: "
                f"wait for it, or {advice}. If there is none, remove {lock}."
            )
        _take_away(lock, held)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: what it was made for stands in it
            for place in made:
                place.rmdir()


def _made(lock: Path, mark: dict[str, Any]) -> bool:
    try:
        file = open(lock, "x", encoding="utf-8")  # noqa: SIM115
    except (FileExistsError, FileNotFoundError):  # held; or whoever has just left took the folder along
        return False
    try:
        with file:
            json.dump(mark, file)
    except BaseException:  # a full disk, Ctrl-C
        lock.unlink(missing_ok=True)
        raise
    return True


def _check_is_a_lock(lock: Path, advice: str) -> None:
    """Raise ValueError for what others have put in a lock's place: a file of theirs, a link, a folder, a pipe."""
    head = b""
    foreign = lock.is_symlink() or (lock.exists() and not lock.is_file())
    if not foreign:
        with suppress(FileNotFoundError), open(lock, "rb") as file:
            head = file.read(len(_BEGINNING)).strip(b"\0")  # which a power cut leaves
    if foreign or not _BEGINNING.startswith(head):
        raise ValueError(f"{lock} is another program's: move it away, or {advice}.")


def _holder(lock: Path) -> dict[str, Any] | None:
    """What a lock says; {} where nothing is said, None where it is gone."""
    until = time.monotonic() + 1.0
    while True:
        try:
            held = json.loads(lock.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:  # being written at this moment, or its writer was killed
            held = {}
        if held or time.monotonic() > until:
            return held if isinstance(held, dict) else {}
        time.sleep(0.05)


def _is_left(lock: Path, held: dict[str, Any]) -> bool:
    """Whether the process that made a lock is gone."""
    process = held.get("process")
    if not isinstance(process, int):
        with suppress(FileNotFoundError):
            return time.time() - lock.stat().st_mtime > _SECONDS_TO_WRITE
        return True
    if held.get("host") != host_name():
        return False
    return not is_running(process) or birth(process) != held.get("birth")


def _take_away(lock: Path, held: dict[str, Any]) -> None:
    """Remove a lock that is left; one that another process has put in its place meanwhile stays."""
    aside = lock.with_name(f"{LOCK_FILE}.{secrets.token_hex(4)}")
    try:
        lock.rename(aside)
    except FileNotFoundError:
        return
    if _holder(aside) != held:
        with suppress(FileExistsError):
            os.link(aside, lock)
    aside.unlink()
