"""REM on ModelScope's text-to-video-ms-1.7b, through diffusers and transformers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..checkpoints.read import open_state_dict
from ..checkpoints.stored import StoredTensor
from ..input_files import is_refusal
from ..layers import check_prompt
from ..memory import available_bytes
from .base import (
    MODELSCOPE,
    TEXT_ROWS,
    Network,
    OneAtATime,
    Streamed,
    TextsOneByOne,
    WithoutMaskDecoder,
    queued,
    warn_cut_prompt,
    words_from,
)
from .checkpoint import Checkpoint, Paths, Weights, open_checkpoint
from .configuration import build, of_class, of_transformers, read_defaults, read_json
from .folder import check_parts, check_weights, fill, load_component, load_tokenizer

_SCHEDULE = "scheduler/scheduler_config.json"
PARTS = ("unet/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer", _SCHEDULE)
"""What a ModelScope folder has to hold, beside the weights."""

# The VAE codes frame by frame, so that any number gives the same. The authors decode 16 at once: at 512x512 one of the
# decoder's widest activations then takes 4.3 GB.
_FRAMES_PER_CALL = 2

# What diffusers 0.42 allocates at the peak of a pass, by torch's profiler on UNets of width 32 to 128: in the first
# temporal attention, 20.2 to 20.9 numbers for each of its width and every latent pixel.
_NUMBERS_PER_WIDTH = 21
_FIRST_HEADS = 8  # of that attention, whatever the UNet's width

# Names of the VAE's attention before diffusers 0.17, still those of the published folder.
_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_ATTENTION = re.compile(r"(.+\.mid_block\.attentions\.0\.)(query|key|value|proj_attn)(\.(?:weight|bias))")
_ATTENTION_WEIGHT = re.compile(r"(?:encoder|decoder)\.mid_block\.attentions\.0\.to_(?:q|k|v|out\.0)\.weight")

NO_NOISE = "ModelScope takes noisy latents and no noise was given; draw_noise makes it."
"""The message for a caller that leaves it out."""

TEXT_PREFIX = "text_model."
_POSITION_IDS = "position_ids"


class ModelScopeDenoiser(nn.Module):
    """The UNet and what goes before it: REM's single pass on ModelScope.

    Unlike Wan it takes slightly noisy latents: those of the first training timestep, 0.999575 z + 0.029155 e with the
    published schedule.

    Args:
        unet: diffusers' UNet3DConditionModel.
        scheduler: diffusers' DDIMScheduler, for its noise schedule.
    """

    def __init__(self, unet: Network, scheduler: Any) -> None:
        super().__init__()
        self.unet, self.scheduler = unet, scheduler

    def forward(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None) -> Tensor:
        """Latents [1,4,T,h,w], prompts [P,77,D], noise [1 or P,4,T,h,w] -> mask latents [P,4,T,h,w], float32.

        Raises:
            ValueError: no noise.
        """
        if noise is None:
            raise ValueError(NO_NOISE)
        count, device, dtype = len(prompt_embeds), self.unet.device, self.unet.dtype
        # The authors leave the schedule's timesteps unset, so the last one is that of training: 0.
        timestep = self.scheduler.timesteps[-1].to(device)
        noisy = self.scheduler.add_noise(latents.to(device), noise.to(device), timestep[None])
        return self.unet(
            noisy.to(dtype).expand(count, -1, -1, -1, -1),
            timestep,
            encoder_hidden_states=prompt_embeds.to(device, dtype),
            return_dict=False,
        )[0].float()

    def memory_required(self, input_shape: Sequence[int]) -> float:
        """Bytes a pass takes beside the weights, for latents of a shape [P,4,T,h,w].

        21 numbers for each latent pixel and unit of width of the first temporal attention. text-to-video-ms-1.7b at
        512x512 and 24 frames in bfloat16: 2.1 GB a prompt.
        """
        config = self.unet.config
        width = max(_FIRST_HEADS * config.attention_head_dim, config.block_out_channels[0])
        count, _, *pixels = input_shape
        return count * math.prod(pixels) * width * _NUMBERS_PER_WIDTH * self.unet.dtype.itemsize


def draw_noise(latents: Tensor, seed: int) -> Tensor:
    """Noise for latents [1,4,T,h,w], of the same shape, from a CPU generator: alike on every device.

    Drawn frame by frame, [T,4,h,w], as the authors' evaluation draws it.
    """
    frames = rearrange(latents, "1 c t h w -> t c h w")
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))
    return rearrange(noise.to(latents.device), "t c h w -> 1 c t h w")


class ModelScopeBackbone(TextsOneByOne, WithoutMaskDecoder, OneAtATime):
    """The UNet, the image VAE and the CLIP text encoder of text-to-video-ms-1.7b; a `Backbone`.

    The UNet computes in the type of its weights, the VAE in float32.

    Args:
        denoiser: with the UNet.
        vae: diffusers' AutoencoderKL, applied frame by frame.
        text_encoder: transformers' CLIPTextModel.
        tokenizer: its fast tokenizer, with the pad token of special_tokens_map.json.
        name, default_size, default_window, default_overlap, known_words: see `Backbone`.
    """

    def __init__(
        self,
        denoiser: ModelScopeDenoiser,
        vae: Network,
        text_encoder: Network,
        tokenizer: Any,
        *,
        name: str = MODELSCOPE.name,
        default_size: tuple[int, int] = MODELSCOPE.default_size,
        default_window: int = MODELSCOPE.default_window,
        default_overlap: int = MODELSCOPE.default_overlap,
        known_words: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.denoiser, self.vae = denoiser, vae
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.name, self.known_words = name, known_words
        self.streamed: Streamed | None = None
        self.family = replace(MODELSCOPE, text_width=denoiser.unet.config.cross_attention_dim)
        self.default_size, self.default_window, self.default_overlap = default_size, default_window, default_overlap

    @queued
    @torch.no_grad()
    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1 -> latents [1,4,T,H/8,W/8], the mode of the posterior times the scaling factor."""
        groups = frames.split(_FRAMES_PER_CALL)
        modes = [self.vae.encode(group.to(self.vae.device, torch.float32)).latent_dist.mode() for group in groups]
        return rearrange(torch.cat(modes).mul_(self.vae.config.scaling_factor), "t c h w -> 1 c t h w")

    @queued
    @torch.no_grad()
    def encode_text(self, prompt: str) -> Tensor:
        """Prompt -> float32 [77,D], the last hidden state of all 77 rows, padding included, without a mask (REM).

        Of a prompt of more than 77 tokens the first 76 and the end mark are read, and a warning says which words were
        cut.

        Raises:
            ValueError: the prompt is empty.
        """
        check_prompt(prompt)
        whole = self.tokenizer(prompt, return_offsets_mapping=True, verbose=False)
        if len(whole.input_ids) > TEXT_ROWS:
            cut = words_from(prompt, whole.offset_mapping[TEXT_ROWS - 1][0])
            warn_cut_prompt(len(whole.input_ids), cut)
        tokens = self.tokenizer(
            prompt, padding="max_length", max_length=TEXT_ROWS, truncation=True, return_tensors="pt"
        )
        return self.text_encoder(tokens.input_ids.to(self.text_encoder.device)).last_hidden_state[0].float().cpu()

    def prompts_per_pass(self, latents: Tensor) -> int:
        """How many prompts fit into four fifths of the memory of a GPU that is free now, or half of a CPU's."""
        device = self.denoiser.unet.device
        share = 0.5 if device.type == "cpu" else 0.8
        return max(1, int(share * available_bytes(device) / self.denoiser.memory_required(latents.shape)))

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor:
        """See `draw_noise` above."""
        return draw_noise(latents, seed)

    @queued
    @torch.no_grad()
    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [1,4,T,h,w], prompts [P,77,D], noise [1 or P,4,T,h,w] -> mask latents [P,4,T,h,w] in one pass.

        Raises:
            ValueError: no noise.
        """
        return self.denoiser(latents, prompt_embeds, noise)

    @queued
    @torch.no_grad()
    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Mask latents [1,4,T,h,w] -> [T,3,8h,8w], not clamped; a mask's values lie in 0..1."""
        frames = rearrange(mask_latents, "1 c t h w -> t c h w").to(self.vae.device) / self.vae.config.scaling_factor
        return torch.cat([self.vae.decode(group, return_dict=False)[0] for group in frames.split(_FRAMES_PER_CALL)])


def load_modelscope(
    folder: Path,
    *,
    checkpoint: Paths,
    strength: float | Sequence[float] = 1.0,
    device: torch.device,
    dtype: torch.dtype,
) -> ModelScopeBackbone:
    """Load a ModelScope model folder (diffusers' layout), offline, with a REM checkpoint laid over it.

    Args:
        folder: holds `unet/`, `vae/`, `text_encoder/`, `tokenizer/`, `scheduler/`, and perhaps `rem.json`
            {"name", "size": [H, W], "window", "overlap", perhaps "words": [...]}.
        checkpoint: weights of the whole UNet (of either stage of training), and perhaps of the VAE, that replace the
            folder's; a delta or LoRA, which is added to the UNet; or several, see `open_checkpoint`.
        strength: of deltas and LoRAs, 0..1.
        device: where the model runs.
        dtype: float32, bfloat16 or float16; for the UNet and the text encoder; the VAE computes in float32.

    Raises:
        FileNotFoundError: a part of the folder, or the checkpoint, is missing.
        ValueError: weights that do not fit, or files that cannot be read.
    """
    check_parts(folder, PARTS)
    defaults, rem = read_defaults(folder, MODELSCOPE, bool(checkpoint)), open_checkpoint(checkpoint, strength)
    denoiser = load_denoiser(folder, rem, device, dtype)
    vae = load_vae(folder, rem, device)
    text_encoder, tokenizer = _load_text(folder, device, dtype)
    if denoiser.unet.config.cross_attention_dim != text_encoder.config.hidden_size:
        raise ValueError(
            f"{folder}/unet takes text of width {denoiser.unet.config.cross_attention_dim}, and its text_encoder gives "
            f"{text_encoder.config.hidden_size}; parts of one model are expected."
        )
    return ModelScopeBackbone(denoiser, vae, text_encoder, tokenizer, **defaults)


def load_denoiser(folder: Path, rem: Checkpoint, device: torch.device, dtype: torch.dtype) -> ModelScopeDenoiser:
    """The UNet and the noise schedule of a model folder, with REM's weights laid over.

    Raises:
        FileNotFoundError, ValueError: see `load_modelscope`.
    """
    from diffusers import DDIMScheduler, UNet3DConditionModel

    unet, weights = load_component(
        folder / "unet", UNet3DConditionModel, rem, family=MODELSCOPE.name, rename=dict, dtype=lambda name: dtype
    )
    schedule = folder / _SCHEDULE
    config = of_class(read_json(schedule), schedule, DDIMScheduler)
    try:
        scheduler = DDIMScheduler.from_config(config)
    except Exception as error:  # whatever a setting may lead to in the library
        if is_refusal(error):
            raise
        raise ValueError(f"{schedule} is no noise schedule ({error}); download it again.") from error
    return ModelScopeDenoiser(fill(unet, weights, device), scheduler)


def load_vae(folder: Path, rem: Checkpoint, device: torch.device) -> Network:
    """The VAE of a model folder, diffusers' AutoencoderKL in float32, or that of a REM checkpoint which holds one.

    Raises:
        FileNotFoundError, ValueError: see `load_modelscope`.
    """
    from diffusers import AutoencoderKL

    vae, weights = load_component(
        folder / "vae",
        AutoencoderKL,
        rem,
        family=MODELSCOPE.name,
        rename=_present_names,
        dtype=lambda name: torch.float32,
    )
    return fill(vae, weights, device)


def text_weights(folder: Path) -> dict[str, StoredTensor]:
    """The weights of a model folder's CLIP text tower, under names without a leading "text_model."."""
    stored = open_state_dict(folder / "text_encoder")
    # Files have that prefix or not, whichever version of transformers they are from, and some count positions.
    bare = {name.removeprefix(TEXT_PREFIX): entry for name, entry in stored.items()}
    return {name: entry for name, entry in bare.items() if not name.endswith(_POSITION_IDS)}


def _load_text(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Network, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel

    path = folder / "text_encoder" / "config.json"
    config = of_transformers(path, CLIPTextConfig)
    stored = text_weights(folder)
    encoder = build(path, lambda: CLIPTextModel(CLIPTextConfig.from_dict(config)), stored)
    prefix = TEXT_PREFIX if next(iter(encoder.state_dict())).startswith(TEXT_PREFIX) else ""
    weights = Weights({f"{prefix}{name}": entry for name, entry in stored.items()}, lambda name: dtype)
    check_weights(encoder, weights.stored, f"{folder.name} (text_encoder)")
    encoder = fill(encoder, weights, device)
    # Counted, not stored, so that the model built without memory has none yet.
    for module in encoder.modules():
        if getattr(module, _POSITION_IDS, None) is not None:
            module.position_ids = torch.arange(module.position_ids.shape[-1], device=device)[None]
    tokenizer = load_tokenizer(folder, encoder.config.vocab_size)
    special = folder / "tokenizer" / "special_tokens_map.json"
    if special.is_file() and (pad := read_json(special).get("pad_token")):
        # The published folder names another pad token in tokenizer_config.json, which some versions of transformers
        # heed.
        pad = pad.get("content") if isinstance(pad, dict) else pad
        if not isinstance(pad, str) or pad not in tokenizer.get_vocab():
            raise ValueError(f"{special} names a pad_token that the tokenizer does not have; download it again.")
        tokenizer.pad_token = pad
    return encoder, tokenizer


def _present_names(weights: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Rename the attention of an image VAE; in still older files its weights have the shape of 1x1 convolutions."""
    renamed = {}
    for name, entry in weights.items():
        if match := _OLD_ATTENTION.fullmatch(name):
            name = f"{match[1]}{_ATTENTION_NAMES[match[2]]}{match[3]}"
        if _ATTENTION_WEIGHT.fullmatch(name) and tuple(entry.shape[2:]) == (1, 1):
            tensor = None if entry.tensor is None else entry.tensor.flatten(1)
            entry = replace(entry, shape=entry.shape[:2], stride=entry.stride[:2], tensor=tensor)
        renamed[name] = entry
    return renamed
