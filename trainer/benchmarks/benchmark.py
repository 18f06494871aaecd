"""What a benchmark is: videos, what is asked about them, where the masks belong, and what is true."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rem_engine.backbones.base import MODELSCOPE, WAN

from .scoring import score_queries
from .video import SequenceScores, Truth, Video


class Benchmark(ABC):
    """A benchmark on disk.

    Args:
        root: its folder.
        split: one of its splits; None for the first that is there.

    Attributes:
        name: on the command line.
        title: for people.
        headline: the figure that papers report, J&F or J; F is measured for the first alone.
        windows: window lengths of the authors' Wan evaluation, longest first.
        pieces: length of the pieces of their ModelScope evaluation.
        groups: what a query's group is, in one word; "" where there is one group.
        published_videos: how many videos the published figures are over; None where that is not known.
        splits: the splits there are, the first one is taken where it is on disk.
        split: the one opened.
        submission: for a split whose truth is not public: the part of the results' folder that its server takes, as a
            zip.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    headline: ClassVar[str] = "J&F"
    windows: ClassVar[tuple[int, ...]] = WAN.paper_windows
    pieces: ClassVar[int] = MODELSCOPE.paper_windows[0]
    groups: ClassVar[str] = ""
    published_videos: ClassVar[int | None] = None
    splits: ClassVar[tuple[str, ...]] = ()
    split: str | None = None
    submission: str | None = None

    @abstractmethod
    def __init__(self, root: Path, split: str | None = None) -> None: ...

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The videos, in order."""

    @abstractmethod
    def video(self, name: str) -> Video:
        """One of them, by name.

        Raises:
            ValueError, FileNotFoundError: its files are not what the layout says.
        """

    @abstractmethod
    def truth(self, video: Video, frame: int) -> Truth | None:
        """What is true of a frame, counted from 0; None where that is not annotated.

        Raises:
            ValueError: a file is missing or damaged.
        """

    def score(self, video: Video, results: Path) -> list[SequenceScores]:
        """Compare the masks below `results` with the truth, frame by frame.

        Raises:
            ValueError: a mask is missing, damaged, or of another size.
        """
        return score_queries(video, results, self.truth, self.headline)
