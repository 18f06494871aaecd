"""New heads from a denoiser's output, or its features, to masks, in place of the VAE's decoder (REM's ablation).

Both are small, their sizes our choice, and look at one latent frame at a time. A latent stands for `scale` x `scale`
pixels of one frame or, with Wan's VAE, of four, but for the first, which stands for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..settings import ObjectiveSettings

SCALE = 8
"""Pixels along a latent, of both backbones' VAEs."""
_MLP_WIDTH = 256
_CNN_WIDTHS = (128, 64, 32, 16)
_GROUPS = 8


class MlpHead(nn.Module):
    """A perceptron with two hidden layers for each latent by itself, whose outputs are its pixels.

    Args:
        channels: of what it reads.
        frames: that a latent stands for.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self._frames = frames
        self.layers = nn.Sequential(
            nn.Linear(channels, _MLP_WIDTH), nn.GELU(), nn.Linear(_MLP_WIDTH, _MLP_WIDTH), nn.GELU()
        )
        self.out = nn.Linear(_MLP_WIDTH, frames * SCALE**2)

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,t,h,w] -> masks [B,1,T,8h,8w], about 0..1."""
        pixels = self.out(self.layers(rearrange(features, "b c t h w -> b t h w c")))
        return _in_time(F.pixel_shuffle(rearrange(pixels, "b t h w p -> (b t) p h w"), SCALE), features.shape[2])


class CnnHead(nn.Module):
    """Convolutions and upsampling, three times two, after each other.

    Args:
        channels: of what it reads.
        frames: that a latent stands for.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        before = (channels, *_CNN_WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(_GROUPS, after), nn.SiLU())
            for width, after in zip(before, _CNN_WIDTHS)
        )
        self.out = nn.Conv2d(_CNN_WIDTHS[-1], frames, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,t,h,w] -> masks [B,1,T,8h,8w], about 0..1."""
        x = self.stages[0](rearrange(features, "b c t h w -> (b t) c h w"))
        for stage in self.stages[1:]:
            x = stage(F.interpolate(x, scale_factor=2, mode="nearest"))
        return _in_time(self.out(x), features.shape[2])


def new_head(objective: ObjectiveSettings, channels: int, frames: int) -> nn.Module:
    """The head that an objective with `has_new_head` asks for; see `MlpHead`."""
    return {"cnn": CnnHead, "mlp": MlpHead}[objective.decoder](channels, frames)


def _in_time(pixels: Tensor, latent_frames: int) -> Tensor:
    """Frames [B*t,f,H,W] of each latent -> [B,1,T,H,W]; of the first latent the last frame alone."""
    frames = pixels.shape[1]
    clip = rearrange(pixels, "(b t) f h w -> b 1 (t f) h w", t=latent_frames)
    return clip[:, :, frames - 1 :]
