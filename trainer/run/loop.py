"""A training loop that can be killed at any step and resumes exactly.

What a step draws at random depends on the step's number alone, so that the state to keep is the weights, the
optimizer and the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

Loss = Callable[[int], tuple[Tensor, dict[str, float]]]
"""Step number -> loss to minimise, and figures to log."""


def cosine(step: int, steps: int, warmup: int = 100, floor: float = 0.02) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Average:
    """Exponential moving average of a module's trainable parameters (the weights that are shipped).

    Attributes:
        decay: share of its own that a value keeps in a step; less in the first steps, (1 + step) / (10 + step).
        values: by the parameters' names.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.clone() for name, value in trained_parameters(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the values towards a module's, after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in trained_parameters(module).items():
            self.values[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Give a module the values."""
        for name, value in trained_parameters(module).items():
            value.copy_(self.values[name])


def trained_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The values of a module's trainable parameters by name, sharing their memory and without gradients."""
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


def train(
    name: str,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    steps: int,
    folder: Path,
    *,
    decay: float = 0.999,
    clip: float = 1.0,
    save_every: int = 250,
    pictures: Callable[[int], Tensor] | None = None,
) -> None:
    """Train until `steps`; the module then holds its averaged parameters.

    Args:
        name: of the stage; the state is kept in `folder`/name.pt and logs go to `folder`/logs/name.
        module: what is trained; loaded from the state where there is one.
        optimizer: over the module's parameters; its initial learning rate is the peak of the `cosine` schedule.
        loss: computes the loss of a step.
        steps: where to stop.
        folder: working folder of the training.
        decay: of the moving average.
        clip: largest norm of the gradient.
        save_every: steps between two states on disk.
        pictures: step -> [3,H,W] in 0..1, logged with every state.
    """
    from torch.utils.tensorboard import SummaryWriter

    state_path = folder / f"{name}.pt"
    average = Average(module, decay)
    first, seconds = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first, seconds = state["average"], state["step"], state["seconds"]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(first + step, steps))
    started = time.monotonic()
    with SummaryWriter(folder / "logs" / name, purge_step=first) as writer:
        bar = tqdm(range(first, steps), initial=first, total=steps, desc=name, mininterval=10)
        for step in bar:
            value, figures = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            norm = nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            schedule.step()
            average.update(module, step)
            if step % 20 == 0:
                for key, figure in {"loss": value.item(), "grad_norm": norm.item(), **figures}.items():
                    writer.add_scalar(key, figure, step)
                writer.add_scalar("lr", schedule.get_last_lr()[0], step)
                bar.set_postfix({"loss": f"{value.item():.4f}", **{k: f"{v:.4f}" for k, v in figures.items()}})
            if (step + 1) % save_every == 0 or step + 1 == steps:
                save(state_path, module, optimizer, average, step + 1, seconds + time.monotonic() - started)
                if pictures is not None:
                    writer.add_image("samples", pictures(step), step)
    average.copy_to(module)


def save(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average, step: int, seconds: float
) -> None:
    """Write the whole state under a temporary name and rename it."""
    partial = path.with_suffix(".partial")
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.values,
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, partial)
    partial.replace(path)
