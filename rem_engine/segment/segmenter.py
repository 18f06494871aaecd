"""Video and prompts in, soft masks out: windows, many prompts, progress, cancel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..frames import ArrayFrames, FrameSource, check_source
from ..progress import SILENT, Progress
from .model_frames import ModelFrames, groups
from .other_device import OtherDevice
from .passes import Passes, ShotOnItsWay
from .resize import masks_to_shot
from .settings import SegmentSettings
from .window_masks import WindowMasks
from .window_model import WindowModel
from .window_plan import WindowPlan
from .windows import EndOfTake, Window

_DEFAULTS = SegmentSettings()

# Prompts remembered: an embedding takes 1.2 MB, and a benchmark asks for thousands.
_PROMPTS_CACHED = 64


@dataclass(frozen=True)
class Chunk:
    """Finished frames of a run.

    Attributes:
        start: the first frame's place in the shot.
        soft: soft masks, float32 [P,n,H,W] on the CPU, the shot's own size; nominally 0..1, not clipped.
        cuts: frames at which takes begin, as far as the shot has been read; never frame 0.
        prompts_per_pass: prompts that went through the denoiser together (the least so far, if it varied).
        disagreement: how far two windows disagree about frames that they share, by the frame; see `disagreements`.
    """

    start: int
    soft: Tensor
    cuts: tuple[int, ...] = ()
    prompts_per_pass: int = 0
    disagreement: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Masks of a whole shot.

    Attributes:
        prompts: what was asked for, P strings.
        soft: soft masks, float32 [P,T,H,W], the shot's own size; nominally 0..1, not clipped.
    """

    prompts: tuple[str, ...]
    soft: Tensor

    def masks(self, threshold: float = 0.5) -> Tensor:
        """Binary masks, bool [P,T,H,W]: soft > threshold (REM's released code uses 0.5)."""
        return self.soft > threshold


class Segmenter:
    """Segments shots with one backbone.

    A window of video is encoded once however many prompts look at it, and a prompt is encoded once however many
    shots it is asked of. Memory does not grow with the length of the shot.

    Threads may share one. The model takes one of their calls at a time and the others wait, so that nothing is gained
    in speed; every stream has a state of its own, also among several in one thread, and may be left before its end.

    Attributes:
        backbone: as given.
        plan: the settings, with the backbone's own values where nothing was set.
        others: the same model on further devices, with which the windows of a shot are shared.
        cuts, prompts_per_pass: of the chunk handed on last, whichever stream it belongs to; see `Chunk`.
    """

    def __init__(
        self, backbone: Backbone, settings: SegmentSettings = _DEFAULTS, others: Sequence[OtherDevice] = ()
    ) -> None:
        """Raises ValueError for settings the backbone cannot take, and what loading a model elsewhere raised."""
        self.backbone = backbone
        self.plan = WindowPlan(backbone, settings)
        self.others = tuple(others)
        self.cuts: tuple[int, ...] = ()
        self.prompts_per_pass = 0
        self._model = WindowModel(backbone, settings)
        self._passes = Passes(self._model, self.plan, self.others)
        self._embeds: dict[str, Tensor] = {}
        self._embeds_lock = Lock()

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent so far in all streams, waiting included, per stage: `read`, `encode_video`, `encode_text`,
        `predict` (with the waiting for other devices), `decode`, `resize`."""
        return self._model.seconds

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> embeddings [P,77,D]; each distinct prompt is encoded once and remembered.

        Raises:
            ValueError: no prompt, or an empty one.
        """
        if not prompts:
            raise ValueError("No prompt was given: name what to segment, for example 'the smoke'.")
        with self._embeds_lock:
            known = {prompt: self._embeds[prompt] for prompt in prompts if prompt in self._embeds}
            new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
            if new:
                with self._model.timed("encode_text"):
                    known |= zip(new, self.backbone.encode_texts(new), strict=True)
            self._remember(known)
            return torch.stack([known[prompt] for prompt in prompts])

    def segment(
        self,
        frames: np.ndarray | Tensor | FrameSource,
        prompts: Sequence[str],
        progress: Progress = SILENT,
    ) -> Result:
        """Segment a whole shot, keeping all of its masks in memory; `stream` hands them on instead.

        Args:
            frames: a FrameSource, or an array or tensor [T,H,W,3], RGBA, or grey [T,H,W]; uint8, uint16, or
                float in 0..1.
            prompts: one or more expressions.
            progress: see `stream`.

        Raises:
            ValueError: frames or prompts that cannot be used, or masks that are no finite numbers.
        """
        source = ArrayFrames(frames) if isinstance(frames, np.ndarray | Tensor) else frames
        check_source(source)
        embeds = self.encode_prompts(prompts)
        soft = torch.empty(len(prompts), source.frame_count, source.height, source.width)
        for chunk in self.stream(source, embeds, progress=progress):
            soft[:, chunk.start : chunk.start + chunk.soft.shape[1]] = chunk.soft
        return Result(tuple(prompts), soft)

    def stream(
        self,
        frames: FrameSource,
        prompt_embeds: Tensor,
        *,
        first_frame: int = 0,
        progress: Progress = SILENT,
        takes: Sequence[int] = (),
        end_of_take: EndOfTake | None = None,
        made: WindowMasks | None = None,
    ) -> Iterator[Chunk]:
        """Segment a shot frame by frame: each frame from `first_frame` on comes once, in order, when it is final.

        Args:
            frames: the shot.
            prompt_embeds: [P,77,D] from `encode_prompts` (or from a host's text encoder).
            first_frame: where to go on after an interrupted run; masks equal those of an uninterrupted one.
            progress: told "steps": the encoding, the prediction, and the decoding of each prompt, of every window;
                their total grows where a cut is found, which takes more windows.
            takes: frames at which a take begins beside the cuts, since frames before them are missing.
            end_of_take: where takes end, if that is known from elsewhere; cuts are then not looked for, nor those of
                the settings heeded.
            made: windows of this shot, these prompts and settings that `make_windows` has made: they do not go through
                the model again.

        Raises:
            ValueError: no frames, frames under 16 pixels or with values that are not finite, a `first_frame` or a cut
                outside the shot; or the model gives no finite numbers.
        """
        check_source(frames)
        if not 0 <= first_frame < frames.frame_count:
            raise ValueError(f"The shot has frames 0 to {frames.frame_count - 1}; it cannot go on at {first_frame}.")
        shot = self._shot(frames, first_frame, frames.frame_count, takes, end_of_take)
        shot.made = made
        pixels, shot_size = shot.pixels, (frames.height, frames.width)
        pending: Tensor | None = None  # masks [P,n,C,h,w] of the window before, of the frames now cross-faded
        for window, following, masks, together in self._passes.masks_of(shot, prompt_embeds, progress):
            masks = masks[:, window.keep - window.start : window.stop - window.start]
            unsure: dict[int, float] = {}
            if pending is not None:
                unsure = dict(enumerate(disagreements(pending, masks[:, : pending.shape[1]]), start=window.keep))
                _cross_fade(pending, masks, window)
            cuts = pixels.cuts
            final = window.stop if following is None else following.keep
            pending = masks[:, final - window.keep :].clone() if final < window.stop else None
            start = max(window.keep, first_frame)
            for begin, end in groups(start, final, shot_size):
                with self._model.timed("resize"):
                    soft = masks_to_shot(masks[:, begin - window.keep : end - window.keep], shot_size).cpu()
                self.cuts, self.prompts_per_pass = cuts, together
                told = {index: value for index, value in unsure.items() if begin <= index < end}
                yield Chunk(begin, soft, cuts, together, told)

    def make_windows(
        self,
        frames: FrameSource,
        prompt_embeds: Tensor,
        part: range,
        made: WindowMasks,
        *,
        takes: Sequence[int] = (),
        progress: Progress = SILENT,
    ) -> tuple[int, int]:
        """Put masks of those windows into `made` that begin to give some within a part of a shot.

        Parts that together are the shot make each of its windows once. Beside its own frames a part reads those around
        that its windows see and, where cuts are looked for, all before, since these say where windows begin.

        Args:
            frames, prompt_embeds, takes, progress: see `stream`.
            part: places of frames.
            made: of this shot, these prompts and settings; windows that it has are not made again.

        Returns:
            how many windows were made, and how many were there.

        Raises:
            ValueError: see `stream`.
            RuntimeError: the disk is full.
        """
        check_source(frames)
        shot = self._shot(frames, part.start, part.stop, takes)
        seeds: dict[Window, list[int]] = {}
        there: list[Window] = []

        def missing(windows: Iterator[tuple[int, Window]]) -> Iterator[tuple[int, Window]]:
            for number, window in takewhile(lambda numbered: numbered[1].keep < part.stop, windows):
                if window.keep in part:
                    seeds[window] = self.plan.noise_seeds(number, len(prompt_embeds), frames.frame_count)
                    if made.has(window, seeds[window]):
                        shot.pixels.skip(window)
                        there.append(window)
                    else:
                        yield number, window

        shot.windows = missing(shot.windows)
        for window, _, masks, together in self._passes.masks_of(shot, prompt_embeds, progress):
            made.write(window, seeds[window], masks, together)
        return len(seeds) - len(there), len(there)

    def windows(self, frame_count: int) -> list[Window]:
        """The windows of a shot of `frame_count` frames and a single take."""
        return list(self.plan.windows(frame_count))

    def _remember(self, embeds: dict[str, Tensor]) -> None:
        self._embeds |= embeds
        for prompt in list(self._embeds)[:-_PROMPTS_CACHED]:
            del self._embeds[prompt]

    def _shot(
        self,
        frames: FrameSource,
        first_frame: int,
        stop: int,
        takes: Sequence[int],
        end_of_take: EndOfTake | None = None,
    ) -> ShotOnItsWay:
        plan = self.plan
        plan.check_cuts(frames.frame_count)
        pixels = ModelFrames(
            frames,
            plan.size_for(frames.height, frames.width),
            eight_bit=plan.paper,
            cuts=() if end_of_take else plan.cuts,
            takes=takes,
            keep_from=first_frame + 1 - plan.window,
        )
        windows = enumerate(plan.windows(frames.frame_count, end_of_take or pixels.end_of_take))
        return ShotOnItsWay(pixels, windows, first_frame, stop, frames.frame_count)


def disagreements(before: Tensor, after: Tensor) -> list[float]:
    """How far two windows disagree about each frame that they share, 0..1: the part of what either found that the other
    did not (1 less their soft intersection over union), of the prompt about which they disagree the most. What is found
    counts as a two-hundredth of the frame at least, so that specks are no disagreement.

    Args:
        before, after: their masks, [P,n,C,h,w].
    """
    before, after = (masks.float().clamp(0.0, 1.0).flatten(2) for masks in (before, after))
    either = torch.maximum(before, after).sum(dim=-1).clamp_min(before.shape[-1] / 200)
    return ((before - after).abs().sum(dim=-1) / either).amax(dim=0).tolist()


def _cross_fade(before: Tensor, masks: Tensor, window: Window) -> None:
    """Blend the masks of the window before into the first frames of `masks`, in place."""
    for offset in range(before.shape[1]):
        masks[:, offset].lerp_(before[:, offset], 1.0 - window.weight(window.keep + offset))
