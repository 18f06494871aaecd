"""MeViS: sentences about motion, scored on valid_u."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from rem_engine.media.images import image_size

from ..data.broken import refuse
from ..data.coco import decode_mask
from ..data.files import field
from ..data.indexed_json import IndexedJson
from ..data.mevis import check_runs
from ..data.sample import BrokenSample
from ..data.video import read_videos
from .benchmark import Benchmark
from .video import Query, Truth, Video


class MevisBenchmark(Benchmark):
    """MeViS.

    `<split>/JPEGImages/<video>/<frame>.jpg`, `<split>/meta_expressions.json`, and for valid_u `mask_dict.json`, run
    lengths of every frame by annotation; what a sentence names is the union of its annotations. Results lie in
    `<video>/<expression>/<frame>.png`. The truth of valid is on its server.

    Args:
        root: the folder.
        split: valid_u or valid; None for the first that is there.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or not of that form.
    """

    name = "mevis"
    title = "MeViS"
    splits: ClassVar[tuple[str, ...]] = ("valid_u", "valid")

    def __init__(self, root: Path, split: str | None = None) -> None:
        there = (name for name in self.splits if (root / name / "meta_expressions.json").is_file())
        self.split = split or next(there, self.splits[0])
        self._folder = root / self.split
        self._listing, self._mask_file = self._folder / "meta_expressions.json", self._folder / "mask_dict.json"
        self._videos = {name: (frames, entries) for name, frames, entries in read_videos(self._listing, refuse)}
        if self.split == "valid":
            self.submission = ""
        else:
            self._masks = IndexedJson(self._mask_file)

    def names(self) -> Sequence[str]:
        return sorted(self._videos)

    def video(self, name: str) -> Video:
        frames, entries = self._videos[name]
        queries = []
        for key, entry in entries.items():
            where = f"expression {key} of {name}"
            targets: tuple[str, ...] = ()
            if self.submission is None:
                targets = tuple(str(number) for number in field(self._listing, entry, "anno_id", list, where))
                self._check(targets, len(frames), where)
            queries.append(Query(key, field(self._listing, entry, "exp", str, where), "", f"{name}/{key}", targets))
        return Video.listed(self._folder, name, frames, queries)

    def truth(self, video: Video, frame: int) -> Truth:
        size = image_size(video.frames[frame])
        masks = np.zeros((len(video.queries), *size), bool)
        for mask, query in zip(masks, video.queries):
            for number in query.target:
                runs = self._masks[number][frame]
                if runs is not None:
                    mask |= decode_mask(self._mask_file, runs, size, f"annotation {number}, frame {frame}")
        return Truth(masks)

    def _check(self, targets: Sequence[str], frames: int, where: str) -> None:
        for number in targets:
            found = 0
            if number in self._masks:
                check_runs(self._mask_file, number, self._masks)
                found = self._masks.count(number) or 0
            if found != frames:
                count = str(found) if number in self._masks else "no"
                raise BrokenSample(
                    self._mask_file, f"has {count} masks for annotation {number} ({where}); {frames} are expected."
                )
