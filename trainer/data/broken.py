"""What is done about broken samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .sample import BrokenSample

OnBroken = Callable[[BrokenSample], None]
"""Called with every broken sample; where it returns, the sample is left out."""


def refuse(broken: BrokenSample) -> None:
    """Stop at the first broken sample."""
    raise broken


class Skip:
    """Leaves broken samples out and logs a warning for every file, once."""

    def __init__(self) -> None:
        self._logged: set[Path] = set()

    def __call__(self, broken: BrokenSample) -> None:
        if broken.path not in self._logged:
            self._logged.add(broken.path)
            logging.getLogger(__name__).warning("sample left out: %s", broken)


def broken_policy(on_broken: Literal["skip", "refuse"]) -> OnBroken:
    """The policy that a setting names."""
    return Skip() if on_broken == "skip" else refuse
