"""A shot and prompts to files on disk, as one stream: masks as the model gives them, mattes, deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from ..frames import ReopenableFrames
from ..layers import CombineMode, Layer, combine, combined_layers, id_map, layer_label
from ..matte import MatteSettings
from ..media.overlay import draw_overlay
from ..media.shot import ShotInfo
from ..media.writing import VideoWriter
from ..memory import peak_memory_mib
from ..names import IDS_FOLDER, OVERLAY_FILE
from ..whole_files import written_whole
from .clock import Clock, stopping_well
from .delivery_settings import DeliverySettings
from .folder import RunFolder
from .layout import DELIVERIES
from .matte_files import MaskedFrame, MatteFiles, finish_mattes, needs_plate, read_plate, whole_or_abandoned

if TYPE_CHECKING:
    from ..segment.close_up import CloseUp
    from ..segment.segmenter import Segmenter

Watch = Callable[[int, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Order:
    """What a run writes, and how.

    Attributes:
        out: the folder to write to; see `RunFolder` and `Delivery` for what it then holds.
        layers: what is asked for.
        name: with what the names of delivered files begin.
        write: any of masks, soft, npz, overlay (the masks as the model gives them, combined) and of the deliveries
            alpha, png16, exr, prores, webm (mattes).
        combine: how the layers share the picture; "exclusive" also writes their id map.
        threshold: a pixel is in a binary mask, and in the id map, where soft > threshold.
        matte: what the matte stage does on the way to deliveries.
        delivery: form of the deliveries; their kinds are those of `write`.
    """

    out: Path
    layers: tuple[Layer, ...]
    name: str
    write: tuple[str, ...] = ("masks", "soft", "overlay")
    combine: CombineMode = "separate"
    threshold: float = 0.5
    matte: MatteSettings = field(default_factory=MatteSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)

    @property
    def deliveries(self) -> tuple[str, ...]:
        """What is written of mattes."""
        return tuple(kind for kind in DELIVERIES if kind in self.write)


class Reporter(Protocol):
    """Where a run tells how far it is; an exception from `steps` or `frames` ends it, with whole frames on disk."""

    def say(self, text: str) -> None: ...
    def steps(self, done: int, total: int) -> None: ...
    def frames(self, done: int, total: int) -> None: ...


def segment_to_files(
    segmenter: Segmenter | CloseUp,
    open_plate: Callable[[], ReopenableFrames],
    info: ShotInfo,
    prompt_embeds: Tensor,
    order: Order,
    reporter: Reporter,
    *,
    fingerprint: str | None = None,
    source: str = "",
    about: Mapping[str, Any] | None = None,
    load_seconds: float = 0.0,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Segment a shot into `order.out`; memory does not grow with its length.

    A run that was stopped and is started again with the same fingerprint goes on where it stopped: with the next frame
    of every sequence, while videos (the overlay too) are encoded anew from the masks on disk. Mattes are made of soft
    masks rounded to 16 bits, as they are on disk, so that a stop changes no delivered frame.

    Args:
        segmenter: the model; its `seconds` are those of this run.
        open_plate: gives a reader of the shot, which is closed in the end. Called twice: the model reads a window ahead
            of where mattes and overlay are made.
        info: what deliveries take over from the shot.
        prompt_embeds: [N,77,D] of `texts_of(order.layers)`.
        order: what to write.
        reporter: told of progress.
        fingerprint: equal for runs that give equal files; None for a run that is not to be taken up again.
        source: path of the shot, for run.json.
        about: further entries of run.json.
        load_seconds: what loading the model took.
        watch: called as watch(index, plate uint8 [H,W,3], soft [L,H,W]) for each frame, once its masks are there.

    Returns:
        what run.json says.

    Raises:
        ValueError: a frame that cannot be read, or anything the segmenter or the matte stage cannot take.
        RuntimeError: the disk is full.
        KeyboardInterrupt: with a sentence that says which frames are done and how to go on.
    """
    layers = combined_layers(order.layers, order.combine)
    with closing(open_plate()) as shot:
        folder = RunFolder(
            order.out,
            layers,
            (shot.frame_count, shot.height, shot.width),
            (*order.write, IDS_FOLDER) if order.combine == "exclusive" else order.write,
            order.threshold,
            fingerprint,
            order.name,
        )
        clock = Clock(segmenter, folder.seconds, load_seconds)
        if folder.whole_frames:
            reporter.say(f"Going on at frame {folder.whole_frames} of {folder.frame_count}.")
        with stopping_well(folder, clock):
            files = MatteFiles(
                order.out,
                order.name,
                [layer.name for layer in layers],
                info,
                replace(order.delivery, kinds=order.deliveries),
                folder.delivered,
            )
            with closing(open_plate()) as plate, _overlay(order, info) as overlay, whole_or_abandoned(files):
                stream = _Stream(segmenter, shot, plate, prompt_embeds, order, folder, clock, reporter)
                stream.overlay, stream.watch = overlay, watch
                finished = finish_mattes(stream.frames(), order.matte, stream.cuts)
                for frame in clock.each("matte", finished):
                    with clock.timed("deliver"):
                        files.write(frame)
                    folder.delivered = files.in_sequences
                    reporter.frames(frame.matte.index + 1, folder.frame_count)
        if folder.notes["cuts"]:
            found = ", ".join(map(str, folder.notes["cuts"]))
            reporter.say(f"Takes begin at frames 0, {found}: no window looks across a cut.")
        with stopping_well(folder, clock):
            run = {
                "shot": {
                    "name": order.name,
                    "path": source,
                    "frames": shot.frame_count,
                    "height": shot.height,
                    "width": shot.width,
                    "fps": None if info.fps is None else float(info.fps),
                },
                "cuts": folder.notes["cuts"],
                "prompts_per_pass": folder.notes["prompts_per_pass"],
                "backbone": segmenter.backbone.name,
                **(about or {}),
                "delivery": {"name": order.name, "files": files.listing()},
                "seconds": clock.seconds(),
                "peak_memory_mib": peak_memory_mib(),
            }
            return folder.finish(run)


class _Stream:
    """The frames of a run, from the disk or from the model, to the matte stage; masks are written on the way."""

    overlay: _Overlay | None = None
    watch: Watch | None = None

    def __init__(
        self,
        segmenter: Segmenter | CloseUp,
        shot: ReopenableFrames,
        plate: ReopenableFrames,
        prompt_embeds: Tensor,
        order: Order,
        folder: RunFolder,
        clock: Clock,
        reporter: Reporter,
    ) -> None:
        self._segmenter, self._shot, self._plate, self._embeds = segmenter, shot, plate, prompt_embeds
        self._order, self._folder, self._clock, self._reporter = order, folder, clock, reporter
        self._first = self._first_matte()

    def frames(self) -> Iterator[MaskedFrame]:
        """Frames still to be delivered, and those before them that they depend on."""
        done = self._folder.frames_done
        stored = self._folder.has_soft or not self._order.deliveries
        for index in range(0 if self.overlay else self._first if stored else done, done):
            with self._clock.timed("write"):
                soft = self._folder.read_frame(index)
            frame = self._masked_frame(index, soft)
            self._draw(frame)
            if stored and index >= self._first:
                yield frame
        first = done if stored else min(done, self._first)
        if first < self._folder.frame_count:
            yield from self._frames_of_the_model(first, done)

    def cuts(self) -> list[int]:
        """Frames at which takes begin, known for all frames given so far."""
        return self._folder.notes["cuts"]

    def _first_matte(self) -> int:
        """Where the matte stage begins: a matte depends on `smooth` frames before it."""
        folder, order = self._folder, self._order
        if folder.has_videos:
            return 0
        if not order.deliveries or folder.delivered == folder.frame_count:
            return folder.frame_count
        return max(folder.delivered - order.matte.smooth, 0)

    def _frames_of_the_model(self, first: int, written: int) -> Iterator[MaskedFrame]:
        """Frames from `first` on; masks of those from `written` on are written."""
        order, folder, segmenter = self._order, self._folder, self._segmenter
        chunks = segmenter.stream(self._shot, self._embeds, first_frame=first, progress=self._reporter.steps)
        for chunk in self._clock.each(None, chunks):
            if chunk.start == first:
                _say_passes(self._reporter, segmenter.prompts_per_pass, len(self._embeds))
            folder.notes = {"cuts": list(segmenter.cuts), "prompts_per_pass": segmenter.prompts_per_pass}
            masks = combine(chunk.soft, order.layers, order.combine)
            for index, soft in enumerate(masks.unbind(dim=1), start=chunk.start):
                frame = self._masked_frame(index, soft.numpy())
                if index >= written:
                    with self._clock.timed("write"):
                        ids = id_map(soft, order.threshold).numpy() if order.combine == "exclusive" else None
                        folder.write_frame(frame.soft, ids)
                    self._draw(frame)
                if index >= self._first:
                    yield frame
            folder.save_state(self._clock.seconds())
            self._reporter.frames(folder.whole_frames, folder.frame_count)

    def _masked_frame(self, index: int, soft: np.ndarray) -> MaskedFrame:
        order = self._order
        if not (self.overlay or self.watch or needs_plate(order.matte, order.deliveries)):
            return MaskedFrame(index, soft)
        with self._clock.timed("read"):
            return MaskedFrame(index, soft, *read_plate(self._plate, index, order.deliveries))

    def _draw(self, frame: MaskedFrame) -> None:
        if frame.plate is None or not (self.overlay or self.watch):
            return
        with self._clock.timed("overlay"):
            plate = frame.plate
            picture = plate if plate.dtype == np.uint8 else np.rint(plate * 255.0).astype(np.uint8)
            if self.overlay:
                self.overlay.write(picture, frame.soft)
            if self.watch:
                self.watch(frame.index, picture, frame.soft)


def _say_passes(reporter: Reporter, together: int, count: int) -> None:
    if count > 1:
        how = f"all {count} prompts at once" if together == count else f"{together} of {count} prompts at a time"
        reporter.say(f"The denoiser takes {how}.")


class _Overlay:
    """The overlay video."""

    def __init__(self, order: Order, info: ShotInfo, path: Path) -> None:
        self._labels = [layer_label(layer) for layer in combined_layers(order.layers, order.combine)]
        self._threshold = order.threshold
        self._writer = VideoWriter(path, info.height, info.width, info.fps)

    def write(self, plate: np.ndarray, soft: np.ndarray) -> None:
        """Append a frame: the plate, uint8 [H,W,3], and soft masks [L,H,W]."""
        self._writer.write(draw_overlay(plate, soft, self._labels, threshold=self._threshold))

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.abandon()


@contextmanager
def _overlay(order: Order, info: ShotInfo) -> Iterator[_Overlay | None]:
    if "overlay" not in order.write:
        yield None
        return
    with written_whole(order.out / OVERLAY_FILE) as temporary:
        overlay = _Overlay(order, info, temporary)
        try:
            yield overlay
        except BaseException:  # Ctrl-C too: the file must be let go of before it can be removed
            overlay.abandon()
            raise
        overlay.close()
