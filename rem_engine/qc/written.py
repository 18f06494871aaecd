"""What a run wrote, as quality control reads it: each layer's mattes, the plate, and what the account says of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..input_files import told_as_damage
from ..media.cryptomatte import coverage_of
from ..media.masks import open_masks
from ..media.plate_settings import PlateSettings
from ..media.reading import open_shot
from ..media.shot import Shot
from ..names import RUN_FILE
from ..run.account import NoAccount, Record, read_runs
from ..run.layout import KINDS
from ..setting import settings_of

_LOOKED_AT = ("alpha", "alpha_exr", "exr", "png16", "prores", "webm", "cryptomatte", "soft", "npz", "masks")
"""Kinds that hold a layer's matte: what is delivered comes before what the model gave."""


@dataclass(frozen=True)
class WrittenLayer:
    """The mattes of a layer.

    Attributes:
        name: of the layer.
        kind: of the files that are looked at, one of `layout.FILES`.
        numbers: of the frames.
        files: of the frames, in one file or each in its own; what is not there is missing.
    """

    name: str
    kind: str
    numbers: tuple[int, ...]
    files: tuple[Path, ...]

    def mattes(self) -> Iterator[np.ndarray | None]:
        """The matte of each frame, float32 [H,W]; None where it is missing or damaged."""
        if len(self.files) == 1 and not KINDS[self.kind].is_sequence:
            yield from self._of_one_file(self.files[0])
            return
        for file in self.files:
            yield self._of_picture(file)

    def _of_one_file(self, file: Path) -> Iterator[np.ndarray | None]:
        count = 0
        try:
            masks = open_masks(file, "" if self.kind == "npz" else "A", are_ours=True)
            for matte in masks.frames():
                count += 1
                yield matte
        except (ValueError, OSError):  # what is left of it was given
            pass
        yield from [None] * (len(self.numbers) - count)

    def _of_picture(self, file: Path) -> np.ndarray | None:
        if not file.is_file():
            return None
        try:
            return _exr_matte(file, self.name) if file.suffix == ".exr" else _png_matte(file)
        except (ValueError, OSError):
            return None


@dataclass(frozen=True)
class Written:
    """What OUT holds.

    Attributes:
        out: the folder.
        title: with what the names of files begin.
        layers: those that have mattes.
        lost: files that the account lists and that are not there, by the kind and layer of their sequence.
        numbers: of the frames.
        run: what run.json says of the run that was made last.
        plate: how the shot is read; None where run.json does not say where it is.
    """

    out: Path
    title: str
    layers: tuple[WrittenLayer, ...]
    lost: tuple[tuple[str, str, tuple[int, ...]], ...]
    numbers: tuple[int, ...]
    run: dict[str, Any] = field(repr=False)

    @property
    def cuts(self) -> tuple[int, ...] | None:
        """Frames at which the run began a take; None where it does not say."""
        cuts = self.run.get("cuts")
        return tuple(cut for cut in cuts if isinstance(cut, int)) if isinstance(cuts, list) else None

    @property
    def disagreement(self) -> dict[int, float]:
        """How far windows of the model disagreed, by the frames that they share."""
        told = self.run.get("window_disagreement")
        return {int(index): float(value) for index, value in told.items()} if isinstance(told, dict) else {}

    def open_plate(self) -> Shot | None:
        """The shot; None where it is not at hand, or is no longer what it was."""
        shot, settings = self.run.get("shot"), self.run.get("settings")
        path = shot.get("path") if isinstance(shot, dict) else None
        if not path or not Path(path).exists():
            return None
        said = settings.get("plate") if isinstance(settings, dict) else None
        known = {name: value for name, value in (said or {}).items() if name in settings_of(PlateSettings)}
        try:
            plate = open_shot(Path(path), PlateSettings(**known))
            if plate.frame_count == len(self.numbers):
                return plate
            plate.close()
        except (ValueError, OSError):
            pass
        return None


def read_written(out: Path) -> Written:
    """What a run wrote to a folder.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: its account is damaged, or lists no mattes.
    """
    try:
        runs = read_runs(out)
    except NoAccount as error:
        raise ValueError(f"{out / RUN_FILE} is damaged or another program's: give the folder of a run.") from error
    if not runs:
        raise FileNotFoundError(f"{out} holds no {RUN_FILE} of a run: give the folder that a run has written, whole.")
    layers: dict[str, WrittenLayer] = {}
    for run in runs:
        for name in dict.fromkeys(files.layer or prompt for files in run.files for prompt in _names(run)):
            found = _layer(out, run, name)
            if found is not None:
                layers.setdefault(name, found)
    if not layers:
        raise ValueError(f"{out / RUN_FILE} lists no mattes: let the run write some, for example --write alpha.")
    lost = []
    for files in (files for run in runs for files in run.files):
        gone = files.lost(out)
        if gone is not None:
            lost.append((files.kind, files.layer, gone))
    last = runs[0]
    numbers = tuple(number for span in last.numbers for number in span) or next(iter(layers.values())).numbers
    shot = last.run.get("shot")
    title = str(shot.get("name", out.name)) if isinstance(shot, dict) else out.name
    return Written(out, title, tuple(layers.values()), tuple(lost), numbers, last.run)


def _names(run: Record) -> list[str]:
    """Layers of a run, and mattes that were made of them."""
    return list(
        dict.fromkeys(
            [*(prompt["name"] for prompt in run.prompts), *(files.layer for files in run.files if files.layer)]
        )
    )


def _layer(out: Path, run: Record, name: str) -> WrittenLayer | None:
    for kind in _LOOKED_AT:
        for files in run.files:
            if files.kind == kind and (files.layer == name or (files.layer == "" and kind in ("exr", "cryptomatte"))):
                numbers = files.numbers or tuple(number for span in run.numbers for number in span)
                paths = tuple(files.path_of(out, number) for number in numbers)
                return WrittenLayer(name, kind, numbers, paths if KINDS[kind].is_sequence else paths[:1])
    return None


def _png_matte(file: Path) -> np.ndarray | None:
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    matte: np.ndarray = pixels[..., -1] if pixels.ndim == 3 else pixels
    return matte.astype(np.float32) / (65535.0 if matte.dtype == np.uint16 else 255.0)


def _exr_matte(file: Path, layer: str) -> np.ndarray | None:
    """A layer's matte over the whole frame: by its name, by its place in a packed EXR, the only one, or picked out of a
    Cryptomatte."""
    import OpenEXR

    with (
        told_as_damage(f"{file} cannot be read: it is damaged."),
        OpenEXR.File(str(file), separate_channels=True) as opened,
    ):
        header, channels = opened.header(), opened.channels()
        places = [place.split(": ") for place in str(header.get("rem/packed", "")).split(", ")]
        packed = {place[1]: place[0] for place in places if len(place) == 2}
        name = packed.get(layer, f"{layer}.A" if f"{layer}.A" in channels else "A")
        if name in channels:
            pixels = channels[name].pixels.astype(np.float32)
        elif (picked := coverage_of({place: channel.pixels for place, channel in channels.items()}, layer)) is not None:
            pixels = picked
        else:
            return None
        data, display = header["dataWindow"], header["displayWindow"]
    (left, top), (right, bottom) = (np.asarray(corner, int) for corner in data)
    (first, above), (last, below) = (np.asarray(corner, int) for corner in display)
    canvas_left, canvas_top = min(left, first), min(top, above)
    matte = np.zeros((max(bottom, below) - canvas_top + 1, max(right, last) - canvas_left + 1), np.float32)
    matte[top - canvas_top : bottom - canvas_top + 1, left - canvas_left : right - canvas_left + 1] = pixels
    return matte
