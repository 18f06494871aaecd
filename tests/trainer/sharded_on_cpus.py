"""The trainer's command line with FSDP over CPU processes; run it under torchrun.

accelerate shards over accelerators alone. Told that the processes are such, it shards over CPUs as well, since FSDP and
gloo can.
"""

from __future__ import annotations

import os
import sys

from accelerate.state import DistributedType, PartialState

from trainer.__main__ import main

if __name__ == "__main__":
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
    sys.exit(main(sys.argv[1:]))
