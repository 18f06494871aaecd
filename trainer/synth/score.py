"""Scoring a model on synthetic shots."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rem_engine import Segmenter
from rem_engine.media import open_shot
from rem_engine.metrics import region_similarity

from ..data.sample import BrokenSample
from .scene import Thing
from .write import Entry, Split, read_split

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Of the soft masks, among which the best is sought."""

_CLASSES = ("J_objects", "J_processes", "J_small", "J_thin", "J_attached", "J_groups")


def score(segmenter: Segmenter, root: Path, threshold: float = 0.5) -> dict[str, float]:
    """Score a model on a folder that `python -m trainer synth` wrote.

    Args:
        segmenter: the model.
        root: the folder.
        threshold: above it a soft mask counts as 1.

    Returns:
        J (mean over expressions of the mean over frames); J_objects, J_processes, J_attached of shadows or reflections,
        J_groups of expressions that name several things; J_small and J_thin, of the objects; referring_accuracy (share
        of expressions whose mask overlaps its own target more than any other thing of the shot, by mean J); absent_area
        (mean area, 0..1, predicted for sentences that name nothing in the shot); best_threshold, the one of
        `THRESHOLDS`, for all expressions, at which J is highest, chosen on these very shots, with J_best and
        J_processes_best there; and the counts shots, expressions, absent. A measure without an expression is left out.

    Raises:
        FileNotFoundError: not such a folder.
        BrokenSample: its synth.json, or an annotation, cannot be read.
    """
    split = Split(root)
    measured: dict[str, list[float]] = defaultdict(list)
    by_threshold: dict[str, list[list[float]]] = {"J_best": [], "J_processes_best": []}
    entries = list(read_split(root))
    for entry in tqdm(entries, desc="scoring"):
        with open_shot(split.frames(entry.video)) as shot:
            result = segmenter.segment(shot, [e.text for e in entry.expressions])
        if result.soft.shape[1:] != entry.ids.shape:
            raise BrokenSample(split.annotations(entry.video), "does not fit the frames; render the folder anew.")
        for expression, soft in zip(entry.expressions, result.soft.numpy()):
            masks, targets = soft > threshold, expression.targets
            if not targets:
                measured["absent_area"].append(float(masks.mean()))
                continue
            own = _overlap(masks, entry, targets)
            others = [_overlap(masks, entry, (i,)) for i in range(len(entry.things)) if i not in targets]
            thing = entry.things[targets[0]]
            for name in ("J", *_classes(thing, len(targets))):
                measured[name].append(own)
            measured["referring_accuracy"].append(float(own > max(others, default=0.0)))
            at_all = [_overlap(soft > each, entry, targets) for each in THRESHOLDS]
            by_threshold["J_best"].append(at_all)
            if thing.is_process:
                by_threshold["J_processes_best"].append(at_all)
    order = ("J", *_CLASSES, "referring_accuracy", "absent_area")
    figures = {name: float(np.mean(measured[name])) for name in order if measured[name]}
    curves = {name: np.mean(values, axis=0) for name, values in by_threshold.items() if values}
    if curves:
        best = int(curves["J_best"].argmax())
        figures |= {"best_threshold": THRESHOLDS[best], **{name: float(curve[best]) for name, curve in curves.items()}}
    counts = {"shots": len(entries), "expressions": len(measured["J"]), "absent": len(measured["absent_area"])}
    return figures | counts


def _classes(thing: Thing, count: int) -> list[str]:
    """The figures beside J that an expression of a thing, the first of `count`, counts for."""
    if count > 1:
        return ["J_groups"]
    if thing.is_process:
        return ["J_processes"]
    if thing.colour is None:
        return ["J_attached"]
    return ["J_objects"] + ["J_small"] * (thing.size == "small") + ["J_thin"] * thing.is_thin


def _overlap(masks: np.ndarray, entry: Entry, targets: tuple[int, ...]) -> float:
    return float(region_similarity(masks, np.isin(entry.ids, [index + 1 for index in targets])).mean())
