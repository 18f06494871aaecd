"""Weights to the host's MODEL, CLIP and VAE, through the host's own loaders, checked before they are handed over."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.ldm.wan.model
import comfy.ldm.wan.vae
import comfy.ops
import comfy.sd
import comfy.text_encoders.wan
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy.supported_models_base import ClipTarget
from torch import Tensor

from ..rem_engine.checkpoints import check, describe, read_state_dict, split_components, to_original
from ..rem_engine.load import MINI_FOLDER
from .host import Card, attach_card, card_of, check_model

# Blocks of the Wan2.1 text-to-video models by width. The host counts those it finds, so a file without its last blocks
# would load as a shallower model.
_WAN_BLOCKS = {1536: 30, 5120: 40}
_WAN_VAE_WIDTH = 96

# REM-mini computes in float32 on every device: it is small, and bfloat16 has steps of 1/256 around 0.5, which show in
# a soft mask.
_MINI_DTYPE = torch.float32

_UMT5_SIZES = ("d_ff", "d_kv", "d_model", "num_heads", "num_layers", "vocab_size")

Parts = tuple[ModelPatcher, CLIP, VAE]


def load_mini(model: ModelPatcher | None, clip: CLIP | None, vae: VAE | None) -> Parts:
    """REM-mini as MODEL, CLIP and VAE; a CLIP or VAE that is given is passed through.

    Raises:
        ValueError: a MODEL was given that is not REM-mini's base.
    """
    label = "REM-mini"
    weights = to_original(read_state_dict(MINI_FOLDER / "transformer"))
    card = json.loads((MINI_FOLDER / "rem.json").read_text(encoding="utf-8"))
    return (
        _load_model(
            weights, label, model, Card(card["name"], tuple(card["size"]), card["window"], card["overlap"]), _MINI_DTYPE
        ),
        clip or _load_small_clip(MINI_FOLDER),
        vae or _load_vae(to_original(read_state_dict(MINI_FOLDER / "vae")), label, _MINI_DTYPE),
    )


def load_checkpoint(path: str, model: ModelPatcher | None, clip: CLIP | None, vae: VAE | None) -> Parts:
    """A whole REM checkpoint as MODEL, CLIP and VAE.

    Args:
        path: safetensors or REM's own .pth, under diffusers' or the original names, with or without the VAE.
        model: a Wan2.1 MODEL the weights are for; its precision and LoRAs are kept. None: the file says it all.
        clip: Wan's text encoder, passed through.
        vae: Wan's VAE, passed through. None: the file's.

    Raises:
        ValueError: weights that do not fit, or a CLIP or VAE that is missing.
    """
    label = Path(path).name
    if clip is None:
        raise ValueError(
            f"{label} comes without a text encoder: connect Load CLIP (umt5_xxl, type wan) to LoadREM's clip input."
        )
    parts = split_components(read_state_dict(path))
    if vae is None:
        if not parts["vae"]:
            raise ValueError(
                f"{label} comes without a VAE: connect Load VAE (wan_2.1_vae.safetensors) to LoadREM's vae input."
            )
        vae = _load_vae(to_original(parts["vae"]), label)
    card = Card(label) if model is None else replace(card_of(model), name=label)
    return _load_model(to_original(parts["transformer"]), label, model, card), clip, vae


def _load_model(
    weights: dict[str, Tensor], label: str, base: ModelPatcher | None, card: Card, dtype: torch.dtype | None = None
) -> ModelPatcher:
    """A MODEL of its own with these weights: loading them into `base` would change it for everyone who holds it."""
    if base is None:
        check(weights, _shapes_for(weights, label), label)
    else:
        check_model(base)
        network = base.model.diffusion_model
        check(weights, _transformer_shapes(network.dim, network.ffn_dim, network.num_layers), label)
        dtype = base.model_dtype()
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={} if dtype is None else {"dtype": dtype})
    if base is not None:
        _copy_patches(base, model)
    attach_card(model, card)
    return model


def _copy_patches(source: ModelPatcher, target: ModelPatcher) -> None:
    """Give `target` the weight patches (LoRAs) of `source`."""
    for key, patches in source.patches.items():
        for strength, patch, strength_model, offset, function in patches:
            target.add_patches({(key, offset, function): patch}, strength, strength_model)


def _shapes_for(weights: Mapping[str, Tensor], label: str) -> dict[str, torch.Size]:
    """Shapes of the Wan2.1 text-to-video transformer that such weights are for.

    Raises:
        ValueError: they are not a Wan transformer's.
    """
    if "patch_embedding.weight" not in weights or "blocks.0.ffn.0.weight" not in weights:
        raise ValueError(
            f"{label} looks like {describe(weights)}, and a Wan2.1 text-to-video transformer is expected: "
            "choose another file from models/rem."
        )
    width = weights["patch_embedding.weight"].shape[0]
    blocks = [int(match[1]) for name in weights if (match := re.match(r"blocks\.(\d+)\.", name))]
    return _transformer_shapes(
        width, weights["blocks.0.ffn.0.weight"].shape[0], _WAN_BLOCKS.get(width, max(blocks) + 1)
    )


def _transformer_shapes(width: int, ffn_width: int, blocks: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return _shapes(
            comfy.ldm.wan.model.WanModel(
                dim=width,
                ffn_dim=ffn_width,
                num_heads=width // 128,
                num_layers=blocks,
                operations=comfy.ops.disable_weight_init,
            )
        )


def _load_vae(weights: dict[str, Tensor], label: str, dtype: torch.dtype | None = None) -> VAE:
    """A VAE from Wan2.1 weights of any width."""
    if "decoder.head.0.gamma" not in weights:
        raise ValueError(f"The VAE in {label} looks like {describe(weights)}, and Wan2.1's is expected.")
    width = weights["decoder.head.0.gamma"].shape[0]
    with torch.device("meta"):
        network = _wan_vae(width)
    check(weights, _shapes(network), f"The VAE in {label}")
    try:
        return comfy.sd.VAE(sd=weights, dtype=dtype)
    except RuntimeError:
        if width == _WAN_VAE_WIDTH:
            raise
    return _load_small_vae(weights, dtype)


def _load_small_vae(weights: dict[str, Tensor], dtype: torch.dtype | None) -> VAE:
    """What comfy.sd.VAE does on hosts that know only the full width (0.3.64)."""
    with torch.device("meta"):  # the full-width network is only there to be replaced: it shall cost nothing
        vae = comfy.sd.VAE(sd=_wan_vae(_WAN_VAE_WIDTH).state_dict(), dtype=dtype)
    network = _wan_vae(weights["decoder.head.0.gamma"].shape[0]).eval()
    network.load_state_dict(weights)
    vae.first_stage_model = network.to(vae.vae_dtype)
    vae.patcher = ModelPatcher(vae.first_stage_model, load_device=vae.device, offload_device=vae.patcher.offload_device)
    return vae


def _wan_vae(width: int) -> comfy.ldm.wan.vae.WanVAE:
    return comfy.ldm.wan.vae.WanVAE(
        dim=width,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )


def _load_small_clip(folder: Path) -> CLIP:
    """A CLIP from a UMT5 of any size; the host's own loader detects the XXL alone."""
    config = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    clip = comfy.sd.CLIP(
        ClipTarget(comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te()),
        tokenizer_data={"spiece_model": (folder / "tokenizer" / "spiece.model").read_bytes()},
        model_options={
            "umt5xxl_model_config": {name: config[name] for name in _UMT5_SIZES},
            "dtype": _MINI_DTYPE,
        },
    )
    weights = read_state_dict(folder / "text_encoder")
    check(weights, _shapes(clip.cond_stage_model.umt5xxl.transformer), "REM-mini (text encoder)")
    clip.load_sd(weights)
    return clip


def _shapes(network: Any) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
