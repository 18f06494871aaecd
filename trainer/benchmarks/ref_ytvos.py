"""Refer-YouTube-VOS: masks for its server, or a local score on videos held out from its train split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from rem_engine.backbones.base import WAN

from ..data.broken import refuse
from ..data.files import field, read_ids
from ..data.ref_ytvos import object_number
from ..data.video import read_videos
from .benchmark import Benchmark
from .video import Query, Truth, Video


class RefYtvosBenchmark(Benchmark):
    """Refer-YouTube-VOS.

    `<split>/JPEGImages/<video>/<frame>.jpg` and `meta_expressions/<split>/meta_expressions.json`; results lie in
    `Annotations/<video>/<expression>/<frame>.png`. The split valid is what its listing holds less what that of the
    split test holds (202 videos), and its truth is on the server; train has its truth in
    `train/Annotations/<video>/<frame>.png`.

    Args:
        root: the folder.
        split: valid or train; None for valid where it is there, else train.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or not of that form.
    """

    name = "ref-ytvos"
    title = "Ref-YTVOS"
    windows: ClassVar[tuple[int, ...]] = (*WAN.paper_windows, 5)
    published_videos: ClassVar[int] = 202
    splits: ClassVar[tuple[str, ...]] = ("valid", "train")

    def __init__(self, root: Path, split: str | None = None) -> None:
        def listing(name: str) -> Path:
            return root / "meta_expressions" / name / "meta_expressions.json"

        self.split = split or next((name for name in self.splits if listing(name).is_file()), self.splits[0])
        self._folder, self._listing = root / self.split, listing(self.split)
        self._videos = {name: (frames, entries) for name, frames, entries in read_videos(self._listing, refuse)}
        if self.split == "valid":
            self.submission = "Annotations"
            if listing("test").is_file():
                for name, _, _ in read_videos(listing("test"), refuse):
                    self._videos.pop(name, None)

    def names(self) -> Sequence[str]:
        return sorted(self._videos)

    def video(self, name: str) -> Video:
        frames, entries = self._videos[name]
        queries = []
        for key, entry in entries.items():
            where = f"expression {key} of {name}"
            target = None if self.submission else object_number(self._listing, entry, where)
            text = field(self._listing, entry, "exp", str, where)
            queries.append(Query(key, text, "", f"Annotations/{name}/{key}", target))
        return Video.listed(self._folder, name, frames, queries)

    def truth(self, video: Video, frame: int) -> Truth:
        ids = read_ids(self._folder / "Annotations" / video.name / str(video.masks[frame]))
        return Truth(np.array([ids == query.target for query in video.queries], bool).reshape(-1, *ids.shape))
