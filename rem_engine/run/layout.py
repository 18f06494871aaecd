"""What stands in a run's folder: names of its files, and removing those that an earlier run left."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ..names import EXR_FOLDER, IDS_FOLDER, LAYER_NAME, OVERLAY_FILE, RUN_FILE
from ..whole_files import temporary_name

STATE_FILE = ".unfinished.json"

SEQUENCES = ("alpha", "png16", "exr")
"""Deliveries of a file a frame."""
VIDEOS = ("prores", "webm")
"""Deliveries of one file for all frames."""
DELIVERIES = (*SEQUENCES, *VIDEOS)

_FRAME_FILE = re.compile(r"\d{5,}\.png")
_MASK_FILES = {"masks": "masks", "soft": "soft", "npz": "soft.npz"}
_VIDEO_SUFFIXES = {"prores": ".mov", "webm": ".webm"}


def array_file(folder: Path) -> Path:
    """Where float32 masks of a layer wait for soft.npz."""
    return temporary_name(folder / "soft.npy")


def read_json(path: Path) -> dict[str, Any]:
    """What an earlier run noted; nothing where there is no such file, or another program's."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def check_apart(inputs: Iterable[Path], out: Path, folders: Collection[str], name: str, kinds: Collection[str]) -> None:
    """Refuse to write where one reads, before anything there is removed.

    Args:
        inputs: files or folders that are read.
        out, folders, name, kinds: what is written: into `out`, for these layers, deliveries called `name`.

    Raises:
        ValueError: an input, or its folder, is among what would be written.
    """
    files = {kind: f"{name}{suffix}" for kind, suffix in _VIDEO_SUFFIXES.items()} | _MASK_FILES
    places = [out / OVERLAY_FILE, out / IDS_FOLDER, *(place for place, _ in _sequences(out, folders, name, kinds))]
    places += [out / folder / file for folder in folders for kind, file in files.items() if kind in kinds]
    written = {place.resolve() for place in places}
    for path in inputs:
        if not written.isdisjoint((path.expanduser().resolve(), path.expanduser().resolve().parent)):
            raise ValueError(f"{path} lies where this run would write: give another folder to write to than {out}.")


def earlier_folders(out: Path) -> list[str]:
    """Folders of layers that earlier runs made in `out`, by their own account, in the order of their prompts."""
    folders = (folder for file in (RUN_FILE, STATE_FILE) for folder in _folders_of(read_json(out / file)))
    return list(dict.fromkeys(folders))


def remove_runs(out: Path, folders: Collection[str]) -> None:
    """Remove what earlier runs wrote to `out`, by their own account and into `folders`, and nothing else: `out` may
    hold other things."""
    runs = [read_json(out / RUN_FILE), read_json(out / STATE_FILE)]
    names = {*folders, *earlier_folders(out)}
    (out / RUN_FILE).unlink(missing_ok=True)  # first: what is left is no whole run any more
    for run in runs:
        delivery = run.get("delivery")
        if isinstance(delivery, dict) and _is_file_name(delivery.get("name")):
            remove_deliveries(out, names, delivery["name"], DELIVERIES)
    _remove(out / name for name in (OVERLAY_FILE, STATE_FILE))
    _remove_frames(out / IDS_FOLDER, _FRAME_FILE)
    for name in names:
        folder = out / name
        for kind in ("masks", "soft"):
            _remove_frames(folder / kind, _FRAME_FILE)
        _remove([folder / "soft.npz"])
        array_file(folder).unlink(missing_ok=True)
        _remove_if_empty(folder)


def remove_deliveries(out: Path, folders: Collection[str], name: str, kinds: Collection[str]) -> None:
    """Remove the files `name` of an earlier delivery, of these kinds and layers: of a sequence that gets shorter, no
    frame of the longer one may stay."""
    for kind in kinds:
        if kind in VIDEOS:
            _remove(out / folder / f"{name}{_VIDEO_SUFFIXES[kind]}" for folder in folders)
    for place, pattern in _sequences(out, folders, name, kinds):
        _remove_frames(place, pattern)


def count_delivered(out: Path, folders: Collection[str], name: str, kinds: Collection[str]) -> int:
    """Frames that every sequence of a delivery has."""
    places = _sequences(out, folders, name, kinds)
    return min(
        sum(pattern.fullmatch(file.name) is not None for file in place.iterdir()) if place.is_dir() else 0
        for place, pattern in places
    )


def _sequences(
    out: Path, folders: Collection[str], name: str, kinds: Collection[str]
) -> list[tuple[Path, re.Pattern[str]]]:
    """Where the frames of a delivery are, and their names."""
    png, exr = (re.compile(rf"{re.escape(name)}\.\d+\.{suffix}") for suffix in ("png", "exr"))
    places = [(out / folder / kind, png) for folder in folders for kind in ("alpha", "png16") if kind in kinds]
    return [*places, (out / EXR_FOLDER, exr)] if "exr" in kinds else places


def _folders_of(run: dict[str, Any]) -> list[str]:
    """Folders an earlier run made, by its own account; anything a run never makes is another program's."""
    entries = [entry for entry in run.get("prompts", ()) if isinstance(entry, dict)]
    return [entry["folder"] for entry in entries if _is_ours(entry.get("folder"), entry.get("name"))]


def _is_ours(folder: Any, name: Any) -> bool:
    if not isinstance(folder, str):
        return False
    return re.fullmatch(r"\w+", folder) is not None or (folder == name and LAYER_NAME.fullmatch(folder) is not None)


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name != "" and Path(name).name == name


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        temporary_name(file).unlink(missing_ok=True)


def _remove_frames(folder: Path, pattern: re.Pattern[str]) -> None:
    if not folder.is_dir():
        return
    for file in list(folder.iterdir()):
        if pattern.fullmatch(file.name) or pattern.fullmatch(file.name.removeprefix(".").removesuffix(".tmp")):
            file.unlink()
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
