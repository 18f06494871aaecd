"""The edge of an upscaled mask comes to the plate's, against scenes of known alpha, and nothing else moves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from rem_engine import matte
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import Thing, render

SIDE = 256


def textured(seed: int, colour: tuple[float, float, float], contrast: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.asarray(colour, np.float32) + contrast * noise / noise.std()


def disk_on_a_ground(contrast: float, grain: float = 0.0) -> tuple[Tensor, Tensor]:
    """Plate [H,W,3] and exact antialiased alpha [H,W] of a reddish disk over a greenish ground, both textured."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    alpha = np.clip(70.0 - np.hypot(y - 131.0, x - 120.0) + 0.5, 0.0, 1.0).astype(np.float32)
    disk, ground = textured(1, (0.8, 0.35, 0.25), contrast), textured(2, (0.3, 0.4, 0.3), contrast)
    plate = disk * alpha[..., None] + ground * (1.0 - alpha[..., None])
    plate += grain * np.random.default_rng(3).normal(size=plate.shape)
    return torch.from_numpy(plate.clip(0.0, 1.0).astype(np.float32)), torch.from_numpy(alpha)


def as_a_model_gives_it(alpha: Tensor, factor: int) -> Tensor:
    """An exact alpha [H,W] brought down by `factor` and up again, as the soft masks of a small model are."""
    height, width = alpha.shape
    small = cv2.resize(alpha.numpy(), (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)).clamp(0.0, 1.0)


def left_over(refined: Tensor, mask: Tensor, alpha: Tensor) -> float:
    """Of the mask's mean absolute error, the share that refinement leaves."""
    return float((refined - alpha).abs().mean() / (mask - alpha).abs().mean())


@pytest.mark.parametrize(
    ("factor", "radius", "contrast", "grain", "at_most"),
    [
        (8, 12, 0.0, 0.0, 0.35),
        (8, 12, 0.05, 0.0, 0.50),
        (8, 12, 0.05, 0.03, 0.55),
        (4, 12, 0.05, 0.0, 0.40),
        (2, 4, 0.05, 0.0, 0.40),
        (16, 24, 0.05, 0.0, 0.55),
        (8, 12, 0.15, 0.0, 0.97),
    ],
)
def test_an_upscaled_edge_comes_to_the_plates(
    factor: int, radius: int, contrast: float, grain: float, at_most: float
) -> None:
    plate, alpha = disk_on_a_ground(contrast, grain)
    mask = as_a_model_gives_it(alpha, factor)
    assert left_over(matte.refine(mask, plate, radius), mask, alpha) < at_most


def test_on_a_flat_plate_nothing_moves() -> None:
    _, alpha = disk_on_a_ground(0.0)
    mask = as_a_model_gives_it(alpha, 8)
    plate = torch.tensor([0.4, 0.5, 0.2]).expand(SIDE, SIDE, 3)
    assert torch.allclose(matte.refine(mask, plate, 12), mask, atol=1e-6)


def test_texture_that_has_nothing_to_do_with_the_mask_leaves_it() -> None:
    _, alpha = disk_on_a_ground(0.0)
    mask = as_a_model_gives_it(alpha, 8)
    plate = torch.from_numpy(textured(5, (0.5, 0.5, 0.5), 0.15).clip(0.0, 1.0))
    assert (matte.refine(mask, plate, 12) - mask).abs().mean() < 0.05 * (mask - alpha).abs().mean()


def test_what_the_mask_is_sure_of_stays() -> None:
    plate, alpha = disk_on_a_ground(0.1)
    mask = as_a_model_gives_it(alpha, 8)
    sure = (mask == 0.0) | (mask == 1.0)
    assert torch.equal(matte.refine(mask, plate, 12)[sure], mask[sure])


@pytest.mark.parametrize("kind", ["smoke", "fire", "rain", "ripples", "sparks", "glass"])
def test_processes_are_not_harmed(kind: str) -> None:
    """Their opacity is not all in their colour; refinement must not put the plate's texture into it."""
    rng = np.random.default_rng(11)
    shot = render([Thing(kind, "middle", (0.5, 0.5), 0.3, seed=4)], procedural(rng, 2, 384, 384))
    before, after = 0.0, 0.0
    for frame, exact in zip(shot.frames, shot.mattes[0]):
        alpha = torch.from_numpy(exact)
        mask = as_a_model_gives_it(alpha, 8)
        refined = matte.refine(mask, torch.from_numpy(frame), 12)
        before, after = before + (mask - alpha).abs().mean(), after + (refined - alpha).abs().mean()
    assert after < 1.01 * before


def test_grain_does_not_flicker_into_the_edge() -> None:
    """A still scene under fresh grain: the refined edge changes far less than it was wrong before."""
    plate, alpha = disk_on_a_ground(0.05)
    mask = as_a_model_gives_it(alpha, 8)
    generator = torch.Generator().manual_seed(0)
    frames = [(plate + 0.02 * torch.randn(plate.shape, generator=generator)).clamp(0.0, 1.0) for _ in range(2)]
    one, other = (matte.refine(mask, frame, 12) for frame in frames)
    assert (one - other).abs().mean() < 0.2 * (mask - alpha).abs().mean()


def test_what_lies_far_away_has_no_say() -> None:
    plate, alpha = disk_on_a_ground(0.05)
    mask = as_a_model_gives_it(alpha, 8)
    elsewhere = mask.clone()
    elsewhere[:8, :8] = 0.5
    one, other = matte.refine(mask, plate, 8), matte.refine(elsewhere, plate, 8)
    assert torch.equal(one[64:, 64:], other[64:, 64:])


def test_layers_are_refined_apart_at_any_size() -> None:
    plate, alpha = disk_on_a_ground(0.05)
    plate, alpha = plate[:131, :97], alpha[:131, :97]
    masks = torch.stack([as_a_model_gives_it(alpha, 8), as_a_model_gives_it(1.0 - alpha, 8), torch.zeros_like(alpha)])
    refined = matte.refine(masks[None], plate, 12)
    assert refined.shape == (1, 3, 131, 97) and torch.equal(refined[0, 2], masks[2])
    assert torch.equal(refined[0, 0], matte.refine(masks[0], plate, 12))
    assert refined.min() >= 0.0 and refined.max() <= 1.0


def test_a_radius_of_0_leaves_the_mask() -> None:
    mask = torch.rand(8, 8)
    assert matte.refine(mask, torch.rand(8, 8, 3), 0) is mask


def test_impossible_refinements_are_refused() -> None:
    mask, plate = torch.rand(8, 9), torch.rand(8, 9, 3)
    with pytest.raises(ValueError, match="refinement radius of -1 pixels"):
        matte.refine(mask, plate, -1)
    with pytest.raises(ValueError, match="refinement detail of"):
        matte.refine(mask, plate, 4, detail=0.0)
    with pytest.raises(ValueError, match="9x8 pixels and the plate 9x7"):
        matte.refine(mask, plate[:7], 4)
