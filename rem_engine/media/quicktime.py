"""Boxes of QuickTime files (ISO/IEC 14496-12) that FFmpeg has no call for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_HEADER = 8  # bytes of a box: its size and its kind
_TO_SAMPLES = (b"mdia", b"minf", b"stbl", b"stsd")
_LIST_HEADER = 8  # of stsd: version, flags and the number of entries


def add_to_picture_description(path: Path, boxes: bytes) -> None:
    """Put boxes at the end of the description of a file's first track of pictures.

    Args:
        path: a file whose `moov` box is its last, as FFmpeg writes it, so that no place in it changes.
        boxes: whole ones.

    Raises:
        ValueError: another file.
    """
    with open(path, "r+b") as file:
        while len(header := file.read(_HEADER)) == _HEADER and header[4:] != b"moov":
            size = int.from_bytes(header[:4], "big")
            file.seek((int.from_bytes(file.read(8), "big") - 16) if size == 1 else size - _HEADER, 1)
        start = file.tell() - _HEADER
        movie = bytearray(header + file.read())
        if movie[4:8] != b"moov" or int.from_bytes(movie[:4], "big") != len(movie):
            raise ValueError(f"{path} is no QuickTime file with its index at the end.")
        parents = _parents_of_description(movie)
        end = parents[-1] + int.from_bytes(movie[parents[-1] : parents[-1] + 4], "big")
        movie[end:end] = boxes
        for place in parents:
            size = int.from_bytes(movie[place : place + 4], "big") + len(boxes)
            movie[place : place + 4] = size.to_bytes(4, "big")
        file.seek(start)
        file.write(movie)


def _parents_of_description(movie: bytearray) -> list[int]:
    """Where the boxes begin that hold each other from `moov` down to the entry that describes the pictures."""
    for kind, track in _boxes(movie, 0):
        if kind != b"trak":
            continue
        parents = [0, track]
        for wanted in _TO_SAMPLES:
            inner = dict(_boxes(movie, parents[-1]))
            if wanted == b"minf" and movie[inner[b"hdlr"] + 16 : inner[b"hdlr"] + 20] != b"vide":
                break
            parents.append(inner[wanted])
        else:
            return [*parents, parents[-1] + _HEADER + _LIST_HEADER]
    raise ValueError("There is no track of pictures.")


def _boxes(data: bytearray, parent: int) -> Iterator[tuple[bytes, int]]:
    """Kind and place of the boxes in a box."""
    place, end = parent + _HEADER, parent + int.from_bytes(data[parent : parent + 4], "big")
    while place + _HEADER <= end:
        yield bytes(data[place + 4 : place + 8]), place
        place += max(int.from_bytes(data[place : place + 4], "big"), _HEADER)
