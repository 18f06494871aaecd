"""Which masks `matte` is given, and what it is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..media.matte_values import LUMA
from ..media.numbering import FrameNames
from ..media.reading import title_of_pattern
from ..names import RESERVED_NAMES, RUN_FILE, folder_names, names_a_layer
from .account import FileSet, NoAccount, Record, read_runs
from .layout import KINDS, STORED_MASKS

_UNNAMED = FrameNames("", "")
_CHANNELS = ("r", "g", "b", "a", "y", LUMA)
"""What is asked for as a channel wherever the masks are."""
_KINDS_OF_MASKS = ("soft", "masks", "alpha")
"""Folders in a layer's, which say nothing of the layer."""


@dataclass(frozen=True)
class GivenMasks:
    """Masks of a layer, as they were asked for.

    Attributes:
        path: where they are.
        channel: that is the matte; "" where it is to be found out.
        are_ours: whether they are a run's.
        numbers: of them, as the run's account says, where the files do not.
        cells: (height, width) at which the run's model made them, before they were scaled up; None where nothing says.
        settings: of their run, as run.json has them, where its folder was given; {} else.
        counted: whether their numbers are places in the shot, as versions up to 0.1 wrote them.
    """

    path: Path
    channel: str = ""
    are_ours: bool = False
    numbers: tuple[range, ...] = ()
    counted: bool = False
    cells: tuple[int, int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}:{self.channel}" if self.channel else str(self.path)


def find_masks(given: Sequence[str]) -> dict[str, GivenMasks]:
    """Where the masks of each layer are.

    Args:
        given: NAME=PATH, or a path; with :CHANNEL behind it where that is asked for. A layer without a name is named by
            its file or folder, or by the folder that this is in where it is one of a run's soft, masks or alpha. The
            folder of a finished run gives all of its layers.

    Raises:
        ValueError: names that are none, or given twice.
    """
    found: list[tuple[str, GivenMasks]] = []
    for text in given:
        name, equals, rest = text.partition("=")
        if not (rest if equals else text):
            raise ValueError(f"The masks {text!r} have no path: give NAME=PATH, or a path.")
        if equals and not masks_at(text).path.exists():
            if not names_a_layer(name):
                raise ValueError(
                    f"{name!r} cannot name a layer: a name is one word of letters, digits, '_', '-' and '.', and none "
                    "that other files of a run, Windows or compositing programs have, as exr, con and rgba are."
                )
            found.append((name, masks_at(rest)))
        elif (Path(text) / RUN_FILE).is_file():
            found += _layers_of_run(Path(text))
        else:
            masks = masks_at(text)
            found.append((_made_name(masks.path), masks))
    found = [(name, replace(masks, cells=masks.cells or _cells_beside(masks.path))) for name, masks in found]
    names = [name.casefold() for name, _ in found]
    for (name, masks), folded in zip(found, names, strict=True):
        if names.count(folded) > 1:
            raise ValueError(f"Two layers have the name {name!r}: name them apart, for example front={masks}.")
    return dict(found)


def masks_at(text: str) -> GivenMasks:
    """Masks at PATH or PATH:CHANNEL; what is there under the whole name is a path, a single letter a Windows drive."""
    path, _, channel = text.rpartition(":")
    if not path or not channel or set("/\\") & set(channel) or Path(text).exists():
        return GivenMasks(Path(text))
    is_channel = len(path) > 1 and (channel.lower() in _CHANNELS or set("#@%") & set(path))
    if is_channel or Path(path).expanduser().exists():
        return GivenMasks(Path(path), channel)
    return GivenMasks(Path(text))


def _layers_of_run(out: Path) -> list[tuple[str, GivenMasks]]:
    """Masks of every layer that a run has segmented, by the last one that wrote some; its most exact ones."""
    try:
        runs = read_runs(out)
    except NoAccount:
        runs = []
    layers: dict[str, GivenMasks] = {}
    for run in runs:
        for name in (prompt["name"] for prompt in run.prompts):
            told = run.files or [FileSet(kind, name, _UNNAMED) for kind in STORED_MASKS]
            of_layer = [files for files in told if files.layer == name]
            written = [files for kind in STORED_MASKS for files in of_layer if files.kind == kind]
            found = next((files for files in written if files.place(out).exists()), None)
            if found is not None:
                masks = _masks_of_run(found, run, out)
                layers.setdefault(name, replace(masks, settings=run.run.get("settings", {})))
    segmented = (run for run in runs if "masks" not in run.run.get("settings", {}))
    for name in (prompt["name"] for run in segmented for prompt in run.prompts):
        if name not in layers:
            raise ValueError(f"The run in {out} wrote no masks of {name}: let it write soft ones.")
    if not layers:
        raise ValueError(f"{out / RUN_FILE} lists no layers of a run: give the folder of its masks instead.")
    return list(layers.items())


def _masks_of_run(files: FileSet, run: Record, out: Path) -> GivenMasks:
    place, cells = files.place(out), _cells_of(run.run.get("mask_size"))
    if not KINDS[files.kind].is_sequence:
        return GivenMasks(place, are_ours=True, numbers=run.numbers, cells=cells)
    if not files.names.name:
        return GivenMasks(place, are_ours=True, counted=True, cells=cells)
    pattern = f"{files.names.pattern}{Path(KINDS[files.kind].file).suffix}"
    return GivenMasks(place / pattern, are_ours=True, cells=cells)


def _cells_of(entry: object) -> tuple[int, int] | None:
    """The entry of a run.json, which may have been written by an earlier version, or by hand."""
    if isinstance(entry, list) and len(entry) == 2 and all(type(side) is int and side > 0 for side in entry):
        return entry[0], entry[1]
    return None


def _cells_beside(path: Path) -> tuple[int, int] | None:
    """What the run in whose folder masks lie says of the model's size."""
    path = path.expanduser().resolve()
    for out in path.parents[:3]:
        if not (out / RUN_FILE).is_file():
            continue
        layer, kind, *_ = (*path.relative_to(out).parts, "")
        if Path(kind).stem not in ("soft", "masks"):  # deliveries have edges of the plate's
            return None
        try:
            runs = read_runs(out)
        except NoAccount:
            return None
        wrote = (run for run in runs if layer in [prompt["name"] for prompt in run.prompts])
        return next((_cells_of(run.run.get("mask_size")) for run in wrote), None)
    return None


def _made_name(path: Path) -> str:
    path = path.resolve()
    if not path.exists() and (title := title_of_pattern(path)) is not None:
        path = path.parent if path.parent.name in _KINDS_OF_MASKS else path.with_name(title)
    name = path.parent.name if path.stem in _KINDS_OF_MASKS else path.stem
    return name if names_a_layer(name) else folder_names([name], taken=RESERVED_NAMES)[0]
