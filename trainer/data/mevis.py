"""MeViS: sentences about motion that may name several objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .broken import OnBroken, refuse
from .coco import decode_mask
from .files import field, quoted
from .indexed_json import IndexedJson
from .sample import BrokenSample
from .video import VideoExpression, VideoSource, read_videos


class Mevis(VideoSource):
    """A split of MeViS that has masks (as published: train, valid_u).

    `<split>/JPEGImages/<video>/<frame>.jpg`; `<split>/meta_expressions.json` (videos -> expressions -> exp, anno_id;
    frames); `<split>/mask_dict.json` (annotation id -> run lengths of every frame, null where there is nothing). The
    mask is the union of a sentence's annotations; a sentence without any names nothing (MeViS v2).

    Args:
        root: the folder of the dataset.
        split: train or valid_u.
        on_broken: what is done about entries of the JSON files that are not of that form.

    Raises:
        FileNotFoundError: there is no such split, or it has no masks.
        BrokenSample: a JSON file cannot be read.
    """

    def __init__(self, root: Path, split: str = "train", on_broken: OnBroken = refuse) -> None:
        self._folder = root / split
        self._mask_file = self._folder / "mask_dict.json"
        listing = self._folder / "meta_expressions.json"
        videos = read_videos(listing, on_broken)
        self._masks = IndexedJson(self._mask_file)
        for number in self._masks:
            try:
                check_runs(self._mask_file, number, self._masks)
            except BrokenSample as broken:
                on_broken(broken)
        expressions, frames = [], {}
        for video, names, entries in videos:
            frames[video] = names
            for number, entry in entries.items():
                try:
                    expression = _expression(listing, video, number, entry)
                    self._check_annotations(expression, len(names))
                    expressions.append(expression)
                except BrokenSample as broken:
                    on_broken(broken)
        super().__init__(f"MeViS ({split})", expressions, frames, listing)

    def _check_annotations(self, expression: VideoExpression, frames: int) -> None:
        for number in expression.target or ():
            if number not in self._masks:
                raise BrokenSample(
                    self._mask_file,
                    f"has no annotation {number}, which the sentence {expression.text!r} of {expression.video} names.",
                )
            count = self._masks.count(number) or 0
            if count != frames:
                raise BrokenSample(
                    self._mask_file,
                    f"has {count} masks for annotation {number}, but the video {expression.video} has {frames} frames.",
                )

    def _frame_file(self, video: str, position: int) -> Path:
        return self._folder / "JPEGImages" / video / f"{self._frames[video][position]}.jpg"

    def _mask_files(self, expression: VideoExpression, position: int) -> list[Path]:
        return [self._mask_file]

    def _mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        where = f"frame {position} of {expression.video}"
        union = np.zeros(size, bool)
        for number in expression.target:
            run = self._masks[number][position]
            if run is not None:
                union |= decode_mask(self._mask_file, run, size, f"annotation {number}, {where}")
        return union


def check_runs(path: Path, number: str, masks: IndexedJson) -> None:
    """Raise BrokenSample where an annotation of mask_dict.json is no list of frames."""
    if masks.count(number) is None:
        found = quoted(masks[number])
        raise BrokenSample(path, f"annotation {number} is {found}; a list of run lengths, one a frame, is expected.")


def _expression(listing: Path, video: str, number: str, entry: object) -> VideoExpression:
    where = f"expression {number} of the video {video}"
    text = field(listing, entry, "exp", str, where)
    if not text.strip():
        raise BrokenSample(listing, f"{where} has no words.")
    annotations = tuple(str(each) for each in field(listing, entry, "anno_id", list, where))
    return VideoExpression(video, text, annotations or None)
