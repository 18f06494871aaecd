"""A backbone of the engine made trainable: the same weights and arithmetic, with gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rem_engine.backbones.base import Backbone, FamilyKey, Network
from rem_engine.backbones.checkpoint import Paths
from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import find_model_folder
from rem_engine.backbones.modelscope import NO_NOISE, ModelScopeBackbone, load_modelscope
from rem_engine.backbones.vae import OnePassVAE
from rem_engine.backbones.wan import WanBackbone, load_wan

from ..data.clean_text import clean_prompt, lower_case
from .decoders import new_head

if TYPE_CHECKING:
    from ..settings import LoraSettings, ObjectiveSettings, TrainSettings

DECODER = "mask_decoder"
"""Name, in the denoiser, of a decoder of masks that is trained along: wherever the denoiser goes, it goes too."""

_TIMESTEPS = 1000
"""Of the schedules; Wan's flow is pure noise at this one, and at 0 there is none."""


class TrainingBackbone(Backbone, Protocol):
    """A backbone whose parts can be trained, frozen and kept in caches, as those that the engine loads from disk."""

    @property
    def vae(self) -> Network:
        """The VAE, diffusers' AutoencoderKLWan or AutoencoderKL."""

    @property
    def text_encoder(self) -> Network:
        """The text encoder, of transformers."""

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer."""


class Trainable(ABC):
    """A denoiser to train, and the frozen VAE and text encoder around it.

    Args:
        backbone: of the engine, in float32.
        denoiser: its denoiser: diffusers' WanTransformer3DModel or UNet3DConditionModel.

    Attributes:
        backbone, denoiser: as given.
        takes_noise: whether the denoiser sees noisy latents, which `draw_noise` makes noise for.
    """

    backbone: TrainingBackbone
    takes_noise: bool

    def __init__(self, backbone: TrainingBackbone, denoiser: Network) -> None:
        self.backbone, self.denoiser = backbone, denoiser
        # The authors never leave evaluation mode, so that the dropout in ModelScope's temporal convolutions is off
        # (REM's released code); without any, no mode turns it on.
        for module in denoiser.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        backbone.vae.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the denoiser lies."""
        return next(self.denoiser.parameters()).device

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1 -> normalised latents [1,C,t,h,w], the mode of the posterior."""
        return self.backbone.encode_video(frames)

    def encode_masks(self, masks: Tensor) -> Tensor:
        """Masks [T,H,W] or [T,1,H,W] of 0 and 1 -> normalised latents [1,C,t,h,w].

        The target of REM: 0 and 1 (not -1 and 1) in three channels, coded like video (REM's released code).
        """
        grey = masks.reshape(len(masks), 1, *masks.shape[-2:]).float()
        return self.backbone.encode_video(grey.expand(-1, 3, -1, -1))

    @abstractmethod
    def encode_text(self, text: str) -> Tensor:
        """A dataset's sentence, as the authors train this model on it -> float32 [77,D]; see `Backbone.encode_text`."""

    @abstractmethod
    def draw_noise(self, latents: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """Noise for latents [B,C,t,h,w], a seed for each of the B; None where clean ones are taken."""

    def set_up(self, objective: ObjectiveSettings, seed: int) -> None:
        """Give the denoiser what an objective asks for beside the base's weights: new ones, or a decoder of masks.

        Args:
            objective: `init`, `decoder`, `features` and `timestep` are heeded here.
            seed: of weights that are drawn.

        Raises:
            ValueError: features of a block that the denoiser does not have.
        """
        self.takes_noise = self.takes_noise or objective.timestep > 0
        channels = self.denoiser.config.out_channels
        if objective.features is not None:
            channels = self._feature_channels(objective.features)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if objective.init == "scratch":
                fresh = type(self.denoiser).from_config(self.denoiser.config)
                self.denoiser.load_state_dict(fresh.state_dict())
            if objective.has_new_head:
                head = new_head(objective, channels, self.backbone.family.frames_per_latent)
                self.denoiser.add_module(DECODER, head.to(self.device))
        if objective.decoder == "vae_tuned":
            vae = self.backbone.vae
            parts = {"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder}
            self.denoiser.add_module(DECODER, nn.ModuleDict(parts))

    def features(
        self,
        latents: Tensor,
        rows: Tensor,
        block: int,
        *,
        timestep: int = 0,
        noise: Tensor | None = None,
        denoiser: nn.Module | None = None,
    ) -> Tensor:
        """What a block of the denoiser makes of a batch, without gradient; for the arguments see `predict`.

        Returns:
            float32 [B,D,t,h,w], brought to the latents' size bilinearly.
        """
        outputs: list[Tensor] = []
        handle = self._blocks()[block].register_forward_hook(lambda module, inputs, output: outputs.append(output))
        try:
            # not under no_grad, which would have DDP leave the gradients of the head alone; nothing else has any
            self.predict(latents, rows, timestep=timestep, noise=noise, denoiser=denoiser)
        finally:
            handle.remove()
        maps = self._as_maps(outputs[0].detach().float(), latents)
        sized = F.interpolate(rearrange(maps, "b d t h w -> (b t) d h w"), latents.shape[-2:], mode="bilinear")
        return rearrange(sized, "(b t) d h w -> b d t h w", b=len(latents))

    def decode_new(self, features: Tensor) -> Tensor:
        """The new head's masks [B,1,T,H,W] of the denoiser's output, or features, [B,D,t,h,w]; with gradient."""
        return getattr(self.denoiser, DECODER)(features)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents [B,C,t,h,w] -> the VAE's frames [B,3,T,H,W], not clamped; with gradient."""

    @abstractmethod
    def _blocks(self) -> nn.ModuleList:
        """The denoiser's blocks that features are taken from."""

    @abstractmethod
    def _block_channels(self, block: int) -> int:
        """How many channels a block's features have."""

    @abstractmethod
    def _as_maps(self, output: Tensor, latents: Tensor) -> Tensor:
        """A block's output for latents [B,C,t,h,w] as maps [B,D,t,h',w']."""

    def _feature_channels(self, block: int) -> int:
        count = len(self._blocks())
        if block >= count:
            raise ValueError(f"objective.features is {block}, and the denoiser has blocks 0 to {count - 1}.")
        return self._block_channels(block)

    def predict(
        self,
        latents: Tensor,
        rows: Tensor,
        *,
        timestep: int = 0,
        noise: Tensor | None = None,
        denoiser: nn.Module | None = None,
    ) -> Tensor:
        """One pass, with gradient.

        Args:
            latents: clean, normalised, [B,C,t,h,w].
            rows: text embeddings [B,77,D].
            timestep: 0 in REM.
            noise: of the latents' shape, where `takes_noise`; it is added as the backbone's schedule says.
            denoiser: the module to run in place of `self.denoiser`, such as one that accelerate has wrapped.

        Returns:
            mask latents [B,C,t,h,w], normalised, float32.

        Raises:
            ValueError: no noise where it is taken.
        """
        return self._run(denoiser or self.denoiser, latents, rows, timestep, noise).float()

    @abstractmethod
    def velocity(self, latents: Tensor, rows: Tensor, denoiser: nn.Module) -> Tensor:
        """One pass that is asked for a velocity, from the clean latents z of the video (t = 1) to those m of the mask.

        FlowRVS (arXiv 2510.06139, and its released engine.py) trains v = z - m along the straight path
        t z + (1 - t) m between both, at the timestep 1000 t, half of the time at its beginning; m = z - v is then one
        step of Euler's. Here the beginning is all there is: timestep 1000, where the denoiser knows pure noise.
        Neither are FlowRVS' other parts here: the video's latents beside the path's as an input, samples of the VAE
        in place of its mode, a VAE decoder tuned for masks, mask latents that are not normalised.

        Args:
            latents, rows, denoiser: see `predict`.

        Returns:
            [B,C,t,h,w], float32, with gradient.

        Raises:
            ValueError: the backbone's denoiser predicts no velocity.
        """

    @abstractmethod
    def _run(self, denoiser: nn.Module, latents: Tensor, rows: Tensor, timestep: int, noise: Tensor | None) -> Tensor:
        """What `predict` returns, in the type the denoiser computes in."""


class WanTrainable(Trainable):
    """Wan2.1: clean latents in, at timesteps above 0 noisy ones."""

    backbone: WanBackbone
    takes_noise = False

    def __init__(self, backbone: WanBackbone) -> None:
        super().__init__(backbone, backbone.transformer)

    def encode_text(self, text: str) -> Tensor:
        """See `Trainable.encode_text`; cleaned by `clean_prompt`, which keeps its case."""
        return self.backbone.encode_text(clean_prompt(text))

    def draw_noise(self, latents: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """See `Trainable.draw_noise`."""
        if not self.takes_noise:
            return None
        generators = (torch.Generator().manual_seed(seed) for seed in seeds)
        drawn = [torch.randn(each.shape, generator=own) for each, own in zip(latents, generators)]
        return torch.stack(drawn).to(latents)

    def _run(self, denoiser: nn.Module, latents: Tensor, rows: Tensor, timestep: int, noise: Tensor | None) -> Tensor:
        """Of noise e the latents get the share s = timestep / 1000: (1 - s) z + s e (Wan2.1's flow matching)."""
        if timestep:
            if noise is None:
                raise ValueError(
                    f"Timestep {timestep} takes noisy latents and no noise was given; draw_noise makes it."
                )
            latents = torch.lerp(latents, noise, timestep / _TIMESTEPS)
        return self._at(denoiser, latents, rows, timestep)

    def velocity(self, latents: Tensor, rows: Tensor, denoiser: nn.Module) -> Tensor:
        """See `Trainable.velocity`."""
        return self._at(denoiser, latents, rows, _TIMESTEPS).float()

    def _at(self, denoiser: nn.Module, latents: Tensor, rows: Tensor, timestep: int) -> Tensor:
        return denoiser(
            hidden_states=latents,
            timestep=latents.new_full((len(latents),), timestep),
            encoder_hidden_states=rows,
            return_dict=False,
        )[0]

    def decode(self, latents: Tensor) -> Tensor:
        """See `Trainable.decode`."""
        return OnePassVAE(self.backbone.vae).decode(self.backbone.denormalise(latents))

    def _blocks(self) -> nn.ModuleList:
        return self.denoiser.blocks

    def _block_channels(self, block: int) -> int:
        return self.denoiser.config.num_attention_heads * self.denoiser.config.attention_head_dim

    def _as_maps(self, output: Tensor, latents: Tensor) -> Tensor:
        _, patch_height, patch_width = self.denoiser.config.patch_size
        height, width = latents.shape[3] // patch_height, latents.shape[4] // patch_width
        return rearrange(output, "b (t h w) d -> b d t h w", h=height, w=width)


class ModelScopeTrainable(Trainable):
    """ModelScope: slightly noisy latents in, those of the schedule's timestep 0: 0.999575 z + 0.029155 e."""

    backbone: ModelScopeBackbone
    takes_noise = True

    def __init__(self, backbone: ModelScopeBackbone) -> None:
        super().__init__(backbone, backbone.denoiser.unet)

    def encode_text(self, text: str) -> Tensor:
        """See `Trainable.encode_text`; in lower case. Captions of RefCOCO too: CLIP's tokenizer lowers all there is."""
        return self.backbone.encode_text(lower_case(text))

    def draw_noise(self, latents: Tensor, seeds: Sequence[int]) -> Tensor:
        """See `Trainable.draw_noise`."""
        return torch.cat([self.backbone.draw_noise(each[None], seed) for each, seed in zip(latents, seeds)])

    def _run(self, denoiser: nn.Module, latents: Tensor, rows: Tensor, timestep: int, noise: Tensor | None) -> Tensor:
        if noise is None:
            raise ValueError(NO_NOISE)
        at = torch.tensor([timestep], device=latents.device)
        noisy = self.backbone.denoiser.scheduler.add_noise(latents, noise, at)
        return denoiser(noisy, at, encoder_hidden_states=rows, return_dict=False)[0]

    def velocity(self, latents: Tensor, rows: Tensor, denoiser: nn.Module) -> Tensor:
        """See `Trainable.velocity`."""
        raise ValueError("ModelScope's denoiser predicts noise and no velocity; use output mask.")

    def decode(self, latents: Tensor) -> Tensor:
        """See `Trainable.decode`."""
        vae = self.backbone.vae
        frames = rearrange(latents, "b c t h w -> (b t) c h w") / vae.config.scaling_factor
        return rearrange(vae.decode(frames, return_dict=False)[0], "(b t) c h w -> b c t h w", b=len(latents))

    def _blocks(self) -> nn.ModuleList:
        return self.denoiser.up_blocks

    def _block_channels(self, block: int) -> int:
        return self.denoiser.up_blocks[block].resnets[-1].out_channels

    def _as_maps(self, output: Tensor, latents: Tensor) -> Tensor:
        return rearrange(output, "(b t) d h w -> b d t h w", b=len(latents))


def load_trainable(model: Path | str, checkpoint: Paths, settings: TrainSettings, device: torch.device) -> Trainable:
    """Load a model folder for training, everything frozen until `freeze` says what is trained.

    The denoiser's weights are float32 whatever the files hold and whatever is computed in: a step of 1e-5 would vanish
    in a bfloat16 weight above about 0.005. Under bf16 the text encoder is kept in bfloat16.

    Args:
        model: "mini" or a folder in diffusers' layout; see `rem_engine.load_segmenter`.
        checkpoint: weights to lay over the folder's denoiser to start from; see there.
        settings: `backbone`, `precision`, `objective` and `seed` are heeded here.
        device: where everything runs.

    Raises:
        FileNotFoundError: no such model or checkpoint.
        ValueError: weights that do not fit, or a model of the other backbone.
    """
    folder = find_model_folder(model)
    found = family_of(folder).key
    if found != settings.backbone:
        raise ValueError(f"{folder} is a model of {found}, and the settings are for {settings.backbone}.")
    trainable = _LOADERS[found](folder, checkpoint, settings, device)
    trainable.set_up(settings.objective, settings.seed)
    return trainable


def _load_wan(folder: Path, checkpoint: Paths, settings: TrainSettings, device: torch.device) -> Trainable:
    text = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    return WanTrainable(load_wan(folder, checkpoint=checkpoint, device=device, dtype=torch.float32, text_dtype=text))


def _load_modelscope(folder: Path, checkpoint: Paths, settings: TrainSettings, device: torch.device) -> Trainable:
    return ModelScopeTrainable(load_modelscope(folder, checkpoint=checkpoint, device=device, dtype=torch.float32))


_LOADERS: Mapping[FamilyKey, Callable[[Path, Paths, TrainSettings, torch.device], Trainable]] = {
    "wan": _load_wan,
    "modelscope": _load_modelscope,
}


def freeze(trainable: Trainable, settings: TrainSettings) -> list[str]:
    """Make trainable what the settings say, with gradient checkpointing where they ask for it.

    Without LoRA everything of the denoiser is trained but the parameters whose names contain a part of
    `settings.frozen`; with it, the added low-rank matrices alone. Where features are read, nothing of the denoiser is.
    A decoder of masks that the objective added is always trained.

    Returns:
        names of the denoiser's trainable parameters.

    Raises:
        ValueError: a LoRA target that the denoiser does not have, or nothing left to train.
    """
    denoiser = trainable.denoiser.requires_grad_(False)
    if settings.lora is not None:
        add_lora(denoiser, settings.lora, settings.seed)
    elif settings.objective.features is None:
        freeze_parts(denoiser, settings.frozen)
    if hasattr(denoiser, DECODER):
        getattr(denoiser, DECODER).requires_grad_(True)
    if settings.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    names = [name for name, parameter in denoiser.named_parameters() if parameter.requires_grad]
    if not names:
        raise ValueError("No weight of the model is trainable; shorten the setting frozen.")
    return names


def freeze_parts(denoiser: nn.Module, parts: Sequence[str]) -> None:
    """Make all of a denoiser trainable but the parameters whose name holds one of `parts`."""
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(not any(part in name for part in parts))


def add_lora(denoiser: nn.Module, lora: LoraSettings, seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets))
    # peft draws the first matrices at random
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, denoiser)
        except ValueError as error:
            targets = ", ".join(lora.targets)
            raise ValueError(f"The model has no layers whose names end in one of lora.targets ({targets}).") from error
