"""What a benchmark is made of: a video, what is asked about it, what is true of it, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Query:
    """One sentence about a video.

    Attributes:
        name: what tells it from the others of its video: an expression's id, a class, an object.
        text: the sentence, as it is encoded.
        group: scores are averaged within groups first, then over them: a class, an annotator; "" for a single group.
        folder: where its masks belong, below the folder of results.
        target: what the benchmark finds the true masks by.
    """

    name: str
    text: str
    group: str
    folder: str
    target: Any = None


@dataclass(frozen=True)
class Video:
    """A video and what is asked about it.

    Attributes:
        name: of the video.
        frames: its pictures, in order.
        masks: for each frame the name of its mask's file in every query's folder; None where no mask is kept.
        queries: what is asked.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[str | None, ...]
    queries: tuple[Query, ...]

    @classmethod
    def listed(cls, folder: Path, name: str, frames: Sequence[str], queries: Sequence[Query]) -> Video:
        """One whose frames are listed as Refer-YouTube-VOS does it: `folder`/JPEGImages/`name`/<frame>.jpg."""
        pictures = tuple(folder / "JPEGImages" / name / f"{frame}.jpg" for frame in frames)
        return cls(name, pictures, tuple(f"{frame}.png" for frame in frames), tuple(queries))


@dataclass(frozen=True)
class Truth:
    """What is true of a frame.

    Attributes:
        masks: bool [N,H,W]; unless the benchmark matches them otherwise, one for each query, in order.
        void: bool [H,W], pixels that do not count; None for none.
    """

    masks: np.ndarray
    void: np.ndarray | None = None

    @property
    def void_of_each(self) -> np.ndarray | None:
        """`void` for every one of the masks, bool [N,H,W]; None for none."""
        return None if self.void is None else np.broadcast_to(self.void, self.masks.shape)


@dataclass(frozen=True)
class SequenceScores:
    """The scores of one sequence of masks.

    Attributes:
        video: its name.
        query: what was asked.
        truth: which of the true masks it was compared with.
        frames: the frames that count, by their place in the video.
        measures: J-Mean, J-Recall, J-Decay, and the same of F where it is measured.
    """

    video: str
    query: Query
    truth: int
    frames: tuple[int, ...]
    measures: dict[str, float]
