"""Where work tells how far it is."""

from __future__ import annotations

from typing import Literal, Protocol

Unit = Literal["steps", "frames", "mattes", "bytes"]
"""What is counted: what the model does to windows (encoding, prediction, decoding), frames that are whole in files,
frames whose mattes are made, bytes that are read."""


class Progress(Protocol):
    """Takes note of how far work is. An exception from either method ends the work; what is whole by then stays."""

    def say(self, text: str) -> None:
        """Take a line that is worth reading."""

    def update(self, unit: Unit, done: int, total: int) -> None:
        """`done` of `total` are done; `total` may change while more comes to light."""


class Silent:
    """Progress that nobody looks at."""

    def say(self, text: str) -> None: ...

    def update(self, unit: Unit, done: int, total: int) -> None: ...


SILENT: Progress = Silent()
