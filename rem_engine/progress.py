"""Where work tells how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeVar

Unit = Literal[
    "steps", "frames", "mattes", "bytes",
    "shapes", "shots", "clips", "shards", "sentences", "videos", "scores", "masks", "runs", "motion", "corrections",
]  # fmt: skip
"""What is counted: what the model does to windows (encoding, prediction, decoding), frames that are whole in files,
frames whose mattes are made, bytes that are read, frames whose motion is found, frames whose masks are corrected, roto
shapes whose keys are found; and
by the trainer shots that are rendered, clips that are encoded, shards of a cache, sentences that are checked, videos
that are predicted, videos that are scored, masks that are packed, runs that are done."""

_Item = TypeVar("_Item")


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


def counted(items: Sequence[_Item], unit: Unit, progress: Progress) -> Iterator[_Item]:
    """Items one after the other; progress is told how many there are, and of each when the next is asked for."""
    if items:
        progress.update(unit, 0, len(items))
    for done, item in enumerate(items, 1):
        yield item
        progress.update(unit, done, len(items))
