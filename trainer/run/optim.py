"""How a step changes the weights: groups, optimizers, schedules of the learning rate, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..settings import OptimSettings


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], optim: OptimSettings) -> list[dict[str, Any]]:
    """Trainable parameters as AdamW's groups: those that are not decayed, then those that are (REM's released code).

    Args:
        named: names and parameters; those that need no gradient are left out.
        optim: `no_decay` is matched against any part of a name.
    """
    plain: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (plain if any(part in name for part in optim.no_decay) else decayed).append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": optim.weight_decay}]
    return [group for group in groups if group["params"]]


def build_optimizer(denoiser: nn.Module, optim: OptimSettings) -> torch.optim.Optimizer:
    """The optimizer over a module's trainable parameters, at the rates before any schedule.

    Raises:
        ValueError: nothing is trainable, or a package is missing.
    """
    if not any(parameter.requires_grad for parameter in denoiser.parameters()):
        raise ValueError("No weight of the model is trainable; shorten the setting frozen.")
    if optim.vector_lr is not None:  # which muon has and adamw has not
        from .muon import Muon

        return Muon(denoiser, optim.lr, optim.vector_lr, optim.by_adam, betas=optim.betas)
    groups = parameter_groups(denoiser.named_parameters(), optim)
    if optim.optimizer == "adamw_8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError(
                "optim.optimizer adamw_8bit needs a package that is not installed: pip install bitsandbytes"
            ) from error
        return AdamW8bit(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)


def cosine(step: int, steps: int, warmup: int = 100, floor: float = 0.02) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def schedule_factor(step: int, optim: OptimSettings, steps: int) -> float:
    """Factor on the initial learning rates at a step.

    Args:
        step: counted from 0.
        optim: with the schedule.
        steps: in the whole run, at whose end a cosine arrives at its floor.
    """
    schedule = optim.schedule
    if schedule.kind == "cosine":
        return cosine(step, steps, schedule.warmup, schedule.floor)
    if schedule.kind == "steps":
        return next((factor for start, factor in reversed(schedule.at) if step >= start), 1.0)
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, optim: OptimSettings, step: int, steps: int) -> list[float]:
    """Set the learning rates of a step; they depend on its number alone, so that there is no state to keep.

    Args:
        optimizer: from `build_optimizer`, or restored from its state.
        optim, step, steps: see `schedule_factor`.

    Returns:
        the rate of each group.
    """
    factor = schedule_factor(step, optim, steps)
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
    return [group["lr"] for group in optimizer.param_groups]


def clip_gradients(parameters: Iterable[nn.Parameter], optim: OptimSettings) -> Tensor:
    """Clip gradients in place, as the settings say, and give their norm before.

    With `clip_value` every element is clamped. REM's released ModelScope code does so in a hook, before the gradients
    of its GPUs are averaged; here it is done after, so that the number of processes makes no difference.

    Returns:
        the norm over all gradients, a scalar.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, math.inf if optim.clip_norm is None else optim.clip_norm)
    if optim.clip_value is not None:
        nn.utils.clip_grad_value_(parameters, optim.clip_value)
    return norm
