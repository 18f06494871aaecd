"""Reading a benchmark from end to end, to find what is broken before a model runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rem_engine.media.images import read_image
from rem_engine.progress import SILENT, Progress, counted

from ..data.check import Report
from ..data.sample import BrokenSample, Measured
from ..data.statistics import Statistics
from .benchmark import Benchmark
from .names import open_benchmark
from .video import Video

KINDS = {"burst": "burst", "vspw": "vspw", "ref_vps": "ref-vps"}
"""Layouts that are evaluated on alone, as `check-data --kind` names them, and the benchmark of each."""

_WITHOUT_TRUTH = {("ref_ytvos", "valid"): "ref-ytvos", ("mevis", "valid"): "mevis"}
"""Splits whose truth is on a server, and which cannot be trained on, by layout and split."""


def benchmark_of(kind: str, split: str) -> str | None:
    """The benchmark that reads a layout's split; None for what is a dataset to train on."""
    return KINDS.get(kind) or _WITHOUT_TRUTH.get((kind, split))


def check_benchmark(
    name: str,
    root: Path,
    split: str | None,
    progress: Progress = SILENT,
    tokens: Callable[[str], int] | None = None,
) -> Report:
    """Read every frame and every true mask of a benchmark, one at a time.

    Args:
        name: see `open_benchmark`.
        root: its folder.
        split: one of its splits; None where it has a single one.
        progress: told "videos".
        tokens: see `Statistics`.

    Raises:
        FileNotFoundError, ValueError: see `open_benchmark`.
    """
    benchmark = open_benchmark(name, root, split)
    faults: dict[str, Exception] = {}
    sentences = unusable = 0
    statistics = Statistics(tokens)
    for each in counted(benchmark.names(), "videos", progress):
        before = len(faults)
        try:
            video = benchmark.video(each)
        except (ValueError, FileNotFoundError) as error:
            faults.setdefault(str(error), error)
            continue
        size, areas = _check_video(benchmark, video, faults)
        sentences += len(video.queries)
        if len(faults) > before:
            unusable += len(video.queries)
            continue
        for query, own in zip(video.queries, areas):
            statistics.add(Measured(video.name, len(video.frames), size, tuple(own)), query.text)
    title = f"{benchmark.title} ({benchmark.split})" if benchmark.split else benchmark.title
    return Report(title, sentences, unusable, tuple(faults.values()), "be evaluated on", statistics)


def _check_video(
    benchmark: Benchmark, video: Video, faults: dict[str, Exception]
) -> tuple[tuple[int, ...], list[list[float]]]:
    """(height, width) of a video, and the areas of the true masks of each of its sentences."""
    size: tuple[int, ...] = ()
    areas: list[list[float]] = [[] for _ in video.queries]
    for frame, path in enumerate(video.frames):
        try:
            shape = _size_of(path)
            size = size or shape
            if shape != size:
                raise ValueError(f"{path} is {shape[1]}x{shape[0]} pixels, and the first frame {size[1]}x{size[0]}.")
            truth = None if benchmark.submission is not None else benchmark.truth(video, frame)
            if truth is not None and truth.masks.shape[1:] != shape:
                height, width = truth.masks.shape[1:]
                raise ValueError(f"{path} is {shape[1]}x{shape[0]} pixels, and its annotation {width}x{height}.")
            if truth is not None:
                for own, area in zip(areas, truth.masks.mean(axis=(1, 2)).tolist()):
                    own.append(area)
        except (ValueError, FileNotFoundError) as error:
            faults.setdefault(str(error), error)
    return size, areas


def _size_of(path: Path) -> tuple[int, ...]:
    """(height, width) of a frame, all of which is read."""
    try:
        return read_image(path).shape[:2]
    except ValueError as error:
        raise BrokenSample(path, f"cannot be used: {error}") from error
