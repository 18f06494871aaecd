"""`python -m trainer export`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path
from rem_engine.commands.convert import DTYPES, FORMS, NAMES
from rem_engine.sizes import gigabytes


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `export` to the command line."""
    export = commands.add_parser(
        "export",
        help="write what a run has trained as one file",
        description="Write what a run has trained as one safetensors file, which LoadREM and rem-segment read: the "
        "averaged weights where the run keeps them. A delta or LoRA adds to the model folder the run started from; a "
        "LoRA that was trained, to the run's --checkpoint where it had one.",
    )
    add = export.add_argument
    add("training", metavar="RUN", type=a_path, help="folder of `python -m trainer train`")
    add("-o", "--out", metavar="FILE", type=a_path, required=True, help="the .safetensors file to write")
    add("--as", dest="form", choices=FORMS, default="full", help="the whole denoiser, or what BASE lacks of it (full)")
    add(
        "--which",
        choices=("last", "best"),
        default="last",
        help="checkpoint: the newest, or of the best evaluation (last)",
    )
    add(
        "--over",
        choices=("base", "start"),
        default="base",
        help="what a delta or LoRA adds to: the model folder, or that with the run's --checkpoint (base)",
    )
    add("--rank", metavar="R", type=int, help="of a LoRA taken from whole weights (64)")
    add("--names", choices=NAMES, default="comfyui", help="whose parameter names (comfyui)")
    add("--dtype", choices=DTYPES, default="keep", help="number type to store (keep: float32)")
    add("--overwrite", action="store_true", help="replace FILE even where no export has written it")
    export.set_defaults(run=run, operation="exporting")


def run(arguments: argparse.Namespace) -> None:
    """Export."""
    import torch

    from ..export import Export, export
    from .progress import progress_bar

    dtype = None if arguments.dtype == "keep" else getattr(torch, arguments.dtype)
    request = Export(
        arguments.training,
        arguments.out,
        arguments.form,
        arguments.which,
        arguments.over,
        arguments.rank,
        arguments.names,
        dtype,
        arguments.overwrite,
    )
    with progress_bar() as bar:
        checkpoint = export(request, bar)
    print(f"{arguments.out}  {gigabytes(arguments.out.stat().st_size)}, from {checkpoint}")
