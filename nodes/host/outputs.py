"""Files in the host's output folder: where they go, and what the graph is told of them."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ...rem_engine.media.numbering import frame_range
from ...rem_engine.media.reading import natural_key, sequences_in
from ...rem_engine.media.suffixes import IMAGE_SUFFIXES
from ...rem_engine.media.writing import write_bytes
from .schema import show_text

# Bytes in a name: systems take 255, of which numbers, a suffix and temporary names take some.
_LONGEST_NAME = 180
_SHOWN_CHARACTERS = 60  # of a prefix that is no name
_GRAPH_NAMES = ("prompt", "workflow")  # further ones of a page could be no word, or one of a header's own
# In the order in which the page shows them: the first stands for the run, and it shows neither ProRes nor EXR.
_RESULTS = (".mp4", ".webm", ".png", ".mov", ".exr", ".nk", ".fxs", ".py", ".jsx", ".json")

_PREVIEW = "preview"

GRAPH_FILE = "workflow.json"
"""Beside the files of a run: the graph, to be dropped on the canvas."""
GRAPH_OF_A_NODE = (io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo)
"""What a node that writes files has to ask the host for."""


def new_output_folder(prefix: str, height: int, width: int) -> tuple[Path, str]:
    """A folder of its own for what a node writes, so that no run overwrites another's files.

    Args:
        prefix: folders and a name below the host's output folder, as Save Image takes it: %year%, %month%, %day%,
            %hour%, %minute%, %second%, %width%, %height%, and %date:yyyy-MM-dd%, which the front-end fills in for the
            host's own nodes alone.
        height, width: of the frames, pixels.

    Returns:
        the folder, numbered (`shot_00001`) and made, and the files' name (`shot`).

    Raises:
        ValueError: a prefix that leads out of the output folder, or that no system takes as names.
    """
    parent, name, counter = _place(prefix, height, width)
    while True:
        folder = parent / f"{name}_{counter:05}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # made by another run since the host looked
            counter += 1
        else:
            return folder, name


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a run's folder again where the run ends in an exception, or is cancelled, before it has written there."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty, or was never made
            folder.rmdir()
        raise


def output_folders(prefix: str) -> list[Path]:
    """Folders that runs with a prefix have made, the newest first; see `new_output_folder`."""
    parent, name, _ = _place(prefix, 0, 0)
    return sorted(parent.glob(f"{glob.escape(name)}_[0-9]*"), reverse=True)


def _place(prefix: str, height: int, width: int) -> tuple[Path, str, int]:
    """The folder, name and number that the host gives the next run."""
    check_prefix(prefix)
    output = os.path.abspath(folder_paths.get_output_directory())
    parent, name, counter, _, _ = folder_paths.get_save_image_path(
        os.path.relpath(_below(prefix, output), output), output, image_width=width, image_height=height
    )
    return Path(parent), name, counter


def check_prefix(prefix: str | None) -> None:
    """Raise ValueError for a prefix that leads out of the output folder, or that no system takes as names; None is not
    known yet."""
    if prefix is None:
        return
    names = re.split(r"[/\\]", prefix)
    if "\0" in prefix or any(len(name.encode("utf-8", "replace")) > _LONGEST_NAME for name in names):
        raise ValueError(
            f"The filename_prefix {prefix[:_SHOWN_CHARACTERS]!r} holds a zero byte, or a name longer than "
            f"{_LONGEST_NAME} bytes: write shorter names, for example ReferEverything/shot."
        )
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in prefix):
        raise ValueError(
            f"The filename_prefix {prefix[:_SHOWN_CHARACTERS]!r} holds a new line, or another character that is not "
            "written: write it in one line, for example ReferEverything/shot."
        )
    if not prefix.strip():
        raise ValueError("The filename_prefix is empty: write folders and a name, for example ReferEverything/shot.")
    output = os.path.abspath(folder_paths.get_output_directory())
    if not _below(prefix, output).startswith(output + os.sep):
        raise ValueError(
            f"The filename_prefix {prefix!r} leads out of ComfyUI's output folder: write folders and a name below it, "
            "for example ReferEverything/shot."
        )


def _below(prefix: str, output: str) -> str:
    dated = re.sub(r"%date:([^%]+)%", lambda found: _date(found[1], time.localtime()), prefix)
    return os.path.abspath(os.path.join(output, dated))


def describe_files(folder: Path) -> list[str]:
    """What lies in a folder, in few lines: a sequence as one, `exr/shot.####.exr 1001-1240`."""
    pictures: dict[Path, list[Path]] = {}
    lines = []
    for file in folder.rglob("*"):
        if not file.is_file() or file.name.startswith("."):
            continue
        if file.suffix in IMAGE_SUFFIXES and file.stem != _PREVIEW:
            pictures.setdefault(file.parent, []).append(file)
        else:
            lines.append(file.relative_to(folder).as_posix())
    for below, files in pictures.items():
        for one in sequences_in(files):
            name = (below / f"{one.names.pattern}{one.suffix}").relative_to(folder).as_posix()
            lines.append(f"{name} {frame_range([*one.files], one.names.digits)}")
    return sorted(lines, key=natural_key)


def graph_of(node: type[io.ComfyNode]) -> dict[str, str]:
    """The graph that a node runs in, as texts by the names under which the host's page finds it in a file: "prompt" and
    "workflow"; none where the host was started with --disable-metadata."""
    from comfy.cli_args import args

    if args.disable_metadata or node.hidden is None:
        return {}
    parts = {"prompt": _without_stamps(node.hidden.prompt), **(node.hidden.extra_pnginfo or {})}
    return {name: json.dumps(part) for name, part in parts.items() if part and name in _GRAPH_NAMES}


def _without_stamps(prompt: Mapping[str, Any] | None) -> dict[str, Any]:
    """A prompt without what the host notes in it of each node's `fingerprint_inputs`: that may be NaN, which is no
    JSON."""
    return {
        name: {key: value for key, value in entry.items() if key != "is_changed"}
        for name, entry in (prompt or {}).items()
    }


def lay_beside(folder: Path, preview: Mapping[str, Any], graph: Mapping[str, str]) -> None:
    """Lay beside the files of a run its graph, for those that hold none that the host's page can read, and what the
    node shows, for whatever shows no EXR."""
    for shown in preview["images"]:
        temporary = Path(folder_paths.get_temp_directory(), shown["subfolder"], shown["filename"])
        shutil.copyfile(temporary, folder / f"{_PREVIEW}{temporary.suffix}")
    write_graph(folder, graph)


def write_graph(folder: Path, graph: Mapping[str, str]) -> None:
    """Lay a graph beside files, as `GRAPH_FILE`; nothing where there is none to be told (see `graph_of`)."""
    if graph:
        write_bytes(folder / GRAPH_FILE, graph.get("workflow", graph.get("prompt", "")).encode())


def earlier_preview(folder: Path) -> dict[str, Any]:
    """What a node shows of a folder that an earlier run has written; nothing where that left no preview."""
    file = folder / f"{_PREVIEW}.mp4"
    if not file.is_file():
        return {}
    below = folder.relative_to(Path(folder_paths.get_output_directory()).absolute()).as_posix()
    return ui.PreviewVideo([ui.SavedResult(file.name, below, io.FolderType.output)]).as_dict()


def written_output(
    folder: Path, preview: Mapping[str, Any], node: type[io.ComfyNode], notes: Sequence[str] = ()
) -> io.NodeOutput:
    """What a node that wrote a folder hands on and shows: its path, its files as results of the host, and a preview of
    them; and what else is to say, a sentence each."""
    lines = describe_files(folder)
    show_text("\n".join([*notes, str(folder), ", ".join(lines)]), node)
    # Under "images" the page would draw them on the node; under names of its own it would not list EXRs.
    told = {"video": results_of(folder), "text": [*notes, str(folder), *lines]}
    return io.NodeOutput(str(folder), "\n".join(lines), ui={**preview, **told})


def results_of(folder: Path) -> list[ui.SavedResult]:
    """The files of a folder below the host's output folder as its results."""
    output = Path(folder_paths.get_output_directory()).absolute()
    files = (
        file
        for file in folder.rglob("*")
        if file.suffix in _RESULTS and file.is_file() and not file.name.startswith(".")
    )
    ordered = sorted(
        files, key=lambda file: (_RESULTS.index(file.suffix), file.stem != _PREVIEW, natural_key(file.as_posix()))
    )
    return [
        ui.SavedResult(file.name, file.parent.relative_to(output).as_posix(), io.FolderType.output) for file in ordered
    ]


def _date(form: str, now: time.struct_time) -> str:
    """A date as the front-end writes %date:...%: d, M, h, m and s once or twice, and yy or yyyy."""
    values = {"d": now.tm_mday, "M": now.tm_mon, "h": now.tm_hour, "m": now.tm_min, "s": now.tm_sec}

    def part(found: re.Match[str]) -> str:
        letters = found[0]
        if letters[0] == "y":
            return str(now.tm_year)[-len(letters) :]
        return str(values[letters[0]]).zfill(len(letters))

    return re.sub(r"dd?|MM?|hh?|mm?|ss?|yyyy|yy", part, form)
