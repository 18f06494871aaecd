"""A clip that goes through the VAE in bands comes out as if it had gone through whole, and less is kept meanwhile."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from rem_engine.backbones import bounded_vae

HEIGHT, WIDTH = 112, 16


@pytest.mark.parametrize(("band_bytes", "convolved_bytes"), [(1, 2**20), (1, 20_000), (2**30, 3_000)])
@pytest.mark.parametrize("temporal", [[False, True, True], [True, True, False]])
@pytest.mark.parametrize("frames", [1, 9])
def test_bands_of_frames_give_what_whole_frames_give(
    band_bytes: int, convolved_bytes: int, temporal: list[bool], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        vae = AutoencoderKLWan(base_dim=8, temperal_downsample=temporal).eval()
        clip, latents = torch.rand(1, 3, frames, HEIGHT, WIDTH), torch.randn(1, 16, 1 + frames // 4, 14, 2)
        expected = vae.encode(clip).latent_dist.mode(), vae.decode(latents).sample
        bounded = bounded_vae.BoundedVAE(vae)
        monkeypatch.setattr(bounded_vae, "_BAND_BYTES", band_bytes)
        monkeypatch.setattr(bounded_vae, "_CONVOLVED_BYTES", convolved_bytes)
        found = bounded.encode(clip), bounded.decode(latents).clamp(-1.0, 1.0)
    assert (expected[1].abs() < 1).float().mean() > 0.9  # differences in what is clamped would be hidden
    for mine, right in zip(found, expected, strict=True):
        assert mine.shape == right.shape
        torch.testing.assert_close(mine, right, atol=2e-5, rtol=0)


def test_features_are_kept_of_a_band_alone_and_convolutions_see_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    convolved: list[int] = []
    convolve = torch.nn.functional.conv3d
    monkeypatch.setattr("torch.nn.functional.conv3d", lambda x, *rest: convolved.append(x.nbytes) or convolve(x, *rest))
    kept: list[int] = []
    call = bounded_vae._Cached.__call__

    def counted(run: bounded_vae._Cached, x: torch.Tensor) -> torch.Tensor:
        out = call(run, x)
        if run._layers in (bounded._encoder_full, bounded._decoder_full):
            kept.append(sum(each.nbytes for each in run._features if each is not None))
        return out

    monkeypatch.setattr(bounded_vae._Cached, "__call__", counted)
    with torch.no_grad():
        bounded = bounded_vae.BoundedVAE(AutoencoderKLWan(base_dim=8).eval())
        most = {}
        for bound in (2**30, 1):
            monkeypatch.setattr(bounded_vae, "_BAND_BYTES", bound)
            monkeypatch.setattr(bounded_vae, "_CONVOLVED_BYTES", 2**30 if bound > 1 else 20_000)
            for method, given in (("encode", torch.rand(1, 3, 9, 224, 16)), ("decode", torch.randn(1, 16, 3, 28, 2))):
                convolved.clear(), kept.clear()
                getattr(bounded, method)(given)
                most[method, bound] = max(kept), max(convolved)
    for method in ("encode", "decode"):
        (all_kept, all_convolved), (few_kept, few_convolved) = most[method, 2**30], most[method, 1]
        assert few_kept < all_kept / 4
        assert few_convolved < all_convolved / 4
