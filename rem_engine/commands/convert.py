"""`python -m rem_engine convert IN -o OUT.safetensors`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..sizes import gigabytes
from .command_line import a_path

if TYPE_CHECKING:
    from .progress import ProgressBar

_DESCRIPTION = """\
Convert the denoiser of a checkpoint to safetensors or GGUF, tensor by tensor: a file of any size converts in little
memory.
"""

_EXAMPLES = """\
examples:
  the authors' checkpoint, for ComfyUI's models/diffusion_models or models/rem
    python -m rem_engine convert rem.pth -o rem_wan_14b.safetensors --dtype bfloat16

  packed in 8.5 bits a weight, for ComfyUI-GGUF, diffusers and LoadREM
    python -m rem_engine convert rem.pth -o rem_wan_14b_q8_0.gguf --as gguf

  only what REM changed of Wan2.1, which adds to the base that is there already
    python -m rem_engine convert rem.pth -o rem_delta.safetensors --as delta --base Wan2.1-T2V-14B-Diffusers/transformer

  the same in a small file; rem_lora.report.json says what it keeps of every layer
    python -m rem_engine convert rem.pth -o rem_lora.safetensors --as lora --rank 64 --base wan2.1_t2v_14B.safetensors
"""

DTYPES = ("keep", "float32", "bfloat16", "float16", "int8", "float8_e4m3fn", "float8_e5m2")
FORMS = ("full", "gguf", "delta", "lora")
NAMES = ("comfyui", "diffusers")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `convert` to the command line."""
    convert = commands.add_parser(
        "convert",
        help="convert a checkpoint to safetensors or GGUF",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.set_defaults(run=run, operation="converting")
    add = convert.add_argument
    add(
        "source",
        metavar="IN",
        type=a_path,
        help="a .pth, .safetensors, its .index.json, .gguf, or a folder that holds one; of a file with several "
        "denoisers one, as in rem.pth:ema",
    )
    add("-o", "--out", metavar="OUT", type=a_path, required=True, help="the .safetensors or .gguf file to write")
    add("--names", choices=NAMES, default="comfyui", help="whose parameter names (comfyui)")
    add("--dtype", choices=DTYPES, default="keep", help="number type to store (keep)")
    add(
        "--as",
        dest="form",
        choices=FORMS,
        default="full",
        help="the whole denoiser, the same packed in GGUF's Q8_0, or what --base lacks of it (full)",
    )
    add(
        "--base",
        metavar="BASE",
        type=a_path,
        help="the weights a delta or LoRA is taken from: Wan2.1's, ModelScope's, any format",
    )
    add("--rank", metavar="R", type=int, default=64, help="of a LoRA: more keeps more, and is larger (64)")
    add("--overwrite", action="store_true", help="replace OUT even where it is a file that no conversion has written")


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Convert a checkpoint; returns the exit code."""
    import torch  # here, so that help is quick

    from ..checkpoints.convert import Conversion, convert
    from ..checkpoints.summary import report_path

    conversion = Conversion(
        options.source,
        options.out,
        options.names,
        None if options.dtype == "keep" else getattr(torch, options.dtype),
        options.form,
        options.base,
        options.rank,
        options.overwrite,
    )
    summary = convert(conversion, bar)
    bar.close()
    print(f"{conversion.out}  {summary.tensors} tensors, {gigabytes(summary.size)}")
    if conversion.is_change:
        changed = len(summary.energy)
        print(f"{changed} weights changed, {len(summary.unchanged)} are the base's and were left out")
    if conversion.form == "lora":
        print(
            f"energy kept: {summary.energy_kept:.2%} of the change, {summary.energy_kept_factorised:.2%} of the "
            f"{len(summary.kept)} weights of rank {conversion.rank}; {report_path(conversion.out)} has every layer"
        )
    return 0
