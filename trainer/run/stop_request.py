"""Ctrl-C that lets a step finish."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Notes a Ctrl-C or a request to terminate, within `with`; a second Ctrl-C stops at once.

    Args:
        how_to_resume: what to do to go on, for the second one's message.

    Attributes:
        asked: whether one came.
    """

    # A cluster asks with SIGTERM. So does torchrun, of processes that have had the keyboard's SIGINT already.
    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, how_to_resume: str) -> None:
        self._how_to_resume = how_to_resume
        self.asked = False
        self._interrupted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt(f"stopped at once; {self._how_to_resume} from the last checkpoint")
        self.asked = True
        self._interrupted |= number == signal.SIGINT
