"""Scoring a model on synthetic shots."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rem_engine import Segmenter
from rem_engine.media import open_shot
from rem_engine.metrics import region_similarity

from .synth.write import Entry, Split, read_split


def score(segmenter: Segmenter, root: Path, threshold: float = 0.5) -> dict[str, float]:
    """Score a model on a folder that `python -m trainer synth` wrote.

    Args:
        segmenter: the model.
        root: the folder.
        threshold: above it a soft mask counts as 1.

    Returns:
        J (mean over expressions of the mean over frames), J_objects, J_processes; referring_accuracy (share of
        expressions whose mask overlaps its own target more than any other thing of the shot, by mean J);
        absent_area (mean area, 0..1, predicted for sentences that name nothing in the shot); and the counts shots,
        expressions, absent. A measure without an expression is left out.

    Raises:
        FileNotFoundError: not such a folder.
    """
    split = Split(root)
    measured: dict[str, list[float]] = defaultdict(list)
    entries = list(read_split(root))
    for entry in tqdm(entries, desc="scoring"):
        with open_shot(split.frames(entry.video)) as shot:
            result = segmenter.segment(shot, [e.text for e in entry.expressions])
        for expression, masks in zip(entry.expressions, result.masks(threshold).numpy()):
            if expression.target is None:
                measured["absent_area"].append(float(masks.mean()))
                continue
            own = _overlap(masks, entry, expression.target)
            others = [_overlap(masks, entry, i) for i in range(len(entry.things)) if i != expression.target]
            kind = "J_processes" if entry.things[expression.target].is_process else "J_objects"
            measured["J"].append(own)
            measured[kind].append(own)
            measured["referring_accuracy"].append(float(own > max(others, default=0.0)))
    counts = {"shots": len(entries), "expressions": len(measured["J"]), "absent": len(measured["absent_area"])}
    order = ("J", "J_objects", "J_processes", "referring_accuracy", "absent_area")
    return {name: float(np.mean(measured[name])) for name in order if measured[name]} | counts


def _overlap(masks: np.ndarray, entry: Entry, index: int) -> float:
    return float(region_similarity(masks, entry.ids == index + 1).mean())
