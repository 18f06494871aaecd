"""Progress on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from tqdm import tqdm

from ..progress import Unit

BARS: Mapping[Unit, tuple[str, str]] = {
    "steps": ("segmenting", "step"),
    "mattes": ("matting", "frame"),
    "bytes": ("converting", "B"),
    "motion": ("finding motion", "frame"),
    "corrections": ("correcting", "frame"),
    "shapes": ("making shapes", "shape"),
}
"""What the bar of a unit says is being done, and how it calls the unit."""


class ProgressBar:
    """`Progress` on standard error: a bar, or one after another, with a note beside it of what is counted meanwhile.

    Args:
        bars: see `BARS`.
        beside: the unit that is noted beside the bar of another, and has none of its own.
    """

    def __init__(self, bars: Mapping[Unit, tuple[str, str]] = BARS, beside: Unit = "frames") -> None:
        self._bars, self._beside = bars, beside
        self._bar: tqdm[NoReturn] | None = None
        self._unit: Unit | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands, so that what is printed then stands below it."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def update(self, unit: Unit, done: int, total: int) -> None:
        if unit == self._beside:
            if self._bar is not None:
                self._bar.set_postfix_str(f"{done} of {total} {unit}", refresh=False)
                self._bar.update(0)
            return
        if unit != self._unit:
            self.close()
            self._unit = unit
        if self._bar is None:
            doing, called = self._bars[unit]
            self._bar = tqdm(
                desc=doing,
                initial=done,
                total=total,
                unit=called,
                unit_scale=unit == "bytes",
                miniters=0,  # or a note beside a slow bar would not be shown before the bar moves
                dynamic_ncols=True,
            )
        self._bar.total = total  # more steps come to light where a cut is found
        self._bar.update(done - self._bar.n)
        if done == total and unit != "steps":
            self.close()

    def warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.say(f"warning: {message}")

    def end(self, sentence: str) -> None:
        """A last line, below the bar."""
        self.close()
        self.say(sentence)
