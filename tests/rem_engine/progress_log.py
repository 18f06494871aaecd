"""A Progress that remembers what it was told."""

from __future__ import annotations

from rem_engine.progress import Unit


class ProgressLog:
    """Attributes: said, the lines; counts, (done, total) of each update, by unit."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.counts: dict[Unit, list[tuple[int, int]]] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, unit: Unit, done: int, total: int) -> None:
        self.counts.setdefault(unit, []).append((done, total))


class Cancelled(RuntimeError):
    """What a `Cancel` ends work with."""


class Cancel:
    """Ends the work once so many of a unit are done."""

    def __init__(self, unit: Unit, at: int) -> None:
        self.unit, self.at = unit, at

    def say(self, text: str) -> None: ...

    def update(self, unit: Unit, done: int, total: int) -> None:
        if unit == self.unit and done >= self.at:
            raise Cancelled("cancelled")
