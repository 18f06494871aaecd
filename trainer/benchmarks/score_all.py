"""Scoring many videos, on several cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from .benchmark import Benchmark
from .names import open_benchmark
from .video import SequenceScores

_VIDEOS_EACH = 8
"""For as many a process of its own is started, which takes as long as scoring a few."""


@dataclass(frozen=True)
class VideoScores:
    """What scoring a video came to.

    Attributes:
        name: of the video.
        rows: its scores; empty where nothing is asked about it.
        fault: what is wrong with its files, in a sentence; None where nothing is.
    """

    name: str
    rows: tuple[SequenceScores, ...] = ()
    fault: str | None = None


def score_videos(
    benchmark: Benchmark, root: Path, names: Sequence[str], results: Path, processes: int
) -> Iterator[VideoScores]:
    """Score videos, in their order.

    Args:
        benchmark: as it was opened.
        root: its folder, from which other processes open it.
        names: of the videos.
        results: folder of the masks.
        processes: at most, this one or others.
    """
    count = min(processes, len(names) // _VIDEOS_EACH)
    if count < 2:
        yield from map(_scorer(benchmark, results), names)
        return
    opened = (type(benchmark).name, root, benchmark.split if benchmark.splits else None, results)
    # Not forked: this process may hold a GPU and threads.
    with ProcessPoolExecutor(count, get_context("spawn"), _open, opened) as pool:
        yield from pool.map(_score, names)


def cores() -> int:
    """Cores that this process may use, its share of those of the machine where a launcher started several."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _scorer(benchmark: Benchmark, results: Path) -> Callable[[str], VideoScores]:
    def score(name: str) -> VideoScores:
        try:
            video = benchmark.video(name)
            return VideoScores(name, tuple(benchmark.score(video, results)) if video.queries else ())
        except (ValueError, FileNotFoundError) as error:
            return VideoScores(name, fault=str(error))

    return score


_scorers: list[Callable[[str], VideoScores]] = []  # of a process that was started to score


def _open(name: str, root: Path, split: str | None, results: Path) -> None:
    _scorers[:] = [_scorer(open_benchmark(name, root, split), results)]


def _score(name: str) -> VideoScores:
    return _scorers[0](name)
