"""REM-mini's VAE is of Wan's form, with convolutions frame by frame and Wan's statistics of latents."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan

from trainer.mini.vae import spatial_convolutions, standardise


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
