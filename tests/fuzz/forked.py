"""Many runs of the command lines in one process of their own, which may hang, die or take all memory."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

HANGS = 120  # seconds; a case takes some hundredths of one, on a machine that does nothing else
MEMORY = 1 << 29  # bytes that a case finds free, and may take
_ROOM = 4 << 30  # beyond which the system gives none, whatever is asked for

_MAY_COME_BEFORE = ("Going on at frame", "The denoiser takes", "encoding ")
"""What commands say of work that an error then ends."""

_MAY_BE_PRINTED = "libpng error: "
"""What libpng prints of pixels that cannot be unpacked though their checksum is right, which no accident leaves."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        case: its number.
        what: it was, in words.
        code: its exit code; None where the process died or an exception came through.
        said: what stood on standard error, or how the process died.
        seconds: what it took.
        grown: bytes that it took at most beyond those taken before.
        wrong: what else was found wrong.
    """

    case: int
    what: str
    code: int | None
    said: str
    seconds: float = 0.0
    grown: int = 0
    wrong: str = ""

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None: a command does its work, or says in one sentence why it does not."""
        if self.code not in (0, 2):
            return f"it ended with {self.code}: {self.said}"
        if self.wrong:
            return f"{self.wrong}: {self.said}"
        lines = [line for line in re.split(r"[\r\n]+", self.said) if line.strip() and "%|" not in line]  # without bars
        errors = [line for line in lines if line.startswith("error: ")]
        if len(errors) != (self.code == 2):
            return f"it ended with {self.code} and {len(errors)} sentences: {self.said}"
        if errors and (lines[-1] != errors[0] or not errors[0].endswith((".", "--help)"))):
            return f"it did not end in one whole sentence: {self.said}"
        if errors and not all(line.startswith(("error: ", "warning: ", *_MAY_COME_BEFORE)) for line in lines):
            return f"it said more than a sentence: {self.said}"
        if "The memory is full" in self.said or self.grown > MEMORY:
            return f"it took {self.grown / 2**20:.0f} MiB: {self.said}"
        return None


Case = tuple[str, Callable[[], int], Callable[[int, str], str]]
"""What it is in words; a command line's run, which gives its exit code; and what looks, by this and by what was said,
for anything else that is wrong."""


def run_in_fork(cases: Sequence[int], prepare: Callable[[], Callable[[int], Case]], scratch: Path) -> list[Outcome]:
    """Run cases one after the other in a forked process; where one kills it, the next goes on in a new one.

    Args:
        cases: numbers.
        prepare: called in the process, before anything is damaged; gives what makes a case of a number.
        scratch: an empty folder for what is told.

    Raises:
        RuntimeError: `prepare` failed.
    """
    left, outcomes = list(cases), []
    while left:
        told = scratch / "told"
        told.write_text("")
        process = os.fork()
        if process == 0:
            _be_the_child(left, prepare, scratch)
        _, status = os.waitpid(process, 0)
        entries = [json.loads(line) for line in told.read_text().splitlines()]
        ended = [Outcome(**entry) for entry in entries if "code" in entry]
        outcomes += ended
        left = left[len(ended) :]
        if left and status == 0:
            raise RuntimeError(f"Before case {left[0]}: {(scratch / 'stderr').read_text()}")
        if not entries:
            raise RuntimeError(f"{_death(status)} before the first case: {(scratch / 'faults').read_text()}")
        if left:
            what = entries[-1].get("begun", "?")
            outcomes.append(Outcome(left.pop(0), what, None, f"{_death(status)}\n{(scratch / 'faults').read_text()}"))
    return outcomes


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the process died of {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the process ended with {os.WEXITSTATUS(status)}, as after {HANGS} s"


def _be_the_child(cases: Iterable[int], prepare: Callable[[], Callable[[int], Case]], scratch: Path) -> None:
    """Never returns."""
    try:
        _settle(scratch)
        run = prepare()
        with open(scratch / "told", "a", buffering=1) as told, open(scratch / "faults", "w+") as faults:
            faulthandler.enable(faults)
            for case in cases:
                what, command, look = run(case)
                told.write(json.dumps({"begun": what}) + "\n")
                faulthandler.dump_traceback_later(HANGS, exit=True, file=faults)
                outcome = Outcome(case, what, *_run_one(command, look, scratch))
                faulthandler.cancel_dump_traceback_later()
                told.write(json.dumps(asdict(outcome)) + "\n")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _settle(scratch: Path) -> None:
    """What is printed goes into files, what libraries print past Python apart; one thread, as no pool of threads
    outlives a fork; bounds."""
    for name, stream in (("stdout", 1), ("noise", 2)):
        os.dup2(os.open(scratch / name, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_APPEND), stream)
    sys.stdout = sys.__stdout__ = _lines(scratch / "stdout")
    sys.stderr = sys.__stderr__ = _lines(scratch / "stderr")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    import cv2
    import torch

    from rem_engine import memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    memory.free_bytes = lambda: MEMORY
    taken = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (taken + _ROOM, taken + _ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lines(path: Path) -> TextIO:
    return open(path, "w+", buffering=1, encoding="utf-8", errors="backslashreplace")


def _run_one(
    command: Callable[[], int], look: Callable[[int, str], str], scratch: Path
) -> tuple[int | None, str, float, int, str]:
    """What `Outcome` says of a command."""
    sys.stderr.seek(0)
    sys.stderr.truncate()
    os.ftruncate(2, 0)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start, code, wrong = _status("VmRSS"), time.perf_counter(), None, ""
    try:
        code = command()
    except SystemExit as stop:  # how argparse leaves
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    seconds, grown = time.perf_counter() - start, _status("VmHWM") - before
    sys.stderr.flush()
    said, noise = ((scratch / name).read_text("utf-8", "replace") for name in ("stderr", "noise"))
    if noise and not (code == 2 and noise.startswith(_MAY_BE_PRINTED)):
        wrong = f"a library printed {noise!r}"
    elif code in (0, 2):
        wrong = look(code, said)
    return code, said, round(seconds, 3), grown, wrong


def _status(entry: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) * 1024
    return 0
