"""Files that others made: that they are files at all, that a system's refusal is not taken for damage, and JSON."""

from __future__ import annotations

import errno
import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .memory import check_fits, is_out_of_memory
from .sizes import gigabytes

_OTHERS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)

# What a system says of a place that no file has, as where a damaged length or offset leads to.
_OF_DAMAGE = (errno.EINVAL, errno.EOVERFLOW, errno.ERANGE)

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # perhaps: whole ones beyond the first 65,536 are two such


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


def is_refusal(error: BaseException) -> bool:
    """Whether an error says nothing of the file that was read: full memory, or what the system refuses (no permission,
    a failing disk). Libraries raise OSError for damage too, then without the system's number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _OF_DAMAGE
    return is_out_of_memory(error)


@contextmanager
def told_as_damage(sentence: str, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Within `with`, whatever a library makes of a damaged file gets one sentence.

    Decoders raise whatever the damage brings about: Pillow SyntaxError for broken PNG chunks, others struct.error,
    zlib.error, KeyError, ... What is no damage (see `is_refusal`) passes as it is. Work of our own, which has its own
    sentences, stands outside, or raises what `but` names.

    Raises:
        ValueError: the sentence, in place of any other exception.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        if is_refusal(error):
            raise
        raise ValueError(sentence) from error


LONGEST_TEXT = 1_000_000
"""Bytes of a text that people write: settings, prompts, lists of names."""

_JSON_IN_MEMORY = 8
"""Bytes of memory for one of JSON: the text twice, and what it holds."""


class NotText(ValueError):
    """A file that is no text; its message is the reason alone, such as "byte 7 is not UTF-8"."""


def load_text(path: Path) -> str:
    """What a text holds that people write, in UTF-8 with or without a mark at its beginning.

    Raises:
        NotText: it holds something else, or more than `LONGEST_TEXT`.
        OSError: it cannot be read.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        data = file.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise NotText(f"it is longer than {LONGEST_TEXT / 1e6:.0f} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(f"byte {error.start} is not UTF-8") from error


class NotJson(ValueError):
    """A file that is no JSON; its message is the reason alone, such as "line 3, column 9 is not JSON (...)"."""


def load_json(path: Path, limit: int | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        limit: bytes that it may have; without it those that the free memory holds.

    Raises:
        NotJson: it holds something else.
        ValueError: it does not fit into memory.
        OSError: it cannot be read.
    """
    check_is_file(path)
    size = path.stat().st_size
    if limit is None:
        check_fits(_JSON_IN_MEMORY * size, f"The {gigabytes(size)} of {path}, as JSON,")
    elif size > limit:
        raise NotJson(f"it is longer than {limit / 1e6:.0f} MB")
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
        if _HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno} is not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise NotJson("a text in it holds half a character") from error
    except RecursionError as error:
        raise NotJson("it holds lists within lists without end") from error
    except ValueError as error:  # a number of thousands of digits
        raise NotJson("it holds a number that is none") from error
