"""A PNG's chunks, and whether it is whole before libpng looks: what that finds it also prints on standard error."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG."""

_LONGEST = (1 << 31) - 1  # bytes of a chunk (PNG 5.3)
_ANCILLARY = 0x20  # a bit of the first letter of chunks that readers may leave out (PNG 5.4)
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits by colour type (PNG 11.2.2)
_INDEXED = 3
_PIECE = 1 << 20  # bytes


def check_png(file: Path, pixels: bool) -> None:
    """Make sure that the chunks which no reader can do without are there, whole, and in their order (PNG 5.6).

    Args:
        file: the PNG.
        pixels: whether to look at all of it, or at what comes before its pixels.

    Raises:
        ValueError: it is cut short or damaged.
    """
    seen: list[bytes] = []
    is_indexed = False
    with open(file, "rb") as stream:
        stream.seek(len(SIGNATURE))
        while seen[-1:] != [b"IEND"]:
            head = stream.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if len(kind) != 4 or not kind.isalpha() or length > _LONGEST:
                raise ValueError("no chunk where one begins")
            if kind[0] & _ANCILLARY:
                stream.seek(length + 4, os.SEEK_CUR)
                continue
            _check_order(kind, seen)
            if kind == b"IDAT" and is_indexed and b"PLTE" not in seen:
                raise ValueError("no palette")
            if kind == b"IDAT" and not pixels:
                return
            body = _read_checked(stream, kind, length)
            if kind == b"IHDR":
                _check_header(body)
                is_indexed = body[9] == _INDEXED
            elif kind == b"PLTE" and (length % 3 or not 3 <= length <= 768):
                raise ValueError("a palette of parts of colours")
            if seen[-1:] != [kind]:
                seen.append(kind)


def chunks_before_pixels(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a PNG before its pixels. The stream then stands at the chunk's content, of which
    as much may be read as is wanted."""
    place = len(SIGNATURE)
    stream.seek(place)
    while len(head := stream.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        length = int.from_bytes(head[:4], "big")
        yield head[4:], length
        place += 12 + length
        stream.seek(place)


def _check_order(kind: bytes, seen: list[bytes]) -> None:
    """Raise ValueError for a chunk that does not belong after those seen."""
    fits = {
        b"IHDR": not seen,
        b"PLTE": seen == [b"IHDR"],
        b"IDAT": seen[-1:] in ([b"IHDR"], [b"PLTE"], [b"IDAT"]),
        b"IEND": seen[-1:] == [b"IDAT"],
    }
    if not fits.get(kind):
        raise ValueError(f"{kind!r} is out of place")


def _read_checked(stream: BinaryIO, kind: bytes, length: int) -> bytes:
    """The first piece of a chunk's content, once all of it is what was written."""
    checksum, left, first = zlib.crc32(kind), length, b""
    while left:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            raise ValueError("it is cut short")
        checksum, left, first = zlib.crc32(piece, checksum), left - len(piece), first or piece
    if stream.read(4) != checksum.to_bytes(4, "big"):
        raise ValueError("a checksum is wrong")
    return first


def _check_header(body: bytes) -> None:
    """Raise ValueError for values of IHDR that none has."""
    width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    sides = 1 <= width <= _LONGEST and 1 <= height <= _LONGEST
    pixels = len(body) == 13 and body[8] in _DEPTHS.get(body[9], ()) and body[10:12] == b"\0\0" and body[12] <= 1
    if not (sides and pixels):
        raise ValueError("a header that none has")
