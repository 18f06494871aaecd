"""Whether a run is the same as an earlier one: its settings, and what it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..media.shot import Shot

Stats = dict[Path, tuple[int, int]]
"""Sizes and times of files."""


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
