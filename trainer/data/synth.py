"""Rendered shots, as `python -m trainer synth` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..synth.write import Split, read_expressions
from .broken import OnBroken, refuse
from .files import check_place, field, read_matte
from .sample import BrokenSample
from .video import VideoExpression, VideoSource


class Synth(VideoSource):
    """A folder of rendered shots; a mask is where a matte of what is named is above one half.

    Sentences that name nothing in their shot come with empty masks.

    Args:
        root: the folder.
        on_broken: what is done about entries of its synth.json that cannot be read.

    Raises:
        FileNotFoundError: not such a folder.
        BrokenSample: its synth.json cannot be read.
    """

    def __init__(self, root: Path, on_broken: OnBroken = refuse) -> None:
        self._split = Split(root)
        listing, details = self._split.details, self._split.read_details()
        expressions, frames = [], {}
        for video, entry in field(listing, details, "videos", dict, "the file").items():
            try:
                check_place(listing, video, "a video")
                frames[video] = self._names(video)
                expressions += [
                    VideoExpression(video, spoken.text, tuple(each + 1 for each in spoken.targets) or None)
                    for spoken in read_expressions(listing, video, entry)
                ]
            except BrokenSample as broken:
                on_broken(broken)
        super().__init__(f"synthetic shots ({root.name})", expressions, frames, listing)

    def _names(self, video: str) -> tuple[str, ...]:
        folder = self._split.frames(video)
        names = tuple(sorted(path.stem for path in folder.glob("*.jpg")))
        if not names:
            raise BrokenSample(folder, "holds no frame; render the folder anew.")
        return names

    def _frame_file(self, video: str, position: int) -> Path:
        return self._split.frames(video) / f"{self._frames[video][position]}.jpg"

    def _mask_files(self, expression: VideoExpression, position: int) -> list[Path]:
        name = self._frames[expression.video][position]
        return [self._split.alpha(expression.video, each) / f"{name}.png" for each in expression.target or ()]

    def _mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        return np.any([read_matte(file) for file in self._mask_files(expression, position)], axis=0)
