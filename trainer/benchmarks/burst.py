"""BURST: every class that is tracked in a video, all its tracks together (REM's released code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from rem_engine.media.images import image_size

from ..data.coco import decode_mask
from ..data.files import check_place, field, quoted, read_json, texts
from ..data.sample import BrokenSample
from .benchmark import Benchmark
from .video import Query, Truth, Video


@dataclass(frozen=True)
class _Sequence:
    listing: Path
    folder: Path
    entry: dict[str, Any]


class BurstBenchmark(Benchmark):
    """BURST, test and val.

    `annotations/<split>/all_classes.json` as published (or `annotations_burst/`, as REM's code has it) and TAO's frames
    in `frames/<split>/<dataset>/<sequence>/`. Results, at annotated frames alone, lie in
    `<dataset>/<sequence>/pred/<class id>_<class>/<frame>.png`.

    The model sees the frames that `input_frame_paths.json` beside the annotations lists ("<dataset>_<sequence>" -> file
    names), a file that REM's code reads and that was not released; without it, all of `all_image_paths`.

    Args:
        root: the folder.
        split: None, since there is a single one.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or not of that form.
    """

    name = "burst"
    title = "BURST"
    headline = "J"
    windows: ClassVar[tuple[int, ...]] = (65, 49, 37, 25, 17, 9)
    pieces: ClassVar[int] = 64
    groups = "class"

    def __init__(self, root: Path, split: str | None = None) -> None:
        found = (root / name for name in ("annotations_burst", "annotations"))
        annotations = next((path for path in found if path.is_dir()), root / "annotations")
        listings = [annotations / split / "all_classes.json" for split in ("test", "val")]
        there = [path for path in listings if path.is_file()]
        if not there:
            raise FileNotFoundError(f"{listings[1]} does not exist; put BURST's annotations into {annotations}.")
        self.split = " and ".join(path.parent.name for path in there)
        self._sequences: dict[str, _Sequence] = {}
        self._classes: dict[int, str] = {}
        for listing in there:
            content = read_json(listing)
            for category in field(listing, content, "categories", list, "the file"):
                number = field(listing, category, "id", int, "a category")
                named = field(listing, category, "name", str, f"category {number}")
                self._classes[number] = check_place(listing, named, f"category {number}")
            for entry in field(listing, content, "sequences", list, "the file"):
                dataset = field(listing, entry, "dataset", str, "a sequence")
                name = f"{dataset}/{field(listing, entry, 'seq_name', str, 'a sequence')}"
                check_place(listing, name, "a sequence")
                self._sequences[name] = _Sequence(listing, root / "frames" / listing.parent.name / name, entry)
        shown = root / "input_frame_paths.json"
        self._shown_file, self._shown = shown, read_json(shown) if shown.is_file() else {}
        if not isinstance(self._shown, dict):
            raise BrokenSample(shown, "holds no frames by sequence.")

    def names(self) -> Sequence[str]:
        return list(self._sequences)

    def video(self, name: str) -> Video:
        sequence = self._sequences[name]
        annotated = {PurePosixPath(path).stem for path in self._texts(name, "annotated_image_paths")}
        key = name.replace("/", "_", 1)
        shown = texts(self._shown_file, self._shown, key, "the file") if key in self._shown else []
        frames = shown or self._texts(name, "all_image_paths")
        stems = [PurePosixPath(path).stem for path in frames]
        for path in frames:
            check_place(sequence.listing, path, name)
        unseen = sorted(annotated.difference(stems))
        if unseen:
            raise BrokenSample(sequence.listing, f"{name} is annotated at {unseen[0]}, which is none of its frames.")
        tracks = self._field(name, "track_category_ids", dict)
        queries = []
        for track in tracks:
            field(sequence.listing, tracks, track, int, f"'track_category_ids' of {name}")
        for number in dict.fromkeys(tracks.values()):
            if number not in self._classes:
                raise BrokenSample(sequence.listing, f"{name} has a track of the unknown category {number}.")
            class_ = self._classes[number]
            ids = tuple(track for track, category in tracks.items() if category == number)
            queries.append(Query(class_, f"the {class_}", class_, f"{name}/pred/{number}_{class_}", ids))
        return Video(
            name,
            tuple(sequence.folder / path for path in frames),
            tuple(f"{stem}.png" if stem in annotated else None for stem in stems),
            tuple(queries),
        )

    def truth(self, video: Video, frame: int) -> Truth | None:
        if video.masks[frame] is None:
            return None
        listing = self._sequences[video.name].listing
        size = (self._field(video.name, "height", int), self._field(video.name, "width", int))
        stems = [PurePosixPath(path).stem for path in self._texts(video.name, "annotated_image_paths")]
        segmentations = self._field(video.name, "segmentations", list)
        place = stems.index(video.frames[frame].stem)
        if place >= len(segmentations):
            raise BrokenSample(listing, f"{video.name} has {len(segmentations)} segmentations for {len(stems)} frames.")
        if size != (shown := image_size(video.frames[frame])):
            raise BrokenSample(listing, f"{video.name} is said to be {size}, but {video.frames[frame]} is {shown}.")
        if not isinstance(segmentations[place], dict):
            found = quoted(segmentations[place])
            raise BrokenSample(listing, f"the segmentation {place} of {video.name} is {found}; tracks are expected.")
        masks = np.zeros((len(video.queries), *size), bool)
        for mask, query in zip(masks, video.queries):
            for track in query.target:
                if track in segmentations[place]:
                    where = f"track {track} of {video.name}"
                    runs = field(listing, segmentations[place][track], "rle", str, where)
                    mask |= decode_mask(listing, {"size": list(size), "counts": runs}, size, where)
        return Truth(masks)

    def _texts(self, name: str, key: str) -> list[str]:
        sequence = self._sequences[name]
        return texts(sequence.listing, sequence.entry, key, f"the sequence {name}")

    def _field(self, name: str, key: str, kind: type) -> Any:
        sequence = self._sequences[name]
        return field(sequence.listing, sequence.entry, key, kind, f"the sequence {name}")
