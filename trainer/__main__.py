"""The trainer's command line: `python -m trainer --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .commands import ablate, benchmark, check_data, export, mini, sample, score, synth, train, verify_step

COMMANDS = (
    synth,
    check_data,
    score,
    benchmark,
    sample,
    mini,
    train,
    export,
    ablate,
    verify_step,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train and score REM models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its own exit status or 0 when done, 2 on bad input, 130 when stopped by Ctrl-C."""
    options = build_parser().parse_args(arguments)
    try:
        status = options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped; run the same command to go on", file=sys.stderr)
        return 130
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
