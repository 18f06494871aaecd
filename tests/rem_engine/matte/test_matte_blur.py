"""What a mask's blur and shift are found to be, and what comes of thin things once they are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from rem_engine.matte.solve.blur import Blur, Spread, found_spread
from rem_engine.matte.solve.grain import graininess, without_grain
from rem_engine.matte.solve.solver import EdgeSolver


def blurred(means: np.ndarray, sigma: float, down: float, right: float) -> np.ndarray:
    wide = cv2.GaussianBlur(means, (0, 0), sigma)
    return cv2.warpAffine(wide, np.float32([[1, 0, right], [0, 1, down]]), means.shape[::-1], flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("sigma", "down", "right"), [(0.8, -0.3, 0.4), (1.2, 0.8, 0.0), (0.6, 0.0, -1.0)])
def test_a_masks_blur_and_shift_are_found(sigma: float, down: float, right: float) -> None:
    means = np.zeros((60, 80), np.float32)
    cv2.ellipse(means, (40, 30), (22, 14), 20, 0, 360, 1.0, -1, cv2.LINE_AA)
    mask = blurred(means, sigma, down, right) + np.random.default_rng(1).normal(0.0, 0.01, means.shape)
    spread = found_spread(means, mask, np.ones(means.shape, bool))
    assert (spread.sigma, spread.down, spread.right) == pytest.approx((sigma, down, right), abs=0.06)
    assert spread.left_over < 0.02


def test_a_blurs_transpose_is_its_transpose() -> None:
    one, other = torch.rand(2, 2, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).unbind(0)
    blur = Blur([Spread(0.7, 0.3, -0.2, 0.0), Spread(1.3, -1.0, 0.6, 0.0)], one)
    torch.testing.assert_close((blur(one) * other).sum(dim=(1, 2)), (one * blur.back(other)).sum(dim=(1, 2)))
    torch.testing.assert_close(blur(torch.ones_like(one)), torch.ones_like(one))


def test_small_things_come_back_from_masks_that_blur_and_move_them() -> None:
    """Dots of one to two cells across."""
    rng, size, cells = np.random.default_rng(3), (270, 480), (54, 72)
    sheet = np.zeros((size[0] * 4, size[1] * 4), np.uint8)
    for _ in range(70):
        place = (int(rng.integers(160, 1760)), int(rng.integers(120, 960)))
        cv2.circle(sheet, place, int(rng.integers(14, 26)), 255, -1, cv2.LINE_AA)
    alpha = cv2.resize(sheet, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    grain = rng.normal(0.0, 0.006, (*size, 3))
    plate = np.float32((0.9, 0.75, 0.2)) * alpha[..., None] + np.float32((0.1, 0.2, 0.35)) * (1 - alpha[..., None])
    mask = blurred(cv2.resize(alpha, cells[::-1], interpolation=cv2.INTER_AREA), 0.8, -0.3, 0.4)
    mask = (0.96 * mask + 0.01 + rng.normal(0.0, 0.02, cells)).clip(0.0, 1.0).astype(np.float32)
    found = EdgeSolver(["auto"]).solve({0: mask}, torch.from_numpy((plate + grain).clip(0, 1).astype(np.float32)))[0]
    plain = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)
    assert np.abs(found.numpy() - alpha).sum() < 0.1 * np.abs(plain - alpha).sum()


def test_grain_is_where_the_plate_explains_little_of_a_solution() -> None:
    plain, where = np.ones((20, 40)), np.ones((20, 40), bool)
    solved = np.where(np.arange(40) < 20, 0.02, 0.3) * plain
    grain = graininess(plain, solved, where)
    assert not grain[:, :10].any() and (grain[:, 30:] == 1.0).all()


def test_grain_goes_and_edges_stay() -> None:
    plane = torch.zeros(2, 40, 50)
    plane[:, :, 20:] = 1.0
    grainy = plane.clone()
    grainy[:, 3::7, 5::6] = 0.5
    assert torch.equal(without_grain(grainy), plane)
