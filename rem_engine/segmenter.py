"""Video and prompts in, soft masks out: windows, many prompts, progress, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .backbone import Backbone
from .frames import ArrayFrames, FrameSource, check_source
from .resize import frames_to_model, masks_to_shot
from .windows import Window, paper_windows, shot_windows

Progress = Callable[[int, int], None]
"""Called as progress(done, total); an exception it raises ends the run."""

STAGES = ("read", "encode_video", "encode_text", "predict", "decode", "resize")

# Prompts in one pass of the denoiser: activations grow with each, while the gain levels off after a few.
_PROMPTS_PER_PASS = 4
# Prompts remembered: an embedding takes 1.2 MB, and a benchmark asks for thousands.
_PROMPTS_CACHED = 64
# Full-size pixels read or handed on at once: two 1080p frames, or one larger.
_GROUP_PIXELS = 2**22


@dataclass(frozen=True)
class SegmentSettings:
    """How a shot is cut and scaled; None takes the backbone's own value.

    Attributes:
        protocol: `shot` cross-fades overlapping windows and resizes in float32; `paper` does what the authors'
            evaluation does: windows side by side, 8-bit resize.
        size: (height, width) the model sees, multiples of the backbone's `size_multiple`.
        window: frames in a window; under `paper` the longest length that may be used.
        overlap: frames two windows share, at most half a window; `shot` only.
    """

    protocol: Literal["shot", "paper"] = "shot"
    size: tuple[int, int] | None = None
    window: int | None = None
    overlap: int | None = None


@dataclass(frozen=True)
class Chunk:
    """Finished frames of a run.

    Attributes:
        start: the first frame's place in the shot.
        soft: soft masks, float32 [P,n,H,W] on the CPU, the shot's own size; nominally 0..1, not clipped.
    """

    start: int
    soft: Tensor


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

    Attributes:
        backbone, settings: as given.
        seconds: time spent so far, per stage (`read`, `encode_video`, `encode_text`, `predict`, `decode`, `resize`).
    """

    def __init__(self, backbone: Backbone, settings: SegmentSettings = SegmentSettings()) -> None:
        """Raises ValueError for settings the backbone cannot take."""
        self.backbone = backbone
        self.settings = settings
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._embeds: dict[str, Tensor] = {}
        self._size = settings.size or backbone.default_size
        self._check_settings()

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> embeddings [P,77,4096]; each distinct prompt is encoded once and remembered.

        Raises:
            ValueError: no prompt, or an empty one.
        """
        if not prompts:
            raise ValueError("No prompt was given: name what to segment, for example 'the smoke'.")
        rows = []
        for prompt in prompts:
            if prompt not in self._embeds:
                if len(self._embeds) == _PROMPTS_CACHED:
                    del self._embeds[next(iter(self._embeds))]
                with self._timed("encode_text"):
                    self._embeds[prompt] = self.backbone.encode_text(prompt)
            rows.append(self._embeds[prompt])
        return torch.stack(rows)

    def segment(
        self,
        frames: np.ndarray | Tensor | FrameSource,
        prompts: Sequence[str],
        progress: Progress | None = None,
    ) -> Result:
        """Segment a whole shot, keeping all of its masks in memory; `stream` hands them on instead.

        Args:
            frames: a FrameSource, or an array or tensor [T,H,W,3], RGBA, or grey [T,H,W]; uint8, uint16, or
                float in 0..1.
            prompts: one or more expressions.
            progress: see `stream`.

        Raises:
            ValueError: frames or prompts that cannot be used.
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
        progress: Progress | None = None,
    ) -> Iterator[Chunk]:
        """Segment a shot frame by frame: each frame from `first_frame` on comes once, in order, when it is final.

        Args:
            frames: the shot.
            prompt_embeds: [P,77,4096] from `encode_prompts` (or from a host's text encoder).
            first_frame: where to go on after an interrupted run; masks equal those of an uninterrupted one.
            progress: called after the encoding, the prediction, and the decoding of each prompt, of every window.

        Raises:
            ValueError: no frames, frames under 16 pixels, or a `first_frame` outside the shot.
        """
        check_source(frames)
        if not 0 <= first_frame < frames.frame_count:
            raise ValueError(f"The shot has frames 0 to {frames.frame_count - 1}; it cannot go on at {first_frame}.")
        windows = [window for window in self.windows(frames.frame_count) if window.stop > first_frame]
        steps = _Steps(len(windows) * (2 + len(prompt_embeds)), progress)
        shot_size = (frames.height, frames.width)
        pixels = _ModelFrames(frames, self._size, self.settings.protocol == "paper")
        pending: Tensor | None = None  # masks [P,n,h,w] of the window before, of the frames now cross-faded
        for index, window in enumerate(windows):
            with self._timed("read"):
                inputs = pixels.window(window)
            masks = self._segment_window(inputs, prompt_embeds, steps)
            masks = masks[:, window.keep - window.start : window.stop - window.start]
            if pending is not None:
                _cross_fade(pending, masks, window)
            final = windows[index + 1].keep if index + 1 < len(windows) else window.stop
            pending = masks[:, final - window.keep :].clone() if final < window.stop else None
            start = max(window.keep, first_frame)
            for begin, end in _groups(start, final, shot_size):
                with self._timed("resize"):
                    soft = masks_to_shot(masks[:, begin - window.keep : end - window.keep], shot_size).cpu()
                yield Chunk(begin, soft)

    def windows(self, frame_count: int) -> list[Window]:
        """The windows a shot of `frame_count` frames is cut into under these settings."""
        backbone, settings = self.backbone, self.settings
        if settings.protocol == "paper":
            return paper_windows(frame_count, backbone.paper_windows, backbone.pad_frame_count, settings.window)
        length, overlap = self._shot_window()
        return shot_windows(frame_count, length, overlap, backbone.pad_frame_count)

    def _segment_window(self, inputs: Tensor, prompt_embeds: Tensor, steps: _Steps) -> Tensor:
        """Frames [T,3,h,w] in -1..1 -> soft masks [P,T,h,w] at the model's size."""
        with self._timed("encode_video"):
            latents = self.backbone.encode_video(inputs)
        steps.done()
        with self._timed("predict"):
            predicted = torch.cat(
                [
                    self.backbone.predict_mask_latents(latents, embeds)
                    for embeds in prompt_embeds.split(_PROMPTS_PER_PASS)
                ]
            )
        steps.done()
        masks = []
        for mask_latents in predicted.split(1):
            with self._timed("decode"):
                # The authors take the mean over the channels after the resize to the frame's size; both are linear,
                # so the order changes rounding only, and this one needs a third of the memory and less of the time.
                masks.append(self.backbone.decode_masks(mask_latents).float().mean(dim=1))
            steps.done()
        return torch.stack(masks)

    def _shot_window(self) -> tuple[int, int]:
        """(window, overlap) of the `shot` protocol; an overlap that was not asked for shrinks with the window."""
        length = self.settings.window or self.backbone.default_window
        if self.settings.overlap is not None:
            return length, self.settings.overlap
        return length, min(self.backbone.default_overlap, length // 2)

    def _check_settings(self) -> None:
        protocol, window = self.settings.protocol, self.settings.window
        if protocol not in ("shot", "paper"):
            raise ValueError(f"There is no protocol {protocol!r}; use 'shot' or 'paper'.")
        multiple = self.backbone.size_multiple
        if any(side < multiple or side % multiple for side in self._size):
            raise ValueError(
                f"The model cannot run at {self._size[0]}x{self._size[1]}; height and width must be multiples of "
                f"{multiple}, for example {self.backbone.default_size[0]}x{self.backbone.default_size[1]}."
            )
        if window is not None and (window < 1 or self.backbone.pad_frame_count(window) != window):
            raise ValueError(
                f"The model cannot take windows of {window} frames; "
                f"use {self.backbone.pad_frame_count(max(window, 1))}, for example."
            )
        if protocol == "paper":
            if self.settings.overlap:
                raise ValueError("Windows do not overlap under the protocol 'paper'; leave the overlap out.")
            return
        length, overlap = self._shot_window()
        if not 0 <= overlap <= length // 2:
            raise ValueError(f"The overlap of windows of {length} frames must be 0 to {length // 2}, not {overlap}.")

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # work on a GPU is only queued until then
        self.seconds[stage] += time.perf_counter() - start


class _Steps:
    """Counts finished stages for a progress callback."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._count, self._total, self._progress = 0, total, progress

    def done(self) -> None:
        self._count += 1
        if self._progress is not None:
            self._progress(self._count, self._total)


class _ModelFrames:
    """Frames of a shot at the model's size; those that the next window needs again are kept, not read twice."""

    def __init__(self, source: FrameSource, size: tuple[int, int], eight_bit: bool) -> None:
        self._source, self._size, self._eight_bit = source, size, eight_bit
        self._start = self._stop = 0
        self._frames = torch.empty(0, 3, *size)

    def window(self, window: Window) -> Tensor:
        """[length,3,h,w] in -1..1; a window longer than what the shot still has repeats the last frame."""
        held = self._frames[max(window.start - self._start, 0) :]
        read_from = max(window.start, self._stop)
        groups = [held]
        for begin, end in _groups(read_from, window.stop, (self._source.height, self._source.width)):
            frames = self._source.read(begin, end)
            if len(frames) != end - begin:
                raise ValueError(
                    f"The shot ended after {begin + len(frames)} frames; {self._source.frame_count} were expected: "
                    "its file may be cut short."
                )
            groups.append(frames_to_model(frames, self._size, self._eight_bit))
        self._frames = torch.cat(groups)
        self._start, self._stop = window.start, window.stop
        missing = window.length - len(self._frames)
        if missing == 0:
            return self._frames
        return torch.cat([self._frames, self._frames[-1:].expand(missing, -1, -1, -1)])


def _groups(start: int, stop: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Cut frames `start`..`stop` of (height, width) into ranges small enough to hold at full size."""
    step = max(1, _GROUP_PIXELS // (size[0] * size[1]))
    for begin in range(start, stop, step):
        yield begin, min(begin + step, stop)


def _cross_fade(before: Tensor, masks: Tensor, window: Window) -> None:
    """Blend the masks of the window before into the first frames of `masks`, in place."""
    for offset in range(before.shape[1]):
        masks[:, offset].lerp_(before[:, offset], 1.0 - window.weight(window.keep + offset))
