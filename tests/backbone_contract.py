"""What every `Backbone` promises the segmenter, whatever model and library is behind it.

Each function of `CONTRACT` takes a backbone and prompt embeddings [P,77,D] of different texts, and fails with an
AssertionError where the promise is broken. Nothing here imports the engine, so that a host's Python can run it too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROUNDING = 2e-5
HEIGHT, WIDTH = 64, 128
FEW = 6
"""Frames of a shot, a number that Wan's VAE does not take."""


def frame_counts_are_padded_to_what_the_vae_takes(backbone: Any, rows: Tensor) -> None:
    pad = backbone.family.pad_frame_count
    taken = [count for count in range(1, 40) if pad(count) == count]
    for count in range(1, taken[-1] + 1):
        assert pad(count) == min(length for length in taken if length >= count)
    assert taken[0] == 1
    for count in taken[:3]:
        assert _masks(backbone, some_frames(count)).shape[::2] == (count, HEIGHT), count


def defaults_are_ones_the_model_takes(backbone: Any, rows: Tensor) -> None:
    family = backbone.family
    assert all(side % family.size_multiple == 0 for side in (*backbone.default_size, *family.default_size))
    for own in (backbone, family):
        assert family.pad_frame_count(own.default_window) == own.default_window
        assert 0 <= own.default_overlap <= own.default_window // 2
    assert sorted(family.paper_windows, reverse=True) == list(family.paper_windows)
    assert all(family.pad_frame_count(length) == length for length in family.paper_windows)
    assert family.paper_tail in ("whole", "short") and backbone.name


def shapes_are_the_familys(backbone: Any, rows: Tensor) -> None:
    family, frames = backbone.family, _padded(backbone)
    latents = backbone.encode_video(frames)
    assert tuple(latents.shape) == (1, *family.latent_shape(len(frames), HEIGHT, WIDTH))
    assert tuple(rows.shape[1:]) == (77, family.text_width)
    predicted = _predict(backbone, latents, rows)
    assert (len(predicted), *predicted.shape[2:]) == (len(rows), *latents.shape[2:])
    masks = backbone.decode_masks(predicted[:1])
    assert (len(masks), *masks.shape[2:]) == (len(frames), HEIGHT, WIDTH)


def prompts_together_are_each_prompt_alone(backbone: Any, rows: Tensor) -> None:
    latents = backbone.encode_video(_padded(backbone))
    shared = _noise(backbone, latents, [0])
    own = _noise(backbone, latents, range(len(rows)))
    for noise in (shared, own):
        together = _predict(backbone, latents, rows, noise)
        each = range(len(rows))
        alone = [_predict(backbone, latents, rows[i : i + 1], _of(noise, i)) for i in each]
        _assert_close(together, torch.cat(alone))
        assert (together[0] - together[1]).abs().max() > 10 * ROUNDING * together.abs().max()
    repeated = _predict(backbone, latents, rows[:1].expand(len(rows), -1, -1), shared)
    _assert_close(repeated, repeated[:1].expand_as(repeated))


def noise_is_a_matter_of_its_seed(backbone: Any, rows: Tensor) -> None:
    latents = backbone.encode_video(_padded(backbone))
    noise = backbone.draw_noise(latents, 3)
    if noise is None:
        return
    assert noise.shape == latents.shape and noise.device == latents.device
    assert torch.equal(noise, backbone.draw_noise(latents, 3))
    assert not torch.equal(noise, backbone.draw_noise(latents, 4))
    assert abs(noise.std() - 1.0) < 0.1


def inputs_are_taken_from_the_cpu_and_left_alone(backbone: Any, rows: Tensor) -> None:
    """Wherever the model lies: the segmenter keeps frames and prompts in main memory."""
    frames, given = _padded(backbone), rows.clone()
    kept = frames.clone()
    assert frames.device.type == rows.device.type == "cpu"
    latents = backbone.encode_video(frames)
    before = latents.clone()
    predicted = _predict(backbone, latents, rows)
    masks = backbone.decode_masks(predicted[:1])
    assert torch.equal(frames, kept) and torch.equal(rows, given) and torch.equal(latents, before)
    for values in (latents, predicted, masks):
        assert values.dtype == torch.float32 and bool(values.isfinite().all()) and not values.requires_grad


def one_prompt_always_goes_through(backbone: Any, rows: Tensor) -> None:
    assert backbone.prompts_per_pass(backbone.encode_video(_padded(backbone))) >= 1


CONTRACT = (
    frame_counts_are_padded_to_what_the_vae_takes,
    defaults_are_ones_the_model_takes,
    shapes_are_the_familys,
    prompts_together_are_each_prompt_alone,
    noise_is_a_matter_of_its_seed,
    inputs_are_taken_from_the_cpu_and_left_alone,
    one_prompt_always_goes_through,
)


def broken(backbone: Any, rows: Tensor) -> list[str]:
    """Names of the promises that a backbone breaks."""
    found = []
    for promise in CONTRACT:
        try:
            promise(backbone, rows)
        except AssertionError:
            found.append(promise.__name__)
    return found


def some_frames(count: int) -> Tensor:
    """Frames [count,3,H,W] in -1..1 with something to see: a gradient, and noise over it."""
    generator = torch.Generator().manual_seed(count)
    ground = torch.linspace(-0.8, 0.8, WIDTH).expand(count, 3, HEIGHT, WIDTH)
    return ground + 0.2 * (2.0 * torch.rand(count, 3, HEIGHT, WIDTH, generator=generator) - 1.0)


def _padded(backbone: Any) -> Tensor:
    return some_frames(backbone.family.pad_frame_count(FEW))


def _masks(backbone: Any, frames: Tensor) -> Tensor:
    return backbone.decode_masks(backbone.encode_video(frames))


def _noise(backbone: Any, latents: Tensor, seeds: Any) -> Tensor | None:
    drawn = [backbone.draw_noise(latents, seed) for seed in seeds]
    return None if drawn[0] is None else torch.cat(drawn)


def _of(noise: Tensor | None, prompt: int) -> Tensor | None:
    return None if noise is None else noise.expand(max(len(noise), prompt + 1), -1, -1, -1, -1)[prompt : prompt + 1]


def _predict(backbone: Any, latents: Tensor, rows: Tensor, noise: Tensor | None = None) -> Tensor:
    if noise is None:
        noise = backbone.draw_noise(latents, 0)
    return backbone.predict_mask_latents(latents, rows, noise)


def _assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=ROUNDING * float(expected.abs().max()), rtol=0.0)
