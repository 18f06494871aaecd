"""Weights to the host's MODEL, CLIP and VAE, through the host's own loaders, checked before they are handed over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.ldm.wan.vae
import comfy.sd
import comfy.text_encoders.wan
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy.supported_models_base import ClipTarget
from torch import Tensor

from ...rem_engine.backbones.base import WAN
from ...rem_engine.backbones.checkpoint import base_of
from ...rem_engine.backbones.configuration import read_defaults, read_json
from ...rem_engine.backbones.load import MINI_FOLDER
from ...rem_engine.checkpoints import (
    check,
    describe,
    is_adapter,
    read_changes,
    read_state_dict,
    split_components,
    to_original,
)
from ...rem_engine.checkpoints.architecture import is_for_modelscope, text_to_video_shapes
from ...rem_engine.checkpoints.base_signature import check_base
from ...rem_engine.checkpoints.change import Change
from ...rem_engine.checkpoints.read import open_file, open_state_dict
from ...rem_engine.checkpoints.stored import COARSE, StoredFile, StoredTensor, map_tensors
from ...rem_engine.models import missing_base, missing_text_encoder, missing_vae
from .backbone import Card, attach_card, card_of, check_model
from .modelscope import load_modelscope
from .patching import is_in_float8, is_rounded, row_of, with_changes, with_weights
from .quantised import check_fits_host, type_of_host, weights_for_host

BUNDLED = "REM-mini (bundled)"
"""The checkpoint that comes with the pack, for people."""

# REM-mini computes in float32 on every device: it is small, and bfloat16 has steps of 1/256 around 0.5, which show in
# a soft mask.
_MINI_DTYPE = torch.float32

_UMT5_SIZES = ("d_ff", "d_kv", "d_model", "num_heads", "num_layers", "vocab_size")

# What a delta or LoRA costs over weights that the host rounds again, and what these alone. Measured on a Wan of two
# blocks with random weights (tests/nodes/model_in_host.py): fp8 e4m3 7.2 to 8.1 %, plain and scaled alike; int8 1.1 %.
_ERRORS = {True: ("fp8", "about 8 %", "4 %"), False: ("int8", "about 1 %", "0.7 %")}

Parts = tuple[ModelPatcher, CLIP, VAE]


def load_mini(model: ModelPatcher | None, clip: CLIP | None, vae: VAE | None) -> Parts:
    """REM-mini as MODEL, CLIP and VAE; a CLIP or VAE that is given is passed through.

    Raises:
        ValueError: a MODEL was given that is not REM-mini's base.
    """
    label = "REM-mini"
    weights = to_original(open_state_dict(MINI_FOLDER / "transformer"))
    loaded = _load_model(weights, label, _MINI_DTYPE) if model is None else _lay_over(model, weights, label)
    attach_card(loaded, Card(**read_defaults(MINI_FOLDER, WAN)))
    return (
        loaded,
        clip or load_small_clip(MINI_FOLDER),
        vae or _load_vae(to_original(read_state_dict(MINI_FOLDER / "vae")), label, _MINI_DTYPE),
    )


def load_checkpoint(
    path: str, model: ModelPatcher | None, clip: CLIP | None, vae: VAE | None, strength: float = 1.0
) -> tuple[Parts, str]:
    """A REM checkpoint as MODEL, CLIP and VAE.

    Args:
        path: whole weights, under diffusers' or the original names, with or without the VAE; or a delta or LoRA. Those
            of REM on ModelScope go over the base folder among the host's `diffusers` models, and over no MODEL.
        model: the Wan2.1 MODEL it is for; what it carries is kept, and itself left as it is. None: the file says it
            all.
        clip: Wan's text encoder, passed through.
        vae: Wan's VAE, passed through. None: the file's.
        strength: of a delta or LoRA, 0..1.

    Returns:
        the three, and what the user should know of the result (mostly "").

    Raises:
        ValueError: weights that do not fit, a strength they do not take, or a MODEL, CLIP or VAE that is missing.
    """
    label = Path(path).name
    file = open_file(path)
    stored = file.tensors
    parts: dict[str, dict[str, StoredTensor]] = {"transformer": {}, "vae": {}}
    difference = is_adapter(stored)
    if not difference:
        check_whole(label, strength)
        parts = split_components(stored)
    if is_for_modelscope(stored):
        return load_modelscope(Path(path), file, model, clip, vae, strength), ""
    denoiser = to_original(parts["transformer"])
    if denoiser:
        check_fits_host(denoiser, label, describe(denoiser))
    if clip is None:
        raise ValueError(missing_text_encoder(label, folder_paths.get_folder_paths("text_encoders")))
    if vae is None:
        if not parts["vae"]:
            raise ValueError(missing_vae(label, folder_paths.get_folder_paths("vae")))
        vae = _load_vae(to_original(map_tensors(parts["vae"])), label)
    card = Card() if model is None else card_of(model)
    if difference:
        loaded, changes = _lay_changes_over(model, file, label, strength)
        card = replace(card, laid_over=(*card.laid_over, (changes, strength)))
    else:
        loaded = _load_model(denoiser, label) if model is None else _lay_over(model, denoiser, label)
        card = replace(card, is_coarse=any(entry.stored_dtype in COARSE for entry in denoiser.values()))
    check_model(loaded)
    attach_card(loaded, replace(card, name=label, known_words=frozenset()))
    note = ""
    if model is not None and difference and is_rounded(model):
        kind, error, alone = _ERRORS[is_in_float8(model)]
        note = (
            f"The MODEL is quantised ({kind}): the host rounds changed weights to {kind} again. Expect an error of "
            f"{error} in the mask latents, where {kind} alone has {alone}; whole weights, or a 16-bit MODEL, have none."
        )
        logging.getLogger(__name__).warning("%s: %s", label, note)
    return (loaded, clip, vae), note


def check_whole(label: str, strength: float) -> None:
    """Raise ValueError where whole weights are asked for in part."""
    if strength != 1.0:
        raise ValueError(
            f"{label} holds whole weights, which take the place of the MODEL's, and the strength is {strength:g}: "
            "set it to 1, or choose a delta or LoRA, which can be laid over in part."
        )


def _load_model(stored: Mapping[str, StoredTensor], label: str, dtype: torch.dtype | None = None) -> ModelPatcher:
    """A MODEL of whole weights."""
    if "patch_embedding.weight" not in stored:
        raise ValueError(
            f"{label} looks like {describe(stored)}, and a Wan2.1 text-to-video transformer is expected: "
            "choose another file from models/rem."
        )
    check(stored, text_to_video_shapes(stored), label)
    weights = weights_for_host(stored, dtype)
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options={} if dtype is None else {"dtype": dtype})


def _lay_over(model: ModelPatcher, stored: Mapping[str, StoredTensor], label: str) -> ModelPatcher:
    """A MODEL like `model` with whole weights."""
    check_model(model)
    if card_of(model).difference:
        raise ValueError(
            f"The MODEL carries the delta or LoRA {card_of(model).name} already, which {label} would be added to: "
            "connect the MODEL that goes into that LoadREM."
        )
    own = text_to_video_shapes(dict(model.model.diffusion_model.named_parameters()))
    check(stored, own, label, "the MODEL")
    return with_weights(model, map_tensors(stored, type_of_host(stored)))


def _lay_changes_over(
    model: ModelPatcher | None, file: StoredFile, label: str, strength: float
) -> tuple[ModelPatcher, dict[str, Change]]:
    """A MODEL like `model` with a delta or LoRA, which was made over what `model` is with REM's weights so far, and
    what of its weights that changes."""
    if model is None:
        raise ValueError(missing_base(label, folder_paths.get_folder_paths("diffusion_models")))
    check_model(model)
    network = dict(model.model.diffusion_model.named_parameters())
    changes = read_changes(map_tensors(file.tensors), network)
    loaded = with_changes(model, changes, strength, label)
    signature, base = base_of(file, label)
    card = card_of(model)
    rows = row_of(model, card.laid_over, card.is_coarse)
    check_base(signature, network, rows, label, base)
    return loaded, changes


def _load_vae(weights: dict[str, Tensor], label: str, dtype: torch.dtype | None = None) -> VAE:
    """A VAE from Wan2.1 weights of any width."""
    if "decoder.head.0.gamma" not in weights:
        raise ValueError(f"The VAE in {label} looks like {describe(weights)}, and Wan2.1's is expected.")
    width = weights["decoder.head.0.gamma"].shape[0]
    with torch.device("meta"):
        network = _wan_vae(width)
    check(weights, _shapes(network), f"The VAE in {label}")
    return comfy.sd.VAE(sd=weights, dtype=dtype)


def _wan_vae(width: int) -> comfy.ldm.wan.vae.WanVAE:
    return comfy.ldm.wan.vae.WanVAE(
        dim=width,
        z_dim=WAN.latent_channels,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )


def load_small_clip(folder: Path) -> CLIP:
    """A CLIP from a UMT5 of any size; the host's own loader detects the XXL alone.

    Args:
        folder: holds `text_encoder/` and `tokenizer/spiece.model`.

    Raises:
        FileNotFoundError: one of them is missing.
        ValueError: weights of another model than the folder's configuration says.
    """
    config = read_json(folder / "text_encoder" / "config.json")
    clip = comfy.sd.CLIP(
        ClipTarget(comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te()),
        tokenizer_data={"spiece_model": (folder / "tokenizer" / "spiece.model").read_bytes()},
        model_options={
            "umt5xxl_model_config": {name: config[name] for name in _UMT5_SIZES},
            "dtype": _MINI_DTYPE,
        },
    )
    weights = read_state_dict(folder / "text_encoder")
    check(weights, _shapes(clip.cond_stage_model.umt5xxl.transformer), f"The text encoder in {folder}")
    clip.load_sd(weights)
    return clip


def _shapes(network: Any) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
