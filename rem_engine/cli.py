"""The command line: `python -m rem_engine COMMAND`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from . import __version__
from .commands import convert, matte, models, segment

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


class ProgressBar:
    """Progress on standard error; satisfies the `Reporter` of `deliver` and of `matte_job`."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands, so that what is printed then stands below it."""
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def steps(self, done: int, total: int) -> None:
        self._move("segmenting", "step", done, total)

    def frames(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"{done} of {total} frames", refresh=False)

    def mattes(self, done: int, total: int) -> None:
        self._move("matting", "frame", done, total)

    def bytes(self, done: int, total: int) -> None:
        self._move("converting", "B", done, total)

    def warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.say(f"warning: {message}")

    def fail(self, sentence: str, code: int) -> int:
        self.close()
        self.say(sentence)
        return code

    def _move(self, doing: str, unit: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, unit=unit, unit_scale=unit == "B", desc=doing, dynamic_ncols=True)
        self._bar.total = total  # more steps come to light where a cut is found
        self._bar.update(done - self._bar.n)


def _file_error(error: OSError) -> str:
    """A sentence for an error of the file system; ours are sentences already, the system's name a file."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; check the path, its permissions and the space on its disk."


def _engine_error(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory: choose a smaller --size or --window, fewer prompts, or --device cpu."
    return str(error)
