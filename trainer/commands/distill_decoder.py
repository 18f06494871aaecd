"""`python -m trainer distill-decoder`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path

from .arguments import add_checkpoints, add_overrides, positive

_DESCRIPTION = """\
Distil a small decoder of mask latents from a model's VAE, on the data of a preset. Run it again to go on after a stop.
The file goes into the model's folder as mask_decoder.safetensors; `rem-segment --decoder mask` takes it from there.
"""

_EXAMPLES = """\
examples:
  REM-mini's, from rendered shots
    python -m trainer synth --out data/synth/train --count 400 --seed 9001
    python -m trainer distill-decoder mini --model mini --work runs/decoder \\
      --out rem_engine/mini/mask_decoder.safetensors

  that of the real weights, on the data they were trained on
    python -m trainer distill-decoder wan_14b --model Wan2.1-T2V-14B-Diffusers --checkpoint rem.safetensors \\
      --width 192 --work runs/decoder --out Wan2.1-T2V-14B-Diffusers/mask_decoder.safetensors
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `distill-decoder` to the command line."""
    distill = commands.add_parser(
        "distill-decoder",
        help="distil a fast decoder of masks from a model's VAE",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = distill.add_argument
    add("settings", metavar="PRESET", help="whose data, size and seed are taken: wan_14b, wan_1_3b, mini, or a .yaml")
    add("--model", required=True, help="'mini' or a model folder (diffusers' layout)")
    add_checkpoints(distill, "REM weights laid over the model's")
    add("--work", type=a_path, required=True, metavar="DIR", help="working folder: examples, checkpoints, log")
    add("--out", type=a_path, required=True, metavar="FILE", help="the .safetensors file to write")
    add("--samples", type=positive, default=600, help="samples of the data that are looked at (default 600)")
    add("--steps", type=positive, default=1500, help="training steps (default 1500)")
    add("--batch", type=positive, default=8, help="examples in a step (default 8)")
    add("--width", type=_width, default=64, help="channels, a multiple of 4 (default 64; 192 for Wan2.1's own VAE)")
    add(
        "--start",
        type=a_path,
        metavar="FILE",
        help="a mask decoder to begin with, such as that of this VAE before it was tuned",
    )
    add_overrides(distill, ": data_root=/mnt/data")
    distill.set_defaults(run=run, operation="distilling the decoder")


def run(arguments: argparse.Namespace) -> None:
    """Distil, and print how near the decoder comes to the VAE's."""
    import json

    from ..distill.distill import Distillation, distill
    from ..settings import load_settings
    from .progress import progress_bar

    if arguments.out.suffix != ".safetensors":
        raise ValueError(f"{arguments.out} does not end in .safetensors, as the file to write must.")
    what = Distillation(
        load_settings(arguments.settings, dict(arguments.overrides)),
        arguments.model,
        arguments.work,
        arguments.out,
        checkpoint=tuple(arguments.checkpoint),
        samples=arguments.samples,
        steps=arguments.steps,
        batch=arguments.batch,
        width=arguments.width,
        start=arguments.start,
    )
    with progress_bar() as bar:
        figures = distill(what, bar)
    print(json.dumps({name: round(value, 6) for name, value in figures.items()}, indent=2))


def _width(text: str) -> int:
    width = positive(text)
    if width % 4 or width > 1024:
        raise argparse.ArgumentTypeError(f"{text} is not possible; give a multiple of 4 up to 1024")
    return width
