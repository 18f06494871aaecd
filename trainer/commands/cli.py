"""The trainer's command line: `rem-trainer COMMAND` or `python -m trainer COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from . import (
    ablate,
    adapt,
    benchmark,
    check_data,
    distill_decoder,
    export,
    interactive,
    learn,
    mini,
    sample,
    score,
    synth,
    train,
    verify_step,
)
from .command_line import COMMAND_LINE

COMMANDS = (
    synth,
    check_data,
    score,
    benchmark,
    interactive,
    sample,
    mini,
    train,
    adapt,
    learn,
    distill_decoder,
    export,
    ablate,
    verify_step,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed options."""
    return COMMAND_LINE.parser("Train and score REM models.", COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; for the exit code see `CommandLine.run`."""
    options = build_parser().parse_args(arguments)
    say = partial(print, file=sys.stderr)
    return COMMAND_LINE.run(options, lambda: _run(options), say, say)


def _run(options: argparse.Namespace) -> int | None:
    """Run a command, whose model, where it takes one, may be a name on the hub."""
    if getattr(options, "model", None) is not None:
        from ..model.base_models import base_model

        wants_weights = getattr(options, "wants_weights", True) and not getattr(options, "dry_run", False)
        options.model = base_model(options.model, wants_weights)
    return options.run(options)
