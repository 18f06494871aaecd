"""Files that stand under their name whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .processes import host_name, is_running
from .sizes import gigabytes

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<host>[\w-]*)\.(?P<process>\d+)-[0-9a-f]{8}\.tmp")
_LONGEST = 200  # bytes of a name within a temporary one: of 255, which all systems take
_DAY = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
# The same from libraries that raise errors of their own: safetensors with the system's number, PyTorch's writer of
# archives by what it finds when less was written than it gave.
_FULL_TOLD = re.compile(
    rf"\(os error ({'|'.join(map(str, _FULL))})\)"
    r"|inline_container\.cc:\d+\] \. (unexpected pos|PytorchStreamWriter failed writing)"
)


def temporary_name(path: Path) -> Path:
    """A name to write a file or folder under before it takes its own: hidden, in the same folder, never twice the same,
    and telling which process of which machine writes it."""
    mark = f"{host_name()}.{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{_beginning(path.name)}.{mark}.tmp")


def meant_for(temporary: str) -> str | None:
    """What of its final name a temporary one tells; None for names that are not of `temporary_name`."""
    found = _TEMPORARY.fullmatch(temporary)
    return found["name"] if found else None


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of a file or folder under temporary names.

    What was left on this machine goes as soon as its process is gone; what another machine left, of which that cannot
    be known, once nothing was written to it for a day.
    """
    if not path.parent.is_dir():
        return
    name = _beginning(path.name)
    for other in list(path.parent.iterdir()):
        match = _TEMPORARY.fullmatch(other.name)
        if match is None or match["name"] != name:
            continue
        with suppress(FileNotFoundError):  # another process removes it at this moment
            if match["host"] == host_name():
                left = not is_running(int(match["process"]))
            else:
                left = time.time() - other.stat().st_mtime > _DAY
            if left and other.is_dir():
                shutil.rmtree(other)
            elif left:
                other.unlink()


def check_space(needed: int, what: Path | str, folder: Path, advice: str = "") -> None:
    """Refuse what does not fit on the disk, before any of it is written.

    Args:
        needed: bytes.
        what: begins the sentence.
        folder: where it goes, there or not.
        advice: what else one can do than make room, ", or ...".

    Raises:
        RuntimeError: it does not.
    """
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
    if needed > free:
        sizes = f"needs {gigabytes(needed)} and its disk has {gigabytes(free)} free"
        raise RuntimeError(f"{what} {sizes}: make room{advice}.")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to. At the end it takes the name `path`, once the disk has it: a power cut leaves
    the old file or the new one. After any exception it is removed, as is what killed processes left of the file."""
    remove_leftovers(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too must leave no half-written file
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def written_together(files: Mapping[Path, bytes | memoryview]) -> Iterator[None]:
    """Write small files, such as those of a frame, that take their names after what is done within `with`: all of them
    or, after any exception, none."""
    temporary = {path: temporary_name(path) for path in files}
    try:
        for path, data in files.items():
            temporary[path].write_bytes(data)
        yield
        for path, written in temporary.items():
            os.replace(written, path)
    except BaseException:  # Ctrl-C too
        for written in temporary.values():
            written.unlink(missing_ok=True)
        raise


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder of a temporary name beside `path`, to fill and to rename, or to work in: what is still under that name
    at the end is removed, as is what killed processes left of the same."""
    remove_leftovers(path)
    folder = temporary_name(path)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no room is left: on the disk, or of what a user may have of it."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return _FULL_TOLD.search(str(error)) is not None


@contextmanager
def told_when_full(path: Path, advice: str) -> Iterator[None]:
    """Within `with`, a disk without room gets one sentence.

    Args:
        path: what is written.
        advice: what to do.

    Raises:
        RuntimeError: instead of what the system or a library says.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise RuntimeError(f"No space is left on the disk for {path}: {advice}.") from error


def sync_file(path: Path) -> None:
    """Wait until the disk has a file's content."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder, where the system can tell."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disks() -> None:
    """Wait until the disks have all that was written to them: with many small files much quicker than file by file."""
    if hasattr(os, "sync"):  # not on Windows
        os.sync()


def sync_tree(folder: Path) -> None:
    """Wait until the disk has everything in a folder."""
    for place, _, files in os.walk(folder):
        for name in files:
            sync_file(Path(place) / name)
        sync_folder(Path(place))


def _beginning(name: str) -> str:
    return name.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore")
