"""Wan2.1's VAE over whole clips in one pass.

diffusers runs `AutoencoderKLWan` four frames at a time with cached features, which bounds the memory of long clips.
Here a clip goes through at once and differentiably, by the same weights and to the same latents and frames but for
rounding (the tests compare both), and with one saving: a causal convolution whose earlier temporal taps are zero is a
2-D convolution of each frame, and so is any causal convolution of a single frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .base import Network

_LIVE_TENSORS = 6  # at full size and width, at the peak of a pass


def mark_per_frame(vae: Network) -> None:
    """Mark the causal convolutions whose earlier temporal taps are all zero, as most of REM-mini's are, in place.

    A mark saves time and changes no value; in training it keeps those taps at zero.
    """
    convs: list[Network] = [m for m in vae.modules() if isinstance(m, nn.Conv3d) and m.kernel_size == (3, 3, 3)]
    for conv in convs:
        conv.per_frame = not conv.weight[:, :, :-1].any()


def takes_one_pass(vae: Network) -> bool:
    """Whether a VAE has the parts that `OnePassVAE` knows: those of Wan2.1, of any width and depth."""
    config = vae.config
    return not config.is_residual and config.patch_size is None and not config.attn_scales


def one_pass_bytes(vae: Network, frames: int, height: int, width: int) -> int:
    """Bytes that a pass over a clip takes at its peak, encoding or decoding: an upper bound, as measured.

    Args:
        frames, height, width: of the clip, pixels.
    """
    return _LIVE_TENSORS * vae.config.base_dim * frames * height * width * 4


class OnePassVAE:
    """Encode and decode clips [B,3,T,H,W] with T = 4k+1 in one pass.

    Args:
        vae: diffusers' `AutoencoderKLWan` that `takes_one_pass`; its parameters are used, not copied.
    """

    def __init__(self, vae: Network) -> None:
        self.vae = vae

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents.

        Args:
            clips: [B,3,T,H,W] in -1..1, T = 4k+1, H and W multiples of 8.

        Returns:
            Two tensors [B,16,1+(T-1)/4,H/8,W/8], not normalised; the log-variance is clamped to -30..20.
        """
        encoder = self.vae.encoder
        frames = clips.shape[2]
        x = _fold(clips)
        x = _conv(encoder.conv_in, x, frames)
        for block in encoder.down_blocks:
            if hasattr(block, "mode"):
                x, frames = _downsample(block, x, frames)
            else:
                x = _residual(block, x, frames)
        x = _head(encoder, _middle(encoder.mid_block, x, frames), frames)
        moments = _unfold(_conv(self.vae.quant_conv, x, frames), frames)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames of latents, not clamped.

        Args:
            latents: [B,16,t,h,w], not normalised.

        Returns:
            [B,3,4(t-1)+1,8h,8w], about -1..1.
        """
        decoder = self.vae.decoder
        frames = latents.shape[2]
        x = _conv(self.vae.post_quant_conv, _fold(latents), frames)
        x = _middle(decoder.mid_block, _conv(decoder.conv_in, x, frames), frames)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                x = _residual(resnet, x, frames)
            if block.upsamplers is not None:
                x, frames = _upsample(block.upsamplers[0], x, frames)
        return _unfold(_head(decoder, x, frames), frames)


def _fold(x: Tensor) -> Tensor:
    """[B,C,T,H,W] -> [B*T,C,H,W], channels last: twice as fast on CPUs."""
    return rearrange(x, "b c t h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)


def _unfold(x: Tensor, frames: int) -> Tensor:
    """[B*T,C,H,W] -> [B,C,T,H,W]."""
    return rearrange(x, "(b t) c h w -> b c t h w", t=frames)


def _conv(conv: nn.Conv3d, x: Tensor, frames: int) -> Tensor:
    """A causal convolution of folded frames."""
    taps, pad = conv.kernel_size[0], conv.kernel_size[1] // 2
    if taps == 1 or frames == 1 or getattr(conv, "per_frame", False):
        return F.conv2d(x, conv.weight[:, :, -1], conv.bias, padding=pad)
    clip = F.pad(_unfold(x, frames), (0, 0, 0, 0, taps - 1, 0))
    return _fold(F.conv3d(clip, conv.weight, conv.bias, padding=(0, pad, pad)))


def _norm(norm: Network, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1) * (norm.scale * norm.gamma.view(1, -1, 1, 1))


def _residual(block: Network, x: Tensor, frames: int) -> Tensor:
    skip = x if isinstance(block.conv_shortcut, nn.Identity) else _conv(block.conv_shortcut, x, frames)
    x = _conv(block.conv1, F.silu(_norm(block.norm1, x)), frames)
    x = _conv(block.conv2, F.silu(_norm(block.norm2, x)), frames)
    return x + skip


def _attention(block: Network, x: Tensor) -> Tensor:
    q, k, v = rearrange(block.to_qkv(_norm(block.norm, x)), "n c h w -> n (h w) c").chunk(3, dim=-1)
    out = rearrange(F.scaled_dot_product_attention(q, k, v), "n (h w) c -> n c h w", h=x.shape[2])
    return block.proj(out) + x


def _middle(block: Network, x: Tensor, frames: int) -> Tensor:
    x = _residual(block.resnets[0], x, frames)
    return _residual(block.resnets[1], _attention(block.attentions[0], x), frames)


def _head(part: Network, x: Tensor, frames: int) -> Tensor:
    return _conv(part.conv_out, F.silu(_norm(part.norm_out, x)), frames)


def _downsample(block: Network, x: Tensor, frames: int) -> tuple[Tensor, int]:
    x = block.resample(x)
    if block.mode == "downsample2d" or frames == 1:
        return x, frames
    clip = _unfold(x, frames)
    # the first frame passes by; the rest are halved by windows of three that begin at it
    later = F.conv3d(clip, block.time_conv.weight, block.time_conv.bias, stride=(2, 1, 1))
    clip = torch.cat([clip[:, :, :1], later], dim=2)
    return _fold(clip), clip.shape[2]


def _upsample(block: Network, x: Tensor, frames: int) -> tuple[Tensor, int]:
    if block.mode == "upsample3d" and frames > 1:
        clip = _unfold(x, frames)
        # the second chunk is padded with zeros, not with the first frame: diffusers' "Rep" entry
        later = F.conv3d(F.pad(clip[:, :, 1:], (0, 0, 0, 0, 2, 0)), block.time_conv.weight, block.time_conv.bias)
        later = rearrange(later, "b (two c) t h w -> b c (t two) h w", two=2)
        clip = torch.cat([clip[:, :, :1], later], dim=2)
        x, frames = _fold(clip), clip.shape[2]
    return block.resample(x), frames
