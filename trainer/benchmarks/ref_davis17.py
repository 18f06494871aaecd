"""Ref-DAVIS17: four annotators' sentences, scored by DAVIS's unsupervised task (REM's released code)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..data.broken import refuse
from ..data.files import field, read_ids, read_names
from ..data.sample import BrokenSample
from ..data.video import read_videos
from .benchmark import Benchmark
from .matching import match
from .scoring import MEASURES, read_prediction, sequence_scores
from .video import Query, SequenceScores, Truth, Video

ANNOTATORS = 4
MOST_PROPOSALS = 20
"""That may be given for a video (DAVIS 2017 evaluation)."""
_VOID = 255


class RefDavis17Benchmark(Benchmark):
    """Ref-DAVIS17 val, as ReferFormer prepares it.

    `meta_expressions/valid/meta_expressions.json`, `valid/JPEGImages/<video>/<frame>.jpg`, and the original `DAVIS`
    with `Annotations_unsupervised/480p` and `ImageSets/2017/val.txt`; in the place of the first two also
    `meta_expressions.json` and DAVIS's own frames. Sentence 4 k + a is annotator a's of object k; results lie in
    `anno_<a>/<video>/<k + 1>/<f:05d>.png`.

    Args:
        root: the folder.
        split: None, since there is a single one.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or not of that form.
    """

    name = "ref-davis17"
    title = "Ref-DAVIS17"
    groups = "annotator"
    published_videos: ClassVar[int] = 30

    def __init__(self, root: Path, split: str | None = None) -> None:
        self._davis = root / "DAVIS"
        listed = self._davis / "ImageSets" / "2017" / "val.txt"
        if not listed.is_file():
            raise FileNotFoundError(f"{listed} does not exist; put DAVIS 2017 (unsupervised, 480p) into {self._davis}.")
        self._names = read_names(listed)
        self._listing = root / "meta_expressions" / "valid" / "meta_expressions.json"
        if not self._listing.is_file():
            self._listing = root / "meta_expressions.json"
        self._videos = {name: (frames, entries) for name, frames, entries in read_videos(self._listing, refuse)}
        self._objects: dict[str, int] = {}
        self._frames = root / "valid" / "JPEGImages"
        if not self._frames.is_dir():
            self._frames = self._davis / "JPEGImages" / "480p"

    def names(self) -> Sequence[str]:
        return self._names

    def video(self, name: str) -> Video:
        if name not in self._videos:
            raise BrokenSample(self._listing, f"has no sentences for {name}, which DAVIS lists in val.txt.")
        frames, entries = self._videos[name]
        texts = [field(self._listing, entry, "exp", str, f"sentence {key} of {name}") for key, entry in entries.items()]
        if len(texts) % ANNOTATORS:
            raise BrokenSample(
                self._listing, f"has {len(texts)} sentences for {name}; {ANNOTATORS} an object are expected."
            )
        queries = [
            _query(name, annotator, place, texts[place * ANNOTATORS + annotator])
            for annotator in range(ANNOTATORS)
            for place in range(len(texts) // ANNOTATORS)
        ]
        return Video(
            name,
            tuple(self._frames / name / f"{frame}.jpg" for frame in frames),
            tuple(f"{index:05d}.png" for index in range(len(frames))),
            tuple(queries),
        )

    def truth(self, video: Video, frame: int) -> Truth:
        if video.name not in self._objects:  # those of a video's first frame (DAVIS 2017 evaluation)
            first = self._ids(video, 0)
            self._objects[video.name] = int(first[first != _VOID].max(initial=0))
        ids = self._ids(video, frame)
        return Truth(ids == np.arange(1, self._objects[video.name] + 1)[:, None, None], ids == _VOID)

    def score(self, video: Video, results: Path) -> list[SequenceScores]:
        return [row for annotator in range(ANNOTATORS) for row in self._score_annotator(video, annotator, results)]

    def _score_annotator(self, video: Video, annotator: int, results: Path) -> list[SequenceScores]:
        proposals = self._proposals(video, annotator, results)
        values: dict[str, list[np.ndarray]] = {measure: [] for measure in MEASURES}
        for frame, name in enumerate(video.masks):
            if name is None:
                continue
            truth = self.truth(video, frame)
            masks = [read_prediction(results, query, name, truth) for query in proposals]
            masks += [np.zeros(truth.masks.shape[1:], bool)] * (len(truth.masks) - len(masks))
            shape, void = truth.masks.shape, truth.void_of_each
            for measure, compare in MEASURES.items():
                each = [compare(np.broadcast_to(mask, shape), truth.masks, void) for mask in masks]
                values[measure].append(np.stack(each))
        compared = {measure: np.stack(frames, axis=2) for measure, frames in values.items()}
        rows = []
        for place, (proposal, object_) in enumerate(match(compared["J"], compared["F"])):
            # The evaluation names pairs by their place among the proposals, not by the object.
            query = proposals[proposal] if proposal < len(proposals) else _query(video.name, annotator, proposal, "")
            named = Query(f"{video.name}_{place + 1}", query.text, query.group, query.folder)
            measures = {measure: each[proposal, object_] for measure, each in compared.items()}
            rows.append(sequence_scores(video, named, object_, range(len(video.frames)), measures))
        return rows

    def _proposals(self, video: Video, annotator: int, results: Path) -> list[Query]:
        """The sequences there are, whatever was asked: the evaluation takes them for nameless proposals."""
        group = _group(annotator)
        folder = results / group / video.name
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} does not exist; predict this video first.")
        count = sum(re.fullmatch(r"\d+", path.name) is not None for path in folder.iterdir())
        if count > MOST_PROPOSALS:
            raise ValueError(f"{folder} holds {count} proposals; DAVIS allows {MOST_PROPOSALS}.")
        asked = {query.folder: query for query in video.queries}
        return [
            asked.get(query.folder, query)
            for query in (_query(video.name, annotator, place, "") for place in range(count))
        ]

    def _ids(self, video: Video, frame: int) -> np.ndarray:
        name = f"{video.frames[frame].stem}.png"
        return read_ids(self._davis / "Annotations_unsupervised" / "480p" / video.name / name)


def _group(annotator: int) -> str:
    return f"anno_{annotator}"


def _query(video: str, annotator: int, place: int, text: str) -> Query:
    group = _group(annotator)
    return Query(f"{group}/{place + 1}", text, group, f"{group}/{video}/{place + 1}")
