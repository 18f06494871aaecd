"""The shots in the host's input folder, as a list to choose from.

The host asks for it in its event loop, whenever a page is opened, and everyone waits meanwhile: so the folder is looked
through beside it, the loop waits a moment for that, and has the list before where it takes longer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import folder_paths

from ...rem_engine.media.reading import sequences_in
from ...rem_engine.media.suffixes import IMAGE_SUFFIXES

_MORE_VIDEO_SUFFIXES = (".mxf", ".mkv")  # systems may not know their type
_KEPT_SECONDS = 3.0
_WAIT_SECONDS = 0.2
# What is looked at, at most: an idle machine's own disk gives 200,000 files in a fifth of a second.
_DEPTH, _ENTRIES, _SECONDS = 12, 200_000, 20.0
_SORTED = 20_000  # frames that are told apart by their names
_SHOTS = 5_000  # in a list: the page takes all of it, at every opening

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputShots:
    """What there is to choose from.

    Attributes:
        names: paths below the input folder; folders of frames end in a slash, and of a folder of several sequences each
            is there as a pattern of its names.
        note: says that there may be more, and how to get at them; "" where all of them are there.
    """

    names: tuple[str, ...]
    note: str


@dataclass
class _Walk:
    """A walk through folders, those themselves before links to some, none of them twice."""

    ends: float
    entries: int = 0
    sorted: int = 0  # frames into sequences
    seen: set[tuple[int, int]] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
    cut: bool = False

    def is_over(self) -> bool:
        full = self.entries >= _ENTRIES or len(self.found) >= _SHOTS
        self.cut = self.cut or full or time.monotonic() > self.ends
        return self.cut


@dataclass(frozen=True)
class _Folder:
    path: str
    below: str
    inside: tuple[tuple[int, int], ...]  # device and inode of the folders it is in, and its own


def list_input_shots() -> InputShots:
    """Videos and folders of frames in the host's input folder, links followed, as they were some seconds ago at most,
    or when the folder was last looked through where that takes longer.

    A link to a folder it is in itself is left out; one to a folder that is listed already shows what lies right in it.
    """
    return _listing(folder_paths.get_input_directory()).latest()


@lru_cache(maxsize=1)
def _listing(root: str) -> _Listing:
    return _Listing(root)


class _Listing:
    """The list of a folder, made in a thread of its own."""

    def __init__(self, root: str) -> None:
        self._root, self._lock = root, threading.Lock()
        self._shots = InputShots(
            (), "The input folder is still being looked through: refresh in a moment, or give a path below it."
        )
        self._made, self._looking = -_KEPT_SECONDS, threading.Thread()

    def latest(self) -> InputShots:
        with self._lock:
            if not self._looking.is_alive() and time.monotonic() - self._made >= _KEPT_SECONDS:
                self._looking = threading.Thread(target=self._look, daemon=True)
                self._looking.start()
            looking = self._looking
        if looking.is_alive():
            looking.join(_WAIT_SECONDS)
        return self._shots

    def _look(self) -> None:
        started = time.monotonic()
        shots = look_through(self._root)
        with self._lock:
            self._shots, self._made = shots, started


def look_through(root: str, below: str = "") -> InputShots:
    """The list of a folder, made now; an empty one of a folder that is not there.

    Args:
        root: the folder.
        below: with what names begin, `dailies/`; frames right in the folder are then a shot, too.
    """
    if not os.path.isdir(root):
        return InputShots((), "")
    walk = _Walk(time.monotonic() + _SECONDS)
    folders, links = deque([_Folder(root, below, (_identity(root),))]), deque[_Folder]()
    while (folders or links) and not walk.is_over():
        folder = (folders or links).popleft()
        inner = _look_into(folder, walk)
        known = folder.inside[-1] in walk.seen
        walk.seen.add(folder.inside[-1])
        if known:
            continue
        for entry in inner:
            try:
                identity = _identity(entry.path)
            except OSError:  # a link to what is gone
                continue
            if identity in folder.inside:
                continue
            if len(folder.inside) > _DEPTH:
                walk.cut = True
                break
            into = links if entry.is_symlink() else folders
            into.append(_Folder(entry.path, f"{folder.below}{entry.name}/", (*folder.inside, identity)))
    note = ""
    names = tuple(sorted(walk.found)[:_SHOTS])
    if walk.cut or len(walk.found) > len(names):
        note = (
            f"The list was cut after {len(names)} shots: the input folder holds more than can be looked through. "
            "Others are read too, where their path below it is given."
        )
        _log.warning("%s (%s)", note, root)
    return InputShots(names, note)


def _look_into(folder: _Folder, walk: _Walk) -> list[os.DirEntry[str]]:
    """Note the shots right in a folder; gives the folders in it, by name."""
    inner, others, frames = [], [], []
    try:
        with os.scandir(folder.path) as entries:
            for entry in entries:
                walk.entries += 1
                if walk.entries % 1000 == 0 and walk.is_over():
                    break
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(IMAGE_SUFFIXES):
                    if _is_file(entry):
                        frames.append(entry.name)
                elif _is_folder(entry):
                    inner.append(entry)
                else:
                    others.append(entry.name)
    except OSError as error:
        _log.warning("%s cannot be looked into: %s", folder.path, error.strerror)
    videos = set(folder_paths.filter_files_content_types(others, ["video"]))
    videos.update(name for name in others if name.lower().endswith(_MORE_VIDEO_SUFFIXES))
    if frames and folder.below:
        walk.found += [f"{folder.below}{name}" for name in _sequences(frames, walk)]
    walk.found += [f"{folder.below}{name}" for name in videos]
    return sorted(inner, key=lambda entry: entry.name)


def _sequences(frames: list[str], walk: _Walk) -> list[str]:
    """Names for the sequences of a folder: "" where there is one, or where nobody has the time to look."""
    walk.sorted += len(frames)
    if walk.sorted > _SORTED:
        return [""]
    try:
        found = sequences_in(map(Path, frames))
    except ValueError:  # one frame twice: the shot says so when it is opened
        return [""]
    return [""] if len(found) == 1 else [one.file_pattern for one in found]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, links followed; a link that leads nowhere is none."""
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, links followed; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be entered
        return False


def _identity(path: str) -> tuple[int, int]:
    """The same for every path that leads to a folder."""
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino
