"""Progress on the terminal."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from tqdm import tqdm


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
