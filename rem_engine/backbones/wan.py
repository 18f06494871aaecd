"""REM on Wan2.1, through diffusers and transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..checkpoints import to_diffusers
from ..checkpoints.read import open_state_dict
from ..layers import check_prompt
from ..memory import available_bytes
from .base import (
    TEXT_ROWS,
    WAN,
    Memory,
    Network,
    OneAtATime,
    Streamed,
    fit_text_rows,
    queued,
    warn_cut_prompt,
    words_from,
)
from .bounded_vae import BoundedVAE
from .checkpoint import Paths, Weights, open_checkpoint
from .configuration import build, of_transformers, read_defaults
from .folder import before_first_call, check_parts, check_weights, fill, load_component, load_tokenizer
from .mask_decoder import FILE as MASK_DECODER
from .mask_decoder import load_mask_decoder
from .prompt_rows import PromptRows
from .stream import BlockStream, Parked, StoredEmbedding, resident_blocks
from .streamed_wan import StreamedText, StreamedWan
from .vae import OnePassVAE, mark_per_frame, one_pass_bytes, takes_one_pass

# Parts of the transformer that stay float32 beside a half-precision rest. REM's released code keeps the attention's
# matrices too, which autocast rounds at every use: outputs are equal bit by bit without.
_FLOAT32_PARTS = (
    "time_embedder.", "scale_shift_table.", "norm1.", "norm2.", "norm3.", "norm_q.", "norm_k."
)  # fmt: skip
_TIED_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")
_TOKENS_READ = 512  # REM's released code tokenises with this limit
# What the VAE may take for a clip in one pass: all of REM-mini's, and Wan's short ones. It does not depend on what is
# free, so that an interrupted run goes on with the same numbers; with what else a process has that streams weights it
# stays below 5 GiB.
_ONE_PASS_BYTES = 7 << 29
# Of a text encoder's weights: from there on it is worth while to remember what it gave.
_LARGE_ENCODER = 2**28


class WanBackbone(OneAtATime):
    """The Wan2.1 transformer, VAE and UMT5 text encoder; a `Backbone`.

    In half precision the transformer runs under autocast with its sensitive parts in float32, as the authors' does. The
    VAE always computes in float32: bfloat16 has steps of 1/256 around 0.5, which show in a soft mask.

    Args:
        transformer: diffusers' WanTransformer3DModel.
        vae: diffusers' AutoencoderKLWan.
        text_encoder: transformers' UMT5EncoderModel.
        tokenizer: its fast tokenizer.
        name, default_size, default_window, default_overlap, known_words: see `Backbone`.
        dtype: float32, bfloat16 or float16, for the transformer.
        streamed, streamed_text: passes of transformer and text encoder for one reading of the weights, where these stay
            in their files.
        parked_vae: the VAE's weights, where these are in memory only while it is needed.
        kept_rows: of prompts that were encoded before, and where to keep those of others.
        mask_decoder: file of its mask decoder, which need not be there.
    """

    family = WAN

    def __init__(
        self,
        transformer: Network,
        vae: Network,
        text_encoder: Network,
        tokenizer: Any,
        *,
        name: str = WAN.name,
        default_size: tuple[int, int] = WAN.default_size,
        default_window: int = WAN.default_window,
        default_overlap: int = WAN.default_overlap,
        known_words: frozenset[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
        streamed: StreamedWan | None = None,
        streamed_text: StreamedText | None = None,
        parked_vae: Parked | None = None,
        kept_rows: PromptRows | None = None,
        mask_decoder: Path | None = None,
    ) -> None:
        super().__init__()
        self._kept_rows, self._streamed_text = kept_rows, streamed_text
        self.streamed: Streamed | None = streamed
        self.transformer, self.vae = transformer, vae
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.name, self.known_words = name, known_words
        self.default_size, self.default_window, self.default_overlap = default_size, default_window, default_overlap
        self.dtype = dtype
        self.device: torch.device = vae.device
        # In float32; rounded to bfloat16, as in the authors' GPU run, they move latents by up to 0.009.
        statistics = torch.tensor([vae.config.latents_mean, vae.config.latents_std], device=self.device)
        self._mean, self._std = statistics.view(2, 1, -1, 1, 1, 1)
        self._mask_decoder = mask_decoder
        self._one_pass: OnePassVAE | None = None
        self._bounded: BoundedVAE | None = None
        if takes_one_pass(vae):
            mark_per_frame(vae)
            self._one_pass = OnePassVAE(vae)
            if self.device.type == "cpu":
                self._bounded = BoundedVAE(vae)
        self._parked_vae = parked_vae
        if streamed and parked_vae:
            streamed.lock = self.lock  # the one lets go of what the other needs
            parked_vae.let_go()

    @queued
    @torch.no_grad()
    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1, T = 4k+1 -> normalised latents [1,16,t,H/8,W/8], the mode of the posterior."""
        self._bring_vae()
        clip = rearrange(frames.to(self.device, torch.float32), "t c h w -> 1 c t h w")
        if self._one_pass and self._fits(*clip.shape[2:]):
            latents, _ = self._one_pass.encode(clip)
        elif self._bounded:
            latents = self._bounded.encode(clip)
        else:
            latents = self.vae.encode(clip).latent_dist.mode()
        return (latents - self._mean) / self._std

    @queued
    @torch.no_grad()
    def encode_text(self, prompt: str) -> Tensor:
        """Prompt -> float32 [77,4096]: one row a token (with `</s>`), then zero rows.

        A prompt of more than 77 tokens is encoded whole, its first 77 rows are kept, and a warning says which words
        were cut.

        Raises:
            ValueError: the prompt is empty.
        """
        return self._encode_texts([prompt])[0]

    @queued
    @torch.no_grad()
    def encode_texts(self, prompts: Sequence[str]) -> list[Tensor]:
        """See `Backbone.encode_texts`."""
        return self._encode_texts(prompts)

    def _encode_texts(self, prompts: Sequence[str]) -> list[Tensor]:
        tokens = {prompt: self._tokenise(prompt) for prompt in prompts}
        kept = {prompt: self._kept_rows.get(prompt) if self._kept_rows else None for prompt in tokens}
        rows = {prompt: known for prompt, known in kept.items() if known is not None}
        new = [prompt for prompt in tokens if prompt not in rows]
        if new and self._parked_vae:
            self._parked_vae.let_go()
        for prompt, hidden in zip(new, self._run_text_encoder([tokens[prompt] for prompt in new]), strict=True):
            rows[prompt] = hidden[0, :TEXT_ROWS].float().cpu()
            if self._kept_rows:
                self._kept_rows.keep(prompt, rows[prompt])
        return [fit_text_rows(rows[prompt], WAN.text_width) for prompt in prompts]

    def _tokenise(self, prompt: str) -> dict[str, Tensor]:
        check_prompt(prompt)
        # Without padding: the authors pad to 512 and mask it out again, which leaves the same rows at more cost.
        tokens = self.tokenizer(
            prompt, max_length=_TOKENS_READ, truncation=True, return_offsets_mapping=True, return_tensors="pt"
        )
        cut = _cut_words(prompt, tokens.offset_mapping[0].tolist())
        if cut:
            warn_cut_prompt(tokens.input_ids.shape[1], cut)
        return {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def _run_text_encoder(self, calls: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """The last hidden states [1,n,D] of each call."""
        if self._streamed_text and calls:
            return self._streamed_text.run(calls)
        return [self.text_encoder(**call).last_hidden_state for call in calls]

    def prompts_per_pass(self, latents: Tensor) -> int:
        """How many prompts fit into four fifths of the memory of a GPU that is free now, or half of a CPU's."""
        needed = pass_bytes(self.transformer.config, latents, self.dtype)
        share = 0.5 if self.device.type == "cpu" else 0.8
        return max(1, int(share * available_bytes(self.device) / needed))

    def draw_noise(self, latents: Tensor, seed: int) -> None:
        """None: REM on Wan takes clean latents."""

    @queued
    @torch.no_grad()
    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Clean latents [1,16,t,h,w], prompts [P,77,4096] -> mask latents [P,16,t,h,w] in one pass at t = 0 (REM)."""
        count = len(prompt_embeds)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predicted = self.transformer(
                hidden_states=latents.to(self.device, self.dtype).expand(count, -1, -1, -1, -1),
                timestep=torch.zeros(count, device=self.device, dtype=self.dtype),
                encoder_hidden_states=prompt_embeds.to(self.device, self.dtype),
                return_dict=False,
            )[0]
        return predicted.float()

    @queued
    @torch.no_grad()
    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Normalised mask latents [1,16,t,h,w] -> [4t-3,3,8h,8w], clamped to -1..1; a mask's values lie in 0..1."""
        self._bring_vae()
        latents = self.denormalise(mask_latents)
        count, height, width = latents.shape[2:]
        pixels = WAN.pixels_per_latent
        if self._one_pass and self._fits(1 + (count - 1) * WAN.frames_per_latent, height * pixels, width * pixels):
            decoded = self._one_pass.decode(latents).clamp_(-1.0, 1.0)
        elif self._bounded:
            decoded = self._bounded.decode(latents).clamp_(-1.0, 1.0)
        else:
            decoded = self.vae.decode(latents, return_dict=False)[0]
        return rearrange(decoded, "1 c t h w -> t c h w")

    @queued
    def mask_decoder(self) -> Callable[[Tensor], Tensor]:
        """See `Backbone.mask_decoder`."""
        if self._mask_decoder is None or not self._mask_decoder.is_file():
            raise ValueError(
                f"{self.name} has no mask decoder ({self._mask_decoder or MASK_DECODER} is missing): use decoder vae, "
                "or distil one by 'rem-trainer distill-decoder'."
            )
        self._bring_vae()  # whose weights say whether it is of this one
        try:
            decoder = load_mask_decoder(self._mask_decoder, self.vae, self.device)
        finally:
            if self._parked_vae:
                self._parked_vae.let_go()
        return lambda mask_latents: decoder.draw(mask_latents.to(self.device))

    def _bring_vae(self) -> None:
        if self._parked_vae:
            self._parked_vae.bring()

    def _fits(self, frames: int, height: int, width: int) -> bool:
        return one_pass_bytes(self.vae, frames, height, width) <= _ONE_PASS_BYTES

    def denormalise(self, latents: Tensor) -> Tensor:
        """Normalised latents [B,16,t,h,w] as the VAE has them."""
        return latents * self._std + self._mean


def pass_bytes(config: Any, latents: Tensor, dtype: torch.dtype) -> int:
    """What a pass of the transformer takes for each prompt beside the weights, for latents [1,16,t,h,w].

    For each token (2x2 latent pixels) two rows of the feed-forward's width in the model's type and seven float32 rows
    of the model's width: an upper bound of what diffusers 0.42 allocates at the peak of a block, by torch's profiler,
    in float32 and under autocast. It makes 3.9 GB for Wan2.1-14B in bfloat16 at 512x512 and 73 frames.
    """
    width = config.num_attention_heads * config.attention_head_dim
    _, patch_height, patch_width = config.patch_size
    tokens = latents.shape[2] * (latents.shape[3] // patch_height) * (latents.shape[4] // patch_width)
    return tokens * (2 * config.ffn_dim * dtype.itemsize + 7 * width * 4)


def _cut_words(prompt: str, offsets: list[list[int]]) -> str:
    """The words of which a token lies past row 77; whole words, since half a word is as good as none."""
    if len(offsets) <= TEXT_ROWS:
        return ""
    start, stop = offsets[TEXT_ROWS]
    if start == stop:  # the end mark, which is no part of the prompt
        return ""
    return words_from(prompt, start)


def load_wan(
    folder: Path,
    *,
    checkpoint: Paths,
    strength: float | Sequence[float] = 1.0,
    device: torch.device,
    dtype: torch.dtype,
    text_dtype: torch.dtype | None = None,
    memory: Memory = "whole",
    keep_rows: bool = False,
) -> WanBackbone:
    """Load a Wan2.1 model folder (diffusers' layout), offline, with a REM checkpoint laid over it.

    Args:
        folder: holds `transformer/`, `vae/`, `text_encoder/`, `tokenizer/`, and perhaps `rem.json`
            {"name", "size": [H, W], "window", "overlap", perhaps "words": [...]}. Weights may be under
            diffusers' or the original names.
        checkpoint: weights of the whole transformer, and perhaps of the VAE, that replace the folder's; a delta or
            LoRA, which is added to the transformer; or several, see `open_checkpoint`.
        strength: of deltas and LoRAs, 0..1.
        device: where the model runs.
        dtype: float32, bfloat16 or float16; see `WanBackbone`.
        text_dtype: of the text encoder; by default float32 beside a float32 transformer, otherwise bfloat16.
        memory: where the weights of transformer and text encoder are; see `load.load_backbone`.
        keep_rows: whether what a large text encoder gives is kept on disk; it is then loaded when it is first needed.

    Raises:
        FileNotFoundError: a part of the folder, or the checkpoint, is missing.
        ValueError: weights that do not fit, or files that cannot be read.
    """
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

    check_parts(folder, ("transformer/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer"))
    defaults, rem = read_defaults(folder, WAN, bool(checkpoint)), open_checkpoint(checkpoint, strength)

    def load(part: str, model_class: type[Network], dtype_of: Callable[[str], torch.dtype]) -> tuple[Network, Weights]:
        return load_component(folder / part, model_class, rem, family=WAN.name, rename=to_diffusers, dtype=dtype_of)

    transformer, weights = load("transformer", WanTransformer3DModel, lambda name: _transformer_dtype(name, dtype))
    config = transformer.config
    if config.text_dim != WAN.text_width:
        raise ValueError(
            f"{folder}/transformer takes text of width {config.text_dim}; Wan2.1's {WAN.text_width} is expected."
        )
    vae, vae_weights = load("vae", AutoencoderKLWan, lambda name: torch.float32)
    statistics = (vae.config.latents_mean, vae.config.latents_std)
    if any(len(values) != WAN.latent_channels for values in statistics) or 0 in vae.config.latents_std:
        raise ValueError(
            f"{folder}/vae/config.json must give latents_mean and latents_std, {WAN.latent_channels} numbers each, of "
            "which the latter are not 0; download it again."
        )
    if text_dtype is None:
        text_dtype = torch.float32 if dtype == torch.float32 else torch.bfloat16
    text_encoder, text_weights = _build_text(folder, text_dtype)
    tokenizer = load_tokenizer(folder, text_encoder.config.vocab_size)

    large = sum(map(text_weights.nbytes, text_weights.stored)) >= _LARGE_ENCODER
    kept_rows = _kept_rows(folder, device, text_dtype) if keep_rows and large else None
    resident = resident_blocks(memory, "blocks.", weights, text_weights, device)
    vae = fill(vae, vae_weights, device)
    # Where memory holds not even a block it is to hold one stage's weights at a time.
    parked_vae = Parked(vae, vae_weights, vae_weights.stored, device) if resident == 0 else None
    streamed, streamed_text = None, None
    if resident is None:
        fill(transformer, weights, device)
        if kept_rows:
            before_first_call(text_encoder, lambda: fill(text_encoder, text_weights, device).tie_weights())
        else:
            fill(text_encoder, text_weights, device).tie_weights()
    else:
        stream = BlockStream(transformer, "blocks.", weights, device, resident)
        streamed = StreamedWan(transformer, stream, device, dtype, parked_vae)
        streamed_text = _stream_text(text_encoder, text_weights, device)
    # The rotary tables are computed, not stored, so the model built without memory has none yet.
    transformer.rope = WanRotaryPosEmbed(config.attention_head_dim, config.patch_size, config.rope_max_seq_len).to(
        device
    )
    return WanBackbone(
        transformer,
        vae,
        text_encoder,
        tokenizer,
        dtype=dtype,
        streamed=streamed,
        streamed_text=streamed_text,
        parked_vae=parked_vae,
        kept_rows=kept_rows,
        mask_decoder=folder / MASK_DECODER,
        **defaults,
    )


def _kept_rows(folder: Path, device: torch.device, dtype: torch.dtype) -> PromptRows:
    parts = (folder / part for part in ("text_encoder", "tokenizer"))
    files = [file for part in parts for file in sorted(part.rglob("*")) if file.is_file()]
    return PromptRows(files, {"device": device.type, "dtype": str(dtype)})


def _build_text(folder: Path, dtype: torch.dtype) -> tuple[Network, Weights]:
    """The text encoder without memory, and its weights."""
    from transformers import UMT5Config, UMT5EncoderModel

    path = folder / "text_encoder" / "config.json"
    config = of_transformers(path, UMT5Config)
    stored = open_state_dict(folder / "text_encoder")
    # One table under two names, of which files keep either or both.
    for name, other in (_TIED_EMBEDDINGS, _TIED_EMBEDDINGS[::-1]):
        if other in stored:
            stored.setdefault(name, stored[other])
    encoder = build(path, lambda: UMT5EncoderModel(UMT5Config.from_dict(config)), stored)
    check_weights(encoder, stored, "text_encoder")
    return encoder, Weights(stored, lambda name: dtype)


def _stream_text(encoder: Network, weights: Weights, device: torch.device) -> StreamedText:
    """Leave the text encoder's blocks and its table, of which a prompt needs a few rows, in their files."""
    encoder.shared = encoder.encoder.embed_tokens = StoredEmbedding(weights, _TIED_EMBEDDINGS[0], device)
    others = {name: entry for name, entry in weights.stored.items() if name not in _TIED_EMBEDDINGS}
    return StreamedText(encoder, BlockStream(encoder, "encoder.block.", replace(weights, stored=others), device))


def _transformer_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if any(part in f"{name}." for part in _FLOAT32_PARTS) else dtype
