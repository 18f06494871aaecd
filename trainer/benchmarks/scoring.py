"""Comparing masks on disk with the truth, and averaging what comes out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from rem_engine.metrics import boundary_accuracy, region_similarity

from ..data.files import read_ids
from ..data.sample import BrokenSample
from .video import Query, SequenceScores, Truth, Video

Measure = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], np.ndarray]

MEASURES: dict[str, Measure] = {"J": region_similarity, "F": boundary_accuracy}


def measures_of(headline: str) -> tuple[str, ...]:
    """What is measured for a headline figure: J and F for J&F, J for J."""
    return tuple(headline.split("&"))


def score_queries(
    video: Video, results: Path, truth_of: Callable[[Video, int], Truth | None], headline: str
) -> list[SequenceScores]:
    """The scores for each query of a video, each compared with the true mask of its own place.

    Frames are held one at a time. Only annotated ones count.

    Args:
        video: with its queries.
        results: folder that holds their masks.
        truth_of: what is true of a frame, None where that is not annotated; see `Benchmark.truth`.
        headline: figure whose measures are taken, J&F or J.

    Raises:
        ValueError: a mask is missing, damaged, or of another size; or no frame is annotated.
    """
    values: dict[str, list[np.ndarray]] = defaultdict(list)
    counted: list[int] = []
    for frame, name in enumerate(video.masks):
        if name is None or (truth := truth_of(video, frame)) is None:
            continue
        counted.append(frame)
        predicted = np.stack([read_prediction(results, query, name, truth) for query in video.queries])
        for measure in measures_of(headline):
            values[measure].append(MEASURES[measure](predicted, truth.masks, truth.void_of_each))
    if not counted:
        raise ValueError(
            f"No frame of {video.name} has an annotation, so that there is nothing to score; check --root."
        )
    per_query = {measure: np.stack(frames, axis=1) for measure, frames in values.items()}
    return [
        sequence_scores(video, query, place, counted, {measure: frames[place] for measure, frames in per_query.items()})
        for place, query in enumerate(video.queries)
    ]


def sequence_scores(
    video: Video, query: Query, truth: int, counted: Sequence[int], values: dict[str, np.ndarray]
) -> SequenceScores:
    """Sum up measures [T] of a sequence, of the T frames that count."""
    measures = {}
    for measure, frames in values.items():
        for name, value in zip(("Mean", "Recall", "Decay"), statistics(frames)):
            measures[f"{measure}-{name}"] = value
    return SequenceScores(video.name, query, truth, tuple(counted), measures)


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall and decay of a measure over frames [T] (DAVIS 2017 evaluation).

    Recall is the share of frames above 0.5, decay the mean of the first quarter of the frames less that of the last.
    Neighbouring quarters share the frame where they meet.
    """
    ends = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())


def read_prediction(results: Path, query: Query, name: str, truth: Truth) -> np.ndarray:
    """The mask of a frame, bool [H,W]: whatever is not 0.

    Raises:
        BrokenSample: missing, damaged, or of another size than the truth.
    """
    path = results / query.folder / name
    mask = read_ids(path) > 0
    if mask.shape != truth.masks.shape[1:]:
        (height, width), (true_height, true_width) = mask.shape, truth.masks.shape[1:]
        raise BrokenSample(
            path, f"is {width}x{height} pixels, but the truth is {true_width}x{true_height}; predict it anew."
        )
    return mask


def average(rows: Sequence[SequenceScores]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The figures of a benchmark.

    Returns:
        means over the groups of the means within each; and these, by group in the order in which they come. Where F is
        measured there is also J&F-Mean, the mean of J-Mean and F-Mean.
    """
    by_group: dict[str, list[SequenceScores]] = defaultdict(list)
    for row in rows:
        by_group[row.query.group].append(row)
    groups = {group: _means(row.measures for row in some) for group, some in by_group.items()}
    return _with_both(_means(groups.values())), {group: _with_both(means) for group, means in groups.items()}


def _means(measures: Iterable[dict[str, float]]) -> dict[str, float]:
    gathered: dict[str, list[float]] = defaultdict(list)
    for each in measures:
        for name, value in each.items():
            gathered[name].append(value)
    return {name: float(np.mean(values)) for name, values in gathered.items()}


def _with_both(means: dict[str, float]) -> dict[str, float]:
    if "F-Mean" not in means:
        return means
    return {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means}
