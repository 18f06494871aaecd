"""The one-pass VAE computes what diffusers computes chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import AutoencoderKLWan

from rem_engine.backbones import wan
from rem_engine.backbones.load import load_backbone
from rem_engine.backbones.vae import OnePassVAE, takes_one_pass
from trainer.mini.vae import make_per_frame


@pytest.fixture(scope="module", params=(False, True), ids=("all_taps", "per_frame"))
def vae(request: pytest.FixtureRequest) -> AutoencoderKLWan:
    torch.manual_seed(0)
    module = AutoencoderKLWan(base_dim=8).eval().requires_grad_(False)
    if request.param:
        make_per_frame(module)
    return module


@pytest.mark.parametrize("frames", (1, 5, 13))
def test_latents_and_frames_are_those_of_diffusers(vae: AutoencoderKLWan, frames: int) -> None:
    clips = torch.rand(2, 3, frames, 32, 48, generator=torch.Generator().manual_seed(frames)) * 2 - 1
    expected = vae.encode(clips).latent_dist
    mean, log_variance = OnePassVAE(vae).encode(clips)
    torch.testing.assert_close(mean, expected.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_variance, expected.logvar, atol=1e-5, rtol=0)
    decoded = OnePassVAE(vae).decode(mean).clamp(-1, 1)
    torch.testing.assert_close(decoded, vae.decode(expected.mean).sample, atol=2e-5, rtol=0)


def test_gradients_are_those_of_diffusers(vae: AutoencoderKLWan) -> None:
    """Of a decoded clip with respect to its latents, which training in pixels goes by."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 3, 2, 3, generator=generator)
    weights = torch.randn(1, 3, 9, 16, 24, generator=generator)

    def gradient(decode: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        given = latents.clone().requires_grad_()
        (decode(given).clamp(-1, 1) * weights).mean().backward()
        assert given.grad is not None
        return given.grad

    expected = gradient(lambda given: vae.decode(given).sample)
    assert expected.abs().max() > 1e-5
    torch.testing.assert_close(gradient(OnePassVAE(vae).decode), expected, atol=1e-8, rtol=1e-3)


def test_the_engine_takes_short_clips_in_one_pass_and_long_ones_in_bands_or_as_diffusers_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = load_backbone("mini", device="cpu")
    frames = torch.rand(9, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = (torch.tensor(backbone.vae.config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        encoded = backbone.vae.encode(frames.transpose(0, 1)[None]).latent_dist.mode()
        expected = (encoded - mean) / std, backbone.vae.decode(encoded).sample[0].transpose(0, 1)
    calls: list[object] = []
    bands = backbone._bounded

    def count(owner: object, name: str) -> None:
        method = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: calls.append(owner) or method(*a, **k))

    for owner in (backbone.vae, bands):
        count(owner, "encode")
        count(owner, "decode")
    # The last is what a GPU has.
    for bound, bounded, called in (
        (1 << 40, bands, []),
        (1 << 10, bands, [bands] * 2),
        (1 << 10, None, [backbone.vae] * 2),
    ):
        calls.clear()
        monkeypatch.setattr(wan, "_ONE_PASS_BYTES", bound)
        monkeypatch.setattr(backbone, "_bounded", bounded)
        latents = backbone.encode_video(frames)
        torch.testing.assert_close(latents, expected[0], atol=2e-5, rtol=0)
        torch.testing.assert_close(backbone.decode_masks(latents), expected[1], atol=2e-5, rtol=0)
        assert calls == called


def test_a_vae_of_other_parts_is_left_to_diffusers() -> None:
    assert takes_one_pass(AutoencoderKLWan(base_dim=8))
    assert not takes_one_pass(AutoencoderKLWan(base_dim=8, is_residual=True, patch_size=2, in_channels=12))
