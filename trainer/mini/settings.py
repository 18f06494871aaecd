"""Every constant of REM-mini's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MiniSettings:
    """Sizes and budgets.

    Attributes:
        world: what is rendered, one of `synth.worlds.WORLDS`.
        size: height and width REM-mini works at, pixels.
        frames: length of a training clip, 4k+1.
        clips, heldout_clips: shots rendered for training and for watching it.
        real_backgrounds: share of shots over real footage, where a folder of clips is given.
        vae_width: channels of the VAE at full resolution (Wan2.1 has 96).
        vae_steps, vae_clip_steps, vae_decoder_steps: VAE steps on five-frame clips, on whole ones, and of its decoder
            alone.
        dim, layers, ffn_dim: of the denoiser (Wan2.1-1.3B has 1536, 30, 8960).
        text_dim, text_layers, text_heads: of the UMT5 text encoder.
        t2v_steps, rem_steps: text-to-video pre-training and REM fine-tuning.
        precision: of both, float32, or bf16: float32 weights, computed under bfloat16 autocast.
    """

    world: str = "rich"
    size: int = 160
    frames: int = 9
    clips: int = 6000
    heldout_clips: int = 64
    real_backgrounds: float = 0.5
    vae_width: int = 8
    vae_steps: int = 2400
    vae_clip_steps: int = 900
    vae_decoder_steps: int = 500
    dim: int = 256
    layers: int = 6
    ffn_dim: int = 768
    text_dim: int = 128
    text_layers: int = 2
    text_heads: int = 4
    t2v_steps: int = 1000
    rem_steps: int = 3200
    precision: Literal["float32", "bf16"] = "bf16"
    seed: int = 1
