"""Progress on the terminal."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from tqdm import tqdm

from ..progress import Unit

_BARS: dict[Unit, tuple[str, str]] = {
    "steps": ("segmenting", "step"),
    "mattes": ("matting", "frame"),
    "bytes": ("converting", "B"),
}
"""What the bar of a unit says is being done, and how it calls the unit."""


class ProgressBar:
    """`Progress` on standard error: one bar, with a note beside it of the frames that are whole."""

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

    def update(self, unit: Unit, done: int, total: int) -> None:
        if unit == "frames":
            if self._bar is not None:
                self._bar.set_postfix_str(f"{done} of {total} frames", refresh=False)
            return
        if self._bar is None:
            doing, called = _BARS[unit]
            self._bar = tqdm(total=total, unit=called, unit_scale=unit == "bytes", desc=doing, dynamic_ncols=True)
        self._bar.total = total  # more steps come to light where a cut is found
        self._bar.update(done - self._bar.n)

    def warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.say(f"warning: {message}")

    def end(self, sentence: str) -> None:
        """A last line, below the bar."""
        self.close()
        self.say(sentence)
