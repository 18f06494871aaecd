"""The trainer's command line with a model sharded over CPU processes; `accelerate launch` runs it.

accelerate shards over accelerators alone. Told that the processes are such, it shards over CPUs as well, since FSDP,
DeepSpeed and gloo can.
"""

from __future__ import annotations

import os
import sys

import accelerate
from accelerate.state import DistributedType, PartialState

from trainer.commands.cli import main


def _call_processes(kind: DistributedType) -> None:
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = kind


def _set_up_deepspeed() -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"
    from deepspeed import comm

    comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)
    _call_processes(DistributedType.DEEPSPEED)
    # DeepSpeed is left out where an Accelerator is for CPUs
    set_up = accelerate.Accelerator.__init__
    accelerate.Accelerator.__init__ = lambda self, cpu, **others: set_up(self, **others)


if __name__ == "__main__":
    if "ACCELERATE_USE_DEEPSPEED" in os.environ:
        _set_up_deepspeed()
    else:
        _call_processes(DistributedType.MULTI_GPU)
    sys.exit(main(sys.argv[1:]))
