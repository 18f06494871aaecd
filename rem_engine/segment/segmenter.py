"""Video and prompts in, soft masks out: windows, many prompts, progress, cancel."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..finite import all_finite
from ..frames import ArrayFrames, FrameSource, check_source
from ..progress import SILENT, Progress
from ..shelf import Shelf
from .model_frames import ModelFrames, groups
from .resize import masks_to_shot
from .settings import SegmentSettings
from .window_plan import WindowPlan
from .windows import EndOfTake, Window

STAGES = ("read", "encode_video", "encode_text", "predict", "decode", "resize")

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
    """

    start: int
    soft: Tensor
    cuts: tuple[int, ...] = ()
    prompts_per_pass: int = 0


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
        seconds: time spent so far in all streams, waiting included, per stage (`read`, `encode_video`, `encode_text`,
            `predict`, `decode`, `resize`).
        cuts, prompts_per_pass: of the chunk handed on last, whichever stream it belongs to; see `Chunk`.
    """

    def __init__(self, backbone: Backbone, settings: SegmentSettings = _DEFAULTS) -> None:
        """Raises ValueError for settings the backbone cannot take."""
        self.backbone = backbone
        self.plan = WindowPlan(backbone, settings)
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.cuts: tuple[int, ...] = ()
        self.prompts_per_pass = 0
        self._most_prompts = 0  # what memory once did not suffice for; 0 is no limit
        self._embeds: dict[str, Tensor] = {}
        self._embeds_lock = Lock()

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> embeddings [P,77,D]; each distinct prompt is encoded once and remembered.

        Raises:
            ValueError: no prompt, or an empty one.
        """
        if not prompts:
            raise ValueError("No prompt was given: name what to segment, for example 'the smoke'.")
        with self._embeds_lock:
            return torch.stack([self._encode_once(prompt) for prompt in prompts])

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
        make_masks = self._window_by_window if self.backbone.streamed is None else self._stage_by_stage
        shot_size = (frames.height, frames.width)
        pending: Tensor | None = None  # masks [P,n,C,h,w] of the window before, of the frames now cross-faded
        for window, following, masks, together in make_masks(shot, prompt_embeds, progress):
            masks = masks[:, window.keep - window.start : window.stop - window.start]
            if pending is not None:
                _cross_fade(pending, masks, window)
            cuts = pixels.cuts
            final = window.stop if following is None else following.keep
            pending = masks[:, final - window.keep :].clone() if final < window.stop else None
            start = max(window.keep, first_frame)
            for begin, end in groups(start, final, shot_size):
                with self._timed("resize"):
                    soft = masks_to_shot(masks[:, begin - window.keep : end - window.keep], shot_size).cpu()
                self.cuts, self.prompts_per_pass = cuts, together
                yield Chunk(begin, soft, cuts, together)

    def windows(self, frame_count: int) -> list[Window]:
        """The windows of a shot of `frame_count` frames and a single take."""
        return list(self.plan.windows(frame_count))

    def _encode_once(self, prompt: str) -> Tensor:
        if prompt not in self._embeds:
            if len(self._embeds) == _PROMPTS_CACHED:
                del self._embeds[next(iter(self._embeds))]
            with self._timed("encode_text"):
                self._embeds[prompt] = self.backbone.encode_text(prompt)
        return self._embeds[prompt]

    def _window_by_window(self, shot: _Shot, prompt_embeds: Tensor, progress: Progress) -> Iterator[_Masked]:
        """Every window through the whole model before the next one is read."""
        steps = _Steps(2 + len(prompt_embeds), 0, progress)
        together = len(prompt_embeds)
        current = self._next_window(shot)
        while current is not None:
            number, window = current
            latents = self._encode_window(shot, current, steps)
            seeds = self.plan.noise_seeds(number, len(prompt_embeds), shot.frame_count)
            with self._timed("predict"):
                predicted, in_pass = self._predict(latents, prompt_embeds, self._draw_noise(latents, seeds))
            together = min(together, in_pass)
            steps.done()
            masks = self._decode(predicted, window, steps)
            current = self._next_window(shot)
            yield window, current and current[1], masks, together

    def _stage_by_stage(self, shot: _Shot, prompt_embeds: Tensor, progress: Progress) -> Iterator[_Masked]:
        """All windows encoded, then all predicted for one reading of the denoiser's weights, then decoded."""
        streamed = self.backbone.streamed
        assert streamed is not None
        steps = _Steps(1 + len(prompt_embeds), streamed.steps, progress)
        windows: list[Window] = []
        with Shelf() as latents:
            while (current := self._next_window(shot)) is not None:
                latents.append(self._encode_window(shot, current, steps))
                windows.append(current[1])
            with self._timed("predict"):
                predicted = streamed.predict(latents, prompt_embeds, steps.done)
        for window, following, mask_latents in zip(windows, [*windows[1:], None], predicted):
            yield window, following, self._decode(mask_latents, window, steps), 1

    def _next_window(self, shot: _Shot) -> tuple[int, Window] | None:
        with self._timed("read"):
            return next((item for item in shot.windows if item[1].stop > shot.first_frame), None)

    def _encode_window(self, shot: _Shot, current: tuple[int, Window], steps: _Steps) -> Tensor:
        """Latents [1,C,t,h,w] of a window."""
        number, window = current
        steps.expect(self.plan.windows_left(window, shot.frame_count))
        with self._timed("read"):
            inputs = shot.pixels.window(window)
        _log.debug("window %d: frames %d to %d at %dx%d", number, window.start, window.stop - 1, *inputs.shape[2:])
        with self._timed("encode_video"):
            latents = self.backbone.encode_video(inputs)
            _check_finite(latents, f"latents of {_frames_of(window)}")
        steps.done()
        return latents

    def _decode(self, predicted: Tensor, window: Window, steps: _Steps) -> Tensor:
        """Mask latents [P,C,t,h,w] -> soft masks [P,T,C,h,w] at the model's size; C is for `masks_to_shot`."""
        _check_finite(predicted, f"mask latents of {_frames_of(window)}")
        masks = []
        for mask_latents in predicted.split(1):
            with self._timed("decode"):
                decoded = self.backbone.decode_masks(mask_latents).float()
                # The authors take the mean over the channels after the resize to the frame's size; both are linear, so
                # the order changes rounding only, and the other way round takes a third of the memory and of the time.
                masks.append(decoded if self.plan.paper else decoded.mean(dim=1, keepdim=True))
                _check_finite(masks[-1], f"masks of {_frames_of(window)}")
            steps.done()
        return torch.stack(masks)

    def _draw_noise(self, latents: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """Noise [seeds,C,t,h,w] for latents [1,C,t,h,w]; None for a backbone that takes none."""
        drawn = [noise for seed in seeds if (noise := self.backbone.draw_noise(latents, seed)) is not None]
        return torch.cat(drawn) if drawn else None

    def _predict(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None) -> tuple[Tensor, int]:
        """Mask latents [P,C,t,h,w], of as many prompts at a time as fit into memory, and how many these were."""
        count = min(self.backbone.prompts_per_pass(latents), len(prompt_embeds))
        if noise is not None:
            noise = noise.expand(len(prompt_embeds), -1, -1, -1, -1)
        if self._most_prompts:
            count = min(count, self._most_prompts)
        while True:
            try:
                noises = repeat(None) if noise is None else noise.split(count)
                pairs = zip(prompt_embeds.split(count), noises)
                passes = [self.backbone.predict_mask_latents(latents, *pair) for pair in pairs]
            except torch.cuda.OutOfMemoryError:
                if count == 1:
                    raise
            else:
                return torch.cat(passes), count
            # Outside of the handler, which would keep the failed pass's tensors alive.
            self._most_prompts = count = -(-count // 2)
            warnings.warn(f"Memory ran out; the denoiser goes on with {count} of the prompts at a time.", stacklevel=2)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # work on a GPU is only queued until then
        self.seconds[stage] += time.perf_counter() - start


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


def _check_finite(values: Tensor, what: str) -> None:
    """Raise ValueError where the model gave values that are no numbers, or infinite."""
    if not all_finite(values):
        raise ValueError(
            f"The model's {what} hold values that are not finite (NaN or infinite): run it in float32, or in bfloat16 "
            "in place of float16; if that does not help, its weights are damaged, download them again."
        )


def _cross_fade(before: Tensor, masks: Tensor, window: Window) -> None:
    """Blend the masks of the window before into the first frames of `masks`, in place."""
    for offset in range(before.shape[1]):
        masks[:, offset].lerp_(before[:, offset], 1.0 - window.weight(window.keep + offset))
