"""Names that layers and the files of a run can have, alike on every system, and some choices of settings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

RUN_FILE = "run.json"
OVERLAY_FILE = "overlay.mp4"
IDS_FOLDER = "ids"
EXR_FOLDER = "exr"
CRYPTOMATTE_FOLDER = "cryptomatte"
QC_FOLDER = "qc"
RESERVED_NAMES = (RUN_FILE, OVERLAY_FILE, IDS_FOLDER, EXR_FOLDER, CRYPTOMATTE_FOLDER, QC_FOLDER)
"""What a run itself writes beside its layers' folders."""

COMPOSITORS_NAMES = (
    "rgb", "rgba", "alpha", "depth", "motion", "forward", "backward", "mask", "disparity", "disparityl", "disparityr",
    "deep", "all", "none",
)  # fmt: skip
"""Layers that compositing programs have of their own, in lower case: channels of one called so would become theirs."""

LONGEST_NAME = 60
"""Characters in a layer's name, so that paths stay within what every system takes."""

LONGEST_FILE_NAME = 200
"""Bytes with what the names of files may begin: of 255, which systems take, less number, suffix and temporary mark."""

LAYER_NAME = re.compile(r"\w(?:[\w.-]*\w)?")
"""Letters, digits, `_`, `-` and `.`, the last two neither first nor last: safe as a folder, and in an EXR."""

CombineMode = Literal["separate", "union", "exclusive"]
"""How layers share the picture: each on its own; all as one; each pixel to the strongest alone."""

GIVEN_MODES = ("include", "hold_out", "add")
"""What a matte that is given does to a layer's: multiplies it, is subtracted from it, or is the least that it is."""

ExrType = Literal["half", "float"]
"""Numbers in an EXR: floats of 16 or 32 bits."""

ExrForm = Literal["premultiplied", "plate", "matte", "packed"]
"""What an EXR has beside the mattes of its layers: colours times the alpha; the plate as it is; nothing; nothing, and
the mattes are its R, G, B and A."""

ExrFormChoice = Literal["auto", ExrForm]

ExrCompression = Literal["zip", "zips", "piz", "dwaa", "none"]

_WINDOWS_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d")


def _is_device_name(name: str) -> bool:
    """Whether Windows takes a file of this name, whatever its suffix, for a device."""
    return _WINDOWS_DEVICES.fullmatch(name.split(".")[0].lower()) is not None


def names_a_file(name: str) -> bool:
    """Whether a file or folder can have this name, which leads to no other place."""
    return name not in ("", ".", "..") and Path(name).name == name and "\0" not in name


def names_a_layer(name: str) -> bool:
    """Whether a layer can have this name: see `LAYER_NAME`; nothing else of a run, no device and no compositing
    program may have it."""
    free = name.casefold() not in {*RESERVED_NAMES, *COMPOSITORS_NAMES} and not _is_device_name(name)
    return free and len(name) <= LONGEST_NAME and LAYER_NAME.fullmatch(name) is not None


def unused_name(name: str, taken: Iterable[str]) -> str:
    """A name, numbered where one of those taken is the same but for the case of its letters.

    >>> unused_name("smoke", ["Smoke", "fire"])
    'smoke_2'
    """
    folded = {other.casefold() for other in taken}
    unused, number = name, 2
    while unused.casefold() in folded:
        unused, number = f"{name}_{number}", number + 1
    return unused


def folder_names(prompts: Sequence[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """A folder for each prompt: its words joined by `_`, safe on every system, numbered where two would be the same,
    or one is among those `taken` (in lower case).

    >>> folder_names(["The smoke!", "the smoke", "the fire"])
    ('the_smoke', 'the_smoke_2', 'the_fire')
    """
    names: list[str] = []
    for prompt in prompts:
        words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower())
        slug = "_".join(words)[:LONGEST_NAME].strip("_") or "prompt"
        if _is_device_name(slug):
            slug = f"prompt_{slug}"
        if slug.casefold() in COMPOSITORS_NAMES:
            slug = f"matte_{slug}"
        name, number = slug, 2
        while name in names or name in taken:
            name, number = f"{slug}_{number}", number + 1
        names.append(name)
    return tuple(names)
