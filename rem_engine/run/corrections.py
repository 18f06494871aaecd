"""What a run keeps of its corrections: the masks that were given, turn by turn, and those of the model beneath.

They lie in a hidden folder of OUT, `CORRECTIONS`, a folder a layer: `turn_001/`, `turn_002/`, ... with the given masks
as 16-bit PNGs of the plate's names, and `base/` with the files of the layer as the model gave them. The entry
"corrections" of run.json lists the turns that count; what it does not list is left from a turn that was stopped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..media.masks import open_masks
from ..media.numbering import Numbering, frame_range, spans_of, told_numbers
from ..media.shot import Shot
from ..media.windows import Windows, whole_frame
from ..media.writing import soft_png
from ..whole_files import scratch_folder
from .account import FileSet
from .given_masks import masks_at
from .layout import CORRECTIONS, KINDS

ENTRY = "corrections"
"""Of run.json."""


@dataclass(frozen=True)
class Turn:
    """Masks that were given together.

    Attributes:
        number: from 1.
        frames: numbers of the plate's frames, rising.
    """

    number: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class GivenKeys:
    """Masks of single frames of a shot, on disk.

    Attributes:
        places: of their frames in the shot, rising.
        masks: gives them in that order, float32 [H,W] in 0..1.
    """

    places: tuple[int, ...]
    masks: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class LayerCorrections:
    """The corrections of a layer in the folder of a run.

    Attributes:
        folder: where they lie.
        turns: in their order.
        numbering: names and numbers of the shot's frames, as they are delivered.
    """

    folder: Path
    turns: tuple[Turn, ...]
    numbering: Numbering

    @property
    def files(self) -> dict[int, Path]:
        """The mask of each given frame by the frame's place in the shot, that of the last turn that gave one."""
        place_of = {number: place for place, number in enumerate(self.numbering.numbers)}
        return {
            place_of[number]: self.folder_of(turn) / f"{self.numbering.names.of(number)}.png"
            for turn in self.turns
            for number in turn.frames
        }

    @property
    def base(self) -> Path:
        """Where the masks lie as the model gave them, below the same names as in OUT; not there before the first
        turn."""
        return self.folder / "base"

    def folder_of(self, turn: Turn) -> Path:
        return self.folder / f"turn_{turn.number:03d}"

    def sweep(self) -> None:
        """Remove what turns left that were stopped, or that another run's masks have taken the place of."""
        kept = {self.folder_of(turn).name for turn in self.turns} | ({self.base.name} if self.turns else set())
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if folder.name not in kept:
                shutil.rmtree(folder)

    def with_turn(self, keys: GivenKeys) -> LayerCorrections:
        """Keep given masks as a further turn."""
        numbers = tuple(self.numbering.numbers[place] for place in keys.places)
        turn = Turn(max((turn.number for turn in self.turns), default=0) + 1, numbers)
        with scratch_folder(self.folder_of(turn)) as scratch:
            for place, mask in zip(keys.places, keys.masks(), strict=True):
                (scratch / f"{self.numbering.name_of(place)}.png").write_bytes(soft_png(mask))
            scratch.rename(self.folder_of(turn))
        return LayerCorrections(self.folder, (*self.turns, turn), self.numbering)

    def without_last(self) -> LayerCorrections:
        """As before the last turn."""
        return LayerCorrections(self.folder, self.turns[:-1], self.numbering)

    def keep_base(self, files: Iterable[FileSet], out: Path) -> None:
        """Keep the files of a layer as they are, before the first turn; files are never changed in place, so that links
        will do."""
        with scratch_folder(self.base) as scratch:
            for one in files:
                for path in one.present(out):
                    link(path, scratch / path.relative_to(out))
            scratch.rename(self.base)

    def to_json(self) -> list[dict[str, Any]]:
        return [{"turn": turn.number, "frames": frame_range(turn.frames)} for turn in self.turns]


def corrections_of(out: Path, run: Mapping[str, Any], layer: str, numbering: Numbering) -> LayerCorrections:
    """The corrections of a layer, by what run.json says.

    Raises:
        ValueError: an entry that no run writes, or masks of a turn that are gone.
    """
    entries = run.get(ENTRY, {})
    wrong = ValueError(f"{out} says of its corrections what no run writes: segment the shot again with --again.")
    if not isinstance(entries, dict) or not isinstance(listed := entries.get(layer, []), list):
        raise wrong
    turns = []
    for entry in listed:
        try:
            frames = tuple(number for span in spans_of(entry["frames"]) for number in span)
            turns.append(Turn(int(entry["turn"]), frames))
        except (KeyError, TypeError, ValueError) as error:
            raise wrong from error
    if not {number for turn in turns for number in turn.frames} <= {*numbering.numbers}:
        raise wrong
    found = LayerCorrections(out / CORRECTIONS / layer, tuple(turns), numbering)
    gone = [path for path in found.files.values() if not path.is_file()]
    if gone or (turns and not found.base.is_dir()):
        raise ValueError(
            f"{(gone or [found.base])[0]} is gone, which corrections of {layer} are made from: segment the shot again "
            "with --again, and give the masks anew."
        )
    return found


def read_keys(text: str, shot: Shot, delivered: Numbering) -> GivenKeys:
    """Masks of single frames, painted, roto, or another tool's.

    Args:
        text: PATH or PATH:CHANNEL of a folder, a pattern or a picture, numbered by the plate's frames, or by those that
            it is delivered under.
        shot: of which they are.
        delivered: its numbering as it is delivered.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: masks of another size, without numbers or with such as the shot does not have, or what is none.
    """
    windows = shot.windows or whole_frame(shot.height, shot.width)
    numberings = (shot.numbering.numbers, delivered.numbers)
    keys = numbered_keys(text, shot.name, (shot.height, shot.width), numberings, delivered.name_of(0), windows)
    black = [shot.numbering.numbers[place] for place in keys.places if shot.numbering.is_missing(place)]
    if black:
        raise ValueError(f"The masks {told_numbers(black)} in {text} are of frames that {shot.name} lacks.")
    return keys


def numbered_keys(
    text: str,
    name: str,
    size: tuple[int, int],
    numberings: Sequence[Sequence[int]],
    example: str,
    windows: Windows | None = None,
) -> GivenKeys:
    """Masks of single frames by the numbers of their files.

    Args:
        text: PATH or PATH:CHANNEL of a folder, a pattern or a picture.
        name: of the shot, for sentences.
        size: (height, width) of its frames.
        numberings: numbers that its frames may have, in their order; that which fits most files is taken.
        example: the name of a file of the first frame, without a suffix.
        windows: of the shot; an EXR that is meant to be seen as the shot is read where that is.

    Raises:
        as `read_keys`.
    """
    at = masks_at(text)
    masks = open_masks(at.path, at.channel, windows=windows)
    if (masks.height, masks.width) != size:
        raise ValueError(
            f"The masks in {at.path} are {masks.width}x{masks.height} and the frames of {name} {size[1]}x{size[0]}: "
            "give corrections of the shot's size."
        )
    if masks.numbers is None:
        raise ValueError(
            f"The masks in {at.path} have no numbers that say of which frames they are: name them as the plate's, "
            f"{example}.png for example."
        )
    told = {*masks.numbers}
    numbers = max(numberings, key=lambda ones: len(told.intersection(ones)))
    place_of = {number: place for place, number in enumerate(numbers)}
    beyond = [number for number in masks.numbers if number not in place_of]
    if beyond:
        raise ValueError(
            f"The masks {told_numbers(beyond)} in {at.path} are of no frame: {name} has {told_numbers(numbers)}."
        )
    next(masks.frames())  # which finds out what of them is the matte, and refuses what is none
    return GivenKeys(tuple(place_of[number] for number in masks.numbers), masks.frames)


def layer_files(files: Sequence[FileSet], layer: str) -> list[FileSet]:
    """Masks of a layer as the model gives them."""
    return [one for one in files if one.layer == layer and not KINDS[one.kind].is_delivery]


def link(path: Path, target: Path) -> None:
    """Have a file under a second name; a copy, where the disk knows no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)
