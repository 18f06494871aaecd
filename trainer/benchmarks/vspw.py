"""VSPW: stuff, class by class (REM's released code)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rem_engine.media.reading import shot_files

from ..data.files import quoted, read_ids, read_json, read_names
from ..data.sample import BrokenSample
from .benchmark import Benchmark
from .video import Query, Truth, Video

STUFF = {
    0: "wall", 1: "ceiling", 3: "stair", 5: "escalator", 6: "Playground_slide", 7: "handrail_or_fence", 9: "rail",
    11: "pillar", 12: "pole", 13: "floor", 14: "ground", 15: "grass", 16: "sand", 17: "athletic_field", 18: "road",
    19: "path", 20: "crosswalk", 21: "building", 22: "house", 23: "bridge", 24: "tower", 25: "windmill",
    26: "well_or_well_lid", 27: "other_construction", 28: "sky", 29: "mountain", 30: "stone", 31: "wood", 32: "ice",
    33: "snowfield", 34: "grandstand", 35: "sea", 36: "river", 37: "lake", 38: "waterfall", 39: "water",
    40: "billboard_or_Bulletin_Board", 42: "pipeline", 45: "cushion_or_carpet", 53: "wheeled_machine", 57: "tyre",
    58: "traffic_light", 59: "lamp", 66: "tree", 67: "flower", 68: "other_plant", 69: "toy", 70: "ball_net",
    71: "backboard", 73: "bat", 75: "cupboard_or_showcase_or_storage_rack", 80: "trash_can", 81: "cage", 93: "shelf",
    94: "bathtub", 98: "other_machine", 103: "curtain", 104: "textiles", 105: "clothes", 110: "book", 111: "tool",
    112: "blackboard", 113: "tissue", 119: "other_electronic_product", 120: "fruit", 121: "food",
}  # fmt: skip
"""The 66 of VSPW's 124 classes that REM evaluates as stuff, by number (REM's released code)."""


CLASSES_FILE = "val_vid2classes.json"
"""Which classes each video of val has, as REM's released code reads it (stuff/val_vid2classes.json)."""


class VspwBenchmark(Benchmark):
    """VSPW val.

    `val.txt`; `data/<video>/origin/<frame>.jpg`; `data/<video>/mask/<frame>.png`, pixels one more than the class's
    number, 0 and 255 for no class. A video is asked for the stuff classes that `val_vid2classes.json` lists for it, the
    file that REM's code reads and that is released with it (video -> numbers as texts); without it in the folder, for
    those that its masks show. Results lie in `<video>/<class>/pred/<frame>.png`.

    Args:
        root: the folder.
        split: None, since there is a single one.

    Raises:
        FileNotFoundError: a part of it is missing.
        BrokenSample: a list is none.
    """

    name = "vspw"
    title = "VSPW"
    headline = "J"
    windows: ClassVar[tuple[int, ...]] = (105, 73, 61, 49, 37, 25, 17, 9)
    pieces: ClassVar[int] = 32
    groups = "class"
    published_videos: ClassVar[int] = 343

    def __init__(self, root: Path, split: str | None = None) -> None:
        listed = root / "val.txt"
        if not listed.is_file():
            raise FileNotFoundError(f"{listed} does not exist; name the folder of VSPW (480p) as --root.")
        self._names = read_names(listed)
        self._data = root / "data"
        self._classes_file = root / CLASSES_FILE
        self._classes = read_json(self._classes_file) if self._classes_file.is_file() else None
        if not isinstance(self._classes, dict | None):
            raise BrokenSample(self._classes_file, "holds no classes by video; get it from REM's repository again.")

    def names(self) -> Sequence[str]:
        return self._names

    def video(self, name: str) -> Video:
        folder = self._data / name
        if not (folder / "origin").is_dir():
            raise FileNotFoundError(f"{folder / 'origin'} does not exist; val.txt lists the video {name}.")
        frames = shot_files(folder / "origin")
        shown = self._shown(name, frames) if self._classes is None else self._listed(name, self._classes)
        queries = [
            Query(class_, f"the {class_}", class_, f"{name}/{class_}/pred", number)
            for number, class_ in STUFF.items()
            if number in shown
        ]
        return Video(name, tuple(frames), tuple(f"{frame.stem}.png" for frame in frames), tuple(queries))

    def _shown(self, name: str, frames: Sequence[Path]) -> set[int]:
        """Classes that the masks of a video show."""
        shown: set[int] = set()
        for frame in frames:
            shown.update(np.flatnonzero(np.bincount(self._ids(name, frame).reshape(-1), minlength=256)).tolist())
        return {number - 1 for number in shown}

    def _listed(self, name: str, classes: dict[str, Any]) -> set[int]:
        """Classes that the released list has of a video."""
        listed = classes.get(name)
        if not isinstance(listed, list) or not all(str(each).isdecimal() for each in listed):
            found = quoted(listed)
            raise BrokenSample(
                self._classes_file, f"has {found} for the video {name}; numbers of classes are expected."
            )
        return {int(each) for each in listed}

    def truth(self, video: Video, frame: int) -> Truth:
        # REM's code counts pixels of no class (0 and 255) as the class 124, "others", which is not asked for.
        ids = self._ids(video.name, video.frames[frame])
        return Truth(np.array([ids == query.target + 1 for query in video.queries], bool).reshape(-1, *ids.shape))

    def _ids(self, name: str, frame: Path) -> np.ndarray:
        return read_ids(self._data / name / "mask" / f"{frame.stem}.png")
