"""Several shots in one run of a node: which they are, a folder for each, and a run that was stopped gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import is_link

from ...rem_engine.media.reading import title_of_pattern
from ...rem_engine.media.writing import write_bytes
from ...rem_engine.names import unused_name
from ...rem_engine.run.fingerprint import settings_hash
from .input_listing import look_through
from .inputs import input_shot_path
from .outputs import new_output_folder, output_folders

BATCH_FILE = "batch.json"
"""In the folder of a batch: its shots, their folders, and how far each came."""

WHOLE = "whole"
"""State of a shot of which all is written."""


def lines_of(shots: str) -> list[str]:
    """The lines of a list of shots, without empty ones and those that begin with #."""
    lines = (line.strip() for line in shots.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def check_shots(shots: str | None) -> None:
    """Raise ValueError or FileNotFoundError for a line that names nothing in the input folder; None is not known."""
    for line in lines_of(shots or ""):
        input_shot_path(line)


def check_batch_prefix(prefix: str) -> None:
    """Raise ValueError for a prefix that names a size: shots have sizes of their own."""
    if "%width%" in prefix or "%height%" in prefix:
        raise ValueError(
            f"The filename_prefix {prefix!r} names a size, and several shots have sizes of their own: leave %width% "
            "and %height% out."
        )


def shots_of(shots: str) -> tuple[list[str], list[str]]:
    """What a list of shots names.

    Args:
        shots: a line for each video, pattern or folder, below the host's input folder; of a folder all that lie in it,
            and in the folders in it, are meant.

    Returns:
        paths below the input folder, each once, in the order of lines; and sentences on what was left out.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a path that leads out of the input folder; a folder without a shot; or no line.
    """
    found, notes = dict[str, None](), []
    for line in lines_of(shots):
        path = input_shot_path(line)
        if not path.is_dir():
            found[line] = None
            continue
        listed = look_through(str(path), line.replace("\\", "/").rstrip("/") + "/")
        if not listed.names:
            raise ValueError(f"There is no shot in the folder {line!r}: put videos or folders of frames there.")
        found |= dict.fromkeys(listed.names)
        notes += [listed.note] if listed.note else []
    if not found:
        raise ValueError("The list of shots names none: write a video or a folder of ComfyUI's input folder in a line.")
    return [*found], notes


def settings_key(node: type[io.ComfyNode], *aside: str) -> str | None:
    """Equal for runs of a node that differ in the inputs named `aside` alone: the same values on it and on the nodes
    before it, and files that these values name of the same size and time. None where the host does not say.

    What nodes before it draw by chance, or fetch from elsewhere, is not seen.
    """
    graph, own = (node.hidden.prompt or {}, node.hidden.unique_id) if node.hidden else ({}, None)
    if own is None or own not in graph:
        return None
    described: dict[str, Any] = {}
    files: list[Path] = []
    waiting = [own]
    while waiting:
        name = waiting.pop()
        if name in described or name not in graph:
            continue
        left_out = aside if name == own else ()
        inputs = {key: value for key, value in graph[name]["inputs"].items() if key not in left_out}
        described[name] = [graph[name]["class_type"], inputs]
        for value in inputs.values():
            if is_link(value):
                waiting.append(value[0])
            elif isinstance(value, str):
                files += _files_named(value)
    return settings_hash({"graph": json.dumps(described, sort_keys=True)}, dict.fromkeys(files))


def _files_named(value: str) -> Iterator[Path]:
    """Models and files of the input folder that a widget's value names."""
    if not value or "\n" in value or "\0" in value:
        return
    for kind in folder_paths.folder_names_and_paths:
        if (model := folder_paths.get_full_path(kind, value)) is not None:
            yield Path(model)
    name, folder = folder_paths.annotated_filepath(value)
    path = Path(folder or folder_paths.get_input_directory(), name.strip())
    try:
        there = path.is_file()
    except OSError:  # a text longer than a name may be
        return
    if there:
        yield path


@dataclass
class Batch:
    """The folder of a batch.

    Attributes:
        folder: it, below the host's output folder.
        key: of its settings; None for one that is never gone on with.
        states: of shots by path, [folder, state]: "" begun, `WHOLE`, or the sentence it failed with.
    """

    folder: Path
    key: str | None
    states: dict[str, list[str]]

    def folder_of(self, shot: str) -> Path:
        """The folder of one of its shots, named like it."""
        if shot not in self.states:
            self.states[shot] = [unused_name(_title(shot), (name for name, _ in self.states.values())), ""]
        return self.folder / self.states[shot][0]

    def note(self, shot: str, state: str) -> None:
        """Note how far a shot came."""
        self.folder_of(shot)
        self.states[shot][1] = state
        content = {"settings": self.key, "shots": self.states}
        write_bytes(self.folder / BATCH_FILE, json.dumps(content, ensure_ascii=False, indent=2).encode())


def open_batch(prefix: str, key: str | None) -> Batch:
    """The folder of a batch of these settings, that of an earlier run if there is one.

    Args:
        prefix: as `new_output_folder` takes it, without a size; see `check_batch_prefix`.
        key: from `settings_key`.

    Raises:
        ValueError: such a prefix.
    """
    check_batch_prefix(prefix)
    for folder in output_folders(prefix) if key is not None else ():
        states = _states(folder / BATCH_FILE, key)
        if states is not None:
            return Batch(folder, key, states)
    return Batch(new_output_folder(prefix, 0, 0)[0], key, {})


def _states(file: Path, key: str | None) -> dict[str, list[str]] | None:
    """Of a batch of these settings; None of another's, or what cannot be read."""
    try:
        content = json.loads(file.read_bytes())
        if content["settings"] != key:
            return None
        states = {str(shot): [str(name), str(state)] for shot, (name, state) in content["shots"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    names = [name for name, _ in states.values()]
    return states if all(name == Path(name).name and name not in ("", "..") for name in names) else None


def _title(shot: str) -> str:
    """What a shot of the list is called: a file by its name, a folder by its own, a pattern by what it begins with."""
    path = PurePosixPath(shot.replace("\\", "/"))
    if shot.endswith("/"):
        return path.name
    title = title_of_pattern(Path(shot))
    return path.stem if title is None else title or path.parent.name or "shot"
