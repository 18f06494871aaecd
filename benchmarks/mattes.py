"""How near solved edges come to exact alpha, on rendered scenes, and how quickly.

    python -m benchmarks.mattes                                   # the table of docs/mattes.md: 18 scenes, two sizes
    python -m benchmarks.mattes --heights 1080 --frames 1 --scenes hair,smoke --each
    python -m benchmarks.mattes --salt 7                          # other scenes of the same difficulty

Masks come in four kinds: of a model that sees 96x96 or 512x512 pixels, exact means or with a model's errors
(`matte_scenes.masks`). They are scaled up as the engine scales them and go through the matte stage with the sizes that
a run knows. What is printed, as Markdown, is error and flicker against those of the bicubic upscale of the same mask:

- SAD, the sum of absolute differences, the usual measure of mattes (Rhemann et al. 2009): the geometric mean of the
  scenes' ratios, and the worst with its mean absolute error;
- the same of the solid things alone, and of all others;
- flicker, the mean absolute error of the change from frame to frame, at edges; left out where exact masks do not move.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from benchmarks.matte_scenes import SCENES, SOLID, Scene, flicker, masks, scene
from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.segment.resize import masks_to_shot

METHODS = {
    "auto": MatteSettings(),
    "guided filter of 12": MatteSettings(refine=12, black=0.02, white=0.97),
}
"""What is compared: the default, and the default of versions up to 0.1."""


@dataclass(frozen=True)
class Kind:
    """Kind of masks."""

    side: int
    errs: bool

    @property
    def name(self) -> str:
        return f"{'erring' if self.errs else 'exact'} {self.side}x{self.side}"


KINDS = tuple(Kind(side, errs) for side in (96, 512) for errs in (False, True))


@dataclass(frozen=True)
class Score:
    """Of a method on a scene.

    Attributes:
        sad: sum of absolute differences, a frame, in thousands.
        mean: mean absolute difference.
        flicker: at edges; NaN of a single frame.
        seconds: a frame.
    """

    sad: float
    mean: float
    flicker: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heights", default="1080,360", help="lines of the plates (default 1080,360)")
    parser.add_argument("--frames", type=int, default=3, help="of each scene (default 3)")
    parser.add_argument("--salt", type=int, default=41, help="another makes other scenes (default 41)")
    parser.add_argument("--scenes", default=",".join(SCENES), help="those to measure, joined by commas (all)")
    parser.add_argument("--each", action="store_true", help="print a line for every scene, too")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    for height in map(int, arguments.heights.split(",")):
        scores: dict[tuple[Kind, str], dict[str, Score]] = {}
        for name in arguments.scenes.split(","):
            shot = scene(name, height, arguments.frames, arguments.salt)
            for kind in KINDS:
                for method, score in _scores(shot, kind, arguments.salt).items():
                    scores.setdefault((kind, method), {})[name] = score
                    if arguments.each:
                        print(f"{height} {name:12} {kind.name:16} {method:20} {score}", flush=True)
        _print_table(height, scores)


def _print_table(height: int, scores: dict[tuple[Kind, str], dict[str, Score]]) -> None:
    print(f"\n{height} lines, against the bicubic upscale\n")
    print("| masks | method | SAD | worst (scene, mean error) | solid | others | flicker (worst) | s a frame |")
    print("|---|---|---|---|---|---|---|---|")
    for (kind, method), found in scores.items():
        if method == "bicubic":
            continue
        plain = scores[kind, "bicubic"]
        ratios = {name: score.sad / plain[name].sad for name, score in found.items()}
        worst = max(ratios, key=lambda name: ratios[name])
        restless = {name: score.flicker / plain[name].flicker for name, score in found.items() if plain[name].flicker}
        solid = _geometric_mean([ratio for name, ratio in ratios.items() if name in SOLID])
        others = _geometric_mean([ratio for name, ratio in ratios.items() if name not in SOLID])
        seconds = np.mean([score.seconds for score in found.values()])
        print(
            f"| {kind.name} | {method} | {_geometric_mean(list(ratios.values())):.3f} | {ratios[worst]:.2f} ({worst}, "
            f"{found[worst].mean:.5f}) | {solid:.3f} | {others:.3f} | {_geometric_mean(list(restless.values())):.3f} "
            f"({max(restless.values(), default=float('nan')):.2f}) | {seconds:.2f} |",
            flush=True,
        )


def _scores(shot: Scene, kind: Kind, salt: int) -> dict[str, Score]:
    own = masks(shot.alpha, kind.side, kind.errs, (salt, kind.side))
    size = shot.alpha.shape[1:]
    start = time.perf_counter()
    plain = np.stack([cv2.resize(mask, size[::-1], interpolation=cv2.INTER_CUBIC) for mask in own]).clip(0, 1)
    scores = {"bicubic": _score(plain, shot.alpha, time.perf_counter() - start)}
    scaled = masks_to_shot(torch.from_numpy(own)[:, None, None], (size[0], size[1]))[:, 0]

    def frames() -> Iterator[Frame]:
        for index, (mask, plate) in enumerate(zip(scaled, shot.plates)):
            yield Frame(index, mask[None], torch.from_numpy(plate), cells=((kind.side, kind.side),))

    for method, settings in METHODS.items():
        start = time.perf_counter()
        alpha = np.stack(
            [frame.alpha[0].numpy() for frame in matte_frames(frames(), settings) if frame.alpha is not None]
        )
        scores[method] = _score(alpha, shot.alpha, time.perf_counter() - start)
    return scores


def _score(alpha: np.ndarray, exact: np.ndarray, seconds: float) -> Score:
    error, count = np.abs(alpha - exact), len(exact)
    return Score(float(error.sum() / count / 1000), float(error.mean()), flicker(alpha, exact), seconds / count)


def _geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


if __name__ == "__main__":
    main()
