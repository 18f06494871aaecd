"""Video and prompts in, soft masks out: windows, many prompts, progress, cancel."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..frames import ArrayFrames, FrameSource, check_source
from ..progress import SILENT, Progress
from ..shelf import Shelf
from .model_frames import ModelFrames, groups
from .other_device import OtherDevice
from .resize import masks_to_shot
from .settings import SegmentSettings
from .window_model import WindowModel
from .window_plan import WindowPlan
from .windows import EndOfTake, Window

_DEFAULTS = SegmentSettings()
_log = logging.getLogger(__name__)

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
        self._staged = any([self._model.streams, *(other.streams for other in self.others)])
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

        Raises:
            ValueError: no frames, frames under 16 pixels or with values that are not finite, a `first_frame` or a cut
                outside the shot; or the model gives no finite numbers.
        """
        check_source(frames)
        if not 0 <= first_frame < frames.frame_count:
            raise ValueError(f"The shot has frames 0 to {frames.frame_count - 1}; it cannot go on at {first_frame}.")
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
        shot = _Shot(
            pixels,
            enumerate(plan.windows(frames.frame_count, end_of_take or pixels.end_of_take)),
            first_frame,
            frames.frame_count,
        )
        make_masks = self._stage_by_stage if self._staged else self._window_by_window
        shot_size = (frames.height, frames.width)
        pending: Tensor | None = None  # masks [P,n,C,h,w] of the window before, of the frames now cross-faded
        for window, following, masks, together in make_masks(shot, prompt_embeds, progress):
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

    def windows(self, frame_count: int) -> list[Window]:
        """The windows of a shot of `frame_count` frames and a single take."""
        return list(self.plan.windows(frame_count))

    def _remember(self, embeds: dict[str, Tensor]) -> None:
        self._embeds |= embeds
        for prompt in list(self._embeds)[:-_PROMPTS_CACHED]:
            del self._embeds[prompt]

    def _window_by_window(self, shot: _Shot, prompt_embeds: Tensor, progress: Progress) -> Iterator[_Masked]:
        """Every window through the whole model before the next one is read; of several devices each has one."""
        count = len(prompt_embeds)
        steps = _Steps(2 + count, 0, progress)
        together = count
        current = self._next_window(shot)
        while current is not None:
            group = self._read_group(shot, current, steps)
            calls = [
                (inputs, prompt_embeds, self.plan.noise_seeds(number, count, shot.frame_count), _frames_of(window))
                for number, window, inputs in group
            ]
            made = self._on_devices("masks", calls, steps, 2 + count)
            current = self._next_window(shot)
            followings = [*(window for _, window, _ in group[1:]), current and current[1]]
            for (_, window, _), following, (masks, in_pass) in zip(group, followings, made, strict=True):
                together = min(together, in_pass)
                yield window, following, masks, together

    def _stage_by_stage(self, shot: _Shot, prompt_embeds: Tensor, progress: Progress) -> Iterator[_Masked]:
        """All windows encoded, then all predicted for one reading of the denoiser's weights, then decoded."""
        count, devices = len(prompt_embeds), 1 + len(self.others)
        steps = _Steps(1 + count, self._model.steps_of_all, progress)
        windows: list[Window] = []
        with Shelf() as latents:
            while (current := self._next_window(shot)) is not None:
                group = self._read_group(shot, current, steps)
                windows += (window for _, window, _ in group)
                calls = [(inputs, _frames_of(window)) for _, window, inputs in group]
                for encoded in self._on_devices("encode", calls, steps, 1):
                    latents.append(encoded)
            shares = [range(first, len(windows), devices) for first in range(min(devices, len(windows)))]
            of_shares = [((latents[number] for number in share), prompt_embeds) for share in shares]
            predicted = [iter(made) for made in self._on_devices("predict_all", of_shares, steps, 0)]
        for first in range(0, len(windows), devices):
            group_of_windows = windows[first : first + devices]
            of_windows = [
                (next(mask_latents), _frames_of(window)) for mask_latents, window in zip(predicted, group_of_windows)
            ]
            made = self._on_devices("decode", of_windows, steps, count)
            followings = [*windows[first + 1 : first + devices + 1], None]
            for window, following, masks in zip(group_of_windows, followings, made):
                yield window, following, masks, 1

    def _on_devices(self, method: str, calls: Sequence[tuple[Any, ...]], steps: _Steps, per_call: int) -> list[Any]:
        """What a method of `WindowModel` gives for each call: the first here, each other one on a device of its own.

        Args:
            calls: their arguments, of one at least and as many as there are devices at most.
            steps, per_call: told how far it is; how many steps a call elsewhere stands for.
        """
        begun = {number: other.begin(method, *call) for number, (other, call) in enumerate(zip(self.others, calls[1:]))}
        try:
            made = [getattr(self._model, method)(*calls[0], steps.done)]
            for number, other in enumerate(self.others[: len(calls) - 1]):
                with self._model.timed("predict"):
                    made.append(other.result(begun.pop(number)))
                for _ in range(per_call):
                    steps.done()
        except BaseException:
            for number, call in begun.items():
                self.others[number].forget(call)
            raise
        return made

    def _next_window(self, shot: _Shot) -> tuple[int, Window] | None:
        with self._model.timed("read"):
            return next((item for item in shot.windows if item[1].stop > shot.first_frame), None)

    def _read_group(self, shot: _Shot, current: tuple[int, Window], steps: _Steps) -> list[tuple[int, Window, Tensor]]:
        """A window and those after it, one for each device: their numbers, and their frames [T,3,h,w]."""
        group = [(*current, self._read(shot, current, steps))]
        while len(group) <= len(self.others) and (following := self._next_window(shot)) is not None:
            group.append((*following, self._read(shot, following, steps)))
        return group

    def _read(self, shot: _Shot, current: tuple[int, Window], steps: _Steps) -> Tensor:
        number, window = current
        steps.expect(self.plan.windows_left(window, shot.frame_count))
        with self._model.timed("read"):
            inputs = shot.pixels.window(window)
        _log.debug("window %d: %s at %dx%d", number, _frames_of(window), *inputs.shape[2:])
        return inputs


@dataclass
class _Shot:
    """A shot on its way to the model.

    Attributes:
        pixels: its frames at the model's size.
        windows: those still to come, with their numbers.
        first_frame: windows that end before it are left out.
        frame_count: of the shot.
    """

    pixels: ModelFrames
    windows: Iterator[tuple[int, Window]]
    first_frame: int
    frame_count: int


_Masked = tuple[Window, Window | None, Tensor, int]
"""A window, the one after it, the first one's masks [P,T,C,h,w], and how many prompts went together."""


class _Steps:
    """Counts finished stages."""

    def __init__(self, per_window: int, beside: int, progress: Progress) -> None:
        self._per_window, self._beside, self._progress = per_window, beside, progress
        self._count = self._total = self._windows = 0

    def expect(self, windows: int) -> None:
        """A window begins, the first of so many that are still to come."""
        self._total = (self._windows + windows) * self._per_window + self._beside
        self._windows += 1

    def done(self) -> None:
        self._count += 1
        self._progress.update("steps", self._count, self._total)


def _frames_of(window: Window) -> str:
    return f"frames {window.start} to {window.stop - 1}"


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
