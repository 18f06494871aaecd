"""What is particular to several processes: accelerate set up by the settings, and what sharded models cannot do."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from .optim import clip_gradients

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from ..settings import OptimSettings, TrainSettings


def new_accelerator(settings: TrainSettings) -> Accelerator:
    """accelerate as its launcher has configured it, with a run's precision and accumulation.

    Raises:
        ValueError: a setting that FSDP or DeepSpeed, as configured, has nothing for.
    """
    from accelerate import Accelerator, DistributedType

    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # or processes that torchrun starts there would not find one another
        mixed_precision="bf16" if settings.precision == "bf16" else "no",
        gradient_accumulation_steps=settings.optim.accumulate,
    )
    kind = accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        _check_sharded(settings, "FSDP" if kind == DistributedType.FSDP else "DeepSpeed")
    if kind == DistributedType.FSDP:
        _set_up_fsdp(accelerator, settings)
    if kind == DistributedType.DEEPSPEED:
        accelerator.state.deepspeed_plugin.deepspeed_config.update(_deepspeed_config(settings))
    return accelerator


def cpu_accelerator() -> Accelerator:
    """accelerate for a training in this process alone, on its CPU, in float32."""
    from accelerate import Accelerator

    return Accelerator(cpu=True, mixed_precision="no")


def clip(accelerator: Accelerator, denoiser: nn.Module, optim: OptimSettings) -> float:
    """Clip gradients in place, as the settings say; their norm before, over all processes."""
    from accelerate import DistributedType

    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return float(accelerator.clip_grad_norm_(denoiser.parameters(), optim.clip_norm))
    norm = clip_gradients(denoiser.parameters(), optim)
    # FSDP gives each process its part of the norm
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def _set_up_fsdp(accelerator: Accelerator, settings: TrainSettings) -> None:
    if not accelerator.is_fsdp2:
        raise ValueError("FSDP's first version is not supported; set fsdp_version: 2 in accelerate's configuration.")
    plugin = accelerator.state.fsdp_plugin
    # Every process has read the weights. Sending the first one's, the launcher's default, fails in accelerate 1.15 for
    # a parameter of the model itself, such as Wan's scale_shift_table.
    plugin.cpu_ram_efficient_loading = False
    if settings.precision == "bf16":
        from torch.distributed.fsdp import MixedPrecisionPolicy

        # As REM's released code has it, gradients are added up in float32; accelerate's own policy adds in bfloat16.
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def _deepspeed_config(settings: TrainSettings) -> dict[str, Any]:
    """What DeepSpeed does by itself, clipping, accumulation and precision, as the settings have it.

    Its own bf16 mode would have float32 latents meet bfloat16 weights. Autocast leaves the weights in float32, and so,
    with no kind of module named as safe for less, is what processes send one another.
    """
    in_bfloat16 = settings.precision == "bf16"
    if settings.optim.clip_value is not None:
        raise ValueError("DeepSpeed does not clamp gradients (optim.clip_value); use DDP or FSDP.")
    if in_bfloat16 and find_spec("deepspeed.runtime.torch_autocast") is None:
        raise ValueError("precision bf16 needs DeepSpeed 0.17.2 or newer; update it, or use FSDP.")
    return {
        "train_micro_batch_size_per_gpu": settings.streams[0].batch,  # its own loader would say
        "gradient_accumulation_steps": settings.optim.accumulate,
        "gradient_clipping": settings.optim.clip_norm or 0.0,
        "bf16": {"enabled": False},
        "torch_autocast": {"enabled": in_bfloat16, "dtype": "bfloat16", "lower_precision_safe_modules": []},
    }


def _check_sharded(settings: TrainSettings, name: str) -> None:
    if settings.ema is not None:
        raise ValueError(f"An average of weights (ema) is not kept of a model that {name} shards; set ema to null.")
    if settings.objective.decoder != "vae":
        raise ValueError(f"A decoder that is trained along (objective.decoder) cannot be sharded by {name}; use DDP.")
    if settings.optim.optimizer == "muon":
        raise ValueError(f"muon needs whole matrices, and {name} shards them; use adamw.")
    if settings.optim.optimizer == "adamw_8bit":
        raise ValueError(
            f"bitsandbytes' moments are not shared out by {name}, which makes them small itself; use adamw."
        )
