"""How many hard cuts are found, and how many invented, in footage whose takes are joined and disturbed at random.

    python -m benchmarks.cuts bikes.mp4 bigbuckbunny.mp4 carphone_pristine.mp4 vtest.avi --joins 15

Prints the cuts found in each file, to be looked at; takes between them are then joined, each take disturbed in one way,
and found cuts are counted against the joins.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8
from rem_engine.segment.cuts import CutFinder

SIZE = (320, 180)
Disturb = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _plain(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return take


def _flash(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(5, len(take) - 5)
    take[start : start + rng.integers(1, 4)] = 255
    return take


def _dropped(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    take[rng.integers(5, len(take) - 5)] = 0
    return take


def _lights(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    take[rng.integers(5, len(take) - 5) :] *= rng.choice((0.3, 0.5, 1.5))
    return take


def _flicker(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return take * rng.uniform(0.5, 1.3, (len(take), 1, 1, 1))


def _fade(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return take * np.abs(np.linspace(-1, 1, len(take)))[:, None, None, None]


def _pan(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([np.roll(frame, 25 * number, axis=1) for number, frame in enumerate(take)])


def _grain(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return take + rng.normal(0.0, 25.0, take.shape)


def _held(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return take[np.arange(len(take)) // 3 * 3]


def _shaken(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    steps = rng.integers((-20, -40), (21, 41), (len(take), 2))
    return np.stack([np.roll(frame, step, axis=(0, 1)) for frame, step in zip(take, steps)])


DISTURBANCES: tuple[Disturb, ...] = (
    _plain, _flash, _dropped, _lights, _flicker, _fade, _pan, _grain, _held, _shaken,
)  # fmt: skip


def find(frames: np.ndarray) -> list[int]:
    """Where takes begin in frames [T,H,W,3]."""
    finder = CutFinder()
    for frame in frames:
        finder.add(frame)
    finder.finish()
    return finder.cuts


def read_takes(path: Path) -> list[np.ndarray]:
    with open_shot(path) as shot:
        read = (shot.read(number, number + 1)[0] for number in range(shot.frame_count))
        frames = np.stack([cv2.resize(to_uint8(frame), SIZE, interpolation=cv2.INTER_AREA) for frame in read])
    cuts = find(frames)
    print(f"{path.name}: {len(frames)} frames, cuts {cuts}")
    return np.split(frames, cuts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--joins", type=int, default=15, help="pairs of takes joined for each disturbance (default 15)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    clips = [[take for take in read_takes(clip) if len(take) >= 20] for clip in arguments.clips]
    takes = [(number, take) for number, clip in enumerate(clips) for take in clip]
    rng = np.random.default_rng(arguments.seed)
    for disturb in DISTURBANCES:
        found = invented = 0
        for _ in range(arguments.joins):
            first, second = _two_takes(takes, rng)
            parts = [np.clip(np.rint(disturb(_piece(take, rng), rng)), 0, 255) for take in (first, second)]
            cuts = find(np.concatenate(parts).astype(np.uint8))
            found += len(parts[0]) in cuts
            invented += len(cuts) - (len(parts[0]) in cuts)
        print(f"{disturb.__name__[1:]:8s} {found} of {arguments.joins} found, {invented} invented", flush=True)


def _two_takes(takes: list[tuple[int, np.ndarray]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of two clips, since two pieces of one may show the same place."""
    while True:
        one, other = rng.integers(len(takes), size=2)
        if takes[one][0] != takes[other][0]:
            return takes[one][1], takes[other][1]


def _piece(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = int(rng.integers(20, min(len(take), 40) + 1))
    start = rng.integers(len(take) - length + 1)
    return take[start : start + length].astype(np.float32)


if __name__ == "__main__":
    main()
