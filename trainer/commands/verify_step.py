"""`python -m trainer verify-step`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `verify-step` to the command line."""
    verify = commands.add_parser(
        "verify-step",
        help="take recorded training steps again and compare",
        description="Take training steps recorded with the authors' code again, by the code that trains, and print "
        "losses and gradient norms beside the recorded ones as JSON. The exit status is 1 where they differ.",
    )
    verify.add_argument("recording", type=a_path, metavar="DIR", help="folder of expected.json and tensors.safetensors")
    verify.add_argument("--model", required=True, help="'mini' or the model folder the steps started from")
    verify.add_argument("--checkpoint", type=a_path, help="weights laid over the model folder")
    verify.add_argument(
        "--device", default="cpu", metavar="NAME", help="where to compute: cpu, cuda, cuda:1, mps, ... (cpu)"
    )
    verify.set_defaults(run=run, operation="taking the recorded steps")


def run(arguments: argparse.Namespace) -> int:
    """Compare; 1 where something differs beyond its limit."""
    import json
    import sys

    from rem_engine.devices import find_device

    from ..exact.verify import verify_steps

    report = verify_steps(arguments.recording, arguments.model, arguments.checkpoint, find_device(arguments.device))
    print(json.dumps(report, indent=2))
    for sentence in report["differs"]:
        print(sentence, file=sys.stderr)
    return 0 if report["within_limits"] else 1
