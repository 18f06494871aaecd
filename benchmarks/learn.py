"""What a LoRA tuned on the corrected masks of a shot gains for its sentence, and what others lose by it.

    python -m trainer synth --out shots --count 20 --seed 9401 --frames 25
    python -m benchmarks.learn --data shots --shots 10

Of each shot the sentence that the model knows worst is corrected by two exact masks and learnt. J of whole shots by the
model alone, in four groups: that sentence; the others of its shot, those that are held while it learns ("kept") and
those that are not; and all of the next shot. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rem_engine import Segmenter, SegmentSettings, load_segmenter
from rem_engine.correct import ShotMotion, corrected
from rem_engine.frames import ArrayFrames
from rem_engine.metrics import region_similarity
from trainer.benchmarks.interactive import Sentence, sentences_of
from trainer.learn.clips import clips_of
from trainer.learn.learn import LEARNING_RATE, STEPS, suiting
from trainer.learn.tuning import Tuning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that 'python -m trainer synth' wrote")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--kept", type=int, default=1, help="other sentences that are held while one is learnt")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--lr", type=float, default=LEARNING_RATE)
    arguments = parser.parse_args()
    shots = []
    for frames, sentences in sentences_of(load_segmenter(arguments.model), arguments.data):
        if len(sentences) > 1:
            shots.append((frames, sentences))
        if len(shots) > arguments.shots:
            break
    each = [measure(*shot, following, arguments) for shot, following in zip(shots, shots[1:], strict=False)]
    names = [name for name in each[0] if name != "text"]
    means = {name: float(np.mean([one[name] for one in each if one[name] is not None])) for name in names}
    print(json.dumps({"shots": len(each), "means": means, "each": each}, indent=2))


def measure(
    frames: np.ndarray,
    sentences: list[Sentence],
    following: tuple[np.ndarray, list[Sentence]],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """J before and after, by group, and seconds of processors."""
    sentences = sorted(sentences, key=overlap)
    worst, *others = sentences
    count = len(frames)
    keys = {place: torch.from_numpy(worst.alpha[place]) for place in (count // 4, 3 * count // 4)}
    with ShotMotion.of(ArrayFrames(frames)) as motion:
        fixed = [one.soft for one in corrected(lambda place: torch.from_numpy(worst.base[place]), keys, motion)]
    segmenter = load_segmenter(arguments.model)
    texts = [worst.text, *(other.text for other in others[: arguments.kept])]
    rows = segmenter.encode_prompts(texts)
    started = time.process_time()
    clips = clips_of(ArrayFrames(frames), lambda place: fixed[place].numpy(), [range(count)], (), segmenter.plan)
    tuning = Tuning(segmenter.backbone, suiting(segmenter.backbone))
    errors = tuning.tune(clips, rows[0], rows[1:], arguments.steps, arguments.lr)
    seconds = time.process_time() - started
    after = Segmenter(segmenter.backbone, SegmentSettings())
    own = segment(after, frames, sentences)
    beside = segment(after, *following)
    kept, free = own[1 : 1 + arguments.kept], own[1 + arguments.kept :]

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    before = [overlap(sentence) for sentence in sentences]
    return {
        "text": worst.text,
        "corrected": float(region_similarity(np.stack(fixed) > 0.5, worst.truth).mean()),
        "sentence before": before[0],
        "sentence after": own[0],
        "kept before": mean(before[1 : 1 + arguments.kept]),
        "kept after": mean(kept),
        "others before": mean(before[1 + arguments.kept :]),
        "others after": mean(free),
        "next shot before": mean([overlap(sentence) for sentence in following[1]]),
        "next shot after": mean(beside),
        "error first": errors[0],
        "error last": errors[-1],
        "processor seconds": seconds,
    }


def overlap(sentence: Sentence) -> float:
    return float(region_similarity(sentence.base > 0.5, sentence.truth).mean())


def segment(segmenter: Segmenter, frames: np.ndarray, sentences: list[Sentence]) -> list[float]:
    soft = segmenter.segment(frames, [sentence.text for sentence in sentences]).soft.numpy()
    return [
        float(region_similarity(one > 0.5, sentence.truth).mean())
        for one, sentence in zip(soft, sentences, strict=True)
    ]


if __name__ == "__main__":
    main()
