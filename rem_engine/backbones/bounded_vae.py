"""diffusers' Wan VAE in less memory on a CPU: large frames go through its layers in parts.

A convolution of the VAE needs, beside what goes in and comes out, a copy of its input with the frames before, a padded
one, one in the order that oneDNN computes in, and its output twice; a norm needs its input two times more. For four
frames of 512x512 these take more than what they are made for, and they can be made for a few rows or for one frame at a
time: the same sums, of the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .base import Network

_BAND_BYTES = 32 * 2**20
"""Of a convolution's input; smaller ones are taken whole."""


def bound_memory(vae: Network) -> None:
    """Have diffusers' `AutoencoderKLWan` take large frames in parts, in place."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, WanRMS_norm

    for module in vae.modules():
        kind = type(module)
        if issubclass(kind, nn.Conv3d) and module.kernel_size[1] == 3:
            module.forward = _by_bands(module.forward)
        elif issubclass(kind, WanRMS_norm):
            module.forward = _by_frames(module.forward, dim=2)
        elif issubclass(kind, WanResample) and issubclass(type(module.resample), nn.Sequential):
            module.resample.forward = _by_frames(module.resample.forward, dim=0)


def _by_bands(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A causal convolution with kernels of 3x3 pixels, a band of rows at a time."""

    def forward(x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        rows = x.shape[3]
        step = max(1, rows * _BAND_BYTES // x.nbytes)
        if step >= rows:
            return convolve(x, cache_x)
        out: Tensor | None = None
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            above, below = max(start - 1, 0), min(stop + 1, rows)
            before = None if cache_x is None else cache_x[:, :, :, above:below]
            # Rows at the ends of a band see zeros where the frame goes on, and are left out.
            band = convolve(x[:, :, :, above:below], before)[:, :, :, start - above : stop - above]
            if out is None:
                out = band.new_empty(*band.shape[:3], rows, band.shape[4])
            out[:, :, :, start:stop] = band
        assert out is not None
        return out

    return forward


def _by_frames(layer: Callable[[Tensor], Tensor], dim: int) -> Callable[[Tensor], Tensor]:
    """A layer that takes each frame by itself, one at a time along a dimension."""

    def forward(x: Tensor) -> Tensor:
        if x.nbytes <= _BAND_BYTES or x.ndim < 4 or x.shape[dim] == 1:
            return layer(x)
        out: Tensor | None = None
        for number in range(x.shape[dim]):
            one = layer(x.narrow(dim, number, 1))
            if out is None:
                shape = [*one.shape]
                shape[dim] = x.shape[dim]
                out = one.new_empty(shape)
            out.narrow(dim, number, 1).copy_(one)
        assert out is not None
        return out

    return forward
