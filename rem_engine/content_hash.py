"""What files hold, told by a hash that is quick to take of large ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_SAMPLED_FILES = 33  # of a sequence; evenly spread, the first and the last among them
_WHOLE_BYTES = 16 * 2**20  # files up to this size are read whole
_SAMPLED_BLOCKS = 17  # of larger ones, the head and the tail among them
_BLOCK_BYTES = 2**18


def content_hash(files: Sequence[Path]) -> str:
    """Of what files hold, in their order: the first, the last and some between, and of a large file its head, its tail
    and blocks between."""
    found = hashlib.sha256()
    for index in _spread(len(files), _SAMPLED_FILES):
        size = files[index].stat().st_size
        with open(files[index], "rb") as file:
            if size <= _WHOLE_BYTES:
                found.update(file.read())
                continue
            for place in _spread(size - _BLOCK_BYTES + 1, _SAMPLED_BLOCKS):
                file.seek(place)
                found.update(file.read(_BLOCK_BYTES))
    return found.hexdigest()


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of 0..count-1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]
