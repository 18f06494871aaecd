"""Which frame is worth correcting next."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import cv2
import numpy as np

from .shot_motion import ShotMotion

# Of a carried mask, what a further frame leaves of its worth where motion is trusted wholly: on rendered shots J fell
# from .93 beside a given frame to .66 eight frames away and .40 at twenty-four.
_A_FRAME = 0.96
_WORST = 0.05  # of a step: a take goes on behind a frame that cannot be followed
_AROUND = 0.1  # weight of the picture beside the mask
_UNSURE = 1.0  # how much more a frame counts whose mask is unsure throughout


def suggest(
    masks: Iterable[np.ndarray], motion: ShotMotion, given: Collection[int] = (), count: int = 1
) -> tuple[int, ...]:
    """Frames whose correction serves the most of the shot that no given frame reaches, the best first.

    How far a given frame reaches is the product of the trust in the motion of its layer from frame to frame, within its
    take. Frames count more the more unsure their masks are. Each frame is chosen as if those before it were given
    (the greedy choice for a sum of best values: Nemhauser, Wolsey and Fisher, 1978).

    Args:
        masks: those of all frames as they are now, float32 [H,W] of any size.
        motion: of the shot.
        given: indices of frames that are given.
        count: how many are wanted.

    Returns:
        indices, fewer than `count` where no more are left.
    """
    steps, unsure = _looked_at(masks, motion)
    weights = 1.0 + _UNSURE * unsure
    reached = np.zeros(motion.frame_count)
    for index in given:
        reached = np.maximum(reached, _reach(index, steps, motion))
    found: list[int] = []
    for _ in range(count):
        best, gained = None, 0.0
        for index in range(motion.frame_count):
            if index in given or index in found:
                continue
            gain = float((weights * np.maximum(_reach(index, steps, motion) - reached, 0.0)).sum())
            if gain > gained + 1e-9:
                best, gained = index, gain
        if best is None:
            break
        found.append(best)
        reached = np.maximum(reached, _reach(best, steps, motion))
    return tuple(found)


def _looked_at(masks: Iterable[np.ndarray], motion: ShotMotion) -> tuple[np.ndarray, np.ndarray]:
    """How well what is masked can be followed from each frame to the next, and how unsure each mask is, in 0..1."""
    steps, unsure = np.zeros(motion.frame_count), np.zeros(motion.frame_count)
    starts = {take.start for take in motion.takes()}
    for index, mask in enumerate(masks):
        small = cv2.resize(mask, motion.size[::-1], interpolation=cv2.INTER_AREA).clip(0.0, 1.0)
        unsure[index] = (4.0 * small * (1.0 - small)).sum() / max(float(small.sum()), 1.0)
        if index + 1 < motion.frame_count and index + 1 not in starts:
            trust = motion.step(index).ahead.trust
            weight = small + _AROUND * max(float(small.mean()), 1e-3)
            steps[index] = max(float((trust * weight).sum() / weight.sum()), _WORST) * _A_FRAME
    return steps, np.clip(unsure, 0.0, 1.0)


def _reach(index: int, steps: np.ndarray, motion: ShotMotion) -> np.ndarray:
    """How far a given frame reaches each frame, in 0..1."""
    reach = np.zeros(motion.frame_count)
    take = motion.take_of(index)
    reach[index : take.stop] = np.cumprod([1.0, *steps[index : take.stop - 1]])
    reach[take.start : index + 1] = np.cumprod([1.0, *steps[take.start : index][::-1]])[::-1]
    return reach
