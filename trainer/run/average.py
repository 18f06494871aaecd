"""A moving average of the weights in training, and what it averages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a module's trainable parameters (the weights that are shipped).

    Attributes:
        decay: share of its own that a value keeps in a step; less in the first steps, (1 + step) / (10 + step).
        values: by the parameters' names.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.clone() for name, value in trainable_parameters(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the values towards a module's, after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in trainable_parameters(module).items():
            self.values[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Give a module the values."""
        for name, value in trainable_parameters(module).items():
            value.copy_(self.values[name])


def trainable_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The values of a module's trainable parameters by name, sharing their memory and without gradients."""
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


@contextmanager
def averaged(module: nn.Module, average: Average | None) -> Iterator[None]:
    """Within `with`, a module has its averaged weights, where an average is kept."""
    if average is None:
        yield
        return
    parameters = trainable_parameters(module)
    kept = {name: value.clone() for name, value in parameters.items()}
    average.copy_to(module)
    try:
        yield
    finally:
        for name, value in parameters.items():
            value.copy_(kept[name])
