"""A shot and prompts to files, as one stream: masks as the model gives them, mattes, deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..frames import ReopenableFrames
from ..known_words import unknown_words
from ..layers import combine, id_map, layer_label, settings_line, texts_of
from ..matte import Frame
from ..matte.checks import check_model_size
from ..matte.frames import alpha_of, plate_of
from ..matte.layer_settings import idle_settings
from ..media.first_look import colour_hints
from ..media.made_by import MadeBy
from ..media.overlay import OverlayColours, draw_overlay
from ..media.shot import Shot, ShotInfo
from ..media.writing import VideoWriter
from ..memory import peak_memory_mib
from ..pixels import to_uint8
from ..progress import SILENT, Progress
from ..segment.close_up import CloseUp
from ..segment.segmenter import Segmenter
from ..segment.window_masks import WindowMasks
from ..whole_files import written_whole
from .clock import Clock, explained_stop, where_it_stands
from .coverage import Coverage, warnings_of
from .delivery import Delivery, shape_entry, shape_notes
from .delivery_settings import idle_forms
from .fingerprint import changes_since, left_out_of, stats_of
from .folder import RunFolder
from .hints import FrameHints
from .layout import KINDS
from .output import Output, claimed
from .pipeline import PlateReader, make_mattes, numbering_of, timecodes_of
from .segment_job import SegmentJob
from .shot_entry import say_notes, shot_entry

Viewer = Callable[[int, np.ndarray, np.ndarray], None]
"""Called as viewer(index, plate uint8 [H,W,3], masks float32 [L,H,W])."""


def segment_to_files(
    segmenter: Segmenter,
    shot: ReopenableFrames,
    job: SegmentJob,
    *,
    prompt_embeds: Tensor | None = None,
    progress: Progress = SILENT,
    viewer: Viewer | None = None,
) -> dict[str, Any]:
    """Segment a shot into `job.out`; memory does not grow with its length.

    >>> job = SegmentJob(Path("out"), parse_layers(["smoke: the smoke | -the steam"]), write=("soft", "exr"))
    >>> with open_shot("shot.mov") as shot:
    ...     segment_to_files(load_segmenter("mini"), shot, job)["delivery"]["files"]
    ['exr/shot.1001-1240.exr']

    Nothing that earlier runs left in `job.out` is lost: see `Output`. A run that was stopped and is started again with
    the same fingerprint goes on where it stopped: with the next frame of every sequence, while videos (the overlay too)
    are encoded anew from the masks on disk. Mattes are made of soft masks rounded to 16 bits, as they are on disk, and
    the overlay shows masks as they are there, so that a stop changes no delivered frame.

    Args:
        segmenter: the model; its `seconds` are those of this run.
        shot: is reopened twice, and stays open itself: the model reads a window ahead of where mattes and overlay are
            made.
        job: what to write.
        prompt_embeds: [N,77,D] of `texts_of(job.layers)`; None for the segmenter's own.
        progress: told "steps" and "frames".
        viewer: shown each frame with its finished mattes, in the order of the layers; nothing where `job` makes none.

    Returns:
        what run.json says.

    Raises:
        ValueError: a frame that cannot be read, or anything the segmenter or the matte stage cannot take; files in
            `job.out` that no run has written and this one would replace.
        RuntimeError: the disk is full, or another run is writing to `job.out`.
        KeyboardInterrupt: with a sentence that says which frames are done and how to go on.
    """
    with claimed(job.claim(shot)) as output:
        return segment_to_output(
            segmenter, shot, job, output, prompt_embeds=prompt_embeds, progress=progress, viewer=viewer
        )


def segment_to_output(
    segmenter: Segmenter,
    shot: ReopenableFrames,
    job: SegmentJob,
    output: Output,
    *,
    prompt_embeds: Tensor | None = None,
    progress: Progress = SILENT,
    viewer: Viewer | None = None,
    made: WindowMasks | None = None,
) -> dict[str, Any]:
    """`segment_to_files` in a folder that is claimed already, by `job.claim`; windows that `made` has do not go through
    the model again (see `run.parts`)."""
    looking = CloseUp(segmenter) if job.masks.close_up else segmenter
    if prompt_embeds is None:
        prompt_embeds = segmenter.encode_prompts(texts_of(job.layers))
    info, numbering = _with_hints(job.info or _info(shot), shot), job.numbering(shot)
    size = (shot.height, shot.width)
    made_by = job.made_by(segmenter.backbone.name)
    folder = RunFolder(output, job.written_layers, size, numbering, job.kinds, job.masks.threshold, made_by)
    for own in job.mattes:
        check_model_size(own.model_size, _mask_size(looking, shot), "The masks")
    names = [layer.name for layer in job.written_layers]
    given = [matte.mode for matte in job.hints.mattes] if job.hints else []
    masks_coverage = Coverage("masks", names, job.masks.threshold, folder.notes.setdefault("masks", []), given=given)
    mattes_coverage = Coverage("mattes", names, ranges=folder.notes.setdefault("mattes", []), given=given)
    clock = Clock(looking, folder.seconds, job.provenance.load_seconds)
    hinted = job.hints.files if job.hints else ()
    stats = stats_of((*shot.files, *hinted) if isinstance(shot, Shot) else hinted)
    say_notes(info, job.delivery.sound, progress)
    for note in (*(idle_settings(names, job.mattes) if job.deliveries else ()), *idle_forms(job.form)):
        progress.say(note)
    unknown = unknown_words(job.layers, segmenter.backbone.name, segmenter.backbone.known_words)
    for warning in unknown:  # before the model works in vain
        progress.say(warning["sentence"])
    if folder.whole_frames:
        progress.say(f"Going on at frame {folder.whole_frames} of {folder.frame_count}.")
    stopping = partial(
        explained_stop, folder.out, lambda: folder.stop(clock.seconds()), partial(where_it_stands, folder)
    )
    with stopping():
        folder.begin()
        delivery = Delivery(
            folder.work,
            numbering,
            names,
            info,
            job.form,
            folder.delivered,
            made_by,
            timecodes_of(shot, info),
            job.derived,
            lambda: folder.notes.get("cuts", ()),
            progress,
        )
        with (
            closing(shot.reopen()) as model_shot,
            closing(shot.reopen()) as plates,
            overlay_video(job, folder.work, info, made_by) as overlay,
            delivery,
        ):
            model = _Model(looking, model_shot, prompt_embeds, progress, made)
            reader = PlateReader(plates, job.mattes, job.form, shown=overlay is not None or viewer is not None)
            frames = _SegmentedFrames(model, reader, job, folder, clock, overlay, masks_coverage)
            mattes = make_mattes(frames.stream(), job.mattes, frames.cuts, job.device, numbering)
            for frame in clock.each("matte", mattes):
                with clock.timed("deliver"):
                    delivery.write(frame)
                    mattes_coverage.add(alpha_of(frame))
                folder.delivered = delivery.frames_in_sequences
                if viewer is not None:
                    with clock.timed("overlay"):
                        viewer(frame.index, to_uint8(plate_of(frame).numpy()), alpha_of(frame).numpy())
                progress.update("frames", frame.index + 1, folder.frame_count)
                del frame  # before the next is made
    if folder.notes["cuts"]:
        found = ", ".join(map(str, folder.notes["cuts"]))
        progress.say(f"Takes begin at frames 0, {found}: no window looks across a cut.")
    warnings = [*warnings_of(masks_coverage, mattes_coverage), *changes_since(stats), *left_out_of(shot)]
    for sentence in (*(warning["sentence"] for warning in warnings), *shape_notes(delivery)):
        progress.say(sentence)
    entries = job.provenance.entries
    with stopping():
        run = {
            "shot": shot_entry(job.provenance.source, numbering_of(shot), numbering, info),
            "cuts": folder.notes["cuts"],
            "window_disagreement": folder.notes.get("window_disagreement", {}),
            "prompts_per_pass": folder.notes["prompts_per_pass"],
            "backbone": segmenter.backbone.name,
            "mask_size": list(model.mask_size),
            **entries,
            "settings": {
                **entries.get("settings", {}),
                "mattes": job.told_mattes,
                "own": [settings_line(layer.name, layer.settings) for layer in job.written_layers if layer.settings],
            },
            "delivery": {"name": numbering.names.title, "files": delivery.listing()},
            **shape_entry(delivery),
            "warnings": [*unknown, *warnings],
            "seconds": clock.seconds(),
            "peak_memory_mib": peak_memory_mib(),
        }
        return folder.finish(run)


def _info(shot: ReopenableFrames) -> ShotInfo:
    return shot.info if isinstance(shot, Shot) else ShotInfo(shot.height, shot.width)


def _with_hints(info: ShotInfo, shot: ReopenableFrames) -> ShotInfo:
    """With what the first frame's colours say among its notes."""
    return replace(info, notes=(*info.notes, *colour_hints(shot))) if isinstance(shot, Shot) else info


def _mask_size(segmenter: Segmenter | CloseUp, shot: ReopenableFrames) -> tuple[int, int]:
    """(height, width) of a model's masks, before they are scaled to the shot's size; of close-ups, in which cells are
    of several sizes, one between."""
    height, width = segmenter.plan.size_for(shot.height, shot.width)
    return (2 * height, 2 * width) if isinstance(segmenter, CloseUp) else (height, width)


@dataclass(frozen=True)
class _Model:
    """The model with what it is given."""

    segmenter: Segmenter | CloseUp
    shot: ReopenableFrames
    prompt_embeds: Tensor
    progress: Progress
    made: WindowMasks | None

    @property
    def mask_size(self) -> tuple[int, int]:
        """See `_mask_size`."""
        return _mask_size(self.segmenter, self.shot)


class _SegmentedFrames:
    """The frames of a run with their masks, from the disk or from the model; new masks are written on the way."""

    def __init__(
        self,
        model: _Model,
        plates: PlateReader,
        job: SegmentJob,
        folder: RunFolder,
        clock: Clock,
        overlay: Viewer | None,
        coverage: Coverage,
    ) -> None:
        self._model, self._job, self._coverage = model, job, coverage
        self._plates, self._folder, self._clock, self._overlay = plates, folder, clock, overlay
        self._numbering = numbering_of(model.shot)
        self._hints = FrameHints(job.hints if job.deliveries else None, job.layers)  # bounds are of mattes alone
        self._first = self._numbering.last_present(self._first_matte())

    def stream(self) -> Iterator[Frame]:
        """Frames still to be delivered, and those before them that they depend on."""
        done = self._folder.frames_done
        stored = self._folder.has_soft or not self._job.deliveries
        for index in range(0 if "overlay" in self._job.write else self._first if stored else done, done):
            with self._clock.timed("write"):
                soft = torch.from_numpy(self._folder.read_frame(index))
            frame = self._with_plate(index, soft)
            self._show(frame)
            if stored and index >= self._first:
                yield frame
        first = done if stored else min(done, self._first)
        if first < self._folder.frame_count:
            # What is missing is held of the frame before, which the model then has to give once more.
            yield from self._frames_of_the_model(self._numbering.last_present(first), max(first, self._first), done)

    def cuts(self) -> list[int]:
        """Frames at which takes begin, known for all frames given so far."""
        return self._folder.notes["cuts"]

    def _first_matte(self) -> int:
        """Where the matte stage begins: a matte depends on frames before it."""
        folder, job = self._folder, self._job
        if folder.has_single_files:
            return 0
        if not job.deliveries or folder.delivered == folder.frame_count:
            return folder.frame_count
        return max(folder.delivered - max(own.frames_before for own in job.mattes), 0)

    def _frames_of_the_model(self, first: int, wanted: int, written: int) -> Iterator[Frame]:
        """Frames from `wanted` on, by the model from `first` on; masks of those from `written` on are written."""
        job, folder, model = self._job, self._folder, self._model
        segmenter, progress, exclusive = model.segmenter, model.progress, job.masks.combine == "exclusive"
        looks: dict[str, Any] = {}
        if job.hints is not None and isinstance(segmenter, CloseUp):
            looks["within"] = partial(FrameHints(job.hints, job.layers).of_texts, texts_of(job.layers))
        hints = FrameHints(job.hints, job.layers)
        chunks = segmenter.stream(
            model.shot,
            model.prompt_embeds,
            first_frame=first,
            progress=progress,
            takes=self._numbering.takes,
            made=model.made,
            **looks,
        )
        before: Tensor | None = None
        for chunk in self._clock.each(None, chunks):
            if chunk.start == first:
                _say_passes(progress, chunk.prompts_per_pass, len(model.prompt_embeds))
            folder.notes |= {"cuts": list(chunk.cuts), "prompts_per_pass": chunk.prompts_per_pass}
            unsure = {str(index): round(value, 4) for index, value in chunk.disagreement.items()}
            folder.notes.setdefault("window_disagreement", {}).update(unsure)
            frames = range(chunk.start, chunk.start + chunk.soft.shape[1])
            masks = combine(chunk.soft, job.layers, job.masks.combine, hints.within_all(frames))
            for index, soft in enumerate(masks.unbind(dim=1), start=chunk.start):
                if self._numbering.is_black(index):
                    soft = torch.zeros_like(soft)
                elif self._numbering.is_missing(index) and before is not None:
                    soft = before
                before = soft
                frame = self._with_plate(index, soft)
                if index >= written:
                    with self._clock.timed("write"):
                        ids = id_map(soft, job.masks.threshold).numpy() if exclusive else None
                        folder.write_frame(soft.numpy(), ids)
                        self._coverage.add(soft)
                    self._show(frame)
                if index >= wanted:
                    yield frame
            folder.save_state(self._clock.seconds())
            progress.update("frames", folder.whole_frames, folder.frame_count)

    def _with_plate(self, index: int, soft: Tensor) -> Frame:
        bounds = self._hints.bounds(index, self._job.masks.combine)
        cells = (self._model.mask_size,) * len(soft)
        with self._clock.timed("read"):
            return Frame(index, soft, **self._plates.read(index), cells=cells, **bounds)

    def _show(self, frame: Frame) -> None:
        if self._overlay is not None:
            with self._clock.timed("overlay"):
                picture = to_uint8(plate_of(frame).numpy())
                self._overlay(frame.index, picture, self._folder.as_stored(frame.soft.numpy()))


def _say_passes(progress: Progress, together: int, count: int) -> None:
    if count > 1:
        how = f"all {count} prompts at once" if together == count else f"{together} of {count} prompts at a time"
        progress.say(f"The denoiser takes {how}.")


@contextmanager
def overlay_video(job: SegmentJob, work: Path, info: ShotInfo, made_by: MadeBy) -> Iterator[Viewer | None]:
    """Writes the overlay video of the frames that it is shown; None where the job writes none."""
    if "overlay" not in job.write:
        yield None
        return
    labels = [layer_label(layer) for layer in job.written_layers]
    with written_whole(KINDS["overlay"].path(work)) as temporary:
        texts = made_by.texts([layer.name for layer in job.written_layers], matted=False)
        colours = OverlayColours(len(labels), [layer.colour for layer in job.written_layers])
        video = VideoWriter(temporary, info, texts)

        def write(index: int, plate: np.ndarray, soft: np.ndarray) -> None:
            threshold = job.masks.threshold
            chosen = colours.at(plate, soft, threshold)
            video.write(draw_overlay(plate, soft, labels, threshold=threshold, colours=chosen))

        try:
            yield write
        except BaseException:  # Ctrl-C too: the file must be let go of before it can be removed
            video.abandon()
            raise
        video.close()
