"""Levels, threshold, grow and feather, each against its closed form."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from rem_engine import matte


def test_levels_stretch_clip_and_bend() -> None:
    mask = torch.tensor([[0.0, 0.2, 0.35, 0.6, 1.0]], dtype=torch.float64)
    stretched = matte.levels(mask, black=0.2, white=0.6)
    assert stretched[0].tolist() == pytest.approx([0.0, 0.0, 0.375, 1.0, 1.0])
    assert matte.levels(torch.tensor([[0.25]]), gamma=2.0).item() == pytest.approx(0.5)


@pytest.mark.parametrize(("black", "white", "gamma"), [(0.5, 0.5, 1.0), (0.8, 0.2, 1.0), (0.0, 1.0, 0.0)])
def test_impossible_levels_are_refused(black: float, white: float, gamma: float) -> None:
    with pytest.raises(ValueError, match="level|gamma"):
        matte.levels(torch.zeros(2, 2), black, white, gamma)


def test_neutral_levels_only_clip() -> None:
    mask = torch.tensor([[-0.2, 0.0, 0.123, 1.0, 1.4]])
    assert torch.equal(matte.levels(mask), torch.tensor([[0.0, 0.0, 0.123, 1.0, 1.0]]))


def test_a_threshold_is_a_smoothstep_of_the_knees_width() -> None:
    mask = torch.tensor([[0.0, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0]], dtype=torch.float64)
    expected = [0.0, 0.0, 0.15625, 0.5, 0.84375, 1.0, 1.0]  # 3 t^2 - 2 t^3 at t = 0, 1/4, 1/2, 3/4, 1
    assert matte.threshold(mask, 0.5, knee=0.1)[0].tolist() == pytest.approx(expected)


def test_without_a_knee_the_threshold_cuts_hard_and_leaves_its_own_value_outside() -> None:
    cut = matte.threshold(torch.tensor([[0.49, 0.5, 0.51]]), 0.5)
    assert cut[0].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(("at", "knee", "named"), [(0.0, 0.1, "threshold of 0"), (0.5, -0.1, "knee of -0.1")])
def test_impossible_thresholds_are_refused(at: float, knee: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        matte.threshold(torch.zeros(2, 2), at, knee)


@pytest.mark.parametrize("radius", [1, 2, 5, 9])
def test_growing_a_point_draws_a_disk(radius: int) -> None:
    mask = torch.zeros(31, 31)
    mask[15, 15] = 0.75
    y, x = torch.meshgrid(torch.arange(31) - 15, torch.arange(31) - 15, indexing="ij")
    disk = (x * x + y * y <= radius * radius).float() * 0.75
    assert torch.equal(matte.grow(mask, radius), disk)


@pytest.mark.parametrize("radius", [-7, -1, 0, 3])
def test_growing_equals_opencv_morphology(radius: int) -> None:
    mask = torch.rand(2, 24, 40, generator=torch.Generator().manual_seed(1))
    reach = abs(radius)
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets[None] ** 2 <= reach**2).astype(np.uint8)
    operation = cv2.dilate if radius > 0 else cv2.erode
    expected = np.stack([operation(frame, disk) for frame in mask.numpy()])
    assert np.array_equal(matte.grow(mask, radius).numpy(), expected)


def test_shrinking_undoes_growing_of_a_disk() -> None:
    y, x = torch.meshgrid(torch.arange(41) - 20, torch.arange(41) - 20, indexing="ij")
    disk = (x * x + y * y <= 64).float()
    assert torch.equal(matte.grow(matte.grow(disk, 5), -5), disk)


def test_an_object_cut_by_the_border_stays_cut_there() -> None:
    mask = torch.zeros(20, 20)
    mask[:, :8] = 1.0
    shrunk = matte.grow(mask, -3)
    assert torch.equal(shrunk[:, :5], torch.ones(20, 5)) and not shrunk[:, 5:].any()
    assert torch.allclose(matte.feather(mask, 4.0)[0], matte.feather(mask, 4.0)[10])


def test_a_feathered_edge_is_the_gaussian_integral() -> None:
    width = 12.0
    step = torch.zeros(1, 9, 200, dtype=torch.float64)
    step[..., 100:] = 1.0
    edge = matte.feather(step, width)[0, 4]
    expected = [0.5 * (1.0 + math.erf((x - 99.5) / (width / 2.0) / math.sqrt(2.0))) for x in range(200)]
    assert edge.tolist() == pytest.approx(expected, abs=2e-3)


def test_feathering_keeps_flat_masks_and_the_amount_of_matter() -> None:
    assert torch.allclose(matte.feather(torch.full((2, 16, 16), 0.3), 6.0), torch.full((2, 16, 16), 0.3))
    blob = torch.zeros(1, 80, 80, dtype=torch.float64)
    blob[0, 38:42, 36:44] = 1.0
    assert matte.feather(blob, 8.0).sum().item() == pytest.approx(32.0)


def test_a_negative_feather_is_refused() -> None:
    with pytest.raises(ValueError, match="feather of -1"):
        matte.feather(torch.zeros(2, 2), -1.0)
