"""REM on ModelScope in the host, which has no model of that kind: the UNet under the host's ModelPatcher, VAE and text
encoder as the host's own."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.ldm.models.autoencoder
import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy.supported_models_base import ClipTarget
from einops import rearrange
from torch import Tensor, nn
from transformers import CLIPTextConfig

from ...rem_engine.backbones.base import MODELSCOPE, WithoutMaskDecoder
from ...rem_engine.backbones.checkpoint import Checkpoint, checkpoint_of
from ...rem_engine.backbones.configuration import of_transformers, read_json
from ...rem_engine.backbones.folder import check_no_code, check_parts
from ...rem_engine.backbones.modelscope import (
    PARTS,
    TEXT_PREFIX,
    ModelScopeDenoiser,
    draw_noise,
    load_denoiser,
    load_vae,
    text_weights,
)
from ...rem_engine.checkpoints import Change, check
from ...rem_engine.checkpoints.read import open_state_dict
from ...rem_engine.checkpoints.stored import StoredFile, StoredTensor, map_tensors
from ...rem_engine.models import missing_modelscope
from .backbone import Card, EncodedPrompts, attach_card, card_of, encode_once, name_what_is_not_finite, prompts_that_fit

_LATENTS = comfy.latent_formats.SD15()  # whose factor is ModelScope's too: 0.18215
_CLIP_NAME = "h"  # under which the host's tokenizers for ViT-H return their tokens
_READS_TEXT = re.compile(r"[._]attentions[._].*[._]attn2[._]to_k\.weight$")  # temporal attention reads none
_FIRST = re.compile(r"(?:lora_unet_+|lycoris_)?conv_in\.weight")
_CPU = torch.device("cpu")
_COMPUTES_IN = (torch.float32, torch.bfloat16, torch.float16)

Parts = tuple[ModelPatcher, CLIP, VAE]


def load_modelscope(
    path: Path, file: StoredFile, model: ModelPatcher | None, clip: CLIP | None, vae: VAE | None, strength: float = 1.0
) -> Parts:
    """A REM checkpoint of ModelScope as MODEL, CLIP and VAE.

    The UNet computes in the number type its weights are stored in (those of the base folder, where the checkpoint is a
    delta or LoRA), unless the device is slow in it or the host was started with an option that says otherwise.

    Args:
        path, file: a whole UNet, of either stage of training, with or without the VAE; or a delta or LoRA.
        model: none is of use.
        clip: CLIP ViT-H's text tower, passed through. None: the base folder's.
        vae: Stable Diffusion's VAE, passed through. None: the file's, or the base folder's.
        strength: of a delta or LoRA, 0..1.

    Raises:
        FileNotFoundError: the base folder is not there.
        ValueError: weights that do not fit it, or a MODEL was given.
    """
    label = path.name
    if model is not None:
        raise ValueError(
            f"{label} is REM on ModelScope, of which ComfyUI has no MODEL: disconnect LoadREM's model input; what the "
            "file does not hold comes from models/diffusers."
        )
    rem = checkpoint_of([(path, file)], strength)
    base = _base_folder(rem)
    management = comfy.model_management
    device = management.get_torch_device()
    denoiser = load_denoiser(base, rem, _CPU, _number_type(device, rem.denoiser or open_state_dict(base / "unet")))
    loaded = ModelPatcher(
        ModelScopeModel(denoiser), load_device=device, offload_device=management.unet_offload_device()
    )
    card = Card(label, MODELSCOPE.default_size, MODELSCOPE.default_window, MODELSCOPE.default_overlap)
    attach_card(loaded, card)
    return loaded, clip or load_clip(base), vae or _load_vae(base, rem)


class ModelScopeModel(nn.Module):
    """The UNet as the host keeps its own networks: as `diffusion_model`, by which its LoRA loaders know the weights.

    A cancel ends a pass at the next of the UNet's layers. Whatever else the host's nodes look for in a model of its own
    is an AttributeError that says what the model is.

    Args:
        denoiser: whose UNet it is.
    """

    def __init__(self, denoiser: ModelScopeDenoiser) -> None:
        super().__init__()
        self.diffusion_model = denoiser.unet
        # Its methods alone: as a module it would bring the UNet's weights a second time, under other names.
        self._denoise, self._memory_required = denoiser.forward, denoiser.memory_required
        self.model_config = _NoConfig()
        for layers in self.diffusion_model.modules():
            for layer in layers if isinstance(layers, nn.ModuleList) else ():
                layer.register_forward_pre_hook(_heed_cancel)

    def forward(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None) -> Tensor:
        """See `ModelScopeDenoiser`."""
        return self._denoise(latents, prompt_embeds, noise)

    def memory_required(self, input_shape: Sequence[int]) -> float:
        """See `ModelScopeDenoiser`."""
        return self._memory_required(input_shape)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise AttributeError(_foreign(name)) from None


class _NoConfig:
    """What the host's LoRA loaders ask for, to translate names of its own networks; here is nothing to translate."""

    def __init__(self) -> None:
        self.unet_config: dict[str, Any] = _NoEntries()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_foreign(name))


class _NoEntries(dict[str, Any]):
    """The configuration of a network of the host's: none."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(_foreign(name))


def _foreign(name: str) -> str:
    return (
        f"The MODEL is REM on ModelScope, which has no {name}: nodes for ComfyUI's own models cannot use it. "
        "Connect it to SegmentVideo; only LoRA loaders may come between."
    )


def _heed_cancel(*_: Any) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()


class ModelScopeHostBackbone(WithoutMaskDecoder, EncodedPrompts):
    """A ModelScope MODEL of LoadREM and a VAE of the host as the engine's `Backbone`; prompts come as CONDITIONING.

    Frames encoded once are not encoded again as long as the host keeps the VAE.

    Args:
        model: of LoadREM.
        vae: Stable Diffusion's VAE, which is ModelScope's.
        decode_vae: another such VAE for decoding. None: `vae` decodes too.

    Raises:
        ValueError: a VAE of another kind.
    """

    def __init__(self, model: ModelPatcher, vae: VAE, decode_vae: VAE | None = None, on_disk: bool = False) -> None:
        self._on_disk = on_disk
        for given in (vae, decode_vae or vae):
            _check_vae(given)
        card = card_of(model)
        self.name = card.name
        self.default_size = card.default_size
        self.default_window, self.default_overlap = card.default_window, card.default_overlap
        self.family = replace(MODELSCOPE, text_width=model.model.diffusion_model.config.cross_attention_dim)
        self._model, self._vae = model, vae
        # The host clamps what a VAE decodes; ModelScope's masks are resized as they come.
        self._decoder = copy.copy(decode_vae or vae)
        self._decoder.process_output = lambda pixels: pixels

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1 -> latents [1,4,T,H/8,W/8], the mode of the posterior times the scaling factor."""
        return rearrange(_LATENTS.process_in(encode_once(self._vae, frames, self._on_disk)), "t c h w -> 1 c t h w")

    def prompts_per_pass(self, latents: Tensor) -> int:
        """How many prompts the device has memory for in one pass over latents [1,4,T,h,w], at least 1."""
        return prompts_that_fit(self._model, latents)

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor:
        """Noise for latents [1,4,T,h,w], the command line's for the same seed."""
        return draw_noise(latents, seed)

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [1,4,T,h,w], prompts [P,77,D], noise [1 or P,4,T,h,w] -> mask latents [P,4,T,h,w] in one pass."""
        management = comfy.model_management
        memory = self._model.memory_required([len(prompt_embeds), *latents.shape[1:]])
        # diffusers' modules cannot be loaded in part.
        management.load_models_gpu([self._model], memory_required=memory, force_full_load=True)
        predicted = self._model.model(latents, prompt_embeds, noise)
        name_what_is_not_finite(predicted, self._model)
        return predicted.to(management.intermediate_device())

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Mask latents [1,4,T,h,w] -> [T,3,8h,8w], not clamped."""
        latents = rearrange(mask_latents, "1 c t h w -> t c h w")
        return rearrange(self._decoder.decode(_LATENTS.process_out(latents)), "t h w c -> t c h w")


def load_clip(folder: Path) -> CLIP:
    """A CLIP from the text tower of a model folder, of any size, which gives the last hidden state of all 77 rows.

    Raises:
        ValueError: weights of another model than the folder's configuration says.
    """
    check_no_code(folder / "tokenizer")
    config = CLIPTextConfig().to_dict() | of_transformers(folder / "text_encoder" / "config.json", CLIPTextConfig)
    width = config["hidden_size"]
    tokenizer = partial(
        comfy.sd1_clip.SDTokenizer,
        str(folder / "tokenizer"),
        pad_with_end=False,
        embedding_size=width,
        embedding_key=f"clip_{_CLIP_NAME}",
    )
    clip = comfy.sd.CLIP(
        ClipTarget(
            partial(comfy.sd1_clip.SD1Tokenizer, clip_name=_CLIP_NAME, tokenizer=tokenizer),
            partial(comfy.sd1_clip.SD1ClipModel, clip_name=_CLIP_NAME, clip_model=partial(_TextTower, config)),
        ),
        model_options={"dtype": torch.float32},
    )
    # What is not in the folder is for the pooled output, which REM has no use for: left as it comes, not undefined.
    projection = {"text_projection.weight": torch.eye(width)}
    weights = {f"{TEXT_PREFIX}{name}": value for name, value in map_tensors(text_weights(folder)).items()} | projection
    transformer = clip.cond_stage_model.clip_h.transformer
    expected = {name: value.shape for name, value in transformer.state_dict().items()}
    check(weights, expected, f"The text encoder in {folder}")
    clip.load_sd(weights)
    return clip


class _TextTower(comfy.sd1_clip.SDClipModel):
    """The host's CLIP text model with a configuration of transformers', whatever the size of its vocabulary."""

    def __init__(self, config: dict[str, Any], **options: Any) -> None:
        super().__init__(layer="last", textmodel_json_config=config, return_projected_pooled=False, **options)
        table = self.transformer.get_input_embeddings()
        weight = table.weight  # of 49408 rows, those of the published CLIPs
        size = (config["vocab_size"], weight.shape[1])
        self.transformer.set_input_embeddings(type(table)(*size, dtype=weight.dtype, device=weight.device))
        self.freeze()


def _load_vae(folder: Path, rem: Checkpoint) -> VAE:
    """The VAE of a model folder, or of the checkpoint that holds one, of any width."""
    network = load_vae(folder, rem, _CPU)
    widths = network.config.block_out_channels
    settings = {
        "double_z": True,
        "z_channels": network.config.latent_channels,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": network.config.layers_per_block,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    config = {"params": {"ddconfig": settings, "embed_dim": network.config.latent_channels}}
    # In float32: bfloat16 has steps of 1/256 around 0.5, which show in a soft mask.
    return comfy.sd.VAE(sd=dict(network.state_dict()), config=config, dtype=torch.float32)


def _number_type(device: torch.device, weights: Mapping[str, StoredTensor]) -> torch.dtype:
    """What a UNet with weights stored so computes in on a device."""
    stored = next(iter(weights.values())).dtype
    chosen = comfy.model_management.unet_dtype(device, supported_dtypes=[stored])
    # The host's options know types that its own networks alone compute in.
    return chosen if chosen in _COMPUTES_IN else torch.float32


def _base_folder(rem: Checkpoint) -> Path:
    """The folder among the host's `diffusers` models that a checkpoint belongs to."""
    places = [Path(place) for place in folder_paths.get_folder_paths("diffusers")]
    found = [config.parents[1] for place in places for config in sorted(place.glob("*/unet/config.json"))]
    found = [folder for folder in found if _config(folder).get("_class_name") == "UNet3DConditionModel"]
    if not found:
        raise FileNotFoundError(missing_modelscope(rem.label, places))
    # Where no folder fits, the first one serves to say what does not.
    changes = {name: change for overlay in rem.overlays for name, change in overlay.changes().items()}
    weights: Mapping[str, StoredTensor | Change] = {**rem.denoiser} or changes
    folder = next((folder for folder in found if _could_hold(_config(folder), weights)), found[0])
    check_parts(folder, PARTS)
    return folder


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "unet" / "config.json")


def _could_hold(config: dict[str, Any], weights: Mapping[str, StoredTensor | Change]) -> bool:
    """Whether a UNet's configuration has the widths of the weights, or of changes of them, as far as these tell."""
    text = {_sides(weight)[1] for name, weight in weights.items() if _READS_TEXT.search(name)}
    first = {_sides(weight)[0] for name, weight in weights.items() if _FIRST.fullmatch(name)}
    widths = config.get("block_out_channels")
    return text <= {config.get("cross_attention_dim")} and isinstance(widths, list) and first <= set(widths[:1])


def _sides(weight: StoredTensor | Change) -> tuple[int, int]:
    """Output and input channels of a layer's weight."""
    return (weight.shape[0], weight.shape[1]) if isinstance(weight, StoredTensor | Tensor) else weight.sides


def _check_vae(vae: VAE) -> None:
    network = vae.first_stage_model
    kind = comfy.ldm.models.autoencoder.AutoencodingEngine
    if not isinstance(network, kind) or vae.latent_channels != MODELSCOPE.latent_channels:
        raise ValueError(
            f"The VAE is a {type(network).__name__}, and REM on ModelScope works with Stable Diffusion's: connect the "
            "VAE of LoadREM."
        )
