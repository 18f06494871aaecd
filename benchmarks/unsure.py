"""How far windows disagree about frames that they share, and how wrong REM-mini's masks are there.

    python -m benchmarks.unsure CLIPS [--shots 16]

CLIPS is a folder of real clips; things of the plain world are laid over them (trainer/synth), two prompts a shot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rem_engine import load_segmenter
from rem_engine.frames import ArrayFrames
from rem_engine.metrics import region_similarity
from trainer.synth.backgrounds import RealClips
from trainer.synth.scene import sample_shot

_FRAMES, _SIDE, _PROMPTS, _SALT = 28, 160, 2, 91
_LEAST_PIXELS = 50
_WRONG = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--shots", type=int, default=16)
    options = parser.parse_args()
    rows = measured(options.clips, options.shots)
    print(f"{len(rows)} frames of {len({asked for asked, *_ in rows})} prompts")
    for limit in (0.3, 0.35, 0.4, 0.5, 0.6):
        told = [row for row in rows if row[1] >= limit]
        wrong = [row for row in told if row[2] < _WRONG]
        prompts = {asked for asked, *_ in told}
        said = f"{len(told)} frames of {len(prompts)} prompts, {len(wrong)} of them with J below {_WRONG}"
        print(f"limit {limit}: {said}")


def measured(folder: Path, shots: int) -> list[tuple[tuple[int, str], float, float]]:
    """(shot and prompt, disagreement, J) of each frame that two windows share and that holds something."""
    clips, segmenter = RealClips(folder), load_segmenter("mini", cuts=())
    rows = []
    for seed in range(shots):
        shot = sample_shot(np.random.default_rng((_SALT, seed)), clips.plate, _FRAMES, _SIDE, _SIDE)
        for expression in shot.expressions[:_PROMPTS]:
            truth = shot.mattes[list(expression.targets)].sum(axis=0) > 0.5
            for chunk in segmenter.stream(ArrayFrames(shot.frames), segmenter.encode_prompts([expression.text])):
                for index, disagreement in chunk.disagreement.items():
                    mask = chunk.soft[0, index - chunk.start].numpy() > 0.5
                    if (mask | truth[index]).sum() > _LEAST_PIXELS:
                        rows.append(
                            (
                                (seed, expression.text),
                                disagreement,
                                float(region_similarity(mask[None], truth[index][None])[0]),
                            )
                        )
    return rows


if __name__ == "__main__":
    main()
