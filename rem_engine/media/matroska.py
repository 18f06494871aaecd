"""What FFmpeg knows of pictures and PyAV has no call for, put into a WebM, and how long a file should be (RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from .hdr import HdrMetadata

_EBML, _SEGMENT, _TRACKS, _TRACK, _VIDEO, _COLOUR = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0
_CLUSTER, _NAME, _VOID = 0x1F43B675, 0x536E, 0xEC
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x54B0, 0x54BA
_MAX_CLL, _MAX_FALL, _MASTERING = 0x55BC, 0x55BD, 0x55D0
_FIRST_PLACE, _BRIGHTEST, _DARKEST = 0x55D1, 0x55D9, 0x55DA  # x and y of red, green, blue and white follow each other

PLACEHOLDER = "#" * 120
"""A name for the track of pictures, in whose place `describe_pictures` finds room."""


def shape_elements(height: int, width: int, aspect: Fraction) -> dict[int, bytes]:
    """Elements that say how large pictures are shown whose pixels are not square."""
    wide, high = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return {_DISPLAY_WIDTH: _unsigned(wide), _DISPLAY_HEIGHT: _unsigned(high)}


def light_elements(hdr: HdrMetadata) -> dict[int, bytes]:
    """Elements of the colour that say what HDR metadata say."""
    found = {_MAX_CLL: hdr.max_cll, _MAX_FALL: hdr.max_fall}
    elements = {element: _unsigned(value) for element, value in found.items() if value is not None}
    mastering = {_FIRST_PLACE + place: value for place, value in enumerate(hdr.primaries or ())}
    if hdr.luminance is not None:
        mastering |= {_DARKEST: hdr.luminance[0], _BRIGHTEST: hdr.luminance[1]}
    if mastering:
        elements[_MASTERING] = _joined(
            {element: np.array(value, ">f4").tobytes() for element, value in mastering.items()}
        )
    return elements


def describe_pictures(path: Path, shape: Mapping[int, bytes], light: Mapping[int, bytes]) -> None:
    """Put elements into the description of a file's only track, without moving anything outside of it.

    Args:
        path: a file whose track was given the name `PLACEHOLDER`, which makes room.
        shape: of the pictures, from `shape_elements`.
        light: of their colour, from `light_elements`.

    Raises:
        ValueError: another file.
    """
    with open(path, "r+b") as file:
        head = file.read(1 << 16)
        try:
            start, end = _find(head, (_SEGMENT, _TRACKS, _TRACK))
            children = list(_elements(head, start, end))
            video = next(head[first:last] for kind, _, first, last in children if kind == _VIDEO)
            others = b"".join(head[at:last] for kind, at, _, last in children if kind not in (_VIDEO, _NAME))
        except (IndexError, StopIteration) as error:
            raise ValueError(f"{path} is no WebM file with a track that begins it.") from error
        inside = {kind: video[first:last] for kind, _, first, last in _elements(video, 0, len(video))}
        inside |= shape
        if light:
            inside[_COLOUR] = inside.get(_COLOUR, b"") + _joined(light)
        described = others + _joined({_VIDEO: _joined(inside)})
        left = end - start - len(described)
        if left < 2:
            raise ValueError(f"The track of {path} has no room for what its pictures are to say.")
        file.seek(start)
        file.write(described + _id(_VOID) + (0x80 | (left - 2)).to_bytes(1, "big") + bytes(left - 2))


def announced_bytes(head: bytes) -> int | None:
    """How long a file should be by the size that its segment states; None where that is not known, or of another kind.

    Args:
        head: its first bytes.
    """
    place = 0
    for kind in (_EBML, _SEGMENT):
        if head[place : place + 4] != _id(kind) or len(head) < place + 12:
            return None
        sized, size = _size(head, place + 4)
        if sized > 8 or size == (1 << 7 * sized) - 1:  # none; what is written to a pipe does not know its end
            return None
        place += 4 + sized + (size if kind == _EBML else 0)
    return place + size


def _find(data: bytes, path: tuple[int, ...]) -> tuple[int, int]:
    """Where what an element holds begins and ends."""
    start, end = 0, len(data)
    for wanted in path:
        start, end = next((first, last) for kind, _, first, last in _elements(data, start, end) if kind == wanted)
    return start, end


def _elements(data: bytes, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """What each is, where it begins, and where what it holds begins and ends."""
    while place < end:
        width = 9 - data[place].bit_length()
        kind = int.from_bytes(data[place : place + width], "big")
        if kind == _CLUSTER:
            return
        sized, size = _size(data, place + width)
        start = place + width + sized
        yield kind, place, start, start + size
        place = start + size


def _size(data: bytes, place: int) -> tuple[int, int]:
    """How many bytes the size of an element takes (9: it is none), and what it says."""
    sized = 9 - data[place].bit_length()
    return sized, int.from_bytes(data[place : place + sized], "big") & ((1 << 7 * sized) - 1)


def _joined(elements: Mapping[int, bytes]) -> bytes:
    """Elements one after the other, their sizes in two bytes."""
    return b"".join(_id(kind) + (0x4000 | len(held)).to_bytes(2, "big") + held for kind, held in elements.items())


def _id(kind: int) -> bytes:
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big")


def _unsigned(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
