"""Large frames that go through the VAE in parts come out as if they had gone through whole."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from rem_engine.backbones import bounded_vae


@pytest.mark.parametrize("band_bytes", [20_000, 3_000])
def test_parts_of_frames_give_what_whole_frames_give(band_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        vae = AutoencoderKLWan(base_dim=8).eval()
        frames, latents = torch.rand(1, 3, 9, 40, 48), torch.randn(1, 16, 3, 5, 6)
        inputs: list[int] = []
        convolve = torch.nn.functional.conv3d
        monkeypatch.setattr(
            "torch.nn.functional.conv3d", lambda x, *rest: inputs.append(x.nbytes) or convolve(x, *rest)
        )
        expected = vae.encode(frames).latent_dist.mode(), vae.decode(latents).sample
        largest = max(inputs)
        bounded_vae.bound_memory(vae)
        assert torch.equal(vae.decode(latents).sample, expected[1])  # small ones are taken whole
        monkeypatch.setattr(bounded_vae, "_BAND_BYTES", band_bytes)
        inputs.clear()
        found = vae.encode(frames).latent_dist.mode(), vae.decode(latents).sample
    for mine, right in zip(found, expected, strict=True):
        assert mine.shape == right.shape
        torch.testing.assert_close(mine, right, atol=2e-6, rtol=0)
    assert max(inputs) < largest / 4
