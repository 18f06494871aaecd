"""What the engine's and the trainer's command lines have in common: their name, `--debug`, and how commands end."""

from __future__ import annotations

import argparse
import dis
import errno
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from .. import __version__
from ..memory import is_out_of_memory
from ..whole_files import is_disk_full

EXIT_UNFORESEEN = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_FAILING = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
"""What a system says of disks and shares that are broken or gone."""

_log = logging.getLogger(__name__)


def in_one_line(sentence: str) -> str:
    """A sentence with everything that names out of files may bring along (ends of lines, control characters, halves of
    characters) written as Python writes it."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in sentence)


def a_path(text: str) -> Path:
    """The path of an option or argument, as a type for argparse. An empty one, as of a variable that is not set, would
    be the folder that one is in."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: name a file or folder, or . for the folder you are in")
    return Path(text)


@dataclass(frozen=True)
class CommandLine:
    """A command line of this project.

    Attributes:
        module: what `python -m` runs. Texts name commands by it, `python -m rem_engine segment`, which works wherever
            the package can be imported; who has called the script reads `rem-segment segment`.
        script: name of the installed command.
        packages: whose own errors are sentences, and whose logs `--debug` shows.
        interrupted: what Ctrl-C ends in, where the work has no words of its own.
        out_of_memory: what to do when the device's memory is full.
    """

    module: str
    script: str
    packages: tuple[str, ...]
    interrupted: str
    out_of_memory: str

    @property
    def program(self) -> str:
        """How it was called: the script's name or `python -m` and the module's."""
        return self.script if Path(sys.argv[0]).stem == self.script else f"python -m {self.module}"

    def as_called(self, text: str) -> str:
        """A text with its commands named as this one was called."""
        return text.replace(f"python -m {self.module}", self.program)

    def parser(self, description: str, commands: Sequence[ModuleType]) -> argparse.ArgumentParser:
        """A parser that ends wrong usage in one sentence; it and every parser added below it know `--debug`.

        Args:
            description: for its help.
            commands: modules with `add_parser`, whose parsers set `run`, a function of the parsed options.
        """
        line = self

        class Parser(argparse.ArgumentParser):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                # As Python has it from 3.14 on: a box that begins left of the frame, -10,0,20,20, is no option either.
                self._negative_number_matcher = re.compile(r"-\.?\d")
                # suppressed, or below `models get` the default would take back what was given to `models`
                self.add_argument(
                    "--debug",
                    action="store_true",
                    default=argparse.SUPPRESS,
                    help="log what is done, and show where an error came from",
                )

            def _get_value(self, action: argparse.Action, text: str) -> Any:
                # A word that an option or argument takes may be written in any letter case; names of commands not.
                words = action.choices if isinstance(action.choices, Sequence) else ()
                return next((word for word in words if str(word).casefold() == text.casefold()), None) or (
                    super()._get_value(action, text)
                )

            def error(self, message: str) -> NoReturn:
                self.exit(EXIT_ERROR, f"{in_one_line(f'error: {message} (see {self.prog} --help)')}\n")

            def format_help(self) -> str:
                return line.as_called(super().format_help())

        parser = Parser(prog=self.program, description=description)
        parser.add_argument("--version", action="version", version=__version__)
        below = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for command in commands:
            command.add_parser(below)
        return parser

    def run(
        self,
        options: argparse.Namespace,
        work: Callable[[], int | None],
        say: Callable[[str], None],
        end: Callable[[str], None],
    ) -> int:
        """Do a command's work, and end whatever stops it in one sentence.

        Args:
            options: parsed; `operation` says what the command does ("segmenting").
            work: the command; it returns its exit code, None for 0.
            say: prints a line of the log on standard error.
            end: prints the sentence that all ends in.

        Returns:
            the exit code: the command's own, 2 after an error that was foreseen, 1 after any other, 130 after Ctrl-C.
        """
        with self._logs(say) if "debug" in options else nullcontext():
            _log.debug("%s", {name: value for name, value in vars(options).items() if name != "run"})
            try:
                return work() or 0
            except KeyboardInterrupt as stop:
                sentence, code = str(stop) or self.interrupted, EXIT_INTERRUPTED
                _log.debug("stopped", exc_info=True)
            except Exception as error:
                sentence, code = self.sentence(error, options.operation)
                _log.debug("failed", exc_info=True)
            end(in_one_line(self.as_called(sentence)))
            return code

    def sentence(self, error: Exception, operation: str) -> tuple[str, int]:
        """What to say of an error, and the exit code."""
        if type(error).__name__ == "OutOfMemoryError":
            return f"error: The device ran out of memory: {self.out_of_memory}", EXIT_ERROR
        if is_out_of_memory(error):
            return (
                f"error: The memory is full while {operation}: close other programs, or do less at a time.",
                EXIT_ERROR,
            )
        if isinstance(error, (ValueError, RuntimeError, OSError)) and self._is_ours(error):
            return f"error: {error}", EXIT_ERROR
        if is_disk_full(error):
            return "error: No space is left on the disk: make room, and run the same command again.", EXIT_ERROR
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            return f"error: {_file_error(error)}", EXIT_ERROR
        if isinstance(error, OSError) and error.errno in _FAILING and error.strerror:  # of a file that is open
            return (
                f"error: {error.strerror} while {operation}: look at the disk, or the network, that the files are on.",
                EXIT_ERROR,
            )
        reason = next(iter(str(error).strip().splitlines()), "")
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        sentence = f"error: {self.program} failed with {what} while {operation}; run again with --debug to see where."
        return sentence, EXIT_UNFORESEEN

    def _is_ours(self, error: Exception) -> bool:
        """Whether an error comes from a `raise` of our packages, which words a sentence; not from a library, nor from
        an operation of theirs or of Python's that failed under our hands."""
        traceback = error.__traceback__
        if traceback is None:
            return False
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        frame = traceback.tb_frame
        if dis.opname[frame.f_code.co_code[traceback.tb_lasti]] != "RAISE_VARARGS":
            return False
        module = frame.f_globals.get("__name__", "")
        return any(module == package or module.startswith(f"{package}.") for package in self.packages)

    @contextmanager
    def _logs(self, say: Callable[[str], None]) -> Iterator[None]:
        """Within `with`, what our packages log is shown."""
        handler = _Lines(say)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        loggers = [logging.getLogger(name) for name in self.packages]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
                logger.setLevel(logging.NOTSET)


class _Lines(logging.Handler):
    """Log records as lines above a progress bar."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(self.format(record))


def _file_error(error: OSError) -> str:
    """A sentence for an error of the file system, which names a file."""
    return f"{error.filename}: {error.strerror}; check the path, its permissions and the space on its disk."
