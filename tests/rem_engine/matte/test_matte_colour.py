"""Straight and premultiplied colour, compositing, and the colour of a soft edge."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from rem_engine import matte
from rem_engine.matte import Frame, matte_frames
from rem_engine.matte.settings import NEUTRAL

GREEN, ORANGE, BLUE = ((0.1, 0.75, 0.15), (0.85, 0.4, 0.1), (0.1, 0.2, 0.8))


def test_straight_and_premultiplied_colour() -> None:
    rgb = torch.rand(2, 4, 5, 3)
    alpha = torch.rand(2, 4, 5)
    straight = matte.merge_alpha(rgb, alpha)
    premultiplied = matte.merge_alpha(rgb, alpha, premultiplied=True)
    assert torch.equal(straight[..., :3], rgb) and torch.equal(straight[..., 3], alpha)
    assert torch.equal(premultiplied[..., 3], alpha)
    background = torch.rand(2, 4, 5, 3)
    over = premultiplied[..., :3] + (1.0 - alpha[..., None]) * background
    assert torch.allclose(over, torch.lerp(background, rgb, alpha[..., None]), atol=1e-6)


def test_sizes_that_differ_are_both_named() -> None:
    with pytest.raises(ValueError, match="5x4 pixels and the alpha 6x4"):
        matte.merge_alpha(torch.rand(1, 4, 5, 3), torch.rand(1, 4, 6))


def test_straight_and_premultiplied_colour_composite_alike() -> None:
    rgb, background = torch.rand(2, 4, 5, 3), torch.rand(2, 4, 5, 3)
    alpha = torch.rand(2, 4, 5)
    premultiplied = matte.merge_alpha(rgb, alpha, premultiplied=True)[..., :3]
    over = torch.lerp(background, rgb, alpha[..., None])
    assert torch.allclose(matte.composite(rgb, alpha, background), over, atol=1e-6)
    assert torch.allclose(matte.composite(premultiplied, alpha, background, premultiplied=True), over, atol=1e-6)


def test_composites_of_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="7x4 pixels and the alpha 5x4"):
        matte.composite(torch.rand(4, 5, 3), torch.rand(4, 5), torch.rand(4, 7, 3))


@pytest.mark.slow
def test_the_ground_is_taken_out_of_a_soft_edge() -> None:
    plate, alpha, colour = _soft_disk_on_green()
    foreground = matte.decontaminate(plate, alpha)
    edge = (alpha > 0.1) & (alpha < 0.9)
    before = (plate - colour).abs()[edge].mean()
    after = (foreground - colour).abs()[edge].mean()
    assert after < 0.1 * before

    ground = torch.tensor(BLUE).expand(plate.shape)
    truth = matte.composite(colour.expand(plate.shape), alpha, ground)
    spill = (matte.composite(plate, alpha, ground) - truth)[..., 1][edge].mean()
    assert spill > 0.05
    assert (matte.composite(foreground, alpha, ground) - truth)[..., 1][edge].abs().mean() < 0.1 * spill


@pytest.mark.slow
def test_opaque_pixels_and_the_ground_keep_the_plates_colour() -> None:
    plate, alpha, _ = _soft_disk_on_green()
    foreground = matte.decontaminate(plate, torch.stack([alpha, (alpha > 0.5).float()]))
    sure = (alpha == 0.0) | (alpha == 1.0)
    assert foreground.shape == (2, *plate.shape)
    assert torch.equal(foreground[0][sure], plate[sure]) and torch.equal(foreground[1], plate)


@pytest.mark.slow
def test_the_foreground_is_that_of_the_finished_alpha() -> None:
    plate, alpha, _ = _soft_disk_on_green()
    settings = replace(NEUTRAL, invert=True, decontaminate=True)
    (result,) = matte_frames([Frame(0, torch.stack([alpha, alpha * 0.5]), plate)], settings)
    assert result.foreground.shape == (2, *plate.shape)
    assert torch.equal(result.alpha, 1.0 - torch.stack([alpha, alpha * 0.5]))
    assert torch.equal(result.foreground, matte.decontaminate(plate, result.alpha))


@pytest.mark.thorough
def test_the_estimate_is_that_of_the_methods_own_authors(pymatting: ModuleType) -> None:
    """Where no pixel is sure; at sure ones ours begins with their own colour."""
    y, x = np.mgrid[:90, :160].astype(np.float32)
    alpha = (0.5 + 0.45 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)
    front, back = (np.stack([x / 160, y / 90, 0 * x + shade], axis=-1) for shade in (0.2, 0.9))
    plate = (alpha[..., None] * front + (1 - alpha[..., None]) * back[::-1]).astype(np.float32)
    ours = matte.decontaminate(torch.from_numpy(plate), torch.from_numpy(alpha)).numpy()
    assert np.abs(ours - pymatting.estimate_foreground_ml(plate, alpha)).max() < 1e-3


@pytest.mark.slow
def test_light_is_taken_apart_as_light_whatever_its_range() -> None:
    """Above 1 and below 0 as in between: foreground and ground mix in proportion."""
    plate, alpha, _ = _soft_disk_on_green()
    bright = matte.decontaminate(plate * 9.0 - 0.5, alpha)
    assert bright.max() > 5.0
    assert torch.allclose(bright, matte.decontaminate(plate, alpha) * 9.0 - 0.5, atol=0.02)


@pytest.mark.slow
def test_the_colour_of_a_linear_plate_is_that_of_its_light() -> None:
    """A highlight of 6 behind a soft edge: in display values it would end at 1."""
    y, x = np.mgrid[:96, :96]
    alpha = torch.from_numpy(np.clip((30.0 - np.hypot(y - 47.5, x - 50.0)) / 12.0 + 0.5, 0.0, 1.0).astype(np.float32))
    front, back = torch.tensor([2.0, 0.5, 0.1]), torch.tensor([0.2, 6.0, 0.3])
    light = alpha[..., None] * front + (1.0 - alpha[..., None]) * back
    frame = Frame(0, alpha[None], light.clamp(0, 1), light, plate_is_light=True)
    (result,) = matte_frames([frame], replace(NEUTRAL, decontaminate=True))
    edge = (alpha > 0.2) & (alpha < 0.8)
    assert (light - front).abs()[edge].mean() > 0.5
    assert (result.foreground[0] - front).abs()[edge].mean() < 0.05


def test_a_plate_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="5x4 pixels and the alpha 6x4"):
        matte.decontaminate(torch.rand(4, 5, 3), torch.rand(4, 6))


def _soft_disk_on_green() -> tuple[Tensor, Tensor, Tensor]:
    """Plate [H,W,3], alpha [H,W] and the disk's colour."""
    y, x = np.mgrid[:96, :96]
    alpha = torch.from_numpy(np.clip((30.0 - np.hypot(y - 47.5, x - 50.0)) / 12.0 + 0.5, 0.0, 1.0).astype(np.float32))
    colour = torch.tensor(ORANGE)
    plate = alpha[..., None] * colour + (1.0 - alpha[..., None]) * torch.tensor(GREEN)
    return plate, alpha, colour


_COMPILED = """
import os
import torch
from rem_engine.matte.colour import decontaminate
from rem_engine.matte.solve.laplacian import SparseLaplacian

threads = os.cpu_count() + 1  # what no library would choose
torch.set_num_threads(threads)
SparseLaplacian(torch.rand(8, 8, 3), torch.ones(8, 8, dtype=torch.bool))
decontaminate(torch.rand(48, 48, 3), torch.linspace(0.0, 1.0, 48).expand(48, 48))
print(torch.get_num_threads() == threads)
"""


@pytest.mark.slow
def test_the_number_of_threads_is_left_as_it_was() -> None:
    """In a process of its own: what changes it does so once, when it is first used."""
    command = [sys.executable, "-c", _COMPILED]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
