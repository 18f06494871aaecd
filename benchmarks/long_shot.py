"""Whether one sees where windows meet, and whether masks get worse with the length of a shot.

Renders long shots with exact mattes and segments them:

    python -m benchmarks.long_shot --model mini --frames 400 --shots 2

A border is a frame at which the set of windows that its mask is made of changes. Printed as JSON: the median change
of the soft masks from frame to frame at borders and elsewhere, their ratio, and J of the first and of the last quarter.
What there is to see changes along a shot, so the last quarter is segmented once more as a shot of its own: if its J is
the same, it is not the length that tells.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np

from rem_engine import Segmenter, load_segmenter
from rem_engine.metrics import region_similarity
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import sample_shot


@dataclass(frozen=True)
class Measured:
    """Of one shot: medians of the change per pixel, 0..1, J per frame [P,T], and that of the last quarter alone."""

    at_borders: float
    elsewhere: float
    similarity: np.ndarray
    last_quarter_alone: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="'mini' or a model folder")
    parser.add_argument("--frames", type=int, default=400, help="frames in a shot (default 400)")
    parser.add_argument("--shots", type=int, default=2, help="shots to render (default 2)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--window", type=int, help="frames in a window (default: the model's own)")
    parser.add_argument("--overlap", type=int, help="frames that windows share (default: the model's own)")
    arguments = parser.parse_args()

    segmenter = load_segmenter(arguments.model, window=arguments.window, overlap=arguments.overlap)
    measured = [
        measure(segmenter, np.random.default_rng((arguments.seed, number)), arguments.frames)
        for number in range(arguments.shots)
    ]
    quarter = arguments.frames // 4
    similarity = np.concatenate([shot.similarity for shot in measured])
    at_borders = float(np.median([shot.at_borders for shot in measured]))
    elsewhere = float(np.median([shot.elsewhere for shot in measured]))
    report = {
        "model": segmenter.backbone.name,
        "size": segmenter.backbone.default_size,
        "window": segmenter.plan.window,
        "overlap": segmenter.plan.overlap,
        "frames": arguments.frames,
        "shots": arguments.shots,
        "prompts": len(similarity),
        "change_at_borders": round(at_borders, 6),
        "change_elsewhere": round(elsewhere, 6),
        "ratio": round(at_borders / elsewhere, 3),
        "J": round(float(similarity.mean()), 4),
        "J_first_quarter": round(float(similarity[:, :quarter].mean()), 4),
        "J_last_quarter": round(float(similarity[:, -quarter:].mean()), 4),
        "J_last_quarter_alone": round(float(np.concatenate([shot.last_quarter_alone for shot in measured]).mean()), 4),
    }
    print(json.dumps(report, indent=2))


def measure(segmenter: Segmenter, rng: np.random.Generator, frames: int) -> Measured:
    """Render a shot at the model's size, segment everything its sentences name, and measure."""
    height, width = segmenter.backbone.default_size
    shot = sample_shot(rng, procedural, frames, height, width)
    sentences = [expression.text for expression in shot.expressions]
    soft = segmenter.segment(shot.frames, sentences).soft.numpy()
    if segmenter.cuts:
        raise RuntimeError(f"Cuts were found at {segmenter.cuts} in a shot that has none.")
    alone = segmenter.segment(shot.frames[-(frames // 4) :], sentences).soft.numpy()
    truth = np.stack([shot.mattes[expression.target] > 0.5 for expression in shot.expressions])
    change = np.abs(np.diff(soft, axis=1)).mean(axis=(0, 2, 3))  # [T-1], that from frame t to t+1
    border = borders(segmenter, frames)
    return Measured(
        float(np.median(change[border])), float(np.median(change[~border])), similar(soft, truth), similar(alone, truth)
    )


def similar(soft: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """J of every prompt and frame [P,T]; of a truth that is longer the end counts."""
    return np.stack([region_similarity(mask > 0.5, matte[-len(mask) :]) for mask, matte in zip(soft, truth)])


def borders(segmenter: Segmenter, frames: int) -> np.ndarray:
    """bool [T-1]: whether other windows make the mask of frame t+1 than that of frame t."""
    windows = segmenter.windows(frames)
    ends = [*(after.keep + after.fade for after in windows[1:]), frames]
    sets = [
        {index for index, window in enumerate(windows) if window.keep <= frame < ends[index]} for frame in range(frames)
    ]
    return np.array([one != other for one, other in zip(sets, sets[1:])])


if __name__ == "__main__":
    main()
