"""The host's Wan2.1 MODEL and VAE as the engine's `Backbone`, and the card that LoadREM leaves on a MODEL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import comfy.ldm.wan.vae
import comfy.model_base
import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.taesd.taehv
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from einops import rearrange
from torch import Tensor

from ...rem_engine.backbones.base import WAN, TextsOneByOne
from ...rem_engine.checkpoints import Change
from ...rem_engine.checkpoints.check import check_finite_weight
from ...rem_engine.finite import all_finite
from .latents import frames_key, latents_cache
from .mask_decoder import mask_decoder_of

# What LoadREM leaves on a MODEL; clones keep it, so LoRA and compile nodes may come between.
_CARD = "refereverything"


@dataclasses.dataclass(frozen=True)
class Card:
    """What REM weights were trained for.

    Attributes:
        name, default_size, default_window, default_overlap, known_words: see the engine's `Backbone`.
        laid_over: deltas and LoRAs that lie on the MODEL's own weights: changes by original names, and a strength.
        is_coarse: whether whole weights that were laid over it came out of eight bits or fewer.
    """

    name: str = WAN.name
    default_size: tuple[int, int] = WAN.default_size
    default_window: int = WAN.default_window
    default_overlap: int = WAN.default_overlap
    known_words: frozenset[str] = frozenset()
    laid_over: tuple[tuple[Mapping[str, Change], float], ...] = ()
    is_coarse: bool = False

    @property
    def difference(self) -> bool:
        """Whether they lie on the MODEL as a difference (delta or LoRA) to weights of its own."""
        return bool(self.laid_over)


def attach_card(model: ModelPatcher, card: Card) -> None:
    """Write on a MODEL what its weights were trained for."""
    model.set_attachments(_CARD, card)


def card_of(model: ModelPatcher) -> Card:
    """What a MODEL's weights were trained for; one that LoadREM has not seen is taken for a full Wan2.1."""
    return model.get_attachment(_CARD) or Card()


class EncodedPrompts(TextsOneByOne):
    """What a backbone of the graph has in place of a text encoder: prompts come as CONDITIONING; and weights that are
    the host's to keep in memory."""

    streamed = None

    def encode_text(self, prompt: str) -> Tensor:
        """Raises RuntimeError, whatever the prompt."""
        raise RuntimeError("In the graph prompts come as CONDITIONING: encode them with EncodeText.")


class HostBackbone(EncodedPrompts):
    """The host's MODEL and VAE as the engine's `Backbone`; prompts come encoded, as CONDITIONING.

    Latents stay as the host's VAE gives them, not normalised: the host's sampling entry normalises on the way into the
    denoiser and back on the way out. Nothing between these methods looks into them.

    Frames encoded once are not encoded again as long as the host keeps the VAE: see `latents_cache`.

    Args:
        model: Wan2.1 text-to-video MODEL with REM weights, with whatever LoRAs, patches and wrappers it carries.
        vae: Wan2.1 VAE.
        decode_vae: another VAE for decoding: Wan2.1's, or its tiny autoencoder. None: `vae` decodes too.
        on_disk: whether latents are kept on disk too.

    Raises:
        ValueError: a MODEL or VAE of another kind.
    """

    family = WAN

    def __init__(self, model: ModelPatcher, vae: VAE, decode_vae: VAE | None = None, on_disk: bool = False) -> None:
        self._on_disk = on_disk
        check_model(model)
        _check_vae(vae)
        _check_decoder(decode_vae or vae)
        card = card_of(model)
        self.name, self.known_words = card.name, card.known_words
        self.default_size = card.default_size
        self.default_window, self.default_overlap = card.default_window, card.default_overlap
        self._vae, self._decoder = vae, decode_vae or vae
        self._model = model.clone()
        self._model.add_object_patch("model_sampling", _CleanLatentsIn(model.model.model_config))

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1, T = 4k+1 -> latents [1,16,t,H/8,W/8] as the VAE gives them.

        Of any other number of frames the host's VAE would silently drop some.
        """
        return encode_once(self._vae, frames, self._on_disk)

    def prompts_per_pass(self, latents: Tensor) -> int:
        """How many prompts the device has memory for in one pass over latents [1,16,t,h,w], at least 1."""
        return prompts_that_fit(self._model, latents)

    def draw_noise(self, latents: Tensor, seed: int) -> None:
        """None: REM on Wan takes clean latents."""

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [1,16,t,h,w] and prompts [P,77,4096] -> mask latents [P,16,t,h,w], scaled like `latents`."""
        batch = latents.expand(len(prompt_embeds), -1, -1, -1, -1).contiguous()
        conditioning = [[prompt_embeds, {}]]
        predicted = comfy.sample.sample_custom(
            self._model,
            torch.zeros_like(batch),
            1.0,
            comfy.samplers.KSAMPLER(_one_call),
            torch.zeros(1),
            conditioning,
            conditioning,
            batch,
            disable_pbar=True,
        )
        name_what_is_not_finite(predicted, self._model)
        return predicted

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Mask latents [1,16,t,h,w] -> [T,3,H,W] in -1..1; the host's VAEs give (x + 1) / 2, only Wan's own clamped."""
        decoded = rearrange(self._decoder.decode(mask_latents), "1 t h w c -> t c h w")
        return decoded.clamp(0.0, 1.0) * 2.0 - 1.0

    def mask_decoder(self) -> Callable[[Tensor], Tensor]:
        """See the engine's `Backbone`; it is looked for among the host's models.

        Raises:
            ValueError: there is none for the VAE, or a VAE for decoding is connected too.
        """
        if self._decoder is not self._vae:
            raise ValueError("A decode_vae is connected and decoder is mask: disconnect it, or set decoder to vae.")
        decoder, normalise, device = mask_decoder_of(self._vae), self._model.model.process_latent_in, self._vae.device
        return lambda mask_latents: decoder.draw(normalise(mask_latents).to(device))


def name_what_is_not_finite(predicted: Tensor, model: ModelPatcher) -> None:
    """Raise ValueError, with the name of the weight, where mask latents are not finite because a MODEL's weight is.

    Looked for only then: LoadREM does not read a file's weights before the host does.
    """
    if all_finite(predicted):
        return
    for name, weight in model.model.diffusion_model.named_parameters():
        if type(weight) is torch.nn.Parameter:
            check_finite_weight(weight, name, f"the MODEL {card_of(model).name}")


def encode_once(vae: VAE, frames: Tensor, on_disk: bool) -> Tensor:
    """What a VAE makes of frames [T,3,H,W] in -1..1, if they were encoded before out of its cache, or out of the one
    on disk."""
    cache, key = latents_cache(vae), frames_key(frames)
    latents = cache.get(key)
    if latents is None and on_disk:
        latents = cache.disk_of(vae).get(key)
    if latents is None:
        latents = vae.encode((rearrange(frames, "t c h w -> t h w c") + 1.0) / 2.0)
        if on_disk:
            cache.disk_of(vae).put(key, latents)
    cache.put(key, latents)
    return latents


def prompts_that_fit(model: ModelPatcher, latents: Tensor) -> int:
    """How many prompts a device has memory for in one pass over latents [1,C,t,h,w], at least 1.

    By the model's own estimate of a pass, in what its device has free once this model alone is on it.
    """
    management, device = comfy.model_management, model.load_device
    room = management.get_free_memory(device) - management.extra_reserved_memory()
    if not management.is_device_cpu(device):
        loaded = [other for other in management.current_loaded_models if other.device == device]
        room += sum(other.model_loaded_memory() for other in loaded) - model.model_size()
    return max(1, int(room // model.memory_required([1, *latents.shape[1:]])))


class _CleanLatentsIn(comfy.model_sampling.ModelSamplingDiscreteFlow):
    """REM's single pass in the host's terms: clean latents in at t = 0, the denoiser's output is the result.

    The stock sampling returns its input at t = 0, being `x - sigma * v`.
    """

    def calculate_input(self, sigma: Tensor, noise: Tensor) -> Tensor:
        return noise

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        return model_output

    def noise_scaling(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, max_denoise: bool = False) -> Tensor:
        return latent_image

    def inverse_noise_scaling(self, sigma: Tensor, latent: Tensor) -> Tensor:
        return latent

    def timestep(self, sigma: Tensor) -> Tensor:
        return torch.zeros_like(sigma)


def _one_call(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
    """A sampler of one step: the model's answer to the clean latents."""
    return model(x, sigmas[0].expand(len(x)), **extra_args)


def check_model(model: ModelPatcher) -> None:
    """Raise ValueError for a MODEL that is not a Wan2.1 text-to-video model."""
    inner = model.model
    if type(inner) is comfy.model_base.WAN21:  # its subclasses are control variants
        channels = inner.diffusion_model.patch_embedding.weight.shape[1]
        if channels == WAN.latent_channels:
            return
        raise ValueError(
            f"The MODEL is a Wan with {channels} input channels, an image-to-video variant; "
            "REM is made from Wan2.1 text-to-video: connect a MODEL of that."
        )
    raise ValueError(
        f"The MODEL is a {type(inner).__name__}, and REM is made from Wan2.1 text-to-video: connect a MODEL of that."
    )


def _check_vae(vae: VAE) -> None:
    network = vae.first_stage_model
    if not isinstance(network, comfy.ldm.wan.vae.WanVAE):
        raise ValueError(
            f"The VAE is a {type(network).__name__}, and REM works with Wan2.1's: connect the VAE of LoadREM, "
            "or Load VAE with wan_2.1_vae.safetensors."
        )


def _check_decoder(vae: VAE) -> None:
    network = vae.first_stage_model
    if not isinstance(network, comfy.taesd.taehv.TAEHV) or vae.latent_channels != WAN.latent_channels:
        _check_vae(vae)
    elif network.latent_format is not None:
        raise ValueError(
            "The decode_vae is a float16 tiny autoencoder, which ComfyUI takes for HunyuanVideo's, of other latents: "
            "connect Load VAE with Wan2.1's, lighttaew2_1.safetensors from models/vae_approx."
        )
