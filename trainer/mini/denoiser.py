"""Stages (b) and (c): text-to-video pre-training, and REM fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rem_engine.backbones.base import TEXT_ROWS, WAN, Network
from rem_engine.backbones.vae import OnePassVAE

from ..model.trainable import freeze_parts
from ..settings import OptimSettings, load_settings
from .latents import Latents
from .pool import Pool
from .settings import MiniSettings
from .stage import SCHEDULE, train_stage
from .text import CAPITALISED
from .vae import latent_statistics

BATCH = 24
ABSENT = 0.15
"""Share of REM's training expressions that name nothing in the shot."""
T2V = OptimSettings(
    optimizer="muon",
    lr=0.01,
    vector_lr=1e-3,
    by_adam=("transformer.proj_out.", "texts.encoder.shared", "texts.encoder.encoder.embed_tokens"),
    betas=(0.9, 0.99),
    schedule=SCHEDULE,
    clip_norm=1.0,
)
RECIPE = "mini"
"""Preset whose frozen parts, optimizer and average REM's fine-tuning follows."""


class _NarrowInput(nn.Linear):
    """A linear layer whose input may leave off trailing columns that would be zero."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[:, : x.shape[-1]], self.bias)


def new_transformer(settings: MiniSettings) -> Network:
    """An untrained Wan2.1 transformer (diffusers' `WanTransformer3DModel`) of REM-mini's size."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(settings.seed)
    transformer = WanTransformer3DModel(
        num_attention_heads=settings.dim // 128,
        attention_head_dim=128,
        ffn_dim=settings.ffn_dim,
        num_layers=settings.layers,
        text_dim=WAN.text_width,
        freq_dim=256,
    )
    # multiplying 4,096 columns of which all but text_dim are zero would be a quarter of a step
    embedder = transformer.condition_embedder.text_embedder
    narrow = _NarrowInput(WAN.text_width, settings.dim)
    narrow.load_state_dict(embedder.linear_1.state_dict())
    embedder.linear_1 = narrow
    return transformer


class Texts(nn.Module):
    """Sentences to REM's 77 rows, at the text encoder's own width.

    Args:
        encoder: transformers' `UMT5EncoderModel`.
        tokenizer: its tokenizer.
    """

    def __init__(self, encoder: Network, tokenizer: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer

    def forward(self, sentences: list[str]) -> Tensor:
        """[B,77,D]: rows past a sentence's end are zero, as REM feeds them to Wan."""
        batch = self.tokenizer(sentences, padding="longest", truncation=True, max_length=TEXT_ROWS, return_tensors="pt")
        rows = self.encoder(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        rows = rows * batch.attention_mask.unsqueeze(-1)
        return F.pad(rows, (0, 0, 0, TEXT_ROWS - rows.shape[1]))


class _Pretraining(nn.Module):
    def __init__(self, transformer: Network, texts: Texts) -> None:
        super().__init__()
        self.transformer = transformer
        self.texts = texts


def _tensor(latents: np.ndarray) -> Tensor:
    return torch.from_numpy(latents.astype(np.float32))


def _predictor(
    transformer: Network, settings: MiniSettings, compile_model: bool
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What a transformer says of (latents, timesteps, rows), float32, computed as the settings have it."""
    run = torch.compile(transformer) if compile_model else transformer

    def predict(latents: Tensor, timesteps: Tensor, rows: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            return run(latents, timesteps, rows).sample.float()

    return predict


def pretrain(
    pool: Pool,
    latents: Latents,
    transformer: Network,
    texts: Texts,
    vae: Network,
    settings: MiniSettings,
    work: Path,
    compile_model: bool,
) -> None:
    """Text-to-video pre-training by flow matching, in place; the text encoder learns with the denoiser.

    The path is `(1 - s) x + s e` and the target `e - x`, at timestep 1000 s (Wan2.1, rectified flow).
    """
    model, predict = _Pretraining(transformer, texts), _predictor(transformer, settings, compile_model)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((11, step))
        indices = rng.integers(len(pool), size=BATCH)
        clean = _tensor(latents.videos[indices])
        sentences = [_caption(rng, pool, i) for i in indices]
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(clean.shape, generator=generator)
        share = torch.sigmoid(torch.randn(BATCH, generator=generator) * 1.2 + 0.3)
        s = share.view(-1, 1, 1, 1, 1)
        velocity = predict((1 - s) * clean + s * noise, share * 1000, texts(sentences))
        return F.mse_loss(velocity, noise - clean), {}

    @torch.no_grad()
    def pictures() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(latents.videos[:4].shape, generator=generator)
        rows = texts([pool.world.caption(np.random.default_rng(i), pool.things[i]) for i in range(4)])
        times = torch.linspace(1, 0, 13)
        for now, then in zip(times[:-1], times[1:]):
            x = x + (then - now) * transformer(x, (now * 1000).expand(4), rows).sample
        return decode_row(vae, x)

    train_stage("t2v", model, T2V, loss, settings.t2v_steps, work, pictures=pictures)


def fine_tune(
    pool: Pool,
    latents: Latents,
    transformer: Network,
    texts: Texts,
    vae: Network,
    settings: MiniSettings,
    work: Path,
    compile_model: bool,
) -> None:
    """REM fine-tuning, in place: clean video latents at timestep 0 in, mask latents out, squared error between latents.

    As `python -m trainer train mini` trains, but that a shot's sentence is drawn anew each time it comes up; here too
    VAE and text encoder are frozen.
    """
    recipe = load_settings(RECIPE)
    texts.requires_grad_(False).eval()
    freeze_parts(transformer, recipe.frozen)
    predict = _predictor(transformer, settings, compile_model)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((13, step))
        indices, rows, sentences = _referring_batch(rng, pool, latents)
        with torch.no_grad():
            said = texts(sentences)
        predicted = predict(_tensor(latents.videos[indices]), torch.zeros(BATCH), said)
        return F.mse_loss(predicted, _tensor(latents.masks[rows])), {}

    @torch.no_grad()
    def pictures() -> Tensor:
        indices, rows, sentences = _referring_batch(np.random.default_rng(0), pool, latents)
        videos = _tensor(latents.videos[indices])
        predicted = transformer(videos, torch.zeros(BATCH), texts(sentences)).sample
        shown = (videos, predicted, _tensor(latents.masks[rows]))
        return torch.cat([decode_row(vae, each) for each in shown], dim=1)

    train_stage("rem", transformer, recipe.optim, loss, settings.rem_steps, work, pictures=pictures, ema=recipe.ema)


def _referring_batch(
    rng: np.random.Generator, pool: Pool, latents: Latents
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Shots, rows of their mask latents and sentences."""
    indices: list[int] = []
    rows: list[int] = []
    sentences: list[str] = []
    while len(indices) < BATCH:
        index = int(rng.integers(len(pool)))
        things, targets = pool.things[index], pool.targets[index]
        target: int | None = None
        sentence: str | None = None
        if rng.random() < ABSENT:
            sentence = pool.world.describe_absent(rng, things)
        elif targets:
            target = int(rng.integers(len(targets)))
            sentence = pool.world.describe(rng, things, targets[target])
        if sentence is None:
            continue
        indices.append(index)
        rows.append(latents.row(index, target))
        sentences.append(_typed(rng, sentence))
    return np.array(indices), np.array(rows), sentences


def _caption(rng: np.random.Generator, pool: Pool, index: int) -> str:
    """A shot's caption; a tenth of them is empty, as classifier-free guidance wants it."""
    return _typed(rng, pool.world.caption(rng, pool.things[index])) if rng.random() < 0.9 else ""


def _typed(rng: np.random.Generator, sentence: str) -> str:
    return sentence.capitalize() if rng.random() < CAPITALISED else sentence


@torch.no_grad()
def decode_row(vae: Network, latents: Tensor) -> Tensor:
    """The last frames of normalised latents [B,16,t,h,w] side by side: [3,H,B*W] in 0..1."""
    mean, std = latent_statistics(vae)
    frames = OnePassVAE(vae).decode(latents * std + mean)[:, :, -1]
    return rearrange(frames.add(1).div(2).clamp(0, 1), "b c h w -> c h (b w)")
