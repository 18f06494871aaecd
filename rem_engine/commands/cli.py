"""The command line: `python -m rem_engine COMMAND`."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from . import convert, matte, models, segment
from .progress import ProgressBar

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_DESCRIPTION = "Referring video segmentation with a whole video-diffusion model (REM)."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, f"error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `python -m rem_engine`."""
    parser = _Parser(prog="python -m rem_engine", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    segment.add_parser(commands)
    matte.add_parser(commands)
    convert.add_parser(commands)
    models.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 after an error, 130 after Ctrl-C."""
    options = build_parser().parse_args(arguments)
    with warnings.catch_warnings(), ProgressBar() as bar:
        warnings.showwarning = bar.warn
        try:
            return options.run(options, bar)
        except KeyboardInterrupt as stop:
            return bar.fail(str(stop) or "Interrupted before work began: run the same command again.", EXIT_INTERRUPTED)
        except OSError as error:
            return bar.fail(f"error: {_file_error(error)}", EXIT_ERROR)
        except (ValueError, RuntimeError) as error:
            return bar.fail(f"error: {_engine_error(error)}", EXIT_ERROR)


def _file_error(error: OSError) -> str:
    """A sentence for an error of the file system; ours are sentences already, the system's name a file."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; check the path, its permissions and the space on its disk."


def _engine_error(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory: choose a smaller --size or --window, fewer prompts, or --device cpu."
    return str(error)
