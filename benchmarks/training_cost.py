"""What a preset's training costs, by arithmetic: nothing is computed, models are built without memory.

    python -m benchmarks.training_cost                      every preset with a machine below
    python -m benchmarks.training_cost wan_14b --json

How is counted: see trainer/run/costs.py, which `trainer train --dry-run` uses too. Times follow from a
named GPU's published peak and an assumed share of it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rem_engine.backbones.load import MINI_FOLDER
from trainer.model.trainable import freeze_parts
from trainer.run.costs import Flops, activation_bytes, denoiser_inputs, forward_flops, passes, state_of
from trainer.settings import DataSettings, TrainSettings, load_settings

# Shapes that Wan-AI and ModelScope publish, as arguments of diffusers' classes; REM-mini's from its folder.
_WAN = {
    "wan_14b": {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40},
    "wan_1_3b": {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30},
}
_MODELSCOPE = {"cross_attention_dim": 1024, "attention_head_dim": 64}
_IMAGE_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


@dataclass(frozen=True)
class Machine:
    """The machine a preset is meant for.

    Attributes:
        gpus: how many, and their name.
        peak: TFLOP/s of the preset's matrix products, dense, by the maker's data sheet.
        conv_peak: of convolutions, which PyTorch runs in TF32 where tensors are float32.
        share: of the peak, assumed.
        sharded: whether weights, gradients and moments are split over the GPUs (FSDP).
        samples: in an epoch, where the preset counts in epochs (published sizes of the datasets).
    """

    gpus: int
    name: str
    peak: float
    conv_peak: float
    share: float = 0.4
    sharded: bool = False
    samples: int | None = None


# RefCOCO, RefCOCO+ and RefCOCOg hold 321,327 training sentences in ReferFormer's files; Ref-YTVOS 12,913.
MACHINES = {
    "wan_14b": Machine(6, "A100 80 GB", 312, 156, sharded=True),
    "wan_1_3b": Machine(1, "RTX 4090", 165, 82.6),
    "modelscope_stage1": Machine(1, "A100 80 GB", 19.5, 156, samples=321_327),
    "modelscope_stage2": Machine(4, "A100 80 GB", 19.5, 156, samples=3 * 4000 + 12_913),
    "mini": Machine(1, "two CPU cores", 0, 0),
}


def seconds(flops: Flops, machine: Machine) -> float:
    """How long one of the machine's GPUs takes."""
    return (flops.products / machine.peak + flops.convolutions / machine.conv_peak) / machine.share / 1e12


def build_denoiser(preset: str, settings: TrainSettings, layers: int | None = None) -> nn.Module:
    """The denoiser of a preset on the current default device, with what it freezes frozen."""
    from diffusers import UNet3DConditionModel, WanTransformer3DModel

    if settings.backbone == "modelscope":
        model = UNet3DConditionModel(**_MODELSCOPE)
    else:
        config = _WAN.get(preset) or _config(MINI_FOLDER / "transformer")
        model = WanTransformer3DModel(**{**config, **({"num_layers": layers} if layers else {})})
    freeze_parts(model, settings.frozen)
    return model


def vae_flops(preset: str, settings: TrainSettings, data: DataSettings) -> Flops:
    """Operations to encode a batch's frames and masks."""
    from diffusers import AutoencoderKL, AutoencoderKLWan

    height, width = settings.size
    with torch.device("meta"):
        if settings.backbone == "modelscope":
            one = forward_flops(AutoencoderKL(**_IMAGE_VAE).encode, torch.empty(1, 3, height, width))
            return one.times(2 * data.batch * data.frames)
        small = {} if preset in _WAN else _config(MINI_FOLDER / "vae")
        clip = torch.empty(1, 3, data.frames, height, width)
        return forward_flops(AutoencoderKLWan(**small).encode, clip).times(2 * data.batch)


def cost(preset: str) -> dict[str, Any]:
    """The figures of a preset; GB are 10^9 bytes, TFLOP 10^12 operations."""
    settings, machine = load_settings(preset), MACHINES[preset]
    with torch.device("meta"):
        model = build_denoiser(preset, settings)
        forward = [forward_flops(model, *denoiser_inputs(settings, data)) for data in settings.streams]
    state = state_of(model, settings)
    encode = [vae_flops(preset, settings, data) for data in settings.streams]

    accumulate, streams = settings.optim.accumulate, len(settings.streams)
    together = settings.streams[0].batch * accumulate * machine.gpus
    steps = settings.steps or settings.epochs * machine.samples // together
    result: dict[str, Any] = {
        "preset": preset,
        "parameters_M": round(state.weights / 1e6, 1),
        "trained_M": round(state.trained / 1e6, 1),
        "clips_per_step": together,
        "steps": steps,
        "denoiser_forward_TFLOP": [each.tera() for each in forward],
        "passes": passes(settings),
        "vae_TFLOP": [each.tera() for each in encode],
        "state_GB": round(state.bytes / 1e9, 1),
        "state_per_gpu_GB": round(state.bytes / 1e9 / (machine.gpus if machine.sharded else 1), 1),
        "activations_GB": round(
            max(
                activation_bytes(partial(build_denoiser, preset, settings), settings, data) for data in settings.streams
            )
            / 1e9,
            1,
        ),
    }
    if machine.peak:
        taken = [
            accumulate * (seconds(of_step.times(passes(settings)), machine) + seconds(of_vae, machine))
            for of_step, of_vae in zip(forward, encode)
        ]
        days = sum(taken) / streams * steps / 86400
        result |= {
            "gpus": f"{machine.gpus} x {machine.name}",
            "seconds_per_step": [round(each, 2) for each in taken],
            "days": round(days, 1),
            "gpu_days": round(days * machine.gpus, 1),
        }
    return result


def _config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {name: value for name, value in config.items() if not name.startswith("_") and value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"of {', '.join(MACHINES)} (default all)")
    parser.add_argument("--json", action="store_true", help="print JSON, one preset a line")
    arguments = parser.parse_args()
    for preset in arguments.presets or MACHINES:
        figures = cost(preset)
        if arguments.json:
            print(json.dumps(figures), flush=True)
            continue
        for name, value in figures.items():
            print(f"{name:24s} {value}", flush=True)
        print()


if __name__ == "__main__":
    main()
