"""The one-pass VAE computes what diffusers computes chunk by chunk."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from rem_engine.backbones import wan
from rem_engine.backbones.load import load_backbone
from rem_engine.backbones.vae import OnePassVAE, takes_one_pass
from trainer.mini.vae import make_per_frame, spatial_convolutions, standardise


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


def test_the_engine_takes_short_clips_in_one_pass_and_long_ones_as_diffusers_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = load_backbone("mini", device="cpu")
    frames = torch.rand(9, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = (torch.tensor(backbone.vae.config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        encoded = backbone.vae.encode(frames.transpose(0, 1)[None]).latent_dist.mode()
        expected = (encoded - mean) / std, backbone.vae.decode(encoded).sample[0].transpose(0, 1)
    calls = []
    for name in ("encode", "decode"):
        method = getattr(backbone.vae, name)
        monkeypatch.setattr(backbone.vae, name, lambda *a, method=method, **k: calls.append(method) or method(*a, **k))
    for bound, of_diffusers in ((1 << 40, 0), (1 << 10, 2)):
        monkeypatch.setattr(wan, "_ONE_PASS_BYTES", bound)
        latents = backbone.encode_video(frames)
        torch.testing.assert_close(latents, expected[0], atol=2e-5, rtol=0)
        torch.testing.assert_close(backbone.decode_masks(latents), expected[1], atol=2e-5, rtol=0)
        assert len(calls) == of_diffusers


def test_a_vae_of_other_parts_is_left_to_diffusers() -> None:
    assert takes_one_pass(AutoencoderKLWan(base_dim=8))
    assert not takes_one_pass(AutoencoderKLWan(base_dim=8, is_residual=True, patch_size=2, in_channels=12))


def test_per_frame_convolutions_are_those_of_the_two_highest_resolutions() -> None:
    vae = AutoencoderKLWan(base_dim=8)
    widths = {conv.in_channels for conv in spatial_convolutions(vae)}
    assert widths <= {3, 8, 16, 32} and len(spatial_convolutions(vae)) == 22
    assert all("time_conv" not in name for name, m in vae.named_modules() if m in spatial_convolutions(vae))


def test_standardised_latents_are_normalised_by_wans_published_statistics_and_decode_as_before() -> None:
    torch.manual_seed(1)
    vae = AutoencoderKLWan(base_dim=8).eval().requires_grad_(False)

    class Frames:
        frames = (torch.rand(16, 5, 32, 32, 3) * 255).to(torch.uint8).numpy()

    clips = torch.from_numpy(Frames.frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    before = vae.encode(clips).latent_dist
    decoded = vae.decode(before.mode()).sample
    standardise(vae, Frames, count=16)
    after = vae.encode(clips).latent_dist
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    normalised = (after.mode() - mean) / std
    torch.testing.assert_close(normalised.mean(dim=(0, 2, 3, 4)), torch.zeros(16), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalised.std(dim=(0, 2, 3, 4)), torch.ones(16), atol=1e-3, rtol=0)
    torch.testing.assert_close(vae.decode(after.mode()).sample, decoded, atol=1e-4, rtol=0)
