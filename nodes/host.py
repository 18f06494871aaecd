"""The one adapter between ComfyUI and the engine: schemas, model folder, progress, and the host's MODEL and VAE as a
Backbone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import comfy.ldm.wan.vae
import comfy.model_base
import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ..rem_engine.backbone import PAPER_WINDOWS
from ..rem_engine.media import preview_strip

CATEGORY = "ReferEverything"
MODEL_FOLDER = "rem"

_LATENT_CHANNELS = 16
_FRAMES_PER_LATENT = 4
# What LoadREM leaves on a MODEL; clones keep it, so LoRA and compile nodes may come between.
_CARD = "refereverything"


def node_schema(*, search_aliases: list[str], **fields: Any) -> io.Schema:
    """An io.Schema in the pack's category; fields that the running host does not know yet are left out."""
    fields |= {"category": CATEGORY, "search_aliases": search_aliases}
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def advanced(widget: io.Input) -> io.Input:
    """Fold a widget away under "advanced inputs"; the argument of that name came after ComfyUI 0.8.0."""
    widget.extra_dict["advanced"] = True
    return widget


def register_model_folder() -> None:
    """Make `models/rem` a model folder like any other, beside those of extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(MODEL_FOLDER, os.path.join(folder_paths.models_dir, MODEL_FOLDER))
    # add_model_folder_path gives a new folder no extensions, which would list every file.
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, folder_paths.supported_pt_extensions)


def progress_hook() -> Callable[[int, int], None]:
    """A progress callback for the engine: moves the node's bar, and ends the run when it was cancelled.

    Raises:
        comfy.model_management.InterruptProcessingException: from the callback, after a cancel.
    """
    bar = comfy.utils.ProgressBar(1)

    def progress(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return progress


def show_text(text: str, node_id: str) -> None:
    """Show a line of text on a node while the graph runs."""
    from server import PromptServer  # there only while the host serves

    PromptServer.instance.send_progress_text(text, node_id)


def strip_preview(frames: np.ndarray, node: type[io.ComfyNode]) -> ui.PreviewImage:
    """A preview of a few frames of uint8 [T,H,W,3] side by side: the host would write a PNG for each of a shot."""
    strip = torch.from_numpy(preview_strip(frames)).float() / 255.0
    return ui.PreviewImage(strip[None], cls=node)


@dataclasses.dataclass(frozen=True)
class Card:
    """What REM weights were trained for: name, (height, width), and the windows of the `shot` protocol in frames."""

    name: str = "Wan2.1"
    size: tuple[int, int] = (512, 512)
    window: int = PAPER_WINDOWS[0]
    overlap: int = 8


def attach_card(model: ModelPatcher, card: Card) -> None:
    """Write on a MODEL what its weights were trained for."""
    model.set_attachments(_CARD, card)


def card_of(model: ModelPatcher) -> Card:
    """What a MODEL's weights were trained for; one that LoadREM has not seen is taken for a full Wan2.1."""
    return model.get_attachment(_CARD) or Card()


class HostBackbone:
    """The host's MODEL and VAE as the engine's `Backbone`; prompts come encoded, as CONDITIONING.

    Latents stay as the host's VAE gives them, not normalised: the host's sampling entry normalises on the way into the
    denoiser and back on the way out. Nothing between these methods looks into them.

    Args:
        model: Wan2.1 text-to-video MODEL with REM weights, with whatever LoRAs, patches and wrappers it carries.
        vae: Wan2.1 VAE.

    Raises:
        ValueError: a MODEL or VAE of another kind.
    """

    paper_windows = PAPER_WINDOWS
    size_multiple = 16

    def __init__(self, model: ModelPatcher, vae: VAE) -> None:
        check_model(model)
        _check_vae(vae)
        card = card_of(model)
        self.name = card.name
        self.default_size, self.default_window, self.default_overlap = card.size, card.window, card.overlap
        self._vae = vae
        self._model = model.clone()
        self._model.add_object_patch("model_sampling", _CleanLatentsIn(model.model.model_config))

    def pad_frame_count(self, count: int) -> int:
        """Smallest 4k+1 >= `count`; of any other count the host's VAE would silently drop frames."""
        return 1 + -(-(count - 1) // _FRAMES_PER_LATENT) * _FRAMES_PER_LATENT

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1, T = 4k+1 -> latents [1,16,t,H/8,W/8] as the VAE gives them."""
        return self._vae.encode((frames.movedim(1, -1) + 1.0) / 2.0)

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Latents [1,16,t,h,w] and prompts [P,77,4096] -> mask latents [P,16,t,h,w], scaled like `latents`."""
        count = len(prompt_embeds)
        batch = latents.expand(count, -1, -1, -1, -1).contiguous()
        conditioning = [[prompt_embeds, {}]]
        try:
            return comfy.sample.sample_custom(
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
        except comfy.model_management.OOM_EXCEPTION:
            if count == 1:
                raise
        # Outside of the handler, which would keep the failed pass's tensors alive.
        return torch.cat([self.predict_mask_latents(latents, embeds) for embeds in prompt_embeds.split(1)])

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Mask latents [1,16,t,h,w] -> [T,3,H,W] in -1..1; the host's VAE gives (x + 1) / 2, clamped to 0..1."""
        return self._vae.decode(mask_latents)[0].movedim(-1, 1) * 2.0 - 1.0


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
    if isinstance(inner, comfy.model_base.WAN21):
        channels = inner.diffusion_model.patch_embedding.weight.shape[1]
        if channels == _LATENT_CHANNELS:
            return
        raise ValueError(
            f"The MODEL is a Wan with {channels} input channels, an image-to-video or control variant; "
            "REM is made from Wan2.1 text-to-video: connect LoadREM."
        )
    raise ValueError(
        f"The MODEL is a {type(inner).__name__}, and REM is made from Wan2.1 text-to-video: connect LoadREM."
    )


def _check_vae(vae: VAE) -> None:
    network = vae.first_stage_model
    if not isinstance(network, comfy.ldm.wan.vae.WanVAE):
        raise ValueError(
            f"The VAE is a {type(network).__name__}, and REM works with Wan2.1's: connect the VAE of LoadREM, "
            "or Load VAE with wan_2.1_vae.safetensors."
        )
