"""`python -m trainer sample`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `sample` to the command line."""
    sample = commands.add_parser(
        "sample",
        help="make the shot the pack ships",
        description="Composite rendered things over a clip (Big Buck Bunny in the shipped one) and encode it.",
    )
    sample.add_argument("--clip", type=a_path, required=True, help="video of at least 112 frames, 16:9")
    sample.add_argument("--out", type=a_path, required=True, help="file to write, such as assets/sample_shot.mp4")
    sample.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    sample.set_defaults(run=run, operation="making the sample shot")


def run(arguments: argparse.Namespace) -> None:
    """Write the shot."""
    from ..synth.sample import write_sample

    if arguments.out.exists() and not arguments.overwrite:
        raise ValueError(f"{arguments.out} is there already: name another --out, or give --overwrite.")
    write_sample(arguments.clip, arguments.out)
