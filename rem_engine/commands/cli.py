"""The engine's command line: `rem-segment COMMAND` or `python -m rem_engine COMMAND`."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

from . import batch, convert, correct, farm, matte, models, qc, segment
from .engine import COMMAND_LINE
from .progress import ProgressBar

COMMANDS = (segment, batch, farm, correct, matte, qc, convert, models)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed options and a progress bar."""
    return COMMAND_LINE.parser("Referring video segmentation with a whole video-diffusion model (REM).", COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; for the exit code see `CommandLine.run`."""
    options = build_parser().parse_args(arguments)
    with warnings.catch_warnings(), ProgressBar() as bar:
        warnings.showwarning = bar.warn
        return COMMAND_LINE.run(options, lambda: options.run(options, bar), bar.say, bar.end)
