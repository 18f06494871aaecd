"""`python -m trainer mini`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `mini` to the command line."""
    mini = commands.add_parser(
        "mini",
        help="train REM-mini from nothing, or from another",
        description="Train REM-mini: shots, VAE, text-to-video, REM. Run it again to go on after a stop.",
    )
    mini.add_argument(
        "--work", type=a_path, required=True, help="working folder: shots, latents, states, TensorBoard logs"
    )
    mini.add_argument("--out", type=a_path, required=True, help="model folder to write")
    mini.add_argument("--clips", type=a_path, help="folder of video files for half of the backgrounds")
    mini.add_argument(
        "--start",
        type=a_path,
        metavar="DIR",
        help="a REM-mini to begin with, of other words or another size (default: begin from nothing)",
    )
    mini.add_argument("--no-compile", action="store_true", help="do not compile steps (it needs a C++ compiler)")
    mini.set_defaults(run=run, operation="training REM-mini")


def run(arguments: argparse.Namespace) -> None:
    """Train REM-mini."""
    from ..mini.settings import MiniSettings
    from ..mini.train import train_mini
    from .progress import progress_bar

    with progress_bar() as bar:
        train_mini(
            arguments.work,
            arguments.out,
            MiniSettings(),
            arguments.clips,
            not arguments.no_compile,
            bar,
            start=arguments.start,
        )
