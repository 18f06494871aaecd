"""What a run does to a shot: sizes and windows, from the settings and the backbone's own values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..backbones.base import Backbone, Family
from .resize import size_within
from .settings import SegmentSettings, check_cuts
from .windows import EndOfTake, Window, paper_windows, shot_windows


class WindowPlan:
    """Settings made definite for a backbone.

    Attributes:
        settings: as given.
        paper: whether the authors' evaluation is followed.
        window: frames in a window; under `paper` the longest length that may be used.
        overlap: frames two windows share.
        cuts: "auto" where cuts have to be looked for, otherwise the frames at which a take begins.
    """

    def __init__(self, backbone: Backbone, settings: SegmentSettings) -> None:
        """Raises ValueError for settings the backbone cannot take."""
        check_settings_of(
            backbone.family, settings, backbone.default_size, backbone.default_window, backbone.default_overlap
        )
        self.paper = settings.protocol == "paper"
        self.settings, self._backbone = settings, backbone
        self._size = settings.size or backbone.default_size
        if self.paper:
            self.window, self.overlap = settings.window or backbone.family.paper_windows[0], 0
        else:
            self.window, self.overlap = _shot_window(settings, backbone.default_window, backbone.default_overlap)
        self.cuts: Literal["auto"] | tuple[int, ...] = () if self.paper else settings.cuts

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the model sees frames of `height` x `width` pixels."""
        if self.settings.keep_aspect:
            return size_within(self._size, (height, width), self._backbone.family.size_multiple)
        return self._size

    def windows(self, frame_count: int, end_of_take: EndOfTake | None = None) -> Iterator[Window]:
        """The windows of a shot of `frame_count` frames, the takes of which are told by `end_of_take`."""
        family = self._backbone.family
        if self.paper:
            lengths, tail = family.paper_windows, family.paper_tail
            return iter(paper_windows(frame_count, lengths, family.pad_frame_count, self.settings.window, tail))
        return shot_windows(frame_count, self.window, self.overlap, family.pad_frame_count, end_of_take)

    def windows_left(self, window: Window, frame_count: int) -> int:
        """How many windows there are from `window` on, if no further take begins."""
        step = window.length if self.paper else self.window - self.overlap
        return 1 + -(-(frame_count - window.stop) // step)

    def noise_seeds(self, number: int, prompt_count: int, frame_count: int) -> list[int]:
        """Seeds of the noise of the shot's window `number`, from 0: one for all prompts, or one for each.

        Under `paper` the authors' order counts: all windows for the first prompt, then all for the second.
        """
        seed = self.settings.seed
        if not self.paper:
            return [seed + number]
        window_count = len(list(self.windows(frame_count)))
        return [seed + prompt * window_count + number for prompt in range(prompt_count)]

    def check_cuts(self, frame_count: int) -> None:
        """Raise ValueError where a given cut is none in a shot of `frame_count` frames."""
        if self.cuts != "auto":
            check_cuts(self.cuts, frame_count)


def _shot_window(settings: SegmentSettings, default_window: int, default_overlap: int) -> tuple[int, int]:
    """(window, overlap) of the `shot` protocol; an overlap that was not asked for shrinks with the window."""
    length = settings.window or default_window
    if settings.overlap is not None:
        return length, settings.overlap
    return length, min(default_overlap, length // 2)


def check_settings_of(
    family: Family, settings: SegmentSettings, default_size: tuple[int, int], default_window: int, default_overlap: int
) -> None:
    """Raise ValueError for settings that a model of these defaults cannot take; see `Backbone`."""
    protocol, window, size = settings.protocol, settings.window, settings.size or default_size
    multiple, pad_frame_count = family.size_multiple, family.pad_frame_count
    if any(side < multiple or side % multiple for side in size):
        raise ValueError(
            f"The model cannot run at {size[0]}x{size[1]}; height and width must be multiples of "
            f"{multiple}, for example {default_size[0]}x{default_size[1]}."
        )
    if window is not None and pad_frame_count(window) != window:
        raise ValueError(
            f"The model cannot take windows of {window} frames; use {pad_frame_count(window)}, for example."
        )
    if protocol == "paper":
        if settings.overlap:
            raise ValueError("Windows do not overlap under the protocol 'paper'; leave the overlap out.")
        if settings.cuts not in ("auto", ()):
            raise ValueError("The protocol 'paper' knows no cuts; leave them out, or use the protocol 'shot'.")
        if settings.keep_aspect:
            raise ValueError("The protocol 'paper' does not keep the aspect; use the protocol 'shot' to keep it.")
        return
    length, overlap = _shot_window(settings, default_window, default_overlap)
    if overlap > length // 2:
        raise ValueError(f"The overlap of windows of {length} frames must be 0 to {length // 2}, not {overlap}.")
