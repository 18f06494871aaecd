"""Files that others made: that they are files at all, and that a system's refusal is not taken for damage."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .memory import is_out_of_memory

_OTHERS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def check_is_file(path: Path) -> None:
    """Refuse what is neither a file nor a folder, without opening it: to read a pipe or a device may never end.

    Raises:
        ValueError: a pipe, a socket or a device. What is not there passes.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    for is_kind, kind in _OTHERS:
        if is_kind(mode):
            raise ValueError(f"{path} is a {kind} and no file: save what comes out of it, and give that file.")


@contextmanager
def told_as_damage(sentence: str) -> Iterator[None]:
    """Within `with`, whatever a library makes of a damaged file gets one sentence.

    Decoders raise whatever the damage brings about: Pillow SyntaxError for broken PNG chunks, others struct.error,
    zlib.error, KeyError, ... What the system refuses (no permission, a failing disk) and full memory are no damage, and
    pass as they are. Work of our own, which has its own sentences, stands outside.

    Raises:
        ValueError: the sentence, in place of any other exception.
    """
    try:
        yield
    except Exception as error:
        # Libraries raise OSError for damage too, then without the system's number.
        if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ValueError(sentence) from error
