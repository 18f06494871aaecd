"""A second look at small things: the model sees a padded crop that follows each mask, and the finer mask is blended in.

The denoiser sees a shot at its own size (512x512, say), whatever the shot's: of a thing that is 60 pixels wide in a 4K
frame it sees eight. A crop around it shows it at up to the shot's own resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..backbones.base import Backbone
from ..frames import FrameSource, ReopenableFrames, check_source
from ..progress import SILENT, Progress, Unit
from ..shelf import Shelf
from .resize import frames_to_model, masks_to_shot
from .segmenter import Chunk, Segmenter
from .window_masks import WindowMasks
from .window_plan import WindowPlan
from .windows import Window

_STEADY = 6
"""Frames to either side over which a crop's place and size are averaged, so that it glides."""
_PADDING = 0.5
"""Share of a thing's size that the crop shows beyond it, to every side."""
_FOUND = 0.3
"""Soft value from which a pixel counts as found; a small thing's mask, blurred by the model's pixels, stays below 1."""
_SPECK = 0.1
"""Share of the largest patch's area below which a patch is none."""
_HELPS, _USELESS = 0.6, 0.75
"""Shares of the frame's sides: a crop up to the first counts whole, from the second on the first pass stands alone."""
_BORDER = 0.1
"""Share of a crop's side over which it fades into the first pass."""


class CloseUp:
    """A Segmenter that looks twice; it is used as that is.

    Every prompt has a crop of its own, of the frame's aspect, around what the first pass found of it in the frames
    nearby; it never shows less of the shot than the model has pixels for, and ends at cuts. Outside of the crop, in
    frames where nothing was found, and where the crop would be most of the frame, the first pass stands. What a prompt
    says of places ("on the left") is judged within the crop the second time.

    It takes another pass for each prompt, decodes the shot once more for each, and holds some two windows of soft masks
    in half precision, beyond 256 MiB in a temporary file; those of the whole shot where weights are streamed, which are
    read once more for each prompt.

    Attributes:
        backbone, plan: those of the segmenter.
        cuts, prompts_per_pass: of the chunk handed on last; the latter of the first pass.

    Args:
        segmenter: under the protocol `shot`.

    Raises:
        ValueError: another protocol.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        if segmenter.plan.paper:
            raise ValueError("The protocol 'paper' knows no close-ups; use the protocol 'shot', or leave them out.")
        self._segmenter = segmenter
        self.backbone: Backbone = segmenter.backbone
        self.plan: WindowPlan = segmenter.plan
        self.cuts: tuple[int, ...] = ()
        self.prompts_per_pass = 0

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent so far in both passes, per stage."""
        return self._segmenter.seconds

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """See `Segmenter.encode_prompts`."""
        return self._segmenter.encode_prompts(prompts)

    def windows(self, frame_count: int) -> list[Window]:
        """See `Segmenter.windows`."""
        return self._segmenter.windows(frame_count)

    def stream(
        self,
        frames: ReopenableFrames,
        prompt_embeds: Tensor,
        *,
        first_frame: int = 0,
        progress: Progress = SILENT,
        takes: Sequence[int] = (),
        within: Callable[[int], Tensor | None] | None = None,
        made: WindowMasks | None = None,
    ) -> Iterator[Chunk]:
        """Segment a shot frame by frame; see `Segmenter.stream`.

        Args:
            frames: the shot; the second pass reads it anew for each prompt.
            prompt_embeds, first_frame: as there.
            progress: counts the steps of both passes.
            takes: as there.
            within: gives how far each prompt may be anywhere in a frame, [P,H,W] in 0..1, asked for in order; crops
                follow what lies there, and where nothing was found in it, show it whole. None for no bounds.
            made: as there, of the first pass.
        """
        check_source(frames)
        shot_size = (frames.height, frames.width)
        model_size = self.plan.size_for(*shot_size)
        least = max(seen / side for seen, side in zip(model_size, shot_size))
        if least >= _HELPS:  # the model sees the frame at about its own size already
            for chunk in self._segmenter.stream(
                frames, prompt_embeds, first_frame=first_frame, progress=progress, takes=takes, made=made
            ):
                self.cuts, self.prompts_per_pass = chunk.cuts, chunk.prompts_per_pass
                yield chunk
            return
        passes = _progress_of_passes(len(prompt_embeds), progress)
        # Crops from the first window on that has a say in `first_frame`, and what steadies them, have to be known.
        begin = max(0, first_frame + 1 - self.plan.window - _STEADY)
        chunks = self._segmenter.stream(
            frames, prompt_embeds, first_frame=begin, progress=passes[0], takes=takes, made=made
        )
        wide = _FirstPass(chunks, begin, frames.frame_count, shot_size, least, within or (lambda _: None))
        with ExitStack() as stack:
            near = []
            for prompt, embeds in enumerate(prompt_embeds.split(1)):
                source = stack.enter_context(closing(frames.reopen()))
                crops = _Crops(source, wide, prompt, model_size)
                near.append(
                    self._segmenter.stream(
                        crops,
                        embeds,
                        first_frame=first_frame,
                        progress=passes[1 + prompt],
                        end_of_take=wide.end_of_take,
                    )
                )
            for index, finer in enumerate(zip(*map(_one_by_one, near), strict=True), start=first_frame):
                soft = wide.pop(index)
                for prompt, fine in enumerate(finer):
                    _blend(soft[prompt], fine, wide.box(prompt, index))
                self.cuts, self.prompts_per_pass = wide.cuts, wide.prompts_per_pass
                yield Chunk(index, soft[:, None], wide.cuts, wide.prompts_per_pass, wide.disagreement_at(index))


@dataclass(frozen=True)
class _Box:
    """A crop: its place in the frame, pixels, and the share, 0..1, that it has in the result."""

    top: int
    left: int
    height: int
    width: int
    share: float


@dataclass(frozen=True)
class _Found:
    """Where a mask lies: its centre in pixels, and the side of its crop as a share of the frame's."""

    row: float
    column: float
    side: float


class _FirstPass:
    """Masks of the first pass, made as far as they are asked for, and the crops that follow from them.

    Args:
        chunks: the pass, from frame `begin` on.
        begin: its first frame.
        frame_count: of the shot.
        shot_size: (height, width).
        least: the smallest crop, as a share of the frame's sides.
        within: see `CloseUp.stream`.

    Attributes:
        cuts, prompts_per_pass: see `Chunk`.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        begin: int,
        frame_count: int,
        shot_size: tuple[int, int],
        least: float,
        within: Callable[[int], Tensor | None],
    ) -> None:
        self._chunks, self._frame_count, self._shot_size = chunks, frame_count, shot_size
        self._least, self._within = least, within
        self.cuts: tuple[int, ...] = ()
        self.prompts_per_pass = 0
        self._first = self._end = begin
        self._disagreement: dict[int, float] = {}
        self._masks = Shelf()
        self._places: dict[int, int] = {}  # of frames on the shelf
        self._free: list[int] = []
        self._found: dict[int, list[_Found | None]] = {}

    def end_of_take(self, start: int, limit: int) -> int:
        """Where the take that starts at `start` ends, or `limit`; see `windows.EndOfTake`."""
        self._make(limit)
        return next((cut for cut in self.cuts if start < cut < limit), limit)

    def disagreement_at(self, index: int) -> dict[int, float]:
        """How far two windows disagree about a frame; each frame once. {} where it is of one alone."""
        return {index: self._disagreement.pop(index)} if index in self._disagreement else {}

    def pop(self, index: int) -> Tensor:
        """Soft masks [P,H,W] of a frame, float32; each frame once, in order."""
        self._free += (self._places.pop(gone) for gone in [number for number in self._places if number < index])
        self._first = max(self._first, index - _STEADY)
        for gone in [number for number in self._found if number < self._first]:
            del self._found[gone]
        self._free.append(self._places.pop(index))
        return self._masks[self._free[-1]].float()

    def box(self, prompt: int, index: int) -> _Box:
        """A prompt's crop in a frame."""
        self._make(min(index + _STEADY + 1, self._frame_count))
        start = max((cut for cut in self.cuts if cut <= index), default=0)
        stop = min((cut for cut in self.cuts if cut > index), default=self._frame_count)
        near = range(max(start, self._first, index - _STEADY), min(stop, index + _STEADY + 1))
        found = [
            (_STEADY + 1 - abs(number - index), place)
            for number in near
            if (place := self._found[number][prompt]) is not None
        ]
        height, width = self._shot_size
        if not found:
            return _Box(0, 0, height, width, 0.0)
        places = np.array([(place.row, place.column, place.side) for _, place in found])
        row, column, side = np.average(places, axis=0, weights=[weight for weight, _ in found])
        rows, columns = round(side * height), round(side * width)
        top = min(max(round(row - rows / 2), 0), height - rows)
        left = min(max(round(column - columns / 2), 0), width - columns)
        share = min(max((_USELESS - side) / (_USELESS - _HELPS), 0.0), 1.0)
        return _Box(top, left, rows, columns, float(share))

    def _make(self, stop: int) -> None:
        """Have masks of all frames below `stop`."""
        while self._end < stop:
            chunk = next(self._chunks)
            self.cuts, self.prompts_per_pass = chunk.cuts, chunk.prompts_per_pass
            self._disagreement |= chunk.disagreement
            for index, soft in enumerate(chunk.soft.unbind(dim=1), start=chunk.start):
                self._put_aside(index, soft.half())
                within = self._within(index)
                self._found[index] = [
                    self._find(mask.numpy()) if within is None else self._find_within(mask, within[prompt])
                    for prompt, mask in enumerate(soft)
                ]
                self._end = index + 1

    def _put_aside(self, index: int, soft: Tensor) -> None:
        if self._free:
            self._places[index] = self._free.pop()
            self._masks[self._places[index]] = soft
        else:
            self._places[index] = len(self._masks)
            self._masks.append(soft)

    def _find_within(self, soft: Tensor, within: Tensor) -> _Found | None:
        """Where a mask lies in its bounds; these where it does not, and they are any."""
        found = self._find((soft * within).numpy())
        return self._find(within.numpy()) if found is None and within.min() < _FOUND else found

    def _find(self, soft: np.ndarray) -> _Found | None:
        _, _, stats, _ = cv2.connectedComponentsWithStats((soft > _FOUND).astype(np.uint8))
        patches = stats[1:]
        if len(patches) == 0:
            return None
        areas = patches[:, cv2.CC_STAT_AREA]
        patches = patches[areas >= _SPECK * areas.max()]
        top, left = patches[:, cv2.CC_STAT_TOP], patches[:, cv2.CC_STAT_LEFT]
        bottom, right = (top + patches[:, cv2.CC_STAT_HEIGHT]).max(), (left + patches[:, cv2.CC_STAT_WIDTH]).max()
        top, left = top.min(), left.min()
        height, width = self._shot_size
        side = (1.0 + 2.0 * _PADDING) * max((bottom - top) / height, (right - left) / width)
        return _Found((top + bottom) / 2, (left + right) / 2, min(max(side, self._least), 1.0))


class _Crops:
    """A FrameSource of one prompt's crops, at the model's size."""

    def __init__(self, source: FrameSource, wide: _FirstPass, prompt: int, size: tuple[int, int]) -> None:
        self.frame_count = source.frame_count
        self.height, self.width = size
        self._source, self._wide, self._prompt = source, wide, prompt

    def read(self, start: int, stop: int) -> np.ndarray:
        crops = []
        for index in range(start, stop):
            box = self._wide.box(self._prompt, index)
            frame = self._source.read(index, index + 1)
            crop = frame[:, box.top : box.top + box.height, box.left : box.left + box.width]
            crops.append(frames_to_model(crop, (self.height, self.width), eight_bit=False))
        return rearrange((torch.cat(crops) + 1.0) / 2.0, "n c h w -> n h w c").numpy()


class _Pass:
    """Progress of a pass, which tells that of all of them.

    Args:
        progress: told.
        passes: the first, and one for each prompt.
    """

    def __init__(self, progress: Progress, passes: Sequence[_Pass]) -> None:
        self._progress, self._passes = progress, passes
        self._done = self._total = 0

    def say(self, text: str) -> None:
        self._progress.say(text)

    def update(self, unit: Unit, done: int, total: int) -> None:
        self._done, self._total = done, total
        first, *others = self._passes
        # Of a pass that has not begun: a window's three steps where the first pass has two, and one for each prompt.
        expected = 3 * (first._total // (2 + len(others)))
        all_steps = first._total + sum(other._total or expected for other in others)
        self._progress.update(unit, sum(one._done for one in self._passes), all_steps)


def _progress_of_passes(prompt_count: int, progress: Progress) -> list[_Pass]:
    """Of the first pass, and of each prompt's second."""
    passes: list[_Pass] = []
    passes += (_Pass(progress, passes) for _ in range(1 + prompt_count))
    return passes


def _one_by_one(chunks: Iterator[Chunk]) -> Iterator[Tensor]:
    """Masks [h,w] of a stream of one prompt, frame by frame."""
    for chunk in chunks:
        yield from chunk.soft[0]


def _blend(soft: Tensor, fine: Tensor, box: _Box) -> None:
    """Blend the mask [h,w] of a crop into that of the frame, [H,W], in place."""
    if box.share == 0.0:
        return
    height, width = soft.shape
    rows = _fade(box.height, box.top > 0, box.top + box.height < height)
    columns = _fade(box.width, box.left > 0, box.left + box.width < width)
    region = soft[box.top : box.top + box.height, box.left : box.left + box.width]
    sized = masks_to_shot(fine[None, None, None], (box.height, box.width))[0, 0]
    region.lerp_(sized, box.share * rows[:, None] * columns)


def _fade(length: int, low: bool, high: bool) -> Tensor:
    """Weights along a crop's side, which rise from its ends where these lie inside the frame."""
    weights = torch.ones(length)
    reach = max(1, round(_BORDER * length))
    ramp = torch.arange(1, reach + 1) / (reach + 1)
    if low:
        weights[:reach] *= ramp
    if high:
        weights[length - reach :] *= ramp.flip(0)
    return weights
