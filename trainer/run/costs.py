"""What a step takes, counted on models without memory: operations, and what autograd keeps for the backward pass.

Operations are counted by torch's FlopCounterMode in a pass on the meta device (a multiplication and an addition are
two); the backward pass is taken as twice the forward one, or as once where only low-rank matrices learn, and gradient
checkpointing as one forward pass more. What autograd keeps is added up by saved-tensor hooks in a pass over fake
tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rem_engine.backbones.base import TEXT_ROWS

if TYPE_CHECKING:
    from ..settings import DataSettings, TrainSettings


@dataclass(frozen=True)
class Flops:
    """Floating-point operations, a multiplication and an addition counting two.

    Attributes:
        products: of matrices, those of attention among them.
        convolutions: what they are.
    """

    products: int
    convolutions: int

    def times(self, factor: int) -> Flops:
        """As many times."""
        return Flops(self.products * factor, self.convolutions * factor)

    def tera(self) -> float:
        """Both, in 10^12."""
        return round((self.products + self.convolutions) / 1e12, 3)


def denoiser_inputs(settings: TrainSettings, data: DataSettings) -> tuple[Tensor, ...]:
    """Latents, timestep and text of a stream's batch, on the current default device."""
    wan = settings.backbone == "wan"
    timestep = torch.zeros(data.batch) if wan else torch.zeros(1, dtype=torch.long)
    latents = torch.empty(data.batch, *settings.family.latent_shape(data.frames, *settings.size))
    return latents, timestep, torch.empty(data.batch, TEXT_ROWS, settings.family.text_width)


def forward_flops(model: Any, *inputs: Tensor) -> Flops:
    """Operations of a call on meta tensors."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    by_kind = counter.get_flop_counts()["Global"]
    convolutions = sum(count for kind, count in by_kind.items() if "convolution" in str(kind))
    return Flops(counter.get_total_flops() - convolutions, convolutions)


def passes(settings: TrainSettings) -> int:
    """What a step takes, in forward passes."""
    return (2 if settings.lora else 3) + settings.gradient_checkpointing


def activation_bytes(build: Callable[[int | None], Any], settings: TrainSettings, data: DataSettings) -> int:
    """What a pass keeps: everything, or with checkpointing one activation a block and twice what one block keeps.

    Args:
        build: the denoiser, with so many blocks, or all, on the current default device.
        settings: of the run.
        data: of the stream.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    bf16 = settings.precision == "bf16"
    with FakeTensorMode():
        inputs = denoiser_inputs(settings, data)
        model = build(None)
        if not settings.gradient_checkpointing:
            return _saved_bytes(model, inputs, bf16)
        model.enable_gradient_checkpointing()
        one, two = (_saved_bytes(build(layers), inputs, bf16) for layers in (1, 2))
        return _saved_bytes(model, inputs, bf16) + 2 * (two - one)


def _saved_bytes(model: nn.Module, inputs: tuple[Tensor, ...], bf16: bool) -> int:
    """Bytes that autograd keeps for the backward pass, weights apart; on fake tensors, so that nothing is computed."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept[storage] = tensor  # held, or its number would be given again
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model(*inputs)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@dataclass(frozen=True)
class State:
    """What a training keeps in memory and writes.

    Attributes:
        weights, trained: numbers in the denoiser, and in what of it learns.
        bytes: of weights, gradients, moments and average.
        checkpoint: bytes of a checkpoint: what learns, its moments and average.
    """

    weights: int
    trained: int
    bytes: int
    checkpoint: int


def state_of(model: nn.Module, settings: TrainSettings) -> State:
    """The state of training a denoiser, whose frozen parts are frozen."""
    weights = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if settings.lora is not None:
        ends = tuple(f".{target}" for target in settings.lora.targets)
        layers = [m for name, m in model.named_modules() if f".{name}".endswith(ends) and isinstance(m, nn.Linear)]
        trained = sum(settings.lora.rank * (layer.in_features + layer.out_features) for layer in layers)
        weights += trained
    moments = {"adamw": 8, "adamw_8bit": 2, "muon": 4}[settings.optim.optimizer]
    average = 4 * trained if settings.ema else 0
    return State(
        weights,
        trained,
        4 * weights + (4 + moments) * trained + average,
        (4 + moments) * trained + average,
    )
