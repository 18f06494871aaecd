"""Draws docs/images/corrections.jpg: rounds of correction of a rendered shot.

    python -m benchmarks.correction_pictures [--out docs/images/corrections.jpg]

Above the masks that REM-mini gives of a sentence, below them those after one and after two given masks, exact ones of
the frames that `suggest` names, which are framed; J of all frames that were not given is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from rem_engine import load_segmenter
from rem_engine.correct import ShotMotion, corrected, suggest
from rem_engine.frames import ArrayFrames
from rem_engine.media.overlay import draw_overlay
from rem_engine.metrics import region_similarity
from rem_engine.pixels import to_uint8
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import sample_shot

_SIZE, _FRAMES = (360, 640), 25
_SEED, _SENTENCE = (9201, 0), "the square moving to the right"
_ROUNDS = 2
_SHOWN = 5  # frames of a row
_SIDE = (144, 256)
_GAP, _BORDER = 4, 5
_GIVEN = (255, 200, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/corrections.jpg"))
    parser.add_argument("--seed", type=int, nargs=2, default=_SEED, help="of the shot")
    parser.add_argument("--sentence", default=_SENTENCE, help="one of the shot's")
    arguments = parser.parse_args()
    draw(arguments.out, tuple(arguments.seed), arguments.sentence)


def draw(out: Path, seed: tuple[int, ...] = _SEED, sentence: str = _SENTENCE) -> None:
    """Draw the picture into a file.

    Args:
        out: the file.
        seed, sentence: of the shot, and one that is said of it.
    """
    shot = sample_shot(np.random.default_rng(seed), procedural, _FRAMES, *_SIZE)
    (expression,) = (one for one in shot.expressions if one.text == sentence)
    alpha = shot.mattes[[*expression.targets]].max(axis=0)
    base = load_segmenter("mini").segment(to_uint8(shot.frames), [expression.text]).soft[0]
    given: dict[int, torch.Tensor] = {}
    now, rows = base.numpy(), []
    with ShotMotion.of(ArrayFrames(shot.frames)) as motion:
        for turn in range(_ROUNDS + 1):
            if turn:
                (best,) = suggest(now, motion, given, 1)
                given[best] = torch.from_numpy(alpha[best])
                now = np.stack([frame.soft.numpy() for frame in corrected(base.__getitem__, given, motion)])
            rest = [place for place in range(_FRAMES) if place not in given]
            similarity = region_similarity(now[rest] > 0.5, alpha[rest] > 0.5).mean()
            print(f"{expression.text}: frames {sorted(given)} given, J {similarity:.3f}")
            rows.append((now, dict(given), f"{len(given)} given, J {similarity:.2f}"))
    places = _places(given)
    picture = np.concatenate([_row(shot.frames, *row, places) for row in rows])
    cv2.imwrite(str(out), picture[_GAP:, _GAP:, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _places(given: Mapping[int, object]) -> list[int]:
    """Frames to show: those that are given, and others evenly."""
    places = set(given)
    for place in np.linspace(0, _FRAMES - 1, _SHOWN + 2).round().astype(int).tolist():
        if len(places) < _SHOWN and all(abs(place - other) > 1 for other in places):
            places.add(place)
    return sorted(places)


def _row(frames: np.ndarray, masks: np.ndarray, keys: Mapping[int, object], told: str, places: list[int]) -> np.ndarray:
    tiles = []
    for place in places:
        shown = draw_overlay(to_uint8(frames[place]), masks[place][None].clip(0.0, 1.0), [told])
        shown = cv2.resize(shown, _SIDE[::-1], interpolation=cv2.INTER_AREA)
        if place in keys:
            cv2.rectangle(shown, (0, 0), (_SIDE[1] - 1, _SIDE[0] - 1), _GIVEN, _BORDER)
        tiles.append(cv2.copyMakeBorder(shown, _GAP, 0, _GAP, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.concatenate(tiles, axis=1)


if __name__ == "__main__":
    main()
