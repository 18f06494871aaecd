"""Holes filled and islands removed by area, their soft rims with them, and nothing else."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from rem_engine import matte
from rem_engine.matte import regions

HEIGHT, WIDTH = 160, 240


def disk(x: float, y: float, radius: float, rim: float = 8.0) -> Tensor:
    """A disk [H,W] whose edge falls from 1 to 0 over `rim` pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    falling = (radius - np.hypot(rows - y, columns - x)) / rim + 0.5
    return torch.from_numpy(np.clip(falling, 0.0, 1.0).astype(np.float32))


def area(values: Tensor) -> int:
    return int((values > 0.5).sum())


def test_a_hole_is_filled_with_its_rim() -> None:
    body, hole = disk(110, 80, 60), disk(100, 70, 9)
    pierced = torch.minimum(body, 1.0 - hole)
    assert torch.equal(matte.fill_holes(pierced, area(hole) + 40), body)


def test_a_hole_as_large_as_the_area_stays() -> None:
    pierced = torch.minimum(disk(110, 80, 60, rim=1e-3), 1.0 - disk(100, 70, 9.3, rim=1e-3))
    size = area(disk(100, 70, 9.3, rim=1e-3))
    assert torch.equal(matte.fill_holes(pierced, size), pierced)
    assert torch.equal(matte.fill_holes(pierced, size + 1), disk(110, 80, 60, rim=1e-3))


def test_a_gap_at_the_frames_border_is_no_hole() -> None:
    mask = 1.0 - disk(0, 80, 9)
    assert torch.equal(matte.fill_holes(mask, 10_000), mask)


def test_a_hole_in_smoke_is_filled_to_the_smokes_opacity() -> None:
    smoke = 0.7 * disk(110, 80, 70, rim=40)
    pierced = torch.minimum(smoke, 1.0 - disk(110, 80, 7) * 0.8)
    filled = matte.fill_holes(pierced, 400)
    assert torch.allclose(filled, smoke, atol=1e-6)


def test_an_island_is_removed_with_its_rim_and_the_rim_of_what_stays_is_kept() -> None:
    body, island = disk(90, 80, 50, rim=20), disk(170, 80, 6, rim=10)
    both = torch.maximum(body, island)
    assert torch.equal(matte.remove_islands(both, 400), body)


def test_an_island_as_large_as_the_area_stays() -> None:
    both = torch.maximum(disk(70, 80, 40), disk(180, 80, 9))
    size = area(disk(180, 80, 9))
    assert torch.equal(matte.remove_islands(both, size), both)
    assert torch.equal(matte.remove_islands(both, size + 1), disk(70, 80, 40))


def test_an_island_in_haze_sinks_to_the_haze() -> None:
    haze = 0.3 * disk(120, 80, 70, rim=50)
    speckled = haze
    for number in range(12):
        x, y = 60 + 10 * number, 80 + 18 * ((number % 3) - 1)
        speckled = torch.maximum(speckled, disk(x, y, 2, rim=3))
    removed = matte.remove_islands(speckled, 100)
    assert area(speckled) > 0 and area(removed) == 0
    assert torch.all(removed <= speckled) and torch.all(removed >= haze - 1e-6)
    assert (removed - haze).abs().max() < 0.2  # the lowest way out of a speck is over the haze beside it


def test_thin_smoke_full_of_specks_is_not_lost_with_them() -> None:
    generator = torch.Generator().manual_seed(0)
    smoke = torch.full((HEIGHT, WIDTH), 0.4)
    specks = torch.rand(HEIGHT, WIDTH, generator=generator) < 0.01
    removed = matte.remove_islands(torch.where(specks, torch.tensor(0.9), smoke), 50)
    assert torch.equal(removed, smoke)


def test_diagonal_neighbours_join_islands_but_not_holes() -> None:
    mask = torch.zeros(40, 40)
    mask[10, 10] = mask[11, 11] = 1.0
    assert torch.equal(matte.remove_islands(mask, 2), mask)
    inverse = 1.0 - mask
    assert torch.equal(matte.fill_holes(inverse, 2), torch.ones(40, 40))


def test_layers_are_kept_apart_and_an_area_of_0_does_nothing() -> None:
    stack = torch.stack([disk(60, 60, 5), disk(60, 60, 40)])[None]
    removed = matte.remove_islands(stack, 500)
    assert removed.shape == stack.shape and not removed[0, 0].any() and torch.equal(removed[0, 1], stack[0, 1])
    assert matte.remove_islands(stack, 0) is stack and matte.fill_holes(stack, 0) is stack


@pytest.mark.parametrize("operation", [matte.fill_holes, matte.remove_islands])
@pytest.mark.parametrize("area", [150, 40_000])
def test_openings_of_any_side_are_opencvs_to_the_bit(operation, area: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.from_numpy(np.random.default_rng(5).random((HEIGHT, WIDTH)).astype(np.float32))
    monkeypatch.setattr(regions, "_SIDE_FOR_OPENCV", 10**6)
    expected = operation(mask, area)
    monkeypatch.setattr(regions, "_SIDE_FOR_OPENCV", 0)
    assert not torch.equal(expected, mask) and torch.equal(operation(mask, area), expected)


@pytest.mark.slow
@pytest.mark.parametrize("operation", [matte.fill_holes, matte.remove_islands])
def test_pixel_by_pixel_masks_become_the_same_to_the_bit(operation, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    noise = [cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)), None, sigma).astype(np.float32) for sigma in (1.0, 2.0, 6.0)]
    mask = torch.from_numpy(np.stack([(one - one.min()) / np.ptp(one) for one in noise]))
    monkeypatch.setattr(regions, "_STEPS", 10**6)
    expected = operation(mask, 150)
    assert not torch.equal(expected, mask)
    monkeypatch.setattr(regions, "_STEPS", 1)
    assert torch.equal(operation(mask, 150), expected)


@pytest.mark.slow
def test_a_speck_that_winds_through_the_whole_frame_takes_no_endless_time() -> None:
    side = 400
    mask = np.zeros((side, 2 * side + 10), np.float32)
    mask[1:-1:2, 1:side] = 0.9  # one line, to and fro
    mask[2:-2:4, side - 1] = mask[4:-2:4, 1] = 0.9
    size = int((mask > 0.5).sum())
    mask[:, side + 6 :] = 1.0
    expected = np.where((mask > 0.5) & (np.arange(mask.shape[1]) < side), np.float32(0.45), mask)
    mask[1, side : side + 6] = expected[1, side : side + 6] = 0.45  # by which its first end hangs on what stays
    matte.remove_islands(torch.from_numpy(mask[:140, side // 2 :].copy()), 9000)  # compiles
    start = time.process_time()
    removed = matte.remove_islands(torch.from_numpy(mask), size + 1)
    assert time.process_time() - start < 10.0  # looking at all pixels 80,000 times takes a minute
    np.testing.assert_array_equal(removed.numpy(), expected)


@pytest.mark.parametrize("operation", [matte.fill_holes, matte.remove_islands])
def test_a_negative_area_is_refused(operation) -> None:
    with pytest.raises(ValueError, match="area of -1 pixels"):
        operation(torch.zeros(4, 4), -1)
