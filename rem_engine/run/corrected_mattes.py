"""What is made of a layer's masks, made anew where these changed: the id map, the overlay, deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..layers import id_map
from ..matte import Frame
from ..matte.frames import alpha_of, plate_of
from ..matte.layer_settings import derived_layers
from ..media.writing import ids_png
from ..pixels import as_16_bits, to_uint8
from ..progress import Progress
from ..whole_files import written_whole
from .account import FileSet
from .delivery import Delivery
from .hints import FrameHints
from .layout import DELIVERIES, KINDS, SINGLE_FILES
from .output import Output
from .pipeline import PlateReader, make_mattes, timecodes_of
from .segment_run import overlay_video
from .stored_masks import StoredMasks, best_masks
from .whole_run import WholeRun


class MadeAnew:
    """What of a run depends on a layer's masks in some takes; files of other layers and takes are left out.

    Args:
        run: with its shot.
        layer: whose masks changed.
        takes: in which they did.
        output: below whose `work` the masks of all layers lie.
        device: where the matte stage computes.
        progress: told "mattes".
    """

    def __init__(
        self,
        run: WholeRun,
        layer: str,
        takes: Sequence[range],
        output: Output,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._run, self._layer, self._takes, self._output = run, layer, takes, output
        self._device, self._progress = device, progress
        self._place = run.layers.index(layer)
        mattes = run.job.mattes
        self._derived = derived_layers([layer], [mattes[self._place]])
        own = (layer, *self._derived)
        self._files = [
            one
            for one in run.record.files
            if one.layer in ("", *own) and (KINDS[one.kind].is_delivery or one.kind in ("ids", "overlay"))
        ]
        self._kinds = {one.kind for one in self._files}
        self._of_all = any(not one.layer for one in self._files)  # some files hold all layers
        self._names = run.layers if self._of_all else [layer]
        self._masks = {name: StoredMasks(self._stored(name), output.work) for name in self._names}

    def made(self) -> list[FileSet]:
        """Make it anew, and say what was made."""
        if not self._takes:
            return []
        with ExitStack() as open_masks:
            for masks in self._masks.values():
                open_masks.enter_context(closing(masks))
            if "ids" in self._kinds:
                self._make_ids()
            if "overlay" in self._kinds:
                self._make_overlay()
            if self._kinds & {*DELIVERIES}:
                for span in self._spans():
                    self._deliver(span)
        return self._files

    def _stored(self, name: str) -> FileSet:
        files = best_masks(self._run.record.files, name)
        if files is None:
            raise ValueError(
                f"{self._run.out} has files of all layers, and no masks of {name} any more to make them anew of: "
                "segment the shot again."
            )
        return files

    def _soft(self, place: int) -> np.ndarray:
        return np.stack([self._masks[name].read(place) for name in self._names])

    def _make_ids(self) -> None:
        (files,) = (one for one in self._files if one.kind == "ids")
        made_by = self._run.job.made_by(str(self._run.record.run.get("backbone", "")))
        texts = made_by.texts(self._run.layers, matted=False)
        for place in (place for take in self._takes for place in take):
            soft = torch.from_numpy(self._soft(place))
            path = files.file_of(self._output.work, self._run.numbering.numbers[place])
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as temporary:
                temporary.write_bytes(ids_png(id_map(soft, self._run.job.masks.threshold).numpy(), texts))

    def _make_overlay(self) -> None:
        run = self._run
        made_by = run.job.made_by(str(run.record.run.get("backbone", "")))
        nothing = replace(run.job.form, kinds=())
        with (
            closing(run.shot.reopen()) as plates,
            overlay_video(run.job, self._output.work, run.shot.info, made_by) as show,
        ):
            reader = PlateReader(plates, (), nothing, shown=True)
            for place in range(run.shot.frame_count):
                if show is not None:
                    picture = to_uint8(plate_of(Frame(place, torch.empty(0), **reader.read(place))).numpy())
                    show(place, picture, as_16_bits(self._soft(place)))

    def _spans(self) -> list[range]:
        """Frames whose mattes are made anew: takes next to one another at a time; all, where one file holds them."""
        if self._kinds & {*SINGLE_FILES}:
            return [range(self._run.shot.frame_count)]
        spans: list[range] = []
        for take in self._takes:
            if spans and spans[-1].stop == take.start:
                spans[-1] = range(spans[-1].start, take.stop)
            else:
                spans.append(take)
        return spans

    def _deliver(self, span: range) -> None:
        run, job, shot = self._run, self._run.job, self._run.shot
        numbering, made_by = run.numbering, job.made_by(str(run.record.run.get("backbone", "")))
        places = range(len(run.layers)) if self._of_all else range(self._place, self._place + 1)
        settings = [job.mattes[place] for place in places]
        own_kinds = tuple(kind for kind in DELIVERIES if kind in self._kinds and "{layer}" in KINDS[kind].file)
        all_kinds = tuple(kind for kind in DELIVERIES if kind in self._kinds and "{layer}" not in KINDS[kind].file)

        def delivery(kinds: tuple[str, ...], layers: Sequence[str], derived: Sequence[str]) -> Delivery:
            form = replace(job.form, kinds=kinds)
            first, timecodes = span.start, timecodes_of(shot, shot.info)
            work = self._output.work
            return Delivery(
                work,
                numbering,
                layers,
                shot.info,
                form,
                first,
                made_by,
                timecodes,
                derived,
                lambda: run.cuts,
                self._progress,
            )

        kinds = replace(job.form, kinds=(*own_kinds, *all_kinds))
        with ExitStack() as stack:
            plates = stack.enter_context(closing(shot.reopen()))
            of_layer = stack.enter_context(delivery(own_kinds, [self._layer], self._derived)) if own_kinds else None
            of_all = stack.enter_context(delivery(all_kinds, run.layers, job.derived)) if all_kinds else None
            reader = PlateReader(plates, settings, kinds, shown=False)
            frames = self._frames(span, reader, places)
            for frame in make_mattes(frames, settings, lambda: run.cuts, self._device, numbering):
                if frame.index not in span:
                    continue
                if of_all is not None:
                    of_all.write(frame)
                if of_layer is not None:
                    of_layer.write(self._of_layer(frame) if self._of_all else frame)
                self._progress.update("mattes", frame.index + 1 - span.start, len(span))
                del frame  # before the next is made

    def _frames(self, span: range, plates: PlateReader, places: Sequence[int]) -> Iterator[Frame]:
        run, combine = self._run, self._run.job.masks.combine
        hints = FrameHints(run.hints, run.job.layers)
        for index in span:
            bounds = hints.bounds(index, combine)
            if bounds:
                bounds = {"given": {mode: _of(places, matte) for mode, matte in bounds["given"].items()}}
            # Corrected masks have edges of their own, and no cells of the model's.
            new = any(index in take for take in self._takes)
            cells = tuple(None if new and place == self._place else run.mask_size for place in places)
            soft = torch.from_numpy(self._soft(index))
            yield Frame(index, soft, **plates.read(index), cells=cells, **bounds)

    def _of_layer(self, frame: Frame) -> Frame:
        """The layer alone of a frame of all."""
        own = slice(self._place, self._place + 1)
        derived = frame.derived
        if derived is not None:
            names = [*self._run.job.derived]
            first = names.index(self._derived[0]) if self._derived else 0
            derived = derived[first : first + len(self._derived)] if self._derived else None
        foreground = None if frame.foreground is None else frame.foreground[own]
        return replace(
            frame, soft=frame.soft[own], alpha=alpha_of(frame)[own], foreground=foreground, derived=derived, cells=()
        )


def _of(places: Sequence[int], matte: Tensor) -> Tensor:
    return matte if len(matte) == 1 else matte[[*places]]
