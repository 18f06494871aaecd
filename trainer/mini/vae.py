"""Stage (a): the VAE, on video frames and on mattes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rem_engine.backbones.base import WAN, Network
from rem_engine.backbones.vae import OnePassVAE, mark_per_frame

from ..settings import OptimSettings
from .pool import Pool
from .settings import MiniSettings
from .stage import SCHEDULE, train_stage

LATENT_NOISE = 0.1
"""Deviation of the noise added to latents in training, so that neighbouring latents decode alike."""
LATENT_WEIGHT = 1e-3
"""Of the latents' mean square, which keeps their scale, and so the noise's share, in bounds."""
MASK_WEIGHT = 2.0
CHROMA_GAIN = 2.5
"""Of errors of colour over errors of grey: most sentences name a colour, most pixels have little."""
SHORT_FRAMES = 5
CROP = 64
"""Side of the crops both autoencoding stages learn on, pixels."""
DECODER_CROP = 96
SHORT_BATCH, LONG_BATCH, DECODER_BATCH = (3, 3), (2, 2), (1, 4)
"""Videos and mattes of a step."""
PER_FRAME_STAGES = 2
"""Stages at full and half resolution (of four) whose convolutions look at one frame in REM-mini's VAE."""


def new_vae(settings: MiniSettings) -> Network:
    """An untrained Wan2.1 VAE (diffusers' `AutoencoderKLWan`) of REM-mini's width."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(settings.seed)
    vae = AutoencoderKLWan(
        base_dim=settings.vae_width, z_dim=WAN.latent_channels, num_res_blocks=2, dim_mult=[1, 2, 4, 4]
    )
    make_per_frame(vae)
    with torch.no_grad():  # the training noise is fixed, so the posterior says just that
        vae.quant_conv.weight[WAN.latent_channels :] = 0
        vae.quant_conv.bias[WAN.latent_channels :] = 2 * math.log(LATENT_NOISE)
    return vae


def spatial_convolutions(vae: Network) -> list[Network]:
    """The causal convolutions of the two highest resolutions, which REM-mini keeps per-frame.

    Args:
        vae: diffusers' `AutoencoderKLWan` with two residual blocks per stage.

    Returns:
        Modules with a temporal kernel of three whose first two taps REM-mini holds at zero.
    """
    encoder, decoder = vae.encoder, vae.decoder
    # down_blocks: two residual blocks and a resampling per stage
    parts = [encoder.conv_in, *encoder.down_blocks[: 3 * PER_FRAME_STAGES - 1]]
    parts += [*decoder.up_blocks[-PER_FRAME_STAGES:], decoder.conv_out]
    convs = [m for part in parts for m in part.modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] == 3]
    # the resampling convolutions in time of up_blocks[-2] do not exist: it upsamples in space only
    return [m for m in convs if m.kernel_size[1] == 3]


def make_per_frame(vae: Network) -> None:
    """Zero the earlier temporal taps of `spatial_convolutions` and mark them, in place."""
    with torch.no_grad():
        for conv in spatial_convolutions(vae):
            conv.weight[:, :, :-1].zero_()
    mark_per_frame(vae)


def video_tensor(frames: np.ndarray) -> Tensor:
    """uint8 [B,T,H,W,3] -> float32 [B,3,T,H,W] in -1..1."""
    return rearrange(torch.from_numpy(frames.astype(np.float32)), "b t h w c -> b c t h w") / 127.5 - 1


def mask_tensor(mattes: np.ndarray) -> Tensor:
    """uint8 [B,T,H,W] -> float32 [B,3,T,H,W] in 0..1, as REM encodes masks."""
    return torch.from_numpy(mattes.astype(np.float32)).div(255).unsqueeze(1).expand(-1, 3, -1, -1, -1)


def latent_statistics(vae: Network) -> tuple[Tensor, Tensor]:
    """Mean and deviation by which a VAE's latents are normalised, `(z - mean) / std`: each [1,16,1,1,1]."""
    mean, std = torch.tensor([vae.config.latents_mean, vae.config.latents_std]).view(2, 1, -1, 1, 1, 1)
    return mean, std


@dataclass(frozen=True)
class _Stage:
    name: str
    steps: int
    rate: float
    frames: int
    side: int
    counts: tuple[int, int]
    objective: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]


def _batch(pool: Pool, stage: _Stage, step: int) -> tuple[Tensor, Tensor]:
    """Clips of random shots and random mattes, cropped and turned."""
    rng = np.random.default_rng((7, step, *stage.name.encode()))
    counts, frames, side = stage.counts, stage.frames, stage.side
    videos: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    for index in rng.integers(len(pool), size=sum(counts)):
        is_video = len(videos) < counts[0]
        targets = pool.targets[index] or [(0,)]
        source = pool.frames[index] if is_video else pool.matte(index, targets[rng.integers(len(targets))])
        start = rng.integers(source.shape[0] - frames + 1)
        top, left = rng.integers(source.shape[1] - side + 1, size=2)
        clip = source[start : start + frames, top : top + side, left : left + side]
        flip, transpose, binary = rng.random(3) < (0.5, 0.5, 0.3)
        if flip:
            clip = clip[:, :, ::-1]
        if transpose:
            clip = clip.swapaxes(1, 2)
        if is_video:
            videos.append(clip)
        else:
            masks.append(np.where(clip > 127, 255, 0).astype(np.uint8) if binary else clip)
    return video_tensor(np.stack(videos)), mask_tensor(np.stack(masks))


def _loss(pool: Pool, stage: _Stage, step: int) -> tuple[Tensor, dict[str, float]]:
    clips = torch.cat(_batch(pool, stage, step))
    shape = (len(clips), *WAN.latent_shape(stage.frames, stage.side, stage.side))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(step))
    video, mask, square = stage.objective(clips, noise, stage.counts[0])
    total = video + MASK_WEIGHT * mask + LATENT_WEIGHT * square
    return total, {"video": video.item(), "mask": mask.item(), "latent_square": square.item()}


@torch.no_grad()
def _pictures(pool: Pool, stage: _Stage, clip_vae: OnePassVAE) -> Tensor:
    clips = torch.cat(_batch(pool, stage, 0))
    decoded = clip_vae.decode(clip_vae.encode(clips)[0])
    rows = torch.cat([clips[:, :, -1], decoded[:, :, -1]], dim=2).add(1).div(2).clamp(0, 1)
    return rearrange(rows, "b c h w -> c h (b w)")


def train_vae(
    pool: Pool, settings: MiniSettings, work: Path, compile_model: bool, start: Network | None = None
) -> Network:
    """Train the VAE on short clips, on longer ones, then its decoder alone; resumes where a killed run stopped.

    Args:
        pool, settings, work: see `train.train_mini`.
        compile_model: whether to compile the step on short clips.
        start: a VAE to begin with; its encoder is kept, and its decoder learns on.

    Returns:
        diffusers' `AutoencoderKLWan` with averaged weights, latents standardised where the start's are.
    """
    vae = new_vae(settings)
    if start is not None:
        vae.load_state_dict(start.state_dict())
    clip_vae = OnePassVAE(vae)
    # the posterior's, which standardising scales with the latents
    deviation = (0.5 * vae.quant_conv.bias[WAN.latent_channels :].detach().clone()).exp().view(1, -1, 1, 1, 1)

    def objective(clips: Tensor, noise: Tensor, videos: int) -> tuple[Tensor, Tensor, Tensor]:
        latents = clip_vae.encode(clips)[0]
        error = clip_vae.decode(latents + deviation * noise) - clips
        grey = error.mean(dim=1, keepdim=True)
        error = grey + CHROMA_GAIN * (error - grey)
        # the square gets mattes going: under the absolute error alone, all black is where they stay
        loss = error.abs().add(2 * error.square()).mean(dim=(1, 2, 3, 4))
        return loss[:videos].mean(), loss[videos:].mean(), latents.square().mean()

    # compiling takes minutes and halves a step; the shorter stages do not earn it back
    compiled = torch.compile(objective, dynamic=False) if compile_model else objective
    crop, larger = (min(side, settings.size) for side in (CROP, DECODER_CROP))
    stages = (
        _Stage("vae_short", settings.vae_steps, 0.04, SHORT_FRAMES, crop, SHORT_BATCH, compiled),
        _Stage("vae_long", settings.vae_clip_steps, 0.02, settings.frames, crop, LONG_BATCH, objective),
        _Stage("vae_decoder", settings.vae_decoder_steps, 0.006, settings.frames, larger, DECODER_BATCH, objective),
    )
    for stage in stages if start is None else stages[-1:]:
        if stage.name == "vae_decoder":  # what it learns leaves the latents as they are
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        optim = OptimSettings(
            optimizer="muon",
            lr=stage.rate,
            vector_lr=stage.rate / 20,
            betas=(0.9, 0.99),
            schedule=SCHEDULE,
            clip_norm=1.0,
        )
        loss, pictures = partial(_loss, pool, stage), partial(_pictures, pool, stage, clip_vae)
        train_stage(stage.name, vae, optim, loss, stage.steps, work, pictures=pictures)
    return vae


@torch.no_grad()
def mask_carry(vae: Network, pool: Pool, count: int = 64) -> float:
    """Mean J of thresholded decode(encode(mask)) over mattes of a pool."""
    clip_vae, scores = OnePassVAE(vae), []
    for index in range(min(count, len(pool))):
        for target in pool.targets[index]:
            masks = mask_tensor(pool.matte(index, target)[None])
            decoded = clip_vae.decode(clip_vae.encode(masks)[0]).clamp(-1, 1).mean(1)
            predicted, truth = decoded > 0.5, masks.mean(1) > 0.5
            union = (predicted | truth).sum(dim=(0, 2, 3))
            both = (predicted & truth).sum(dim=(0, 2, 3))
            scores.append(torch.where(union > 0, both / union.clamp(min=1), 1.0).mean())
    return torch.stack(scores).mean().item()


@torch.no_grad()
def standardise(vae: Network, pool: Pool, count: int = 400) -> None:
    """Fold latent statistics into the quant convolutions, in place.

    Afterwards Wan's published latents_mean and latents_std normalise this VAE's latents: `(z - mean) / std` of videos
    has about zero mean and unit deviation in every channel. The decoder's output stays the same.
    """
    clip_vae = OnePassVAE(vae)
    latents = torch.cat([clip_vae.encode(video_tensor(pool.frames[i : i + 8]))[0] for i in range(0, count, 8)])
    mean, std = latents.mean(dim=(0, 2, 3, 4)), latents.std(dim=(0, 2, 3, 4))
    wan_mean, wan_std = (each.flatten() for each in latent_statistics(vae))
    scale = wan_std / std
    shift = wan_mean - mean * scale
    quant, post = vae.quant_conv, vae.post_quant_conv
    channels = WAN.latent_channels
    quant.weight[:channels] *= scale.view(-1, 1, 1, 1, 1)
    quant.bias[:channels] = quant.bias[:channels] * scale + shift
    quant.bias[channels:] += 2 * scale.log()
    post.bias -= F.conv3d((shift / scale).view(1, -1, 1, 1, 1), post.weight).flatten()
    post.weight /= scale.view(1, -1, 1, 1, 1)


@torch.no_grad()
def round_to_half(module: torch.nn.Module) -> None:
    """Round parameters to the float16 values they are stored as, so that training sees what users get."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half().float())
