"""Scoring a model on users' own shots."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rem_engine import Segmenter
from rem_engine.media.images import ImageShot
from rem_engine.metrics import region_similarity
from rem_engine.progress import SILENT, Progress, counted

from ..benchmarks.predict import whole_masks
from ..data.folder import Folder

_PROCESSES = re.compile(
    r"""(?<![\w-]) (?!light\s+(?:red|orange|yellow|green|blue|purple|pink|brown|gr[ae]y)\b) (?:
    smok(?:es?|ed|ing|y) | steam(?:s|ed|ing|y)? | fog(?:s|ged|gy)? | mist(?:s|y)? | dust(?:s|y)? | cloud(?:s|ed|y)?
    | fires? | fiery | flam(?:es?|ing) | burn(?:s|ed|t|ing)? | explod(?:es?|ed|ing) | explosions? | spark(?:s|ed|ing)?
    | rain(?:s|ed|ing|y|drops?)? | snow(?:s|ed|ing|y|flakes?)? | water(?:s|y|falls?)? | waves? | rippl(?:es?|ed|ing)
    | splash(?:es|ed|ing)? | foam(?:s|ed|ing|y)? | bubbl(?:es?|ed|ing|y) | shatter(?:s|ed|ing)? | break(?:s|ing)?
    | broken? | crack(?:s|ed|ing)? | melt(?:s|ed|ing)? | molten | pour(?:s|ed|ing)? | spill(?:s|ed|ing)? | spilt
    | lightning | light(?:s|ing)? | lit
    ) (?![\w-])""",
    re.IGNORECASE | re.VERBOSE,
)
"""Words, whole, by which a sentence is taken to name a process, as Ref-VPS does, and no object; parts of a compound
("firefighter", "light-blue") are none, and no colour is."""


def score_shots(
    segmenter: Segmenter, root: Path, shots: Sequence[str] | None = None, progress: Progress = SILENT
) -> dict[str, float]:
    """Score a model on shots in the layout of users' own footage (see `Folder`).

    Args:
        segmenter: the model.
        root: folder of the shots.
        shots: names of those to take; None for all.
        progress: told "videos".

    Returns:
        J: the mean over sentences that name something, of the mean over the frames that have a mask; J_processes: the
        same of sentences about smoke, fire, water and the like; referring_accuracy: the share of sentences whose mask
        overlaps their own thing more than any other mask of the shot; absent_area: the mean area, 0..1, found for
        sentences that name nothing there; and the counts shots, sentences, absent. What was not asked is left out.

    Raises:
        FileNotFoundError: no such folder, or no shot.
        BrokenSample: a file that cannot be read.
    """
    folder = Folder(root, shots=shots)
    measured: dict[str, list[float]] = defaultdict(list)
    for shot in counted(folder.shots, "videos", progress):
        indices = folder.sentences_of(shot)
        texts = [folder.text(index) for index in indices]
        with ImageShot(shot, folder.frames_of(shot)) as frames:
            found = whole_masks(segmenter, frames, segmenter.encode_prompts(texts))
        truths: dict[int, tuple[list[int], np.ndarray] | None] = {}
        for index in indices:
            read = next((each for each in truths if folder.name_the_same(each, index)), None)
            truths[index] = folder.truth(index) if read is None else truths[read]
        for index, text, masks in zip(indices, texts, found):
            true = truths[index]
            if true is None:
                measured["absent_area"].append(float(masks.mean()))
                continue
            own = _overlap(masks, *true)
            measured["J"].append(own)
            if _PROCESSES.search(text):
                measured["J_processes"].append(own)
            others = [
                _overlap(masks, *other)
                for each, other in truths.items()
                if other is not None and not folder.name_the_same(each, index)
            ]
            measured["referring_accuracy"].append(float(own > max(others, default=0.0)))
    order = ("J", "J_processes", "referring_accuracy", "absent_area")
    figures = {name: float(np.mean(measured[name])) for name in order if measured[name]}
    counts = {
        "shots": len(folder.shots),
        "sentences": len(measured["J"]),
        "absent": len(measured["absent_area"]),
    }
    return figures | counts


def _overlap(masks: np.ndarray, positions: Sequence[int], truth: np.ndarray) -> float:
    return float(region_similarity(masks[list(positions)], truth).mean())
