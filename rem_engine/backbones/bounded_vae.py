"""Wan2.1's VAE in bounded memory on a CPU: diffusers' layers, in another order and large frames in parts.

diffusers takes four frames at a time through all layers, and keeps the last two frames of every convolution's input for
the next four. At 512x512 these take 2.2 GB in the decoder, most of them at full size. Here the layers at full size take
a band of rows through all frames before the next one, so that only a band's are kept; what lies between them and the
layers at half size waits on a shelf.

A convolution needs, beside what goes in and comes out, a copy of its input with the frames before, a padded one, one in
the order that oneDNN computes in, and its output twice; a norm needs its input two times more. They are made for a few
rows or for one frame at a time: the same sums, of the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..shelf import Shelf
from .base import WAN, Network

_CONVOLVED_BYTES = 32 * 2**20
"""Of a convolution's input; smaller ones are taken whole."""
_BAND_BYTES = 128 * 2**20
"""Of a band's features at full size, for the frames of a latent."""


class BoundedVAE:
    """Encode and decode clips in memory that grows with their frames' size, and little with their number.

    Args:
        vae: diffusers' `AutoencoderKLWan` that `vae.takes_one_pass`; its convolutions and norms take large frames in
            parts from now on, whoever calls them.
    """

    def __init__(self, vae: Network) -> None:
        _take_in_parts(vae)
        self._vae = vae
        encoder, decoder = vae.encoder, vae.decoder
        blocks = list(encoder.down_blocks)
        halved = 1 + next(number for number, block in enumerate(blocks) if hasattr(block, "mode"))
        self._encoder_full = [encoder.conv_in, *blocks[:halved]]
        self._encoder_half = [*blocks[halved:], encoder.mid_block, *_head(encoder)]
        *smaller, half, full = decoder.up_blocks
        self._decoder_half = [decoder.conv_in, decoder.mid_block, *smaller, *half.resnets]
        self._decoder_full = [*half.upsamplers, full, *_head(decoder)]

    def encode(self, clip: Tensor) -> Tensor:
        """Mean of the latents.

        Args:
            clip: [1,3,T,H,W] in -1..1, T = 4k+1, H and W multiples of 8.

        Returns:
            [1,16,1+(T-1)/4,H/8,W/8], not normalised.
        """
        later = (clip.shape[2] - 1) // WAN.frames_per_latent
        chunks = clip.split([1] + [WAN.frames_per_latent] * later, dim=2)
        bands = _bands(self._encoder_full, clip.shape[3] // 2, clip.shape[4])
        with Shelf() as halves:
            for band in bands:
                run = _Cached(self._encoder_full)
                for chunk in chunks:
                    rows = run(chunk[:, :, :, 2 * band.above : 2 * band.below])
                    halves.append(rows[:, :, :, band.start - band.above : band.stop - band.above])
            run = _Cached(self._encoder_half)
            moments = []
            for number in range(len(chunks)):
                of_bands = range(number, len(halves), len(chunks))
                moments.append(run(torch.cat([halves[place] for place in of_bands], dim=3)))
        return self._vae.quant_conv(torch.cat(moments, dim=2)).chunk(2, dim=1)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Frames of latents, not clamped.

        Args:
            latents: [1,16,t,h,w], not normalised.

        Returns:
            [1,3,4(t-1)+1,8h,8w], about -1..1.
        """
        count = latents.shape[2]
        height, width = (side * WAN.pixels_per_latent for side in latents.shape[3:])
        bands = _bands(self._decoder_full, height // 2, width)
        frames = latents.new_empty(1, 3, 1 + (count - 1) * WAN.frames_per_latent, height, width)
        with Shelf() as halves:
            run = _Cached(self._decoder_half)
            for latent in self._vae.post_quant_conv(latents).split(1, dim=2):
                half = run(latent)
                for band in bands:
                    halves.append(half[:, :, :, band.above : band.below])
            del half
            for first, band in enumerate(bands):
                run, stop = _Cached(self._decoder_full), 0
                for place in range(first, len(halves), len(bands)):
                    rows = run(halves[place])
                    start, stop = stop, stop + rows.shape[2]
                    within = slice(2 * (band.start - band.above), 2 * (band.stop - band.above))
                    frames[:, :, start:stop, 2 * band.start : 2 * band.stop] = rows[:, :, :, within]
        return frames


class _Cached:
    """Layers of diffusers one after another, called with the frames of one latent after those of another: each causal
    convolution gets the end of what it got before, as in diffusers' own `forward` of encoder and decoder."""

    def __init__(self, layers: Sequence[Network]) -> None:
        self._layers = layers
        convolutions = [module for layer in layers for module in layer.modules() if isinstance(module, nn.Conv3d)]
        self._features: list[Tensor | None] = [None] * len(convolutions)

    def __call__(self, x: Tensor) -> Tensor:
        """Features [1,C,n,h,w] -> those after the layers."""
        place = [0]
        for layer in self._layers:
            if isinstance(layer, nn.Conv3d):
                before, x = x, layer(x, self._features[place[0]])
                self._keep(place[0], before)
                place[0] += 1
            elif any(True for _ in layer.children()):
                x = layer(x, feat_cache=self._features, feat_idx=place)
            else:  # a norm, or what follows it
                x = layer(x)
        return x

    def _keep(self, place: int, x: Tensor) -> None:
        kept, x = self._features[place], x[:, :, -2:]
        if kept is not None and x.shape[2] < 2:
            x = torch.cat([kept[:, :, -1:], x], dim=2)
        self._features[place] = x.clone()


@dataclass(frozen=True)
class _Band:
    """Rows at half size.

    Attributes:
        start, stop: of the band.
        above, below: with what its layers see of the rows around it.
    """

    start: int
    stop: int
    above: int
    below: int


def _bands(layers: Sequence[Network], rows: int, width: int) -> list[_Band]:
    """Bands that layers at full size take one after another.

    Args:
        layers: of the VAE.
        rows: at half size.
        width: at full size.
    """
    modules = [module for layer in layers for module in layer.modules()]
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d | nn.Conv3d)]
    seen = sum(convolution.kernel_size[-1] == 3 for convolution in convolutions)  # rows at full size, to either side
    halo = -(-seen // 2)
    channels = max(module.in_channels for module in convolutions if isinstance(module, nn.Conv3d))
    most = max(4 * halo, _BAND_BYTES // (2 * width * channels * WAN.frames_per_latent * 4))
    count = -(-rows // most)
    ends = [rows * number // count for number in range(count + 1)]
    return [_Band(start, stop, max(start - halo, 0), min(stop + halo, rows)) for start, stop in zip(ends, ends[1:])]


def _head(part: Network) -> list[Network]:
    return [part.norm_out, part.nonlinearity, part.conv_out]


def _take_in_parts(vae: Network) -> None:
    """Have convolutions and norms take large frames in parts, in place."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, WanRMS_norm

    for module in vae.modules():
        kind = type(module)
        if issubclass(kind, nn.Conv3d) and module.kernel_size[1] == 3:
            module.forward = _by_rows(module.forward)
        elif issubclass(kind, WanRMS_norm):
            module.forward = _by_frames(module.forward, dim=2)
        elif issubclass(kind, WanResample) and issubclass(type(module.resample), nn.Sequential):
            module.resample.forward = _by_frames(module.resample.forward, dim=0)


def _by_rows(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A causal convolution with kernels of 3x3 pixels, some rows at a time."""

    def forward(x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        rows = x.shape[3]
        step = max(1, rows * _CONVOLVED_BYTES // x.nbytes)
        if step >= rows:
            return convolve(x, cache_x)
        out: Tensor | None = None
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            above, below = max(start - 1, 0), min(stop + 1, rows)
            before = None if cache_x is None else cache_x[:, :, :, above:below]
            # Rows at the ends of a part see zeros where the frame goes on, and are left out.
            part = convolve(x[:, :, :, above:below], before)[:, :, :, start - above : stop - above]
            if out is None:
                out = part.new_empty(*part.shape[:3], rows, part.shape[4])
            out[:, :, :, start:stop] = part
        assert out is not None
        return out

    return forward


def _by_frames(layer: Callable[[Tensor], Tensor], dim: int) -> Callable[[Tensor], Tensor]:
    """A layer that takes each frame by itself, one at a time along a dimension."""

    def forward(x: Tensor) -> Tensor:
        if x.nbytes <= _CONVOLVED_BYTES or x.ndim < 4 or x.shape[dim] == 1:
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
