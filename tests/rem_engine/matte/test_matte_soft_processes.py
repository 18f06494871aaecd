"""Soft processes stay soft: default mattes of smoke and fire are as near to the exact ones as the soft masks are, and
nearer than hard ones; a solid thing beside them has half of its soft mask's error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rem_engine import load_segmenter, open_shot
from rem_engine.matte import Frame, MatteSettings, matte_frames
from trainer.synth.backgrounds import procedural
from trainer.synth.sample import composition, exact_mattes, target_matte
from trainer.synth.scene import RenderedShot, sample_shot, sample_things

pytestmark = pytest.mark.slow

SIDE, FRAMES, SHOTS = 288, 9, 6
KINDS = ("smoke", "fire")
SAMPLE = Path(__file__).parents[3] / "assets" / "sample_shot.mp4"
Masker = Callable[[RenderedShot, int, str], np.ndarray]
"""(shot, place of a thing in it, a sentence that names it) -> soft masks float32 [T,H,W]."""


@pytest.fixture(scope="module")
def shots() -> list[RenderedShot]:
    """Shots of combinations that REM-mini was trained on, each with smoke or fire and its exact matte."""
    found: list[RenderedShot] = []
    seed = 0
    while len(found) < SHOTS:
        seed += 1
        if any(thing.kind in KINDS for thing in sample_things(np.random.default_rng((777, seed)))):
            found.append(sample_shot(np.random.default_rng((777, seed)), procedural, FRAMES, SIDE, SIDE))
    return found


def errors(shots: list[RenderedShot], masker: Masker) -> dict[str, np.ndarray]:
    """Mean absolute alpha error, by kind: (of the default mattes, of the soft masks, of the thresholded ones)."""
    measured = defaultdict(list)
    for shot in shots:
        for text, index in ((expression.text, expression.target) for expression in shot.expressions):
            if shot.things[index].kind not in KINDS:
                continue
            soft = masker(shot, index, text)
            frames = (
                Frame(t, torch.from_numpy(soft[t : t + 1]), torch.from_numpy(shot.frames[t].clip(0.0, 1.0)))
                for t in range(FRAMES)
            )
            alpha = torch.cat([result.alpha for result in matte_frames(frames, MatteSettings())]).numpy()
            exact = shot.mattes[index]
            measured[shot.things[index].kind].append(
                [np.abs(values - exact).mean() for values in (alpha, soft.clip(0, 1), soft > 0.5)]
            )
    return {kind: np.mean(measured[kind], axis=0) for kind in KINDS}


def test_they_stay_soft_when_a_mask_is_coarse_and_noisy(shots: list[RenderedShot]) -> None:
    rng = np.random.default_rng(0)

    def coarse(shot: RenderedShot, index: int, text: str) -> np.ndarray:
        small = (cv2.resize(matte, (36, 36), interpolation=cv2.INTER_AREA) for matte in shot.mattes[index])
        noisy = ((matte + rng.normal(0.0, 0.05, matte.shape)).astype(np.float32) for matte in small)
        return np.stack([cv2.resize(matte, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for matte in noisy])

    for default, soft, thresholded in errors(shots, coarse).values():
        assert default < 1.02 * soft and default < 0.75 * thresholded


def test_they_stay_soft_when_rem_mini_finds_them(shots: list[RenderedShot]) -> None:
    segmenter = load_segmenter("mini")

    def found(shot: RenderedShot, index: int, text: str) -> np.ndarray:
        return segmenter.segment(shot.frames, [text]).soft[0].numpy()

    for default, soft, thresholded in errors(shots, found).values():
        assert default < 1.02 * soft and default < 0.75 * thresholded


def test_the_star_of_the_sample_shot_gets_its_points_back_and_the_smoke_before_it_is_left_alone() -> None:
    with open_shot(SAMPLE) as shot:
        plates = shot.read(0, FRAMES)
    mattes, asked = exact_mattes(frames=FRAMES), {e.text: e for e in composition().expressions}
    star, smoke = (target_matte(mattes, asked[text]) for text in ("the red star", "the smoke"))
    segmenter = load_segmenter("mini")
    soft = segmenter.segment(plates, ["the red star", "the smoke"]).soft
    cells = (segmenter.plan.size_for(*plates.shape[1:3]),) * 2
    frames = (Frame(t, soft[:, t], torch.from_numpy(plate), cells=cells) for t, plate in enumerate(plates))
    alpha = torch.stack([matte.alpha for matte in matte_frames(frames, MatteSettings())], dim=1).numpy()
    ours, given = (
        [np.abs(planes[layer] - exact).sum() for layer, exact in enumerate((star, smoke))]
        for planes in (alpha, soft.clip(0, 1).numpy())
    )
    assert ours[0] < 0.5 * given[0] and ours[1] < 1.01 * given[1]
