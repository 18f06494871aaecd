"""The trainer's command line with a model sharded over CPU processes; run it under torchrun.

    sharded_on_cpus.py fsdp|zero2|zero3 ARGUMENTS...

accelerate shards over accelerators alone. Told that the processes are such, it shards over CPUs as well, since FSDP,
DeepSpeed and gloo can.
"""

from __future__ import annotations

import os
import sys

import accelerate
from accelerate.state import DistributedType, PartialState

from trainer.__main__ import main


def _set_up_fsdp() -> None:
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "WanTransformerBlock",
        "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    }
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def _set_up_deepspeed(stage: str) -> None:
    os.environ |= {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage,
        "DS_ACCELERATOR": "cpu",
    }
    from deepspeed import comm

    comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.DEEPSPEED
    # DeepSpeed is set up where the processes are not said to be on CPUs
    set_up = accelerate.Accelerator.__init__
    accelerate.Accelerator.__init__ = lambda self, cpu, **others: set_up(self, **others)


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "fsdp":
        _set_up_fsdp()
    else:
        _set_up_deepspeed(kind.removeprefix("zero"))
    sys.exit(main(arguments))
