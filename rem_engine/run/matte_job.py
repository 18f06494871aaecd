"""A shot and masks on disk to delivered files, as the `matte` command does it."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..content_hash import content_hash
from ..devices import find_device
from ..folder_lock import check_is_folder
from ..layers import Layer, check_layer_is_there, parse_settings
from ..matte import Frame, MatteSettings
from ..matte.checks import check_finite, check_model_size, fits_as_cells
from ..matte.frames import alpha_of
from ..matte.layer_settings import derived_layers, idle_settings, told_by_layer, with_derived
from ..matte.solve.cells import find_size, upscaling_error
from ..media.made_by import MadeBy, read_made_by
from ..media.masks import open_masks
from ..media.numbering import Numbering
from ..media.plate_settings import PlateSettings
from ..media.reading import open_shot
from ..media.shot import Shot
from ..media.windows import whole_frame
from ..progress import SILENT, Progress
from ..segment.cuts import CutFinder
from ..segment.resize import masks_to_shot
from ..segment.settings import check_cuts
from .account import file_sets
from .clock import explained_stop
from .coverage import Coverage
from .delivery import Delivery, shape_entry, shape_notes
from .delivery_settings import DeliverySettings, idle_forms
from .fingerprint import changes_since, left_out_of, settings_hash, stats_of
from .given_masks import GivenMasks, find_masks
from .given_mattes import GivenMattes, open_given
from .kept_settings import kept_notes, kept_settings
from .layout import check_apart
from .mask_pairs import PairedMasks, pair
from .naming import filled, versioned
from .output import Claim, claimed
from .pipeline import PlateReader, make_mattes, stage_settings, timecodes_of
from .shot_entry import say_notes, shot_entry

_TELLING, _LOOKED_AT = 0.1, 4
"""Masks that hold an edge, and how many of them are looked at for the size at which a model made them."""

_FAR, _FINER = 1.25, 0.25
"""By how much a size that masks show is another than was told, and from which difference they are none of that size."""


@dataclass(frozen=True)
class MatteJob:
    """Which masks to make mattes of, and how; see `python -m rem_engine matte --help`.

    `own` are settings of single layers, as `parse_settings` reads them, and `given` further mattes by mode, as
    `open_given` does. Of layers of a run's folder what this had set for them holds too, where neither `own` nor `asked`
    has it: names of fields of `matte` that were asked for, and "preset".
    """

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
    name: str = ""
    own: tuple[str, ...] = ()
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()

    def mattes(self, layers: Mapping[str, GivenMasks]) -> tuple[tuple[MatteSettings, ...], list[str]]:
        """(settings of each layer, what there is to say of them): those of all, and over them its own.

        Raises:
            ValueError: settings of a layer that there is not, or that cannot be.
        """
        own: dict[str, tuple[tuple[str, str], ...]] = {}
        for name, settings in map(parse_settings, self.own):
            check_layer_is_there(name, [*layers])
            own[name] = own.get(name, ()) + settings
        kept = kept_settings(layers, own, self.matte, self.asked)
        mattes = stage_settings(self.matte, [Layer(name, "", settings=kept[name]) for name in layers], self.delivery)
        return mattes, kept_notes(layers, own, self.matte, self.asked, self.given)


def matte_to_files(job: MatteJob, progress: Progress = SILENT) -> list[str] | None:
    """Put masks through the matte stage into files; memory does not grow with the shot.

    All that can be checked is checked before anything is written, and nothing that earlier runs left in `job.out` is
    lost: see `Output`.

    Args:
        job: which masks, and how.
        progress: told "mattes", of roto shapes "shapes", and of layers whose mattes are empty or full in every frame.

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
        form, given = job.delivery, find_masks(job.masks)
        template = job.name
        job = replace(job, name=filled(template, job.fields, shot.numbering.names.title))
        numbering = shot.numbering.delivered(name=job.name, start=form.start, digits=form.padding)
        mattes, kept = job.mattes(given)
        bounds = open_given(job.given, [*given], shot, numbering)
        layers = {
            name: _open_fitting(masks, shot, numbering, job, own.model_size)
            for (name, masks), own in zip(given.items(), mattes, strict=True)
        }
        derived, told = derived_layers([*layers], mattes), told_by_layer([*layers], mattes)
        for paired, own in zip(layers.values(), mattes):
            check_model_size(own.model_size, paired.cells, f"The masks in {paired.masks.path}")
        sizes = [
            note for name, own in zip(layers, mattes, strict=True) if (note := _note_on_size(name, layers[name], own))
        ]
        check_cuts(() if job.cuts == "auto" else job.cuts, shot.frame_count)
        inputs = [job.shot, *(paired.masks.path for paired in layers.values()), *bounds.files]
        device = find_device(job.device)
        shot.read(0, 1)
        for paired in layers.values():
            next(paired.masks.frames())
        next(bounds.frames())
        settings = {
            "masks": {name: str(masks) for name, masks in given.items()},
            "cuts": job.cuts,
            "device": job.device,
            "matte": asdict(job.matte),
            "delivery": asdict(job.delivery),
            "plate": asdict(job.plate),
            "name": template,
            "fields": dict(job.fields),
            "own": job.own,
            "given": {mode: [*texts] for mode, texts in job.given.items()},
            "mattes": told,
        }
        read = [
            shot.files,
            *(paired.masks.files for paired in layers.values()),
            *([bounds.files] if bounds.files else []),
        ]
        seen = {"shot": job.shot, **settings, "space": shot.plate_colour.space.digest}
        fingerprint = settings_hash(seen, [file for files in read for file in files])
        job = replace(job, name=versioned(job.name, job.out, fingerprint, again=job.again))
        numbering = shot.numbering.delivered(name=job.name, start=form.start, digits=form.padding)
        check_apart(inputs, job.out, (*layers, *derived), numbering.names.title, job.delivery.kinds)
        claim = Claim(
            job.out,
            tuple(file_sets(job.delivery.kinds, [*layers], numbering, derived)),
            tuple({"prompt": "", "name": name, "folder": name} for name in layers),
            fingerprint,
            "-".join(content_hash(files)[:16] for files in read),
            job.overwrite,
            job.again,
        )
        with claimed(claim) as output:
            if output.is_there:
                return None
            say_notes(shot.info, job.delivery.sound, progress)
            idle = [*idle_settings([*layers], mattes), *idle_forms(job.delivery), *sizes]
            notes = [note for paired in layers.values() for note in (paired.masks.note(), *paired.notes) if note]
            for note in (*kept, *idle, *notes, *bounds.notes):
                progress.say(note)
            made_by = _made_by(layers, mattes, bounds)
            masked = _MaskedFrames(shot, list(layers.values()), job, mattes, bounds)
            delivery = Delivery(
                output.work,
                numbering,
                list(layers),
                shot.info,
                job.delivery,
                made_by=made_by,
                timecode_of=timecodes_of(shot, shot.info),
                derived=derived,
                cuts=masked.cuts,
                progress=progress,
            )
            coverage = Coverage("mattes", list(layers), source="the masks", given=[*job.given])
            with explained_stop(
                job.out,
                # What waits to replace others is of use to nobody, since mattes are not gone on with.
                lambda: output.stop(None if output.replaces else {}),
                lambda: _where_it_stands(0 if output.replaces else delivery.frames_in_sequences, shot.frame_count),
            ):
                output.begin({})
                masks = [file for paired in layers.values() for file in paired.masks.files]
                stats = stats_of([*shot.files, *masks, *bounds.files])
                with delivery:
                    made = make_mattes(masked.frames(), mattes, masked.cuts, device, numbering)
                    for frame in map(_without_masks, made):
                        delivery.write(frame)
                        coverage.add(alpha_of(frame))
                        progress.update("mattes", frame.index + 1, shot.frame_count)
                        del frame  # before the next is made
                files = delivery.listing()
                entries = [
                    {"prompt": made_by.prompts[name], "name": name, "folder": name, "frames": shot.frame_count}
                    for name in layers
                ]
                warnings = [*coverage.warnings(), *changes_since(stats), *left_out_of(shot)]
                run = {
                    "shot": shot_entry(str(job.shot), shot.numbering, numbering, shot.info),
                    "settings": settings,
                    "prompts": entries,
                    "delivery": {"name": numbering.names.title, "files": files},
                    "versions": {"rem_engine": __version__, "python": platform.python_version()},
                    **shape_entry(delivery),
                    "warnings": warnings,
                }
                output.finish(run)
        for sentence in (*(warning["sentence"] for warning in warnings), *shape_notes(delivery)):
            progress.say(sentence)
        return files


def _without_masks(frame: Frame) -> Frame:
    """Of which nothing is written: those of two layers take 70 MB at 4096x2160."""
    return replace(frame, soft=torch.empty(len(frame.soft), 0, 0))


def _made_by(layers: Mapping[str, PairedMasks], mattes: Sequence[MatteSettings], bounds: GivenMattes) -> MadeBy:
    """What the masks say of how they were made, as far as a run of ours wrote them, and what is made of them here."""
    said = {name: read_made_by(paired.masks.files[0]) for name, paired in layers.items()}
    given: dict[str, dict[str, list[str]]] = {}
    for place, (name, own) in enumerate(zip(layers, mattes, strict=True)):
        earlier, here = said[name].given, bounds.told_of(place)
        told = {mode: [*earlier.get(mode, ()), *here.get(mode, ())] for mode in {**earlier, **here}}
        given |= dict.fromkeys(with_derived(name, own), told)
    models, checkpoints = (
        ", ".join(dict.fromkeys(filter(None, names)))
        for names in ([one.model for one in said.values()], [one.checkpoint for one in said.values()])
    )
    return MadeBy(
        models,
        checkpoints,
        {name: one.prompt for name, one in said.items()},
        told_by_layer([*layers], mattes),
        given,
    )


def _open_fitting(given: GivenMasks, shot: Shot, numbering: Numbering, job: MatteJob, model_size: int) -> PairedMasks:
    path, windows = given.path, shot.windows or whole_frame(shot.height, shot.width)
    masks = open_masks(path, given.channel, windows=windows, are_ours=given.are_ours)
    size, whole_size = (masks.height, masks.width), (shot.height, shot.width)
    if size != whole_size and not fits_as_cells(size, whole_size, model_size):
        larger = size[0] == size[1] and not model_size
        raise ValueError(
            f"The masks in {path} are {masks.width}x{masks.height} and the frames of {shot.name} {shot.width}x"
            f"{shot.height}: give masks of the shot's size, or a model's own, "
            + (f"and where these are that, their size: --model-size {size[0]}." if larger else "which are smaller.")
        )
    if given.counted:
        masks = replace(masks, numbers=None)
    elif sum(map(len, given.numbers)) == masks.frame_count:
        masks = replace(masks, numbers=tuple(number for span in given.numbers for number in span))
    paired = pair(masks, shot.numbering, numbering, every=not job.plate.frames)
    return replace(paired, cells=given.cells if size == whole_size else size)


def _note_on_size(name: str, paired: PairedMasks, own: MatteSettings) -> str:
    """What a few masks of unknown origin show of the model's size that was told, or that solid edges need: a sentence,
    or "".

    Raises:
        ValueError: they were scaled up from another than was told.
    """
    if own.refine is not None or paired.cells is not None or not (own.model_size or own.edges == "solid"):
        return ""
    path, told = paired.masks.path, own.model_size
    telling = islice((mask for mask in paired.masks.frames() if np.ptp(mask) > _TELLING), _LOOKED_AT)
    for mask in telling:
        shown = find_size(mask)
        error = upscaling_error(mask, (told, told)) if told else 0.0
        # Of a small thing, sizes near the right one are shown, too.
        if shown and told and any(max(side, told) > _FAR * min(side, told) for side in shown):
            check_model_size(told, shown, f"The masks in {path}")
        if error > _FINER:
            return (
                f"The masks in {path} have finer edges than {told}x{told} pixels of a model can, by up to {error:.2f}: "
                "leave the model size out unless it is right."
            )
        if shown:
            return ""
    if told:
        return ""
    return (
        f"The edges of {name} stay as its masks have them: these are of the frames' size, and nothing "
        "says at which a model made them; say it where one did, as --model-size 512 does (REM)."
    )


class _MaskedFrames:
    """Frames and masks for the matte stage, of which it is known where takes begin."""

    def __init__(
        self,
        shot: Shot,
        layers: Sequence[PairedMasks],
        job: MatteJob,
        mattes: Sequence[MatteSettings],
        bounds: GivenMattes,
    ) -> None:
        self._shot, self._layers, self._bounds = shot, layers, bounds
        self._size = (shot.height, shot.width)
        self._sizes = {(layer.masks.height, layer.masks.width) for layer in layers}
        self._plates = PlateReader(shot, mattes, job.delivery, shown=self._sizes != {self._size})
        # Else nothing depends on another frame.
        along = any(own.frames_before > 0 for own in mattes) or "shapes" in job.delivery.kinds
        self._finder = CutFinder() if job.cuts == "auto" and along else None
        self._given = {*shot.numbering.takes, *(() if job.cuts == "auto" else job.cuts)}

    def cuts(self) -> Collection[int]:
        """Frames at which takes begin, known for all frames given so far."""
        return self._given.union(self._finder.cuts) if self._finder else self._given

    def frames(self) -> Iterator[Frame]:
        given, masks = self._bounds.frames(), [layer.frames() for layer in self._layers]
        cells = tuple(layer.cells for layer in self._layers)
        finder = self._finder
        looked_at = self._looked_at(finder) if finder else iter(())
        for index in range(self._shot.frame_count):
            while finder and finder.known <= index:
                next(looked_at)
            # Without a name, which would hold it beside the next one.
            yield Frame(
                index, self._masks(index, masks), **self._plates.read(index), given=next(given) or None, cells=cells
            )

    def _looked_at(self, finder: CutFinder) -> Iterator[int]:
        """Looks for cuts, a frame at a time; by a reader of its own, since frames that wait take as much room as those
        that are worked on."""
        with closing(self._shot.reopen()) as ahead:
            for index in range(ahead.frame_count):
                finder.add(ahead.read_unviewed(index, index + 1)[0], ahead.view)
                ahead.forget()
                if index + 1 == ahead.frame_count:
                    finder.finish()
                yield index

    def _masks(self, index: int, readers: Sequence[Iterator[np.ndarray]]) -> Tensor:
        """The next masks of the layers as one tensor: of one size as they are, of several at the shot's, as the engine
        scales them, of which the matte stage finds back what they were."""
        layers = [torch.from_numpy(next(reader)) for reader in readers]
        if len(self._sizes) > 1:
            layers = [masks_to_shot(layer[None, None, None], self._size)[0, 0] for layer in layers]
        for layer, mask in zip(self._layers, layers, strict=True):
            check_finite(mask, f"mask of frame {index} in {layer.masks.path}")
        return torch.stack(layers)


def _where_it_stands(done: int, frame_count: int) -> str:
    """What of a stopped run is whole, and what the same command does next."""
    whole = f"Frames 0 to {done - 1} of {frame_count} are whole; t" if done else "T"
    return f"{whole}he same command run again starts at the first frame."
