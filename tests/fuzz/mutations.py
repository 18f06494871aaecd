"""Ways in which files get damaged, or are made to mislead: each takes a file's bytes and a source of chance."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

_HUGE = (0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 24, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_PNG_SIGNATURE = 8
_BOX_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"moof", b"traf", b"mvex")
_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "0",
    "\0",
    "../..",
    "a/b",
    "\ud800",
    "é\u202e",
    "x" * 300,
    "x" * 70_000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0] * 2000,
)


# ---- any bytes


def truncated(data: bytes, draw: random.Random) -> bytes:
    """Cut off at any scale: within the first bytes, anywhere, or just before the end."""
    end = draw.choice((draw.randrange(1, 64), draw.randrange(len(data)), len(data) - draw.randrange(1, 64), 0))
    return data[: max(0, end)]


def flipped_bits(data: bytes, draw: random.Random) -> bytes:
    """One to eight bits turned, half of the time near the beginning, where headers are."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[_place(changed, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def run_of_one_byte(data: bytes, draw: random.Random) -> bytes:
    """A run of bytes set to 0 or 255, as of a sector that was lost."""
    changed = bytearray(data)
    start, length = _place(changed, draw), draw.choice((1, 4, 16, 512, 4096))
    end = min(start + length, len(changed))
    changed[start:end] = bytes([draw.choice((0, 255))]) * (end - start)
    return bytes(changed)


def huge_number(data: bytes, draw: random.Random) -> bytes:
    """A number of two, four or eight bytes, as lengths and offsets are, made huge."""
    changed = bytearray(data)
    size, order = draw.choice((2, 4, 4, 8)), draw.choice(("little", "big"))
    start = _place(changed, draw)
    value = draw.choice(_HUGE) % (1 << 8 * size)
    changed[start : start + size] = value.to_bytes(size, order)[: len(changed) - start]
    return bytes(changed)


def moved_piece(data: bytes, draw: random.Random) -> bytes:
    """A piece doubled, left out, or changed for another."""
    length = draw.choice((1, 8, 100, 1000))
    one, other = _place(data, draw), _place(data, draw)
    piece = data[one : one + length]
    how = draw.randrange(3)
    if how == 0:
        return data[:one] + piece + data[one:]
    if how == 1:
        return data[:one] + data[one + length :]
    first, second = sorted((one, other))
    head, between = data[:first], data[first + length : second]
    return head + data[second : second + length] + between + data[first : first + length] + data[second + length :]


def inserted_garbage(data: bytes, draw: random.Random) -> bytes:
    """Random bytes put between, or after the end."""
    start = draw.choice((_place(data, draw), len(data), 0))
    return data[:start] + draw.randbytes(draw.choice((1, 3, 64, 5000))) + data[start:]


BYTES: tuple[Mutation, ...] = (truncated, flipped_bits, run_of_one_byte, huge_number, moved_piece, inserted_garbage)


def _place(data: Sequence[int], draw: random.Random) -> int:
    most = len(data) if draw.random() < 0.5 else min(len(data), 2048)
    return draw.randrange(max(1, most))


# ---- chunks and boxes, whose lengths and checksums stay right


def png_chunks(data: bytes, draw: random.Random) -> bytes:
    """A chunk damaged, doubled, left out or in another place, its length and checksum right."""
    chunks, place = [], _PNG_SIGNATURE
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    chunks = _rearranged(chunks, draw)
    return data[:_PNG_SIGNATURE] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def jpeg_segments(data: bytes, draw: random.Random) -> bytes:
    """A segment before the picture's data damaged, doubled, left out or in another place, its length right."""
    segments, place = [], 2
    while data[place] == 0xFF and data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append((data[place : place + 2], data[place + 4 : place + 2 + length]))
        place += 2 + length
    segments = _rearranged(segments, draw)
    head = b"".join(kind + struct.pack(">H", min(len(body) + 2, 0xFFFF)) + body for kind, body in segments)
    return data[:2] + head + data[place:]


def mp4_boxes(data: bytes, draw: random.Random) -> bytes:
    """A box at any depth damaged, doubled, left out or in another place, all lengths around it right."""
    boxes, place = [], 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length < 8 or place + length > len(data):
            break
        boxes.append((data[place + 4 : place + 8], data[place + 8 : place + length]))
        place += length
    folders = [number for number, (kind, _) in enumerate(boxes) if kind in _BOX_FOLDERS]
    if folders and draw.random() < 0.85:
        number = draw.choice(folders)
        kind, body = boxes[number]
        boxes[number] = kind, mp4_boxes(body, draw)
    else:
        boxes = _rearranged(boxes, draw)
    return b"".join(struct.pack(">I", 8 + len(body)) + kind + body for kind, body in boxes) + data[place:]


def _rearranged(parts: list[tuple[bytes, bytes]], draw: random.Random) -> list[tuple[bytes, bytes]]:
    parts = list(parts)
    if not parts:
        return parts
    number, other = draw.randrange(len(parts)), draw.randrange(len(parts))
    how = draw.randrange(6)
    if how == 0:
        parts.insert(other, parts[number])
    elif how == 1:
        del parts[number]
    elif how == 2:
        parts[number], parts[other] = parts[other], parts[number]
    else:
        kind, body = parts[number]
        parts[number] = kind, draw.choice(BYTES)(body or b"\0", draw)
    return parts


# ---- text


def text_mutation(data: bytes, draw: random.Random) -> bytes:
    """Lines doubled or lost, and what is no text: zero bytes, bytes that are not UTF-8, lines without end."""
    lines = data.split(b"\n")
    odd = (
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xc3",
        b"x" * 100_000,
        b"\r",
        b"\x1b[31m",
        b" " * 5000,
        b"",
        b"|",
        b":",
    )
    odd += (b"|-", b"- -", b"a: b: c", b"name:", "\u202e\u0007é".encode(), b"\xef\xbb\xbf", b"%s%n{}", b"&a [*a, *a]")
    for _ in range(draw.choice((1, 2, 5))):
        number = draw.randrange(len(lines))
        line, inserted = lines[number], draw.choice(odd)
        place = draw.randrange(len(line) + 1)
        how = draw.randrange(4)
        if how == 0:
            lines[number] = line[:place] + inserted + line[place:]
        elif how == 1:
            lines[number] = inserted
        elif how == 2:
            lines.insert(number, inserted)
        else:
            lines.insert(number, draw.choice(lines))
    return b"\n".join(lines * draw.choice((1, 1, 1, 300)))


def json_mutation(data: bytes, draw: random.Random) -> bytes:
    """A value of another kind or size somewhere in the tree, a name lost, doubled or changed, endless nesting."""
    content = json.loads(data)
    how = draw.randrange(12)
    if how == 0:
        return b"[" * 100_000 + b"]" * draw.choice((0, 100_000))
    if how == 1:
        return json.dumps(_odd_value(draw)).encode()
    if how == 2:  # the same name twice: the later one counts for some readers, the first for others
        text = json.dumps(content)
        name = json.dumps(draw.choice(list(content))) if isinstance(content, dict) and content else '"x"'
        return ("{" + f"{name}: {json.dumps(_odd_value(draw))}, " + text.lstrip()[1:]).encode()
    for _ in range(draw.choice((1, 1, 3))):
        content = _changed_tree(content, draw)
    return json.dumps(content).encode()


def _odd_value(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(_ODD_VALUES))  # or a later change of the tree would change it for other cases


def _changed_tree(content: Any, draw: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            places.append((value, key))
            walk(inner)

    walk(content)
    if not places:
        return _odd_value(draw)
    parent, key = draw.choice(places)
    how = draw.randrange(8)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[draw.choice(("", "x", "../x", "\0", "0", "x" * 300, str(key).upper()))] = parent.pop(key)
    elif how == 2:
        other, place = draw.choice(places)
        parent[key] = json.loads(json.dumps(other[place])) if _is_in(other, place) else None
    elif how == 3 and isinstance(parent[key], list):
        parent[key] = parent[key] * draw.choice((0, 2, 3000 if len(parent[key]) < 10 else 2))
    elif how == 4 and isinstance(parent[key], (int, float)):
        parent[key] = draw.choice(
            (-parent[key], parent[key] + 1, parent[key] * 1000, float(parent[key]), str(parent[key]))
        )
    elif how == 5:
        parent[key] = [parent[key]]
    else:
        parent[key] = _odd_value(draw)
    return content


def _is_in(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


# ---- files that hold others, or a header in JSON


def zip_members(data: bytes, draw: random.Random) -> bytes:
    """A member damaged, lost, doubled, renamed or compressed otherwise, in an archive that is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, info.compress_type, archive.read(info)) for info in archive.infolist()]
    number, how = draw.randrange(len(members)), draw.randrange(9)
    name, packed, body = members[number]
    if how == 0:
        del members[number]
    elif how == 1:
        members.append((name, packed, draw.choice(BYTES)(body or b"\0", draw)))
    elif how == 2:
        members[number] = draw.choice(("x", "../x", "/x", name.upper(), "x" * 300, name + "/")), packed, body
    elif how == 3:
        members[number] = name, draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)), body
    elif how == 4:
        members[number] = name, zipfile.ZIP_DEFLATED, bytes(draw.choice((0, 1, 1 << 24)))
    else:
        members[number] = name, packed, draw.choice(BYTES)(body or b"\0", draw)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, packed, body in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = packed
            archive.writestr(info, body)
    return written.getvalue()


def safetensors_header(data: bytes, draw: random.Random) -> bytes:
    """The header's JSON changed, its length right."""
    length = int.from_bytes(data[:8], "little")
    header = json_mutation(data[8 : 8 + length], draw)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def safetensors_metadata(data: bytes, draw: random.Random) -> bytes:
    """What the header says of the file itself, where JSON may stand within JSON, changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.get("__metadata__") or {"x": "y"}
    name = draw.choice(list(metadata))
    how = draw.randrange(4)
    if how == 0:
        header["__metadata__"] = _odd_value(draw)
    elif how == 1:
        metadata[name] = _odd_value(draw)
    elif metadata[name][:1] in ("{", "["):
        metadata[name] = json_mutation(metadata[name].encode(), draw).decode("utf-8", "surrogateescape")
    else:
        metadata[name] = draw.choice(BYTES)(metadata[name].encode() or b"x", draw).decode("latin-1")
    header.setdefault("__metadata__", metadata)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def gguf_header(data: bytes, draw: random.Random) -> bytes:
    """A number of the header that is another: a count, a length, a side, a type, a place."""
    changed = bytearray(data)
    width = draw.choice((4, 8))
    start = draw.randrange(4, min(len(changed), draw.choice((64, 1000, 8000))) - width)
    value = draw.choice((0, 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1, draw.randrange(2**64), draw.randrange(64)))
    changed[start : start + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def float_values(data: bytes, draw: random.Random) -> bytes:
    """A value among the last bytes that is NaN or infinite."""
    changed = bytearray(data)
    start = len(changed) - 4 * draw.randrange(1, max(2, min(len(changed) // 8, 1000)))
    changed[start : start + 4] = struct.pack("<f", draw.choice((float("nan"), float("inf"), -float("inf"))))
    return bytes(changed[: len(data)])


def truncated_text(data: bytes, draw: random.Random) -> bytes:
    """A file cut off anywhere, or some of its bits turned."""
    return draw.choice(BYTES[:3])(data, draw)
