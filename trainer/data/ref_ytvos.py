"""Refer-YouTube-VOS, and whatever is stored in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .broken import OnBroken, refuse
from .files import field, read_ids
from .sample import BrokenSample
from .video import VideoExpression, VideoSource, read_videos


class RefYtvos(VideoSource):
    """A split of Refer-YouTube-VOS that has annotations (as published: train).

    `<split>/JPEGImages/<video>/<frame>.jpg`; `<split>/Annotations/<video>/<frame>.png`, object numbers;
    `meta_expressions/<split>/meta_expressions.json` (videos -> expressions -> exp, obj_id; frames).

    Args:
        root: the folder of the dataset.
        split: train; or another one with annotations.
        on_broken: what is done about entries of the JSON file that are not of that form.
        name: for logs and messages.

    Raises:
        FileNotFoundError: there is no such split.
        BrokenSample: the JSON file cannot be read.
    """

    def __init__(
        self, root: Path, split: str = "train", on_broken: OnBroken = refuse, name: str = "Refer-YouTube-VOS"
    ) -> None:
        listing = root / "meta_expressions" / split / "meta_expressions.json"
        self._folder = root / split
        expressions, frames = [], {}
        for video, names, entries in read_videos(listing, on_broken):
            frames[video] = names
            for number, entry in entries.items():
                try:
                    expressions.append(_expression(listing, video, number, entry))
                except BrokenSample as broken:
                    on_broken(broken)
        super().__init__(f"{name} ({split})", expressions, frames, listing)

    def _frame_file(self, video: str, position: int) -> Path:
        return self._folder / "JPEGImages" / video / f"{self._frames[video][position]}.jpg"

    def _mask_files(self, expression: VideoExpression, position: int) -> list[Path]:
        name = self._frames[expression.video][position]
        return [self._folder / "Annotations" / expression.video / f"{name}.png"]

    def _mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        return read_ids(self._mask_files(expression, position)[0]) == expression.target


def _expression(listing: Path, video: str, number: str, entry: object) -> VideoExpression:
    where = f"expression {number} of the video {video}"
    text = field(listing, entry, "exp", str, where)
    if not text.strip():
        raise BrokenSample(listing, f"{where} has no words.")
    return VideoExpression(video, text, object_number(listing, entry, where))


def object_number(listing: Path, entry: object, where: str) -> int:
    """The number that annotations give the object an expression names.

    Raises:
        BrokenSample: none, or no number.
    """
    value = field(listing, entry, "obj_id", (str, int), where)
    try:
        return int(value)
    except ValueError:
        raise BrokenSample(listing, f"'obj_id' of {where} is {value!r}, which is no number.") from None
