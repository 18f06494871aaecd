"""Whether a run is the same as an earlier one: its settings, and what it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..media.shot import Shot

Stats = dict[Path, tuple[int, int]]
"""Sizes and times of files."""

_SAMPLED_FILES = 33  # of a sequence; evenly spread, the first and the last among them
_WHOLE_BYTES = 16 * 2**20  # files up to this size are read whole
_SAMPLED_BLOCKS = 17  # of larger ones, the head and the tail among them
_BLOCK_BYTES = 2**18


def settings_hash(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Equal for runs of this version with the same settings that read files of the same paths, sizes and times."""
    stats = [(str(file.resolve()), *_stat(file)) for file in files]
    described = {name: str(value) for name, value in settings.items()}
    return hashlib.sha256(json.dumps([__version__, described, stats]).encode()).hexdigest()


def stats_of(files: Iterable[Path]) -> Stats:
    """Sizes and times of files, for `changes_since` to compare with."""
    return {file: _stat(file) for file in files}


def changes_since(stats: Stats) -> list[dict[str, Any]]:
    """For the warnings in run.json: what is to be said of files that were written while a run read them; a render that
    goes on under a run gives it masks of one picture and colours of another."""
    changed = [file for file, before in stats.items() if not _is_still(file, before)]
    if not changed:
        return []
    others = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
    sentence = (
        f"{changed[0].name}{others} changed while the run was reading: what was written may be of the old and of the "
        "new pictures. Run it again once the shot is whole."
    )
    return [{"layer": "", "what": "shot", "state": "changed", "sentence": sentence}]


def left_out_of(shot: object) -> list[dict[str, Any]]:
    """For the warnings in run.json: what the frames of a shot hold and its masks do not see."""
    sentence = shot.left_out if isinstance(shot, Shot) else ""
    return [{"layer": "", "what": "shot", "state": "cut", "sentence": sentence}] if sentence else []


def _is_still(file: Path, before: tuple[int, int]) -> bool:
    try:
        return _stat(file) == before
    except OSError:  # gone, or out of reach
        return False


def _stat(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def content_hash(files: Sequence[Path]) -> str:
    """Of what the files of a shot hold, quick to take: the first, the last and some between, and of a large file its
    head, its tail and blocks between."""
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
