"""What a training will need, before anything is read but configurations and lists of samples: memory, disk, time."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rem_engine.backbones.configuration import read_config
from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import find_model_folder

from ..data.open import open_sources
from ..model.trainable import freeze_parts
from .costs import activation_bytes, denoiser_inputs, forward_flops, passes, state_of
from .train import total_steps

if TYPE_CHECKING:
    from ..data.join import Joined
    from ..settings import DataSettings, TrainSettings
    from .train import TrainingRun

_ROWS = 16
"""Rows of a sentence's embedding, about: 12 words."""


def dry_run(run: TrainingRun, world_size: int, device: torch.device) -> dict[str, Any]:
    """The needs of a run; nothing is loaded, encoded or written.

    Args:
        run: as it would be trained.
        world_size: processes that share a step.
        device: of this one, whose speed is measured for a second.

    Returns:
        GB (10^9 bytes) a process of `weights_and_optimizer` and of `activations`, GB on disk of `checkpoints` and, at
        most, `cache`, and what is `free` there; `steps`, `seconds_a_step` about, and `days` of these; and counts.

    Raises:
        FileNotFoundError, ValueError: see `train`.
    """
    settings, folder = run.settings, find_model_folder(run.model)
    found = family_of(folder).key
    if found != settings.backbone:
        raise ValueError(f"{folder} is a model of {found}, and the settings are for {settings.backbone}.")
    streams = [open_sources(data) for data in settings.streams]

    def build(layers: int | None = None) -> nn.Module:
        return _denoiser(folder, settings, layers)

    with torch.device("meta"):
        model = build()
        flops = [
            forward_flops(model, *denoiser_inputs(settings, data)).times(passes(settings) * settings.optim.accumulate)
            for data in settings.streams
        ]
    state = state_of(model, settings)
    kept = settings.keep_last + (settings.evaluation is not None)
    steps = total_steps(settings, streams, world_size)
    seconds = sum(each.products + each.convolutions for each in flops) / len(flops)
    seconds /= _rate(device, settings.precision == "bf16")
    cached = sum(_cached_bytes(settings, data, source) for data, source in zip(settings.streams, streams))
    place = next(each for each in (run.out, *run.out.absolute().parents) if each.exists())
    return {
        "parameters_M": round(state.weights / 1e6, 1),
        "trained_M": round(state.trained / 1e6, 1),
        "samples": [len(source) for source in streams],
        "weights_and_optimizer_GB": _gb(state.bytes),
        "activations_GB": _gb(max(activation_bytes(build, settings, data) for data in settings.streams)),
        "checkpoints_GB": _gb(kept * state.checkpoint),
        "cache_GB": _gb(cached) if run.cached else 0.0,
        "free_GB": _gb(shutil.disk_usage(place).free),
        "steps": steps,
        "seconds_a_step": float(f"{seconds:.2g}"),
        "days": float(f"{seconds * steps / 86400:.2g}"),
    }


def told(needs: dict[str, Any]) -> Sequence[str]:
    """The needs as lines for people."""
    disk = needs["checkpoints_GB"] + needs["cache_GB"]
    lines = [
        f"model    {needs['parameters_M']} M parameters, {needs['trained_M']} M of them trained",
        f"samples  {', '.join(map(str, needs['samples']))}, by stream",
        f"memory   {needs['weights_and_optimizer_GB']} GB of weights, gradients and moments (FSDP shares them), and "
        f"{needs['activations_GB']} GB of activations a process; VAE and text encoder beside",
        f"disk     {needs['checkpoints_GB']} GB of checkpoints, and {needs['cache_GB']} GB of caches at most; "
        f"{needs['free_GB']} GB are free",
        f"time     {needs['steps']} steps of about {needs['seconds_a_step']} s: {needs['days']} days, at the rate of "
        "large matrix products, without encoding, reading and evaluating",
    ]
    if disk > needs["free_GB"]:
        lines.append("There is not room enough on the disk: name other folders as --out and --cache.")
    return lines


def _denoiser(folder: Path, settings: TrainSettings, layers: int | None) -> nn.Module:
    """The denoiser with so many of its blocks, or all, on the current default device, with what is frozen frozen."""
    from diffusers import UNet3DConditionModel, WanTransformer3DModel

    kind: Any = WanTransformer3DModel if settings.backbone == "wan" else UNet3DConditionModel
    config = read_config(folder / settings.family.denoiser, kind, settings.family.name)
    model = kind.from_config(config | ({"num_layers": layers} if layers else {}))
    freeze_parts(model, settings.frozen)
    return model


def _cached_bytes(settings: TrainSettings, data: DataSettings, source: Joined[Any]) -> int:
    """Text embeddings of all sentences, and latents of what is always the same, at most."""
    shape = settings.family.latent_shape(data.frames, *settings.size)
    latents = 2 * 4 * math.prod(shape) + data.frames * settings.size[0] * settings.size[1] // 8
    clips = sum(len(part) for part in source.parts if part.is_fixed(data.frames))
    sentences = len({source.text(index) for index in range(len(source))})
    return clips * latents + sentences * _ROWS * settings.family.text_width * 2


def _rate(device: torch.device, bf16: bool) -> float:
    """Operations a second of large matrix products on a device."""
    side = 4096 if device.type != "cpu" else 768
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    products, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < 1.0 or products < 2:
        one @ one
        products += 1
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
    return 2 * side**3 * products / passed


def _gb(size: float) -> float:
    return float(f"{size / 1e9:.3g}")
