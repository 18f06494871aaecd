"""A large JSON file whose values are read when they are wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import read_json
from .sample import BrokenSample

_CHUNK = 1 << 20  # bytes
_LARGEST = 64 << 20
"""Of a value, bytes: where it has no end by then, the file is told as what it is by `read_json`."""
_BLANKS = " \t\n\r"
_SPACE = re.compile(f"[{_BLANKS}]*")
_DECODER = json.JSONDecoder()


class IndexedJson:
    """The values of a file that holds one JSON object, by name; their places alone are kept in memory.

    Opening reads the file once, a few MB at a time, so that a process that opens it, and each that gets a copy, needs
    a small part of its size.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        BrokenSample: it is not JSON, or no object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._lengths: dict[str, int | None] = {}
        try:
            for name, value, start, end in _items(path):
                self._places[name] = start, end
                self._lengths[name] = len(value) if isinstance(value, list) else None
        except (_NotAnObjectError, FileNotFoundError) as error:
            content = read_json(path)  # says what is wrong with it
            if not isinstance(content, dict):
                raise BrokenSample(path, "holds no annotations by id.") from error
            raise BrokenSample(path, "holds a value of more than 64 MB; the published file is expected.") from error

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def count(self, name: str) -> int | None:
        """How many items the list under a name has; None where there is something else."""
        return self._lengths[name]

    def __getitem__(self, name: str) -> Any:
        """What stands under a name.

        Raises:
            BrokenSample: the file has changed since it was opened.
        """
        start, end = self._places[name]
        try:
            with open(self._path, "rb") as file:
                file.seek(start)
                return json.loads(file.read(end - start))
        except (OSError, ValueError, RecursionError) as error:
            raise BrokenSample(self._path, "has changed since it was opened; begin anew.") from error


class _NotAnObjectError(ValueError):
    """A file that is to be looked at as a whole."""


def _items(path: Path) -> Iterator[tuple[str, Any, int, int]]:
    """(name, value, first byte, byte after the last) of each item of a file's object, in order."""
    with open(path, "rb") as file:
        text, at, whole = "", 0, False  # a part of the file, a letter a byte, and where it begins

        def longer(keep: int) -> None:
            nonlocal text, at, whole
            if whole or len(text) - keep > _LARGEST:
                raise _NotAnObjectError
            more = file.read(max(_CHUNK, len(text) - keep))
            whole = not more
            text, at = text[keep:] + more.decode("latin-1"), at + keep

        longer(0)
        while not text.strip(_BLANKS) and not whole:
            longer(0)
        place, first = _after(text, 0, "{"), True
        while True:
            try:
                closing = _SPACE.match(text, place).end()  # type: ignore[union-attr]
                if first and text[closing : closing + 1] == "}":
                    place = closing + 1
                    break
                name, end_of_name = _DECODER.raw_decode(text, closing)
                start = _SPACE.match(text, _after(text, end_of_name, ":")).end()  # type: ignore[union-attr]
                value, end = _DECODER.raw_decode(text, start)
                mark = _SPACE.match(text, end).end()  # type: ignore[union-attr]
                if not isinstance(name, str) or text[mark] not in ",}":
                    raise _NotAnObjectError
            except (ValueError, IndexError, RecursionError):
                longer(place)  # it may go on beyond this part
                place = 0
                continue
            if not name.isascii():
                name = json.loads(text[closing:end_of_name].encode("latin-1"))
            yield name, value, at + start, at + end
            first, place = False, mark + 1
            if text[mark] == "}":
                break
            if len(text) - place < 2:
                longer(place)
                place = 0
        if (text[place:] + file.read().decode("latin-1")).strip(_BLANKS):
            raise _NotAnObjectError


def _after(text: str, place: int, mark: str) -> int:
    """The place behind a mark, with nothing but space before it."""
    found = _SPACE.match(text, place).end()  # type: ignore[union-attr]
    if text[found : found + 1] != mark:
        raise _NotAnObjectError
    return found + 1
