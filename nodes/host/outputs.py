"""Files in the host's output folder: where they go, and what the graph is told of them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...rem_engine.media.numbering import frame_range
from ...rem_engine.media.reading import natural_key, sequences_in
from ...rem_engine.media.suffixes import IMAGE_SUFFIXES
from .schema import show_text

# Bytes in a name: systems take 255, of which numbers, a suffix and temporary names take some.
_LONGEST_NAME = 180
_SHOWN_CHARACTERS = 60  # of a prefix that is no name


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
    names = re.split(r"[/\\]", prefix)
    if "\0" in prefix or any(len(name.encode("utf-8", "replace")) > _LONGEST_NAME for name in names):
        raise ValueError(
            f"The filename_prefix {prefix[:_SHOWN_CHARACTERS]!r} holds a zero byte, or a name longer than "
            f"{_LONGEST_NAME} bytes: write shorter names, for example ReferEverything/shot."
        )
    output = os.path.abspath(folder_paths.get_output_directory())
    dated = re.sub(r"%date:([^%]+)%", lambda found: _date(found[1], time.localtime()), prefix)
    below = os.path.abspath(os.path.join(output, dated))
    if not below.startswith(output + os.sep):
        raise ValueError(
            f"The filename_prefix {prefix!r} leads out of ComfyUI's output folder: write folders and a name below it, "
            "for example ReferEverything/shot."
        )
    parent, name, counter, _, _ = folder_paths.get_save_image_path(
        os.path.relpath(below, output), output, image_width=width, image_height=height
    )
    while True:
        folder = Path(parent) / f"{name}_{counter:05}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # made by another run since the host looked
            counter += 1
        else:
            return folder, name


def describe_files(folder: Path) -> list[str]:
    """What lies in a folder, in few lines: a sequence as one, `exr/shot.####.exr 1001-1240`."""
    pictures: dict[Path, list[Path]] = {}
    lines = []
    for file in folder.rglob("*"):
        if not file.is_file() or file.name.startswith("."):
            continue
        if file.suffix in IMAGE_SUFFIXES:
            pictures.setdefault(file.parent, []).append(file)
        else:
            lines.append(file.relative_to(folder).as_posix())
    for below, files in pictures.items():
        for one in sequences_in(files):
            name = (below / f"{one.names.pattern}{one.suffix}").relative_to(folder).as_posix()
            lines.append(f"{name} {frame_range([*one.files], one.names.digits)}")
    return sorted(lines, key=natural_key)


def written_output(
    folder: Path, preview: Mapping[str, Any], node: type[io.ComfyNode], notes: Sequence[str] = ()
) -> io.NodeOutput:
    """What a node that wrote a folder hands on and shows: its path, its files, and a preview of them; and what else is
    to say, a sentence each."""
    lines = describe_files(folder)
    show_text("\n".join([*notes, str(folder), ", ".join(lines)]), node)
    shown = {**preview, "text": [*notes, str(folder), *lines]}
    return io.NodeOutput(str(folder), "\n".join(lines), ui=shown)


def _date(form: str, now: time.struct_time) -> str:
    """A date as the front-end writes %date:...%: d, M, h, m and s once or twice, and yy or yyyy."""
    values = {"d": now.tm_mday, "M": now.tm_mon, "h": now.tm_hour, "m": now.tm_min, "s": now.tm_sec}

    def part(found: re.Match[str]) -> str:
        letters = found[0]
        if letters[0] == "y":
            return str(now.tm_year)[-len(letters) :]
        return str(values[letters[0]]).zfill(len(letters))

    return re.sub(r"dd?|MM?|hh?|mm?|ss?|yyyy|yy", part, form)
