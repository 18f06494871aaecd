"""Processes that share a benchmark, as accelerate's launcher or torchrun starts them, on one machine or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

_Item = TypeVar("_Item")

_PATIENCE = timedelta(days=30)
"""How long a process waits for the others, whose videos may be longer; NCCL's own ten minutes would end the run."""


@dataclass(frozen=True)
class Sharing:
    """This process's part.

    Attributes:
        rank, world_size: which of how many it is; the first one reports.
        device: what it computes on, where `auto` is asked for.
    """

    rank: int = 0
    world_size: int = 1
    device: str = "auto"

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def of(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """The part of the items that is this process's: every `world_size`-th."""
        return items[self.rank :: self.world_size]

    def wait(self) -> None:
        """Until all processes have come as far."""
        if self.world_size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def gathered(self, items: Sequence[_Item]) -> list[_Item]:
        """What all processes have, one after the other; every one of them calls this."""
        if self.world_size == 1:
            return list(items)
        from accelerate.utils import gather_object

        return list(gather_object(list(items)))


def join(device: str) -> Sharing:
    """Join the processes that were started together; alone, where this one was started by itself.

    Args:
        device: that is asked for; a CPU's processes talk through gloo.
    """
    if is_alone():
        return Sharing()
    import torch
    from accelerate import PartialState

    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    options: dict[str, Any] = {"timeout": _PATIENCE}
    state = PartialState(cpu=on_cpu, **options)
    return Sharing(state.process_index, state.num_processes, str(state.device))


def is_alone() -> bool:
    """Whether no launcher started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def is_first() -> bool:
    """Whether this process is the one that shows progress and prints."""
    return int(os.environ.get("RANK", "0")) == 0
