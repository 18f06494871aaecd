"""Reports that a command writes into a folder, in place of its own earlier ones and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rem_engine.input_files import NotJson, load_json

RESULTS_FILE = "results.json"
"""By what it holds, all reports of a folder are known."""


def check_replaceable(folder: Path, names: Iterable[str], is_ours: Callable[[Any], bool]) -> None:
    """Raise ValueError where a file stands in a report's place that the command has not written.

    Args:
        folder: where reports are to be written.
        names: of all reports.
        is_ours: whether results.json, parsed, is one of the command.
    """
    there = [folder / name for name in names if (folder / name).exists()]
    if there and not _is_ours(folder / RESULTS_FILE, is_ours):
        raise ValueError(f"{there[0]} is of no earlier run of this command: move it away, or name another --out.")


def _is_ours(file: Path, is_ours: Callable[[Any], bool]) -> bool:
    try:
        return is_ours(load_json(file))
    except (NotJson, OSError):
        return False
