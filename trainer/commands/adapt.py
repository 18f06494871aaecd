"""`python -m trainer adapt`."""

from __future__ import annotations

import argparse
from typing import Any

from rem_engine.commands.command_line import a_path

from .arguments import add_checkpoints, add_overrides, positive

_EXAMPLES = """\
examples:
  twenty shots of a look, on REM-mini
    rem-trainer adapt looks/ink -o ink.safetensors

  over published weights, with shots of usual footage so that these are not forgotten
    rem-trainer adapt looks/ink -o ink.safetensors --old footage --model Wan2.1-T2V-14B-Diffusers --checkpoint rem.pth

docs/adapt.md tells what shots are needed and what to expect.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `adapt` to the command line."""
    adapt = commands.add_parser(
        "adapt",
        help="teach a model the look of a few shots of yours",
        description="Teach a REM model the look of a few shots with mattes: some are held out, the model is scored on "
        "them before and after, and of the training the step is taken that scores best. What is written lies over the "
        "REM it was trained from, and LoadREM reads it. A run that was stopped goes on with the same command.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = adapt.add_argument
    add("shots", type=a_path, metavar="SHOTS", help="folder of shots: frames/, masks/ and prompts.txt of each")
    add("-o", "--out", type=a_path, required=True, metavar="FILE", help="the .safetensors file to write")
    add("--model", default="mini", metavar="mini|DIR", help="REM-mini, or a model folder (mini)")
    add_checkpoints(adapt, "REM weights laid over the model folder, to start from")
    add("--old", type=a_path, metavar="DIR", help="folder of shots of the look it knows, mixed in half and half")
    add("--as", dest="form", choices=("full", "lora"), help="train the weights, or a LoRA (what suits the model)")
    add("--steps", type=positive, metavar="N", help="steps of the optimizer, at most (what suits the model)")
    add("--held-out", type=_share, default=0.2, metavar="SHARE", help="share of the shots to judge by (0.2)")
    add_overrides(adapt, " of this training: optim.lr=2e-4 streams.0.sources.0.augment.flip=false")
    add(
        "--work",
        type=a_path,
        metavar="DIR",
        help="folder of the training, kept (FILE's with the suffix .run, removed at the end)",
    )
    add("--device", metavar="NAME", default="auto", help="where to score: cpu, cuda, mps, ... (auto)")
    add("--overwrite", action="store_true", help="replace FILE even where no export has written it")
    adapt.set_defaults(run=run, operation="adapting")


def run(arguments: argparse.Namespace) -> None:
    """Adapt, and print the scores before and after."""
    from ..adapt.adapt import Adaptation, adapt
    from .progress import progress_bar

    asked = Adaptation(
        arguments.shots,
        arguments.out,
        arguments.model,
        tuple(arguments.checkpoint),
        arguments.old,
        arguments.form,
        arguments.steps,
        arguments.held_out,
        dict(arguments.overrides),
        arguments.work,
        arguments.device,
        arguments.overwrite,
    )
    with progress_bar() as bar:
        report = adapt(asked, bar)
    for look, before in report["before"].items():
        print(_line(look, before, report["after"][look]))
    over = (*arguments.checkpoint, arguments.out)
    used = " ".join(["--model", arguments.model, *(f"--checkpoint {path}" for path in over)])
    print(f"{arguments.out}  after {report['step']} of {report['steps']} steps; use it with {used}")


def _line(look: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    names = {"J": "J", "J_processes": "J of processes", "referring_accuracy": "referring accuracy"}
    figures = [f"{title} {before[name]:.3f} -> {after[name]:.3f}" for name, title in names.items() if name in before]
    return f"{look} look, {before['shots']} held-out shots, {before['sentences']} sentences: {', '.join(figures)}"


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible; give more than 0 and less than 1")
    return value
