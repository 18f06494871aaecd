"""What a new REM-mini begins with where another is there: its parts, and what REM's fine-tuning changed in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rem_engine.backbones.base import Network
from rem_engine.checkpoints import to_diffusers

from .settings import MiniSettings


@dataclass(frozen=True)
class Start:
    """A REM-mini that another begins with, float32, for reading.

    Attributes:
        vae, text_encoder, tokenizer, transformer: its parts.
        t2v: the weights its denoiser was fine-tuned from, under diffusers' names.
    """

    vae: Network
    text_encoder: Network
    tokenizer: Any
    transformer: Network
    t2v: Mapping[str, Tensor]


def open_start(folder: Path, settings: MiniSettings) -> Start:
    """Read a folder of `export.export_mini`.

    Args:
        folder: of the model.
        settings: of the new one; the widths and depths of the old have to be the same, words and frame size need not.

    Raises:
        FileNotFoundError: no such folder, or a part of it is missing.
        ValueError: a model of another size.
    """
    from rem_engine.backbones.wan import load_wan

    base = folder / "t2v" / "rem_mini_t2v.safetensors"
    if not base.is_file():
        raise FileNotFoundError(f"{base} is missing: a folder that 'rem-trainer mini' has written is expected.")
    backbone = load_wan(folder, checkpoint=None, device=torch.device("cpu"), dtype=torch.float32)
    vae, transformer, text = backbone.vae.config, backbone.transformer.config, backbone.text_encoder.config
    found = {
        "vae_width": vae.base_dim,
        "dim": transformer.num_attention_heads * transformer.attention_head_dim,
        "layers": transformer.num_layers,
        "ffn_dim": transformer.ffn_dim,
        "text_dim": text.d_model,
        "text_layers": text.num_layers,
        "text_heads": text.num_heads,
    }
    for name, value in found.items():
        if value != (asked := getattr(settings, name)):
            raise ValueError(f"{folder} was trained with {name} {value}, and {asked} is asked for.")
    weights = {name: value.float() for name, value in to_diffusers(load_file(base)).items()}
    return Start(backbone.vae, backbone.text_encoder, backbone.tokenizer, backbone.transformer, weights)


@torch.no_grad()
def begin_texts(encoder: Network, tokenizer: Any, start: Start) -> None:
    """Give a new text encoder the weights of the start's, in place; a piece that both vocabularies have keeps its row.

    Rows of new pieces stay random, scaled to the deviation of the old ones.
    """
    old, vocabulary, new = start.text_encoder.state_dict(), start.tokenizer.get_vocab(), tokenizer.get_vocab()
    rows, old_rows = zip(*((row, vocabulary[piece]) for piece, row in new.items() if piece in vocabulary))
    for name, value in encoder.named_parameters():
        if name in ("shared.weight", "encoder.embed_tokens.weight"):
            value *= old[name].std() / value.std()
            value[list(rows)] = old[name][list(old_rows)]
        else:
            value.copy_(old[name])


@torch.no_grad()
def add_fine_tuning(transformer: Network, start: Start, frozen: tuple[str, ...]) -> None:
    """Add to text-to-video weights, in place, what fine-tuning changed in the start's (task arithmetic).

    Args:
        transformer: with its new text-to-video weights.
        start: whose REM weights are these plus the change.
        frozen: beginnings of names that fine-tuning leaves as they are.
    """
    fine_tuned = start.transformer.state_dict()
    for name, value in transformer.state_dict().items():
        if not name.startswith(frozen):
            value += fine_tuned[name] - start.t2v[name]
