"""A shot and masks on disk to delivered files, as the `matte` command does it."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .. import __version__
from ..devices import find_device
from ..folder_lock import check_is_folder
from ..matte import Frame, MatteSettings
from ..matte.checks import check_finite
from ..matte.frames import alpha_of, plate_of
from ..media.made_by import MadeBy, read_made_by, settings_text
from ..media.masks import Masks, open_masks
from ..media.matte_values import LUMA
from ..media.plate_settings import PlateSettings
from ..media.reading import open_shot
from ..media.shot import Shot
from ..media.windows import Box, Windows
from ..names import RESERVED_NAMES, RUN_FILE, folder_names, names_a_layer
from ..progress import SILENT, Progress
from ..segment.cuts import CutFinder
from ..segment.settings import check_cuts
from .account import NoAccount, file_sets, read_runs
from .clock import explained_stop
from .coverage import Coverage
from .delivery import Delivery
from .delivery_settings import DeliverySettings
from .fingerprint import content_hash, settings_hash
from .layout import KINDS, STORED_MASKS, check_apart
from .output import Claim, claimed
from .pipeline import make_mattes, needs_plate, read_plate
from .shot_entry import say_notes, shot_entry

_CHANNELS = ("r", "g", "b", "a", "y", LUMA)
"""What is asked for as a channel wherever the masks are."""
_KINDS_OF_MASKS = ("soft", "masks", "alpha")
"""Folders in a layer's, which say nothing of the layer."""


@dataclass(frozen=True)
class MatteJob:
    """Which masks to make mattes of, and how; see `python -m rem_engine matte --help`."""

    shot: Path
    masks: tuple[str, ...]
    out: Path
    cuts: Literal["auto"] | tuple[int, ...] = "auto"
    matte: MatteSettings = field(default_factory=MatteSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    device: str = "auto"
    overwrite: bool = False
    again: bool = False
    plate: PlateSettings = field(default_factory=PlateSettings)


def matte_to_files(job: MatteJob, progress: Progress = SILENT) -> list[str] | None:
    """Put masks through the matte stage into files; memory does not grow with the shot.

    All that can be checked is checked before anything is written, and nothing that earlier runs left in `job.out` is
    lost: see `Output`.

    Args:
        job: which masks, and how.
        progress: told "mattes", and of layers whose mattes are empty or full in every frame.

    Returns:
        what was written, as paths below `job.out`; a sequence as one entry with its first and last number. None where
        the same is there already, whole, and was left as it is.

    Raises:
        FileNotFoundError: no shot, or no masks.
        ValueError: masks of another size or number than the shot's frames, a setting that cannot be used, or files in
            `job.out` that are in the way and that no run has written.
        RuntimeError: the disk is full, there is no such device, or another run is writing to `job.out`.
        KeyboardInterrupt: with a sentence that says which frames are done.
    """
    check_is_folder(job.out, "name a folder to write to")
    with open_shot(job.shot, job.plate) as shot:
        given = find_masks(job.masks)
        layers = {name: _open_fitting(masks, shot) for name, masks in given.items()}
        check_cuts(() if job.cuts == "auto" else job.cuts, shot.frame_count)
        inputs, device = [job.shot, *(masks.path for masks in layers.values())], find_device(job.device)
        check_apart(inputs, job.out, layers, shot.name, job.delivery.kinds)
        shot.read(0, 1)
        for masks in layers.values():
            next(masks.frames())
        settings = {
            "masks": {name: str(masks) for name, masks in given.items()},
            "cuts": job.cuts,
            "device": job.device,
            "matte": asdict(job.matte),
            "delivery": asdict(job.delivery),
            "plate": asdict(job.plate),
        }
        with claimed(_claim(job, shot, layers, settings)) as output:
            if output.is_there:
                return None
            say_notes(shot.info, job.delivery.sound, progress)
            for note in filter(None, (masks.note() for masks in layers.values())):
                progress.say(note)
            made_by = _made_by(layers, job.matte)
            delivery = Delivery(output.work, shot.name, list(layers), shot.info, job.delivery, made_by=made_by)
            masked, coverage = _MaskedFrames(shot, list(layers.values()), job), Coverage("mattes", list(layers))
            with explained_stop(
                job.out,
                # What waits to replace others is of use to nobody, since mattes are not gone on with.
                lambda: output.stop(None if output.replaces else {}),
                lambda: _where_it_stands(0 if output.replaces else delivery.frames_in_sequences, shot.frame_count),
            ):
                output.begin({})
                with delivery:
                    for frame in make_mattes(masked.frames(), job.matte, masked.cuts, device):
                        delivery.write(frame)
                        coverage.add(alpha_of(frame))
                        progress.update("mattes", frame.index + 1, shot.frame_count)
                files = delivery.listing()
                entries = [
                    {"prompt": made_by.prompts[name], "name": name, "folder": name, "frames": shot.frame_count}
                    for name in layers
                ]
                warnings = coverage.warnings()
                run = {
                    "shot": shot_entry(shot.name, str(job.shot), shot.frame_count, shot.info),
                    "settings": settings,
                    "prompts": entries,
                    "delivery": {"name": shot.name, "files": files},
                    "versions": {"rem_engine": __version__, "python": platform.python_version()},
                    "warnings": warnings,
                }
                output.finish(run)
        for warning in warnings:
            progress.say(warning["sentence"])
        return files


def _made_by(layers: Mapping[str, Masks], matte: MatteSettings) -> MadeBy:
    """What the masks say of how they were made, as far as a run of ours wrote them."""
    said = {name: read_made_by(masks.files[0]) for name, masks in layers.items()}
    models, checkpoints = (
        ", ".join(dict.fromkeys(one[place] for one in said.values() if one[place])) for place in (0, 1)
    )
    return MadeBy(models, checkpoints, {name: prompt for name, (_, _, prompt) in said.items()}, settings_text(matte))


def _claim(job: MatteJob, shot: Shot, layers: Mapping[str, Masks], settings: Mapping[str, Any]) -> Claim:
    form, names = job.delivery, list(layers)
    read = [shot.files, *(masks.files for masks in layers.values())]
    return Claim(
        job.out,
        tuple(file_sets(form.kinds, names, shot.frame_count, shot.name, form.start, form.padding)),
        tuple({"prompt": "", "name": name, "folder": name} for name in names),
        settings_hash({"shot": job.shot, **settings}, [file for files in read for file in files]),
        "-".join(content_hash(files)[:16] for files in read),
        job.overwrite,
        job.again,
    )


@dataclass(frozen=True)
class GivenMasks:
    """Masks of a layer, as they were asked for.

    Attributes:
        path: where they are.
        channel: that is the matte; "" where it is to be found out.
        are_ours: whether they are a run's.
    """

    path: Path
    channel: str = ""
    are_ours: bool = False

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
        if equals and not _masks_at(text).path.exists():
            if not names_a_layer(name):
                raise ValueError(
                    f"{name!r} cannot name a layer: a name is one word of letters, digits, '_', '-' and '.', and none "
                    "that other files of a run or of Windows have."
                )
            found.append((name, _masks_at(rest)))
        elif (Path(text) / RUN_FILE).is_file():
            found += _layers_of_run(Path(text))
        else:
            masks = _masks_at(text)
            found.append((_made_name(masks.path), masks))
    names = [name.casefold() for name, _ in found]
    for (name, masks), folded in zip(found, names, strict=True):
        if names.count(folded) > 1:
            raise ValueError(f"Two layers have the name {name!r}: name them apart, for example front={masks}.")
    return dict(found)


def _masks_at(text: str) -> GivenMasks:
    """PATH or PATH:CHANNEL; what is there under the whole name is a path, and a single letter a Windows drive."""
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
    layers: dict[str, Path] = {}
    for run in runs:
        for name in (prompt["name"] for prompt in run.prompts):
            kinds = [files.kind for files in run.files if files.layer == name] if run.files else STORED_MASKS
            places = [place for kind in STORED_MASKS if kind in kinds for place in KINDS[kind].places(out, [name])]
            found = next((place for place in places if place.exists()), None)
            if found is not None:
                layers.setdefault(name, found)
    segmented = (run for run in runs if "masks" not in run.run.get("settings", {}))
    for name in (prompt["name"] for run in segmented for prompt in run.prompts):
        if name not in layers:
            raise ValueError(f"The run in {out} wrote no masks of {name}: let it write soft ones.")
    if not layers:
        raise ValueError(f"{out / RUN_FILE} lists no layers of a run: give the folder of its masks instead.")
    return [(name, GivenMasks(path, are_ours=True)) for name, path in layers.items()]


def _made_name(path: Path) -> str:
    path = path.resolve()
    name = path.parent.name if path.stem in _KINDS_OF_MASKS else path.stem
    return name if names_a_layer(name) else folder_names([name], taken=RESERVED_NAMES)[0]


def _open_fitting(given: GivenMasks, shot: Shot) -> Masks:
    path, whole = given.path, Box(0, 0, shot.width, shot.height)
    windows = shot.windows or Windows(whole, whole)
    masks = open_masks(path, given.channel, windows=windows, are_ours=given.are_ours)
    if (masks.height, masks.width) != (shot.height, shot.width):
        raise ValueError(
            f"The masks in {path} are {masks.width}x{masks.height} and the frames of {shot.name} {shot.width}x"
            f"{shot.height}: give masks of the shot's size."
        )
    if masks.frame_count != shot.frame_count:
        raise ValueError(
            f"There are {masks.frame_count} masks in {path} and {shot.frame_count} frames in {shot.name}: give one "
            "mask a frame."
        )
    return masks


class _MaskedFrames:
    """Frames and masks for the matte stage, as far ahead of it as it takes to know where takes begin."""

    def __init__(self, shot: Shot, layers: Sequence[Masks], job: MatteJob) -> None:
        self._shot, self._layers, self._kinds = shot, layers, job.delivery.kinds
        self._needs_plate = needs_plate(job.matte, job.delivery.kinds)
        # Only smoothing looks beyond a frame.
        self._finder = CutFinder() if job.cuts == "auto" and job.matte.smooth > 0 else None
        self._given = () if job.cuts == "auto" else job.cuts

    def cuts(self) -> Sequence[int]:
        """Frames at which takes begin, known for all frames given so far."""
        return self._finder.cuts if self._finder else self._given

    def frames(self) -> Iterator[Frame]:
        ahead: deque[Frame] = deque()
        for index, masks in enumerate(zip(*(layer.frames() for layer in self._layers), strict=True)):
            plates = read_plate(self._shot, index, self._kinds) if self._needs_plate else {}
            soft = torch.from_numpy(np.stack(masks))
            for layer, mask in zip(self._layers, soft, strict=True):
                check_finite(mask, f"mask of frame {index} in {layer.path}")
            ahead.append(Frame(index, soft, **plates))
            if self._finder:
                self._finder.add(plate_of(ahead[-1]).numpy())
            while ahead and (self._finder is None or ahead[0].index < self._finder.known):
                yield ahead.popleft()
        if self._finder:
            self._finder.finish()
        yield from ahead


def _where_it_stands(done: int, frame_count: int) -> str:
    """What of a stopped run is whole, and what the same command does next."""
    whole = f"Frames 0 to {done - 1} of {frame_count} are whole; t" if done else "T"
    return f"{whole}he same command run again starts at the first frame."
